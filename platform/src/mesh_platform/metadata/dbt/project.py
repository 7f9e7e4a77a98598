"""The files of a dbt project about the mesh: sources, models, tests and documentation, all from contracts and SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from mesh_platform.contract.contract import AHEAD, Contract, Field, TableSchema
from mesh_platform.engine.sql import quoted
from mesh_platform.errors import UsageError
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.dbt.jinja import plain
from mesh_platform.metadata.dbt.relations import Relations, model_name, model_sql, relations_of
from mesh_platform.metadata.dbt.tests import reference_tests, table_tests
from mesh_platform.policy.masks import Mask, masks
from mesh_platform.policy.roles import check_role
from mesh_platform.sql.model import Model, relations_read
from mesh_platform.sql.references import RESOLVED, target
from mesh_platform.sql.relations import SITES, SITES_SCHEMA, interface_unions

# What profiles.yml calls the file with the sources.
ATTACHED = "mesh_lake"
_NOTE = "# Written by `mesh dbt export`, which replaces this file.\n"


def dbt_project(mesh: Mesh, models: Mapping[str, Model], role: str | None = None) -> dict[str, str]:
    """Return the text of each file of the project, by its path in the project's folder.

    For a `role` all products are sources, and what needs values that the role may not read is not tested. The files
    name no place of this machine, and are the same for the same mesh. Raises UsageError for an unknown role, and for
    a domain with the name by which the project attaches its sources.
    """
    check_role(mesh, role)
    if ATTACHED in mesh.domains:
        raise UsageError(f"the domain {ATTACHED} has the name that the dbt project gives its sources. Rename it.")
    relations = relations_of(mesh, models, role)
    found = dict(_assets(files(__package__) / "assets"))
    for source in _sources(mesh, relations, role):
        found[f"models/{source['name']}/sources.yml"] = _yaml({"sources": [source]})
    for domain in mesh.domains:
        built = [_model(mesh, name, relations) for name in relations.models if name.partition(".")[0] == domain]
        if built:
            found[f"models/{domain}/models.yml"] = _yaml({"models": built})
    if shown := [_exposure(mesh, each, relations) for each in mesh.dashboards.values()]:
        found["models/exposures.yml"] = _yaml({"exposures": shown})
    for name in relations.models:
        domain = name.partition(".")[0]
        found[f"models/{domain}/{model_name(name)}.sql"] = model_sql(mesh, models[name], relations)
    return dict(sorted(found.items()))


def _yaml(document: Mapping[str, Any]) -> str:
    # The dumper in Python takes half a minute for three thousand products.
    return _NOTE + yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=118)


def _assets(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_file():
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")
        elif entry.name != "__pycache__":
            yield from _assets(entry, f"{prefix}{entry.name}/")


def _sources(mesh: Mesh, relations: Relations, role: str | None) -> Iterator[dict[str, Any]]:
    for namespace in sorted({name.partition(".")[0] for name in relations.sources}):
        tables = [
            _source(mesh, name, relations, role) for name in relations.sources if name.partition(".")[0] == namespace
        ]
        domain = mesh.domains.get(namespace)
        # The namespace of mesh.sites is no domain.
        words = domain.description if domain else "What domain files say."
        yield {
            "name": namespace,
            "description": plain(words),
            "database": ATTACHED,
            "schema": namespace,
            **({"config": {"meta": _owners(mesh, namespace)}} if domain else {}),
            "tables": tables,
        }


def _source(mesh: Mesh, name: str, relations: Relations, role: str | None) -> dict[str, Any]:
    table = name.partition(".")[2]
    if name == SITES:
        return {"name": table, "description": plain(SITES_SCHEMA.description), "columns": _columns(SITES_SCHEMA, {})}
    contract = mesh.contracts.get(name)
    if contract is None:
        interface, _ = interface_unions(mesh)[name]
        words = f"All rows of the products that implement {interface.name}. {interface.description}"
        return {"name": table, "description": plain(words), "columns": _columns(interface.table, {})}
    hidden = _hidden(contract, role)
    config: dict[str, Any] = {"meta": _facts(contract)}
    # dbt knows no calendar.
    if contract.oldest and contract.freshness_column:
        column = quoted(contract.freshness_column)
        minutes = int(contract.oldest.total_seconds()) // 60
        known = f"{column} <= now() + interval {AHEAD.days} day"
        config["freshness"] = {"error_after": {"count": minutes, "period": "minute"}, "filter": known}
        config["loaded_at_field"] = column
    return {
        "name": table,
        "description": plain(_description(contract)),
        "config": config,
        "data_tests": table_tests(mesh, contract, hidden),
        "columns": _columns(contract.table, _references(mesh, contract, relations, role)),
    }


def _model(mesh: Mesh, name: str, relations: Relations) -> dict[str, Any]:
    contract = mesh.contracts[name]
    return {
        "name": model_name(name),
        "description": plain(_description(contract)),
        "config": {
            "schema": contract.domain,
            "alias": contract.table.name,
            "contract": {"enforced": True},
            "meta": {**_facts(contract), **_owners(mesh, contract.domain)},
        },
        "data_tests": table_tests(mesh, contract, {}),
        "columns": _columns(contract.table, _references(mesh, contract, relations, None)),
    }


def _exposure(mesh: Mesh, dashboard: Dashboard, relations: Relations) -> dict[str, Any]:
    """What dbt says of a dashboard. A `__resolved` view, which the project lacks, counts as its table."""
    read = {name.removesuffix(RESOLVED) for sql in dashboard.sql.values() for name in relations_read(sql)}
    owners = mesh.domains[dashboard.domain].owners
    mail = {"email": plain(owners.contact)} if "@" in owners.contact else {}
    return {
        "name": model_name(dashboard.identifier),
        "label": plain(dashboard.file.dashboard_title),
        "type": "dashboard",
        "description": plain(dashboard.file.description),
        "owner": {"name": plain(owners.team), **mail},
        "depends_on": [relations.reference(name) for name in sorted(read & {*relations.sources, *relations.models})],
        "config": {
            "meta": {
                "files": dashboard.folder,
                "charts": {name: plain(chart.slice_name) for name, chart in dashboard.charts.items()},
                **_owners(mesh, dashboard.domain),
            }
        },
    }


def _columns(schema: TableSchema, tests: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            # The name can be a keyword of SQL.
            "quote": True,
            "description": plain(field.description),
            "data_type": field.type.duckdb,
            "config": {"meta": _column_facts(field)},
            **({"data_tests": tests[field.name]} if tests.get(field.name) else {}),
        }
        for field in schema.fields
    ]


def _references(
    mesh: Mesh, contract: Contract, relations: Relations, role: str | None
) -> dict[str, list[dict[str, Any]]]:
    found, name = {}, contract.identifier
    for field in contract.table.fields:
        if field.references and target(field)[0] in mesh.contracts:
            dimension = mesh.contracts[target(field)[0]]
            hidden = _hidden(contract, role), _hidden(dimension, role)
            found[field.name] = reference_tests(name, field, *hidden, relations)
    return found


def _hidden(contract: Contract, role: str | None) -> dict[str, Mask]:
    return masks(role, contract, contract.table.fields)


def _description(contract: Contract) -> str:
    return f"{contract.table.description} {contract.description}".strip()


def _facts(contract: Contract) -> dict[str, Any]:
    """What a contract says that dbt has no word for."""
    facts = {
        "contract": plain(contract.id),
        "version": contract.version,
        "level": contract.level,
        "status": contract.status,
        "freshness_hours": contract.freshness and contract.freshness.total_seconds() / 3600,
        "latency_hours": contract.latency and contract.latency.total_seconds() / 3600,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _owners(mesh: Mesh, domain: str) -> dict[str, Any]:
    owners = mesh.domains[domain].owners
    named = {"owner": owners.team, "steward": owners.steward, "contact": owners.contact, "on_call": owners.on_call}
    return {name: plain(words) for name, words in named.items()}


def _column_facts(field: Field) -> dict[str, Any]:
    facts = {
        "classification": field.classification,
        "primary_key": bool(field.key),
        "required": field.required,
        "term": field.term,
        "deprecated": field.deprecated,
    }
    return {name: value for name, value in facts.items() if value}
