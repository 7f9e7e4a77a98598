"""Explaining one thing: a product with its path from queue to readers, a dashboard, a chart, a view or a column.

Every name that a command of the mesh prints can be asked for.
"""

from __future__ import annotations

from typing import Any

from mesh_platform.broker import queue_of
from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.errors import UsageError
from mesh_platform.lake.tables import TableKind, landing_name, quarantine_name, table_named
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.metadata.columns import CHART, QUEUE, Columns, chart_relation
from mesh_platform.sql.chart_query import readable_schemas
from mesh_platform.sql.lineage import lineage
from mesh_platform.sql.model import read_models, relations_read
from mesh_platform.sql.references import RESOLVED
from mesh_platform.sql.relations import interface_unions, tables_behind
from mesh_platform.text import offer, shown

_KINDS: dict[TableKind, str] = {
    "landing": "The events, as sent,",
    "quarantine": "What ingest refused",
    "ledger": "The ids of events that were removed on purpose",
    "product": "The rows",
    "held": "The rows that a rule holds back",
}


def explain(mesh: Mesh, name: str) -> dict[str, Any]:
    """All facts about what is called `name`; the first key says what that is. Raises UsageError."""
    if name in mesh.contracts:
        return explain_product(mesh, mesh.contracts[name])
    if name.startswith(QUEUE):
        # The events of a product; what is in them, ingest writes to its landing table.
        product, _, field = name.removeprefix(QUEUE).rpartition(".")
        sent = product in mesh.contracts and mesh.contracts[product].event
        return explain(mesh, f"{landing_name(mesh.contracts[product])}.{field}" if sent else f"{product}.{field}")
    if name in mesh.dashboards:
        return _dashboard(mesh, mesh.dashboards[name])
    # Lineage calls charts so.
    within, _, chart = name.removeprefix(CHART).rpartition(".")
    if within in mesh.dashboards and chart in mesh.dashboards[within].charts:
        return _chart(mesh, mesh.dashboards[within], chart)
    if (schema := _schema_of(mesh, name)) is not None:
        return _relation(mesh, name, schema)
    relation, _, column = name.rpartition(".")
    if (schema := _schema_of(mesh, relation)) is not None and column in schema.by_name:
        return _column(mesh, relation, schema.by_name[column])
    charts = [f"{each.identifier}.{chart}" for each in mesh.dashboards.values() for chart in each.charts]
    columns = [f"{relation}.{each}" for each in schema.by_name] if schema is not None else []
    known = dict.fromkeys([*columns, *mesh.contracts, *interface_unions(mesh), *mesh.dashboards, *charts])
    raise UsageError(f"{name}: no product, table, view, column, dashboard or chart. {offer(name, known)}")


def _schema_of(mesh: Mesh, relation: str) -> TableSchema | None:
    table = table_named(mesh, relation)
    return table.schema if table else readable_schemas(mesh).get(relation)


def _relation(mesh: Mesh, name: str, schema: TableSchema) -> dict[str, Any]:
    """Facts about a table that a product has besides its own, or about a view."""
    columns, table, owner = Columns(mesh, read_models(mesh)), table_named(mesh, name), _owner(mesh, name)
    if table:
        what = f"{_KINDS[table.kind]} of {table.contract.identifier}."
    elif owner and name in interface_unions(mesh):
        what = f"The rows of all products that implement {owner.name}."
    elif owner:
        what = f"{owner.identifier}, with the key of an unknown row where a dimension lacks the one it names."
    else:
        what = "About the mesh itself."
    found = columns.lineage(name)
    return {
        "table" if table else "view": name,
        "description": what,
        "product": owner.identifier if owner and owner.identifier in mesh.contracts else None,
        "contract": owner.path if owner else None,
        **(_owners(mesh.domains[owner.domain]) if owner else {}),
        "reads": [*columns.inputs(name)],
        "read_by": [*columns.readers.get(name, ())],
        "columns": [
            {
                **_column_facts(field),
                "from": [f"{source}.{each}" for source, each in found.values(field.name)]
                if field.name in found.columns
                else [],
            }
            for field in schema.fields
        ],
    }


def _owner(mesh: Mesh, relation: str) -> Contract | None:
    """The contract of a table, or of what a view shows; None for the views about the mesh itself."""
    if table := table_named(mesh, relation):
        return table.contract
    if relation in (unions := interface_unions(mesh)):
        return unions[relation][0]
    return mesh.contracts.get(relation.removesuffix(RESOLVED))


def _column(mesh: Mesh, relation: str, field: Field) -> dict[str, Any]:
    columns, contract = Columns(mesh, read_models(mesh)), _owner(mesh, relation)
    up = [edge for edge in columns.edges(relation) if edge.target_column == field.name]
    down = {(edge.target, edge.target_column) for edge in columns.edges_from((relation, field.name))}
    return {
        "column": f"{relation}.{field.name}",
        "description": field.description,
        **{name: value for name, value in _column_facts(field).items() if name not in ("name", "description")},
        "contract": contract.path if contract else None,
        **(_owners(mesh.domains[contract.domain]) if contract else {}),
        "from": [f"{edge.source}.{edge.source_column}" for edge in up],
        "read_by": sorted(f"{target}.{column}" if column else target for target, column in down),
        "columns": [],
    }


def _column_facts(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.type.name,
        "required": field.required,
        "classification": field.classification,
        "deprecated": field.deprecated,
        "synonyms": list(field.synonyms),
        "description": field.description,
    }


def _dashboard(mesh: Mesh, dashboard: Dashboard) -> dict[str, Any]:
    return {
        "dashboard": dashboard.identifier,
        "title": dashboard.file.dashboard_title,
        "description": dashboard.file.description,
        "folder": dashboard.folder,
        **_owners(mesh.domains[dashboard.domain]),
        "reads": sorted({relation for sql in dashboard.sql.values() for relation in relations_read(sql)}),
        "charts": [
            {"name": f"{dashboard.identifier}.{name}", "title": chart.slice_name, "kind": chart.viz_type}
            for name, chart in dashboard.charts.items()
        ],
    }


def _chart(mesh: Mesh, dashboard: Dashboard, name: str) -> dict[str, Any]:
    chart, columns = dashboard.charts[name], Columns(mesh, read_models(mesh))
    relation = chart_relation(dashboard, name)
    found = columns.lineage(relation)
    metrics = dashboard.datasets[chart.dataset].metrics
    return {
        "chart": f"{dashboard.identifier}.{name}",
        "title": chart.slice_name,
        "description": chart.description or "",
        "dashboard": dashboard.identifier,
        "file": f"{dashboard.folder}/charts/{name}.yaml",
        "kind": chart.viz_type,
        "dataset": f"{dashboard.folder}/datasets/{chart.dataset}.sql",
        **_owners(mesh.domains[dashboard.domain]),
        "reads": [*columns.inputs(relation)],
        "rows_by": sorted({f"{each.relation}.{each.column}" for each in found.rows}),
        "columns": [
            {
                "name": column,
                "expression": metrics[column].expression if column in metrics else None,
                "from": [f"{source}.{each}" for source, each in found.values(column)],
            }
            for column in found.columns
        ],
    }


def _owners(domain: Domain) -> dict[str, str]:
    return {
        "team": domain.owners.team,
        "steward": domain.owners.steward,
        "contact": domain.owners.contact,
        "on_call": domain.owners.on_call,
    }


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
        **_owners(domain),
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
                **_column_facts(field),
                "from": [f"{relation}.{column}" for relation, column in origins.values(field.name)]
                if origins
                else [],
            }
            for field in contract.table.fields
        ],
    }
