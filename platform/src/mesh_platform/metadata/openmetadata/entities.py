"""What OpenMetadata must hold of a mesh: the graph as entities, each after those that it refers to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh_platform.metadata.graph import Graph, Node
from mesh_platform.metadata.openmetadata.kinds import Entity, Ref, label, published, quoted
from mesh_platform.metadata.openmetadata.quality import definition, promises

# OpenMetadata's names of the types; its model refuses TIMESTAMPTZ and BOOL, and BINARY asks for a length.
_TYPES = {
    "string": "STRING", "int": "INT", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPZ", "binary": "BYTES",
}  # fmt: skip
# Topics have no BIGINT, and no decimals: JSON carries those as text.
_TOPIC_TYPES = {**_TYPES, "long": "LONG"}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
# OpenMetadata's kinds of charts for Superset's; all others are `Other`.
_CHARTS = {
    "table": "Table", "pie": "Pie", "heatmap_v2": "Heatmap", "big_number_total": "Text", "echarts_area": "Area",
    "echarts_timeseries_bar": "Bar", "echarts_timeseries_line": "Line", "echarts_timeseries_step": "Line",
}  # fmt: skip
_PARTITION = re.compile(r"(\w+)\((.+)\)")
# The kinds of nodes that are data.
_SHOWN = ("table", "view", "queue")
_OF_DASHBOARDS = ("dashboard", "chart")
_TIME_UNITS = ("hour", "day", "month", "year")
# The tags of tables with masked columns, and of those that a role reads in the clear.
_MASKED, _CLEAR = "masked", "clear_for_{}"
DEFAULT_NAMESPACE = "mesh"


def desired(graph: Graph, namespace: str = DEFAULT_NAMESPACE, superset: str = "") -> list[Entity]:
    """Return all entities, edges and ports that OpenMetadata must hold of the mesh, in an order to make them in.

    `namespace` names the services, the database and the classification. `superset` is the address of Superset;
    without one, dashboards and charts have no links. Reference files and interfaces have no counterpart in
    OpenMetadata and are left out.
    """
    return [*_Entities(graph, namespace, superset.rstrip("/")).all()]


def table_fqn(namespace: str, relation: str) -> str:
    """Return the full name of the table or view `<domain>.<name>`."""
    return f"{namespace}.{namespace}.{_dotted(relation)}"


def pipeline_fqn(namespace: str, dag: str) -> str:
    """Return the full name of the pipeline of a DAG."""
    return f"{namespace}_pipelines.{quoted(dag)}"


def edge_name(source: str, target: str) -> str:
    """Return what an edge between two entities is called in plans."""
    return f"{source} -> {target}"


def edge_mark(namespace: str) -> str:
    """Return the description of an edge that the mesh has made."""
    return f"Computed from the SQL of the mesh '{namespace}'."


class _Entities:
    def __init__(self, graph: Graph, namespace: str, superset: str) -> None:
        self.graph, self.namespace, self.superset = graph, namespace, superset
        self.mark = label(published(namespace))
        self.policy = f"{namespace}_pii"
        self.is_masked = any(graph.of(column.id, "governed by") for column in self._of("column"))
        self.roles = sorted({role for policy in self._of("policy") for role in policy.facts.get("roles", ())})

    def all(self) -> Iterator[Entity]:
        yield from self._tags()
        yield from self._access()
        yield from self._people()
        domains = [*self._of("domain")]
        for domain in domains:
            yield self._domain(domain)
        yield from self._glossaries()
        for product in self._of("product"):
            yield self._product(product)
        yield from self._services()
        for queue in self._of("queue"):
            yield self._topic(queue)
        for dag in self._of("dag"):
            yield self._pipeline(dag)
        relations = [*self._of("table"), *self._of("view")]
        for name in dict.fromkeys(relation.name.partition(".")[0] for relation in relations):
            yield self._schema(name)
        tables = {relation.name: self._table(relation) for relation in relations}
        yield from tables.values()
        yield from map(self._chart, self._of("chart"))
        yield from map(self._dashboard, self._of("dashboard"))
        yield definition(self.namespace)
        yield from promises(self.graph.columns.mesh, tables, self.namespace)
        yield from self._edges()
        yield from self._dashboard_edges()
        for product in self._of("product"):
            yield self._ports(product, tables)

    def _of(self, kind: str) -> Iterator[Node]:
        return (node for node in self.graph.nodes.values() if node.kind == kind)

    def _tags(self) -> Iterator[Entity]:
        name = self.namespace
        what = "What the contracts of the mesh say of tables and columns, and the mark of what the mesh has made."
        yield Entity("classification", name, {"name": name, "description": what, "provider": "automation"})
        texts = {"published": "The mesh has made this and keeps it in step; what people add to it stays."}
        texts |= {tag.name: tag.description or f"'{tag.name}' by its contract." for tag in self._of("tag")}
        texts |= {_MASKED: "Has columns that roles read masked, unless its contract lists them."}
        texts |= {_CLEAR.format(role): f"Its contract lists {role}, who reads all columns." for role in self.roles}
        for tag, text in texts.items():
            body = {"name": tag, "classification": name, "description": text, "provider": "automation"}
            yield Entity("tag", f"{name}.{quoted(tag)}", body)

    def _access(self) -> Iterator[Entity]:
        """A role for each that a contract names, and a policy that denies samples of what is masked to all others.

        A policy knows the tags of a table, not its contract: so the table has a tag for each role that reads it all.
        """
        if not self.is_masked:
            return
        rule = {"operations": ["ViewSampleData"], "resources": ["table", "topic"]}
        for role in self.roles:
            name, clear = f"{self.policy}_read_{role}", self._has(_CLEAR.format(role))
            what = f"Samples of personal data, where the contract lists {role}."
            allowed = {**rule, "name": "personal data", "effect": "allow", "condition": clear}
            yield Entity("policy", quoted(name), {"name": name, "description": what, "rules": [allowed]})
            body = {
                "name": role,
                "description": "Reads personal data of products whose contracts list it.",
                "policies": [Ref("policy", quoted(name))],
            }
            yield Entity("role", quoted(role), body)
        others = (f"!({self._has(_CLEAR.format(role))} && hasAnyRole('{role}'))" for role in self.roles)
        condition = " && ".join([self._has(_MASKED), *others])
        denied = {**rule, "name": "no personal data", "effect": "deny", "condition": condition}
        what = "No samples of personal data, but for roles that the contract of the data lists."
        yield Entity("policy", self.policy, {"name": self.policy, "description": what, "rules": [denied]})

    def _people(self) -> Iterator[Entity]:
        policies = [Ref("policy", self.policy)] if self.is_masked else []
        for team in self._of("team"):
            body: dict[str, Any] = {"name": team.name, "teamType": "Group", "policies": policies}
            contacts = (domain.facts["contact"] for domain in self.graph.with_link("owned by", team.id))
            if mail := next((contact.lower() for contact in contacts if "@" in contact), None):
                body["email"] = mail
            yield Entity("team", quoted(team.name), body)
        for domain in self._of("domain"):
            for person in self._experts(domain):
                mail = f"{_words(person.name, '.')}@{domain.facts['contact'].partition('@')[2].lower()}"
                teams = [Ref("team", quoted(team.name)) for team in self.graph.of(domain.id, "owned by")]
                name = _words(person.name, "_")
                body = {"name": name, "displayName": person.name, "email": mail, "teams": teams}
                yield Entity("user", name, body)

    def _experts(self, domain: Node) -> list[Node]:
        """The stewards of a domain. OpenMetadata asks for an address, of which the team's gives the host."""
        return self.graph.of(domain.id, "steward") if "@" in domain.facts["contact"] else []

    def _domain(self, node: Node) -> Entity:
        body = {
            "name": node.name,
            "domainType": node.facts["kind"].capitalize(),
            "description": node.description,
            "owners": self._owners(node),
            "experts": [Ref("user", _words(person.name, "_")) for person in self._experts(node)],
            "tags": [self.mark, *self._labels(node)],
        }
        return Entity("domain", quoted(node.name), body)

    def _glossaries(self) -> Iterator[Entity]:
        terms: dict[str, list[Node]] = {}
        for term in self._of("term"):
            terms.setdefault(term.name.partition(".")[0], []).append(term)
        for domain, found in terms.items():
            what = f"Terms that the domain {domain} defines."
            owners = self._owners(self.graph.nodes[f"domain:{domain}"])
            body = {"name": domain, "description": what, "owners": owners, "tags": [self.mark]}
            yield Entity("glossary", quoted(domain), body)
            for term in found:
                name = term.name.partition(".")[2]
                body = {"name": name, "glossary": quoted(domain), "description": term.description}
                body |= {"synonyms": sorted(term.facts.get("instead_of", ())), "tags": [self.mark]}
                yield Entity("glossaryTerm", _dotted(term.name), body)

    def _product(self, node: Node) -> Entity:
        name = _product_name(node.name)
        owned = self._owned(node)
        tags = [self.mark, *self._labels(node)]
        body = {"name": name, "displayName": node.name, "description": node.description, **owned, "tags": tags}
        return Entity("dataProduct", name, body)

    def _services(self) -> Iterator[Entity]:
        name = self.namespace
        for kind, service, words in (
            ("messagingService", f"{name}_events", "The queues of the mesh."),
            ("pipelineService", f"{name}_pipelines", "The DAGs of the mesh."),
            ("databaseService", name, "The lake of the mesh."),
            ("dashboardService", f"{name}_dashboards", "The dashboards of the mesh."),
        ):
            type_ = "Superset" if kind == "dashboardService" else f"Custom{kind.removesuffix('Service').capitalize()}"
            body = {"name": service, "serviceType": type_, "description": words, "tags": [self.mark]}
            yield Entity(kind, service, body)
        body = {"name": name, "service": name, "description": "All tables of the mesh.", "tags": [self.mark]}
        yield Entity("database", f"{name}.{name}", body)

    def _topic(self, node: Node) -> Entity:
        fields = [self._column(column, topic=True) for column in self._columns(node)]
        body = {
            "name": node.name,
            "service": f"{self.namespace}_events",
            "description": node.description,
            "partitions": 1,
            "messageSchema": {"schemaType": "JSON", "schemaFields": fields},
            "tags": [self.mark, *self._access_tags(node)],
            **self._owned(node),
            "dataProducts": self._products(node),
        }
        return Entity("topic", self._fqn(node), body)

    def _pipeline(self, node: Node) -> Entity:
        written = self.graph.with_link("written by", node.id)
        products = sorted({product.name for table in written for product in self.graph.of(table.id, "part of")})
        body = {
            "name": node.name,
            "service": f"{self.namespace}_pipelines",
            "scheduleInterval": node.facts.get("schedule"),
            "tasks": [{"name": product} for product in products],
            "tags": [self.mark],
            **self._owned(node),
        }
        return Entity("pipeline", pipeline_fqn(self.namespace, node.name), body)

    def _schema(self, name: str) -> Entity:
        domain = self.graph.nodes.get(f"domain:{name}")
        database = f"{self.namespace}.{self.namespace}"
        body: dict[str, Any] = {"name": name, "database": database, "tags": [self.mark]}
        if domain:
            body |= {"description": domain.description, "owners": self._owners(domain)}
            body["domains"] = [Ref("domain", quoted(name))]
        return Entity("databaseSchema", f"{database}.{quoted(name)}", body)

    def _table(self, node: Node) -> Entity:
        columns = [*self._columns(node)]
        products = [product for product in self.graph.of(node.id, "part of") if product.kind == "product"]
        body: dict[str, Any] = {
            "name": node.name.partition(".")[2],
            "databaseSchema": f"{self.namespace}.{self.namespace}.{quoted(node.name.partition('.')[0])}",
            "description": node.description,
            "tableType": "View" if node.kind == "view" else "Iceberg",
            "columns": [self._column(column) for column in columns],
            "tableConstraints": [*self._constraints(node, columns)],
            "tags": [self.mark, *self._access_tags(node)],
            **self._owned(node),
            "dataProducts": self._products(node),
        }
        if node.kind == "table":
            body["tablePartition"] = _partition(node.facts.get("partition", ()))
            if node.facts["kind"] == "product" and products:
                body["retentionPeriod"] = f"P{products[0].facts['retention_days']}D"
        return Entity("table", self._fqn(node), {key: value for key, value in body.items() if value != ""})

    def _chart(self, node: Node) -> Entity:
        title = {"displayName": node.description, "chartType": _CHARTS.get(node.facts["viz_type"], "Other")}
        return Entity("chart", self._fqn(node), {**self._shown(node), **title})

    def _dashboard(self, node: Node) -> Entity:
        charts = [self._ref(chart) for chart in self._charts(node)]
        about = {"displayName": node.facts["title"], "description": node.description, "charts": charts}
        return Entity("dashboard", self._fqn(node), {**self._shown(node), **about})

    def _charts(self, dashboard: Node) -> Iterator[Node]:
        return (each for each in self.graph.with_link("part of", dashboard.id) if each.kind == "chart")

    def _shown(self, node: Node) -> dict[str, Any]:
        """What charts and dashboards have alike."""
        body = {
            "name": node.name,
            "service": f"{self.namespace}_dashboards",
            "tags": [self.mark],
            **self._owned(node),
        }
        return body | ({"sourceUrl": self.superset + node.facts["page"]} if self.superset else {})

    def _column(self, node: Node, topic: bool = False) -> dict[str, Any]:
        kind = node.facts["type"]
        column: dict[str, Any] = {"name": node.name.rpartition(".")[2], "dataTypeDisplay": kind}
        if node.description:
            column["description"] = node.description
        terms = [label(_dotted(term.name), "Glossary") for term in self.graph.of(node.id, "means")]
        column["tags"] = [*self._labels(node), *terms]
        if topic:
            return {**column, "dataType": _TOPIC_TYPES.get(kind, "STRING")}
        precision, scale = map(int, found.groups()) if (found := _DECIMAL.fullmatch(kind)) else (None, None)
        column |= {"dataType": "DECIMAL" if found else _TYPES[kind], "precision": precision, "scale": scale}
        return {**column, "constraint": "NOT_NULL" if node.facts.get("required") else None}

    def _constraints(self, node: Node, columns: Iterable[Node]) -> Iterator[dict[str, Any]]:
        if key := node.facts.get("key"):
            yield {"constraintType": "PRIMARY_KEY", "columns": key}
        for column in columns:
            for other in self.graph.of(column.id, "refers to"):
                referred = self._column_fqn(other.name)
                own = column.name.rpartition(".")[2]
                yield {"constraintType": "FOREIGN_KEY", "columns": [own], "referredColumns": [referred]}

    def _edges(self) -> Iterator[Entity]:
        """One edge for each pair of a relation and one that it is computed from, with the columns between them."""
        relations = {name for name in self.graph.columns.relations if self._node(name)}
        self.graph.columns.trace(relations)
        for target in sorted(relations):
            columns: dict[str, dict[str, set[str]]] = {}
            for source in self.graph.columns.relations[target].inputs:
                columns.setdefault(source, {})
            for edge in self.graph.columns.edges(target):
                known = columns.setdefault(edge.source, {})
                if edge.target_column is not None:
                    known.setdefault(edge.target_column, set()).add(edge.source_column)
            for source, found in columns.items():
                if (one := self._node(source)) and (two := self._node(target)):
                    end = self._fqn(two)
                    yield self._edge(one, two, {f"{end}.{quoted(name)}": each for name, each in found.items()})

    def _dashboard_edges(self) -> Iterator[Entity]:
        """Edges from tables to charts, from charts to their dashboard, and from tables to the dashboard.

        OpenMetadata has no columns of charts, but the charts of a dashboard count as its columns: the last edges say
        which columns each chart depends on.
        """
        columns = self.graph.columns
        columns.trace(chart.id for chart in self._of("chart"))
        for dashboard in self._of("dashboard"):
            read: dict[str, dict[str, set[str]]] = {}
            for chart in self._charts(dashboard):
                yield self._edge(chart, dashboard, {})
                for source in columns.inputs(chart.id):
                    read.setdefault(source, {})
                    if node := self._node(source):
                        yield self._edge(node, chart, {})
                for edge in columns.edges(chart.id):
                    read.setdefault(edge.source, {}).setdefault(self._fqn(chart), set()).add(edge.source_column)
            for source, charts in read.items():
                if node := self._node(source):
                    yield self._edge(node, dashboard, charts)

    def _edge(self, source: Node, target: Node, columns: Mapping[str, Iterable[str]]) -> Entity:
        """An edge; `columns` are those of the source, by the full name of the column that depends on them."""
        start, end = self._fqn(source), self._fqn(target)
        lineage = [
            {"fromColumns": [f"{start}.{quoted(each)}" for each in sorted(found)], "toColumn": name}
            for name, found in sorted(columns.items())
        ]
        kind = "DashboardLineage" if target.kind in _OF_DASHBOARDS else "QueryLineage"
        details = {"description": edge_mark(self.namespace), "source": kind, "columnsLineage": lineage}
        ends = {"fromEntity": self._ref(source), "toEntity": self._ref(target)}
        return Entity("lineage", edge_name(start, end), {"edge": {**ends, "lineageDetails": details}})

    def _ports(self, node: Node, tables: Mapping[str, Entity]) -> Entity:
        """What a product is computed from, and what others may read. An output must be one of the product's own."""
        me = Ref("dataProduct", _product_name(node.name))
        inputs = [self._ref(source) for source in self.graph.of(node.id, "input") if source.kind in _SHOWN]
        own = [name.name for name in self.graph.of(node.id, "output") if me in tables[name.name].body["dataProducts"]]
        outputs = [Ref("table", tables[name].fqn) for name in own]
        return Entity("ports", me.fqn, {"of": me, "inputPorts": inputs, "outputPorts": outputs})

    def _ref(self, node: Node) -> Ref:
        return Ref(_type(node), self._fqn(node))

    def _node(self, relation: str) -> Node | None:
        node = self.graph.relation(relation)
        return node if node and node.kind in _SHOWN else None

    def _columns(self, node: Node) -> Iterator[Node]:
        return (column for column in self.graph.with_link("part of", node.id) if column.kind == "column")

    def _fqn(self, node: Node) -> str:
        if node.kind == "queue":
            return f"{self.namespace}_events.{quoted(node.name)}"
        if node.kind in _OF_DASHBOARDS:
            return f"{self.namespace}_dashboards.{quoted(node.name)}"
        return table_fqn(self.namespace, node.name)

    def _column_fqn(self, name: str) -> str:
        relation, _, column = name.rpartition(".")
        return f"{table_fqn(self.namespace, relation)}.{quoted(column)}"

    def _access_tags(self, node: Node) -> list[dict[str, str]]:
        """The tags by which policies know whether a relation has masked columns, and who reads them in the clear."""
        masking = [policy for column in self._columns(node) for policy in self.graph.of(column.id, "governed by")]
        roles = sorted({role for policy in masking for role in policy.facts.get("roles", ())})
        return [self._tag(name) for name in (_MASKED, *map(_CLEAR.format, roles))] if masking else []

    def _has(self, tag: str) -> str:
        return f"matchAnyTag('{self._tag(tag)['tagFQN']}')"

    def _tag(self, name: str) -> dict[str, str]:
        return label(f"{self.namespace}.{quoted(name)}")

    def _labels(self, node: Node) -> list[dict[str, str]]:
        return [self._tag(tag.name) for tag in self.graph.of(node.id, "tagged")]

    def _owners(self, domain: Node) -> list[Ref]:
        return [Ref("team", quoted(team.name)) for team in self.graph.of(domain.id, "owned by")]

    def _products(self, node: Node) -> list[Ref]:
        above = self.graph.of(node.id, "part of")
        return [Ref("dataProduct", _product_name(each.name)) for each in above if each.kind == "product"]

    def _owned(self, node: Node) -> dict[str, list[Ref]]:
        """The domain that a node is part of, and its owners; nothing without one."""
        domain = self.graph.domain(node.id)
        return {"domains": [Ref("domain", quoted(domain.name))], "owners": self._owners(domain)} if domain else {}


def _type(node: Node) -> str:
    return {"queue": "topic", "view": "table"}.get(node.kind, node.kind)


def _words(name: str, between: str) -> str:
    return between.join(re.findall(r"\w+", name.lower()))


def _dotted(name: str) -> str:
    """`<domain>.<name>`, of which the second may have dots."""
    domain, _, rest = name.partition(".")
    return f"{quoted(domain)}.{quoted(rest)}"


def _product_name(identifier: str) -> str:
    # Without a dot it is the same with and without quotes.
    return identifier.replace(".", "__")


def _partition(transforms: Iterable[str]) -> dict[str, Any] | None:
    columns = []
    for transform in transforms:
        found = _PARTITION.fullmatch(transform)
        how, column = found.groups() if found else ("identity", transform)
        if how in _TIME_UNITS:
            columns.append({"columnName": column, "intervalType": "TIME-UNIT", "interval": how.upper()})
        else:
            columns.append({"columnName": column, "intervalType": "COLUMN-VALUE", "interval": how})
    return {"columns": columns} if columns else None
