"""Explaining one product: its owner, promises, path from queue to readers, and columns."""

from __future__ import annotations

from typing import Any

from mesh_platform.broker import queue_of
from mesh_platform.contract.contract import Contract
from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.lineage import lineage
from mesh_platform.sql.model import read_models, relations_read
from mesh_platform.sql.references import RESOLVED
from mesh_platform.sql.relations import tables_behind
from mesh_platform.text import shown


def explain_product(mesh: Mesh, contract: Contract) -> dict[str, Any]:
    """All facts about a product: `from` of a column lists the sources of its value, each as relation.column."""
    domain = mesh.domains[contract.domain]
    models = read_models(mesh)
    model = models.get(contract.identifier)
    origins = lineage(mesh, model) if model else None
    reads = [
        f"{relation} ({', '.join(tables)})"
        if (tables := tables_behind(mesh, relation)) not in ((), (relation,))
        else relation
        for relation in (model.inputs if model else ())
    ]
    return {
        "product": contract.identifier,
        "version": contract.version,
        "status": contract.status,
        "deprecated": contract.deprecated,
        "synonyms": list(contract.table.synonyms),
        "description": contract.description,
        "contract": contract.path,
        "source": model.path if model else shown(domain.reference_path(contract), mesh.root),
        "team": domain.owners.team,
        "steward": domain.owners.steward,
        "contact": domain.owners.contact,
        "on_call": domain.owners.on_call,
        "freshness_s": int(contract.freshness.total_seconds()) if contract.freshness else None,
        "retention_days": contract.retention.days,
        "implements": contract.implements,
        "queue": queue_of(contract).name if contract.event else None,
        "landing": landing_name(contract) if contract.event else None,
        "quarantine": quarantine_name(contract) if contract.event else None,
        "partitions": [f"{transform}({column})" for transform, column in contract.table.partition],
        "key": list(contract.table.key),
        "reads": reads,
        "read_by": [
            name
            for name, other in models.items()
            if any(contract.identifier in (relation, *tables_behind(mesh, relation)) for relation in other.inputs)
        ],
        "shown_in": [
            dashboard.identifier
            for dashboard in mesh.dashboards.values()
            if {contract.identifier, f"{contract.identifier}{RESOLVED}"}
            & {
                relation
                for sql in dashboard.sql.values()
                # Parsing takes ten milliseconds each.
                if contract.identifier.partition(".")[2] in sql.lower()
                for relation in relations_read(sql)
            }
        ],
        "columns": [
            {
                "name": field.name,
                "type": field.type.name,
                "required": field.required,
                "classification": field.classification,
                "deprecated": field.deprecated,
                "synonyms": list(field.synonyms),
                "description": field.description,
                "from": [f"{relation}.{column}" for relation, column in origins.values(field.name)]
                if origins
                else [],
            }
            for field in contract.table.fields
        ],
    }
