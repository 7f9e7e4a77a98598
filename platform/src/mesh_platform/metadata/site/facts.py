"""What the mesh says of each thing that has a page, as plain values: the page is made from them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mesh_platform.broker import queue_of
from mesh_platform.contract.contract import TIME_TRAVEL, Contract, Field
from mesh_platform.contract.promise import promises_of
from mesh_platform.lake.tables import tables_of
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Domain
from mesh_platform.metadata.columns import CHART, Edge, chart_relation
from mesh_platform.metadata.graph import Graph
from mesh_platform.metadata.lineage_report import UPSTREAM
from mesh_platform.metadata.site.drawing import tree
from mesh_platform.metadata.site.hidden import hidden_columns
from mesh_platform.metadata.site.paths import address, page, slug
from mesh_platform.metadata.site.whole import Outline, Whole, whole_of
from mesh_platform.metadata.site.wording import span
from mesh_platform.sql.references import RESOLVED
from mesh_platform.text import counted, shown

if TYPE_CHECKING:
    from mesh_platform.metadata.site.lake_facts import LakeFacts

# Sources and uses of a column that its row names; a page of its own has all.
SOURCES = 4
CHANGES = 10


class Facts:
    """The facts of a graph, of the lake if there is one, and of the contracts' `changes` by path, if git has any.

    `graph` may be of a part of the mesh: what pages say of other products is in `whole`, by default that of `graph`.
    """

    def __init__(
        self,
        graph: Graph,
        lake: LakeFacts | None,
        changes: Mapping[str, Sequence[Mapping[str, Any]]] | None,
        whole: Whole | None = None,
    ) -> None:
        self.graph, self.lake, self.changes = graph, lake, changes
        self.mesh = graph.columns.mesh
        self.whole = whole or whole_of(graph)
        self.is_large = self.whole.is_large
        self._summaries: dict[str, dict[str, Any]] = {}

    @cached_property
    def hidden(self) -> Mapping[str, frozenset[str]]:
        """The columns of each relation whose values are not shown; read only where there are values."""
        found: dict[str, set[str]] = {}
        for relation, column in hidden_columns(self.graph):
            found.setdefault(relation, set()).add(column)
        return {relation: frozenset(columns) for relation, columns in found.items()}

    def product(self, contract: Contract) -> dict[str, Any]:
        """Return the facts of a product."""
        name, graph = contract.identifier, self.graph
        domain = self.mesh.domains[contract.domain]
        model = graph.columns.models.get(name)
        problem = self.whole.problems
        edges = [*graph.columns.edges(name)]
        hidden = self.hidden.get(name, frozenset()) if self.lake else frozenset()
        changes = self.changes.get(contract.path, ()) if self.changes is not None else None
        return {
            "name": name,
            "title": contract.table.name,
            "domain": domain.name,
            "domain_page": page("domain", domain.name),
            "version": contract.version,
            "level": contract.level,
            "description": contract.description,
            "grain": contract.table.description if contract.table.description != contract.description else None,
            "owners": self.owners(domain),
            "is_large": self.is_large,
            "contract": contract.path,
            "source": model.path if model else shown(domain.reference_path(contract), self.mesh.root),
            "implements": self._interface(contract.implements),
            "queue": queue_of(contract).name if contract.event else None,
            "key": [*contract.table.key],
            "partition": [f"{transform}({column})" for transform, column in contract.table.partition],
            "roles": [*contract.roles],
            "promised": _promised(contract),
            "rules": [_rule(rule) for rule in contract.table.rules],
            "columns": [self.column(name, field, edges) for field in contract.table.fields],
            "rows_by": [[UPSTREAM[edge.how], *self._end(edge)] for edge in edges if edge.target_column is None],
            "lineage": self.lineage(name),
            "shown_in": self.shown_in(name),
            "untraced": str(problem[name]) if name in problem else None,
            "query": _query(contract),
            "lake": self.lake.of(contract, hidden) if self.lake else None,
            "changes": None if changes is None else [dict(each) for each in changes[:CHANGES]],
            "changes_in_all": len(changes or ()),
        }

    def column(self, relation: str, field: Field, edges: Sequence[Edge]) -> dict[str, Any]:
        """Return the facts of a column; `edges` are those that end in its relation."""
        sources = [edge for edge in edges if edge.target_column == field.name]
        only = len({edge.source for edge in edges}) == 1
        near = () if self.is_large else self.graph.columns.edges_from((relation, field.name))
        uses = {f"{edge.target}.{edge.target_column}": edge for edge in near if edge.target_column is not None}
        # Held rows come from the same query; who asks where a column goes does not mean them.
        uses = {target: edge for target, edge in uses.items() if not edge.target.endswith("__held")}
        # A table of its own says which charts show the column.
        uses = {target: edge for target, edge in uses.items() if not edge.target.startswith(CHART)}
        return {
            "name": field.name,
            "id": slug(field.name),
            "type": field.type.name,
            "key": bool(field.key),
            "required": field.required,
            "class": field.classification,
            "description": field.description,
            "term": [field.term, page("term", field.term)] if field.term else None,
            "refers": [".".join(field.references), self.whole.place(field.references[0])]
            if field.references
            else None,
            "limits": [each.allowed for each in promises_of(field)],
            "from": [self._source(edge, only) for edge in sources[:SOURCES]],
            "from_in_all": len(sources),
            "to": None
            if self.is_large
            else [[target, self.whole.place(edge.target)] for target, edge in [*uses.items()][:SOURCES]],
            "to_in_all": len(uses),
        }

    def shown_in(self, product: str) -> list[dict[str, Any]]:
        """Return each chart that reads a product, with its dashboard and the columns that it shows."""
        own = (product, f"{product}{RESOLVED}")
        found = []
        for chart, read in self.whole.shown.items():
            if parts := [read[relation] for relation in own if relation in read]:
                identifier, _, name = chart.removeprefix(CHART).rpartition(".")
                dashboard = self.mesh.dashboards[identifier]
                found.append(
                    {
                        "title": dashboard.charts[name].slice_name,
                        "dashboard": [dashboard.file.dashboard_title, self.whole.place(chart)],
                        "team": self.owners(self.mesh.domains[dashboard.domain])["team"],
                        "columns": [column for part in parts for column in part.columns],
                        "rows_by": [column for part in parts for column in part.rows_by],
                    }
                )
        return found

    def dashboard(self, dashboard: Dashboard) -> dict[str, Any]:
        """Return the facts of a dashboard, with the relations and columns that each of its charts shows."""
        charts = [
            {
                "name": name,
                "title": chart.slice_name,
                "kind": chart.viz_type,
                "reads": [
                    [source, self.whole.place(source), shown.columns]
                    for source, shown in self.whole.shown[chart_relation(dashboard, name)].items()
                ],
            }
            for name, chart in dashboard.charts.items()
        ]
        return {
            "name": dashboard.identifier,
            "href": page("dashboard", dashboard.identifier),
            "title": dashboard.file.dashboard_title,
            "description": dashboard.file.description,
            "folder": dashboard.folder,
            "domain": [dashboard.domain, page("domain", dashboard.domain)],
            "owners": self.owners(self.mesh.domains[dashboard.domain]),
            "charts": charts,
        }

    def all_edges(self, relation: str) -> list[list[Any]]:
        """Return each edge of a relation's columns: [column, what it does, the other end, its page]."""
        columns = self.graph.columns
        found = [
            [edge.target_column or "all rows", UPSTREAM[edge.how], *self._end(edge)]
            for edge in columns.edges(relation)
        ]
        for reader in self.whole.readers.get(relation, ()):
            if not reader.endswith("__held"):
                found += [
                    [
                        edge.source_column,
                        f"{UPSTREAM[edge.how].partition(' ')[0]} into",
                        target,
                        self.whole.place(reader),
                    ]
                    for edge in columns.edges(reader)
                    if edge.source == relation
                    for target in [f"{reader}.{edge.target_column}" if edge.target_column else f"rows of {reader}"]
                ]
        return found

    def lineage(self, relation: str) -> dict[str, Any]:
        """Return the relations near one: edges, labels and pages, and both sides as trees."""
        (up, up_cut), (down, down_cut) = self.whole.up(relation), self.whole.down(relation)
        names = {relation, *(name for edge in (*up, *down) for name in edge)}
        labels = {name: [self._label(name), self.whole.place(name)] for name in sorted(names)}
        return {
            "start": relation,
            "up": up,
            "down": down,
            "cut": [up_cut, down_cut],
            "labels": labels,
            "up_tree": tree(relation, up, labels),
            "down_tree": tree(relation, down, labels),
            "is_large": self.is_large,
        }

    def owners(self, domain: Domain) -> dict[str, Any]:
        """Return who is responsible for a domain, with their pages and addresses."""
        own = domain.owners
        return {
            "team": [own.team, page("team", own.team)],
            "steward": [own.steward, page("person", own.steward)],
            "contact": [own.contact, address(own.contact)],
            "on_call": [own.on_call, address(own.on_call)],
        }

    def summary(self, product: Outline) -> dict[str, Any]:
        """Return what a list of products says of one."""
        if product.name not in self._summaries:
            self._summaries[product.name] = self._summary(product)
        return self._summaries[product.name]

    def _summary(self, product: Outline) -> dict[str, Any]:
        status = self.lake.status.get(product.name) if self.lake else None
        return {
            "name": product.name,
            "href": page("product", product.name),
            "description": product.description,
            "level": product.level,
            "columns": len(product.columns),
            "rows": f"{status.rows:,}" if status else None,
            "fresh": self._fresh(self.mesh.contracts[product.name]) if self.lake else None,
        }

    def _fresh(self, contract: Contract) -> bool | None:
        if self.lake is None:
            return None
        found = [self.lake.status[t.name].fresh for t in tables_of(contract) if t.name in self.lake.status]
        return False if False in found else True if True in found else None

    def attention(self) -> list[dict[str, Any]]:
        """Return what is late, failing or held: one item for each fact, the worst kinds first."""
        found = [
            {"kind": "failing", "name": name, "href": page("product", name), "words": str(problem)}
            for name, problem in self.whole.problems.items()
        ]
        for contract in self.mesh.contracts.values() if self.lake else ():
            name = contract.identifier
            own = {"name": name, "href": page("product", name)}
            for table in tables_of(contract):
                status = self.lake.status.get(table.name) if self.lake else None
                if status is None:
                    if table.kind == "product":
                        found.append({"kind": "missing", **own, "words": "has no table in the lake yet"})
                    continue
                if status.fresh is False:
                    words = f"{span(status.lag_s) or 'of unknown age'}, promised {span(status.promise_s)}"
                    found.append({"kind": "late", **own, "words": f"{table.name}: {words}"})
                if status.kind == "held" and status.rows:
                    words = f"{counted(status.rows, 'row', form=',')} held back by rules"
                    found.append({"kind": "held", **own, "words": words})
                if status.quarantined:
                    words = f"{counted(status.quarantined, 'event', form=',')} in quarantine"
                    found.append({"kind": "refused", **own, "words": words})
                if status.dangling:
                    number = counted(status.dangling, "row refers", "rows refer", form=",")
                    words = f"{number} to a row that a dimension lacks"
                    found.append({"kind": "dangling", **own, "words": words})
            used = self.lake.models.get(name) if self.lake else None
            if used and used.fell_back:
                found.append({"kind": "inaccurate", **own, "words": f"{used.score}, which predicts instead"})
        order = ("failing", "late", "inaccurate", "missing", "held", "refused", "dangling")
        return sorted(found, key=lambda item: (order.index(item["kind"]), item["name"]))

    def _end(self, edge: Edge) -> list[str | None]:
        return [f"{edge.source}.{edge.source_column}", self.whole.place(edge.source)]

    def _source(self, edge: Edge, only: bool) -> list[str | None]:
        """Return how a column depends on another, its name and page: of a large mesh less, to keep the site small."""
        how = UPSTREAM[edge.how]
        if not self.is_large:
            return [how, *self._end(edge)]
        name = edge.source_column if only else f"{edge.source.partition('.')[2]}.{edge.source_column}"
        return ["" if edge.how == "copied" else how, name, None]

    def _interface(self, name: str | None) -> list[str] | None:
        return [name, page("interface", name)] if name else None

    def _label(self, relation: str) -> str:
        if relation.startswith("file:"):
            return relation.rpartition("/")[2]
        kind, _, name = relation.rpartition(":")
        own = name.partition(".")[2]
        return f"{own} queue" if kind == "queue" else own


def _promised(contract: Contract) -> dict[str, str]:
    spans = {
        "freshness": contract.freshness,
        "latency": contract.latency,
        "retention": contract.retention,
        "time travel": contract.time_travel if contract.time_travel != TIME_TRAVEL else None,
    }
    found = {name: span(int(each.total_seconds())) or "" for name, each in spans.items() if each is not None}
    if contract.accuracy is not None:
        found["accuracy"] = f"at most {contract.accuracy} of the loss of its baseline"
    return found


def _rule(rule: Any) -> dict[str, Any]:
    what = rule.description or rule.query or rule.metric
    return {"name": rule.name or rule.metric, "what": what, "columns": [*rule.columns], "bound": str(rule.bound),
            "on_failure": rule.on_failure}  # fmt: skip


def _query(contract: Contract) -> str:
    table = contract.table
    newest = contract.freshness_column
    order = f"\norder by {newest} desc" if newest and newest in table.by_name else ""
    return f"from {contract.identifier}{order}\nlimit 20"
