"""Explaining one thing: a product with its path from queue to readers, a dashboard, a chart, or any other name.

Every name that a command of the mesh prints can be asked for.
"""

from __future__ import annotations

from typing import Any, get_args

from mesh_platform.broker import queue_of
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import UsageError
from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.metadata.columns import CHART, Columns, chart_relation
from mesh_platform.metadata.graph import NAMED, Graph, Kind, LinkKind, Node, mesh_graph
from mesh_platform.sql.lineage import lineage
from mesh_platform.sql.model import read_models, relations_read
from mesh_platform.sql.references import RESOLVED
from mesh_platform.sql.relations import tables_behind
from mesh_platform.text import offer, shown

# What a link is called from its other end.
_BACK: dict[LinkKind, str] = {
    "owned by": "owns",
    "steward": "steward_of",
    "input": "input_of",
    "output": "output_of",
    "implements": "implemented_by",
    "computed from": "read_by",
    "refers to": "referred_to_by",
    "means": "meaning_of",
    "tagged": "tag_of",
    "governed by": "governs",
    "written by": "writes",
}
_OF_A_COLUMN = ("type", "required", "classification", "deprecated", "synonyms")


def explain(mesh: Mesh, name: str) -> dict[str, Any]:
    """All facts about what is called `name`; the first key says what that is. Raises UsageError."""
    if name in mesh.contracts:
        return explain_product(mesh, mesh.contracts[name])
    if name in mesh.dashboards:
        return _dashboard(mesh, mesh.dashboards[name])
    # Lineage calls charts so.
    within, _, chart = name.removeprefix(CHART).rpartition(".")
    if within in mesh.dashboards and chart in mesh.dashboards[within].charts:
        return _chart(mesh, mesh.dashboards[within], chart)
    graph = mesh_graph(mesh, read_models(mesh))
    # Some names are those of lineage, with their kind.
    for node_id in (name, *(f"{kind}:{name}" for kind in get_args(Kind))):
        if node_id in graph.nodes:
            return _node(graph, graph.nodes[node_id])
    known = dict.fromkeys(node.name for node in graph.nodes.values())
    raise UsageError(f"{name}: nothing is called so. {offer(name, known)} 'mesh find' searches by words.")


def _node(graph: Graph, node: Node) -> dict[str, Any]:
    """Its own facts, what it is linked to and by, and its columns."""
    domain, columns = graph.domain(node.id), graph.columns
    linked = {kind.replace(" ", "_"): [each.name for each in graph.of(node.id, kind)] for kind in _BACK}
    linked |= {back: [each.name for each in graph.with_link(kind, node.id)] for kind, back in _BACK.items()}
    if node.kind == "column":
        relation, _, name = node.name.rpartition(".")
        down = {(edge.target, edge.target_column) for edge in columns.edges_from((relation, name))}
        linked["from"] = _sources(columns, relation, name)
        linked["read_by"] = sorted(f"{target}.{column}" if column else target for target, column in down)
    fields = [each for each in graph.with_link("part of", node.id) if each.kind == "column"]
    relation = node.id if node.id.startswith(NAMED) else node.name
    return {
        node.kind: node.name,
        "description": node.description,
        **({"domain": domain.name, "team": graph.of(domain.id, "owned by")[0].name} if domain else {}),
        **node.facts,
        **linked,
        "columns": [
            {
                "name": (name := each.name.removeprefix(f"{relation}.")),
                **{fact: value for fact, value in each.facts.items() if fact in _OF_A_COLUMN},
                "description": each.description,
                "from": _sources(columns, relation, name),
            }
            for each in fields
        ],
    }


def _sources(columns: Columns, relation: str, column: str) -> list[str]:
    """The columns, as relation.column, that the value of a column comes from."""
    found = columns.lineage(relation)
    return [".".join(source) for source in found.values(column)] if column in found.columns else []


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
