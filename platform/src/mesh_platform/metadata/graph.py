"""The graph of a mesh: what there is, from domains to terms, and how it belongs together. Catalogs print it.

Everything in it is derived: from contracts, domain files, glossaries, SQL and the DAGs that they lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple

from mesh_platform.broker import queue_of
from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract, Field
from mesh_platform.lake.tables import EVENT_TABLES, MeshTable, TableKind, tables_of
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.mesh.schedule import CRON
from mesh_platform.metadata.columns import CHART, Columns, queue_relation, sent_fields
from mesh_platform.metadata.pipelines import dag_id, pipelines_of
from mesh_platform.policy.masks import masks
from mesh_platform.sql.chart_query import chart_query
from mesh_platform.sql.health_schemas import HEALTH_SCHEMAS
from mesh_platform.sql.model import Model
from mesh_platform.sql.references import RESOLVED, references, resolved_fields
from mesh_platform.sql.relations import SITES, SITES_SCHEMA, interface_unions
from mesh_platform.text import counted

Kind = Literal[
    "domain", "team", "person", "product", "interface", "queue", "file", "table", "view", "column", "term", "policy",
    "tag", "dag", "dashboard", "chart",
]  # fmt: skip
LinkKind = Literal[
    "owned by",  # a domain, by its team
    "steward",  # of a domain, a person
    "part of",  # a product of a domain, a table of a product, a column of a table, a chart of a dashboard
    "input",  # a product's input port: a queue, a file or a table of another
    "output",  # a product's output port: its table, and the unions that contain it
    "implements",
    "computed from",  # a relation or a chart, from a relation
    "refers to",  # a column, to the column of a dimension
    "means",  # a column, a term
    "tagged",
    "governed by",  # a column or a product, by a policy
    "written by",  # a table, by a DAG
]


# Relations that SQL cannot name have the ids of their nodes as names.
NAMED = ("queue:", "file:", CHART)


class Node(NamedTuple):
    """One thing in the mesh. `name` is unique among those of its kind; `facts` are values that JSON can hold."""

    kind: Kind
    name: str
    description: str = ""
    facts: Mapping[str, Any] = {}

    @property
    def id(self) -> str:
        """`<kind>:<name>`, unique in the graph."""
        return f"{self.kind}:{self.name}"


class Link(NamedTuple):
    """A relation between two nodes, given by their ids; read as `source` is `kind` `target`."""

    source: str
    kind: LinkKind
    target: str


@dataclass(frozen=True)
class Graph:
    """Everything in a mesh. The lineage of columns is in `columns`, which traces it when it is asked for."""

    columns: Columns
    nodes: Mapping[str, Node]
    links: tuple[Link, ...]

    def of(self, node_id: str, kind: LinkKind) -> list[Node]:
        """Return the nodes that a node is linked to by `kind`."""
        return [self.nodes[link.target] for link in self._from.get(node_id, ()) if link.kind == kind]

    def with_link(self, kind: LinkKind, node_id: str) -> list[Node]:
        """Return the nodes that are linked to a node by `kind`, such as all that are `part of` it."""
        return [self.nodes[link.source] for link in self._to.get(node_id, ()) if link.kind == kind]

    def relation(self, name: str) -> Node | None:
        """Return the table, view, queue, file or chart that lineage calls `name`."""
        ids = (name,) if name.startswith(NAMED) else (f"table:{name}", f"view:{name}")
        return next((self.nodes[node_id] for node_id in ids if node_id in self.nodes), None)

    def domain(self, node_id: str) -> Node | None:
        """Return the domain that a node is, or is part of through any number of others; None if it is in none."""
        node = self.nodes[node_id]
        while node.kind != "domain":
            above = self.of(node.id, "part of")
            if not above:
                return None
            node = above[0]
        return node

    @cached_property
    def _from(self) -> Mapping[str, list[Link]]:
        return _grouped(self.links, lambda link: link.source)

    @cached_property
    def _to(self) -> Mapping[str, list[Link]]:
        return _grouped(self.links, lambda link: link.target)


def _grouped(links: Iterable[Link], end: Callable[[Link], str]) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {}
    for link in links:
        found.setdefault(end(link), []).append(link)
    return found


def mesh_graph(mesh: Mesh, models: Mapping[str, Model], cache: Cache | None = None) -> Graph:
    """Return the graph of `mesh` with its `models`; `cache` keeps the lineage of columns."""
    return _Builder(mesh, models, cache).graph()


class _Builder:
    def __init__(self, mesh: Mesh, models: Mapping[str, Model], cache: Cache | None) -> None:
        self.mesh, self.models = mesh, models
        self.columns = Columns(mesh, models, cache)
        self.nodes: dict[str, Node] = {}
        self.links: dict[Link, None] = {}

    def graph(self) -> Graph:
        for domain in self.mesh.domains.values():
            self._domain(domain)
        self._views()
        for dashboard in self.mesh.dashboards.values():
            self._dashboard(dashboard)
        for name, relation in self.columns.relations.items():
            for source in relation.inputs:
                self._link(self._relation(name), "computed from", self._relation(source))
                if f"product:{name}" in self.nodes and not source.startswith(f"{name}__"):
                    self._link(f"product:{name}", "input", self._relation(source))
        # A term may be missing; a rule reports that.
        links = tuple(link for link in self.links if link.kind != "means" or link.target in self.nodes)
        return Graph(self.columns, self.nodes, links)

    def _add(self, kind: Kind, name: str, description: str = "", /, **facts: Any) -> str:
        node = Node(kind, name, description, {key: value for key, value in facts.items() if value not in (None, [])})
        self.nodes.setdefault(node.id, node)
        return node.id

    def _link(self, source: str, kind: LinkKind, target: str) -> None:
        self.links[Link(source, kind, target)] = None

    def _domain(self, domain: Domain) -> None:
        owners = domain.owners
        reached = {"contact": owners.contact, "on_call": owners.on_call}
        site = domain.site.model_dump(mode="json") if domain.site else None
        me = self._add("domain", domain.name, domain.description, kind=domain.kind, site=site, **reached)
        self._link(me, "owned by", self._add("team", owners.team))
        self._link(me, "steward", self._add("person", owners.steward))
        self._tag(me, domain.kind)
        for name, term in domain.terms.items():
            facts = {"unit": term.unit, "kpi": term.kpi or None, "instead_of": [*term.instead_of]}
            self._link(self._add("term", f"{domain.name}.{name}", term.definition, **facts), "part of", me)
        for name, interface in domain.interfaces.items():
            facts = {"version": interface.version, "id": interface.id}
            self._link(self._add("interface", name, interface.description, **facts), "part of", me)
        for contract in (*domain.contracts.values(), *(each for each in domain.retired.values() if each.event)):
            self._product(contract, me)
        for kind, products in pipelines_of(domain.contracts.values(), self.models).items():
            if products:
                dag = self._add("dag", dag_id(domain, kind), kind=kind, schedule=CRON.get(kind))
                self._link(dag, "part of", me)
                for table in [table for contract in products for table in tables_of(contract)]:
                    if table.kind in _WRITES.get(kind, ()):
                        self._link(f"table:{table.name}", "written by", dag)

    def _dashboard(self, dashboard: Dashboard) -> None:
        about = {"title": dashboard.file.dashboard_title, "folder": dashboard.folder, "page": dashboard.page()}
        me = self._add("dashboard", dashboard.identifier, dashboard.file.description, **about)
        self._link(me, "part of", f"domain:{dashboard.domain}")
        for name, chart in dashboard.charts.items():
            facts = {"viz_type": chart.viz_type, "dataset": chart.dataset, "page": dashboard.page(name)}
            shows = self._add("chart", f"{dashboard.identifier}.{name}", chart.slice_name, **facts)
            self._link(shows, "part of", me)
            metrics = dashboard.datasets[chart.dataset].metrics
            for column in chart_query(dashboard, name)[1]:
                metric = metrics.get(column)
                described = (metric.description or metric.verbose_name) if metric else None
                self._link(self._add("column", f"{shows}.{column}", described or ""), "part of", shows)

    def _product(self, contract: Contract, domain: str) -> None:
        name = contract.identifier
        promised = {
            "freshness_s": _seconds(contract.freshness),
            "latency_s": _seconds(contract.latency),
            "retention_days": contract.retention.days,
            "time_travel_days": contract.time_travel.days,
        }
        facts = {"version": contract.version, "level": contract.level, "contract": contract.path, **promised}
        facts["retired"] = contract.retired or None
        life = {"id": contract.id, "status": contract.status, "deprecated": contract.deprecated or None}
        me = self._add("product", name, contract.description, **facts, **life, synonyms=[*contract.table.synonyms])
        self._link(me, "part of", domain)
        self._tag(me, contract.level)
        if contract.implements:
            self._link(me, "implements", f"interface:{contract.implements}")
        days = counted(contract.retention.days, "day")
        keeps = self._add("policy", f"retention of {name}", f"Rows are kept for {days}.")
        self._link(me, "governed by", keeps)
        if contract.event:
            queue = queue_of(contract)
            facts = {"exchange": queue.exchange, "routing_key": queue.routing_key, "dead_letter": queue.dead_letter}
            events = self._add("queue", queue.name, contract.event.description, **facts)
            self._link(events, "part of", me)
            self._link(me, "input", events)
            self._columns(queue_relation(contract), sent_fields(contract), events, contract)
        for table in tables_of(contract):
            self._table(table, me)
        for source in self.columns.relations[name].inputs if name in self.columns.relations else ():
            if source.startswith("file:"):
                file = self._add("file", source.removeprefix("file:"), "Reference data.")
                self._columns(source, contract.table.fields, file, contract)
                self._link(file, "part of", me)
        if not contract.retired:
            self._link(me, "output", f"table:{name}")
        if references(contract) and not contract.retired:
            view = self._add("view", f"{name}{RESOLVED}", f"{name} with its references resolved.")
            self._link(view, "part of", me)
            self._link(me, "output", view)
            self._columns(f"{name}{RESOLVED}", resolved_fields(self.mesh, contract), view, contract)

    def _table(self, table: MeshTable, product: str) -> None:
        schema = table.schema
        partition = [f"{transform}({column})" for transform, column in schema.partition]
        facts = {"kind": table.kind, "key": [*schema.key], "partition": partition}
        me = self._add("table", table.name, schema.description, **facts)
        self._link(me, "part of", product)
        self._columns(table.name, schema.fields, me, table.contract, table.kind == "quarantine")

    def _columns(
        self,
        relation: str,
        fields: Iterable[Field],
        owner: str,
        contract: Contract | None,
        is_quarantine: bool = False,
    ) -> None:
        fields = [*fields]
        # No contract lists a role without a name, so these are masked for every role that it does not list.
        masked = masks("", contract, fields, is_quarantine) if contract else {}
        for field in fields:
            me = self._add("column", f"{relation}.{field.name}", field.description, **_column_facts(field))
            self._link(me, "part of", owner)
            self._tag(me, field.classification)
            if field.term:
                self._link(me, "means", f"term:{field.term}")
            if field.references:
                self._link(me, "refers to", f"column:{'.'.join(field.references)}")
            if field.name in masked and contract:
                allowed = ", ".join(contract.roles) or "none"
                what = f"Personal data are masked for all roles but: {allowed}."
                mask = self._add("policy", f"masking of {contract.identifier}", what, roles=[*contract.roles])
                self._link(me, "governed by", mask)

    def _views(self) -> None:
        for name, schema in {SITES: SITES_SCHEMA, **HEALTH_SCHEMAS}.items():
            self._columns(name, schema.fields, self._add("view", name, schema.description), None)
        names = {interface.path: name for name, interface in self.mesh.interfaces.items()}
        for name, (interface, members) in interface_unions(self.mesh).items():
            implemented = names[interface.path]
            union = self._add("view", name, f"All rows of the products that implement {implemented}.")
            self._link(union, "part of", f"interface:{implemented}")
            self._columns(name, interface.table.fields, union, interface)
            for member in members:
                self._link(f"product:{member.identifier}", "output", union)

    def _relation(self, name: str) -> str:
        """Return the id of the node of a relation."""
        if name.startswith(NAMED):
            return name
        return f"view:{name}" if f"view:{name}" in self.nodes else f"table:{name}"

    def _tag(self, node_id: str, name: str) -> None:
        self._link(node_id, "tagged", self._add("tag", name, _TAGS.get(name, "")))


# The kinds of tables that each kind of DAG writes.
_WRITES: Mapping[str, tuple[TableKind, ...]] = {
    "ingest": EVENT_TABLES,
    "build": ("product", "held"),
    "backfill": ("product", "held"),
}
_TAGS = {
    "public": "Anybody may see it.",
    "internal": "Everybody in the company may see it.",
    "confidential": "For those who need it.",
    "pii": "Personal data; masked for roles that the contract does not list.",
    "bronze": "The lowest of three levels of quality.",
    "silver": "The middle one of three levels of quality.",
    "gold": "The highest of three levels of quality.",
    "source-aligned": "Publishes what its own systems know.",
    "aggregate": "Joins products of other domains into common ones.",
    "consumer-aligned": "Serves one use.",
}


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())


def _column_facts(field: Field) -> dict[str, Any]:
    return {
        "type": field.type.name,
        "required": field.required or None,
        "deprecated": field.deprecated or None,
        "synonyms": [*field.synonyms],
        "key": field.key or None,
        "classification": field.classification,
        "examples": [str(value) for value in field.examples],
        "valid_values": [*field.valid_values],
        "minimum": None if field.minimum is None else str(field.minimum),
        "maximum": None if field.maximum is None else str(field.maximum),
        "pattern": field.pattern,
    }
