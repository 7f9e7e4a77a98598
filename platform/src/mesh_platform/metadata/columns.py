"""The lineage of the columns of a mesh, from the fields of events to the columns of views.

Relations have their names in SQL. Three kinds have none: `queue:<product>`, the events as sent, with the fields of
the event as columns; `file:<path>`, a file of reference data; and `chart:<domain>.<dashboard>.<chart>`, what a chart
shows, with its dimensions and metrics as columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.errors import Problem
from mesh_platform.lake.tables import held_name, landing_name, landing_schema, quarantine_name
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.bound_plan import How, Source, UnknownOperatorError
from mesh_platform.sql.chart_query import chart_query, readable_schemas
from mesh_platform.sql.lineage import Lineage, Query, Tracer
from mesh_platform.sql.model import Model, relations_read
from mesh_platform.sql.references import RESOLVED, references, resolved_select, tables_referred_to, version_columns
from mesh_platform.sql.relations import interface_unions, relation_schemas, union_select
from mesh_platform.text import shown

Column = tuple[str, str]
# How the names of charts begin, as relations.
CHART = "chart:"
_NO_LINEAGE = Lineage({})


class Edge(NamedTuple):
    """A column of a relation depends on another; if `target_column` is None, the relation's set of rows does."""

    source: str
    source_column: str
    target: str
    target_column: str | None
    how: How


@dataclass(frozen=True)
class Relation:
    """One relation of the mesh that is computed from others, its `inputs`: by a model, by a query, or as `given`."""

    inputs: tuple[str, ...]
    by: Model | Query | Lineage


class Columns:
    """The lineage of the columns of a mesh; each relation is traced when it is first asked for.

    What was traced is kept in `cache`, by the SQL and the columns that it reads. `problems` has, by product, why a
    model that does not fit what it reads could not be traced.
    """

    def __init__(self, mesh: Mesh, models: Mapping[str, Model], cache: Cache | None = None) -> None:
        self.mesh, self.models = mesh, models
        self.cache = cache or Cache()
        self.problems: dict[str, Problem] = {}
        self._traced: dict[str, Lineage] = {}
        self._leaving: dict[str, dict[Column, list[Edge]]] = {}

    @cached_property
    def relations(self) -> Mapping[str, Relation]:
        """Every relation that is computed from others, by name."""
        found: dict[str, Relation] = {}
        for contract in (*self.mesh.contracts.values(), *self.mesh.retired.values()):
            found |= self._of_product(contract)
        for name, (interface, members) in interface_unions(self.mesh).items():
            names = tuple(member.identifier for member in members)
            sql = union_select(interface, {member: {} for member in names})
            found[name] = Relation(names, Query(sql, names, tuple(interface.table.by_name)))
        for name, contract in self.mesh.contracts.items():
            if references(contract):
                sql = resolved_select(self.mesh, contract, contract.table.by_name, {})
                added = chain(*version_columns(self.mesh, contract).values())
                inputs = (name, *tables_referred_to(contract))
                found[f"{name}{RESOLVED}"] = Relation(inputs, Query(sql, inputs, (*contract.table.by_name, *added)))
        for dashboard in self.mesh.dashboards.values():
            read = {name: tuple(relations_read(sql, self.cache)) for name, sql in dashboard.sql.items()}
            for name, chart in dashboard.charts.items():
                inputs = read[chart.dataset]
                sql, shown = chart_query(dashboard, name)
                found[chart_relation(dashboard, name)] = Relation(inputs, Query(sql, inputs, shown))
        return found

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """The relations that are computed from each relation."""
        found: dict[str, list[str]] = {}
        for name, relation in self.relations.items():
            for source in relation.inputs:
                found.setdefault(source, []).append(name)
        return {source: tuple(names) for source, names in found.items()}

    def inputs(self, relation: str) -> tuple[str, ...]:
        """Return the relations that `relation` is computed from; none for a source."""
        known = self.relations.get(relation)
        return known.inputs if known else ()

    def lineage(self, relation: str) -> Lineage:
        """Return the lineage of a relation; empty for a source, and for a model that does not fit what it reads."""
        self.trace([relation])
        return self._traced[relation]

    def trace(self, relations: Iterable[str]) -> None:
        """Trace these relations, as far as they are not traced: many at once take half as long as one by one."""
        new = {name: self.relations.get(name) for name in relations if name not in self._traced}
        if not new:
            return
        ways = {name: known.by if known else _NO_LINEAGE for name, known in new.items()}
        self._traced |= {name: way for name, way in ways.items() if isinstance(way, Lineage)}
        queries = {name: way for name, way in ways.items() if isinstance(way, Query)}
        self._traced |= zip(queries, self._trace_queries([*queries.values()]), strict=True)
        models = {name: way for name, way in ways.items() if isinstance(way, Model)}
        # A product's table and that of its held rows have one model.
        distinct = {model.contract.identifier: model for model in models.values()}
        traced = dict(zip(distinct, self._trace_models([*distinct.values()]), strict=True))
        self.problems |= {product: found for product, found in traced.items() if isinstance(found, Problem)}
        for name, model in models.items():
            found = traced[model.contract.identifier]
            self._traced[name] = found if isinstance(found, Lineage) else _NO_LINEAGE

    def _trace_queries(self, queries: Sequence[Query]) -> list[Lineage]:
        sources = [self._source(query, query.inputs) for query in queries]
        return self.cache.get_together("query lineage", sources, queries, self._trace_new)

    def _trace_new(self, queries: Sequence[Query]) -> list[Lineage]:
        try:
            return self._tracer.trace(queries)
        except UnknownOperatorError:
            # The SQL of a dataset can have any; what cannot be followed may depend on all that it reads.
            if len(queries) > 1:
                return [found for query in queries for found in self._trace_new([query])]
            read = [(name, column) for name in queries[0].inputs for column, _ in self._schemas.get(name, ())]
            return [Lineage({}, frozenset(Source(*each, "filtered") for each in read))]

    def _trace_models(self, models: Sequence[Model]) -> list[Lineage | Problem]:
        own = [(each.path, each.sql, [*each.contract.table.by_name], each.mentions) for each in models]
        sources = [self._source(text, model.inputs) for text, model in zip(own, models, strict=True)]
        return self.cache.get_together("model lineage", sources, models, lambda new: self._tracer.models(new))

    def _source(self, text: object, inputs: Iterable[str]) -> bytes:
        """Everything that the lineage of a query depends on."""
        return repr((text, [(name, self._schemas.get(name)) for name in inputs])).encode()

    @cached_property
    def _schemas(self) -> Mapping[str, list[tuple[str, str]]]:
        return {name: [(f.name, f.type.name) for f in schema.fields] for name, schema in self._readable.items()}

    @cached_property
    def _readable(self) -> Mapping[str, TableSchema]:
        """What models and charts read."""
        return {**readable_schemas(self.mesh), **relation_schemas(self.mesh)}

    def edges(self, relation: str) -> Iterator[Edge]:
        """Yield the edges that end in `relation`: those of its columns, then those of its rows."""
        found = self.lineage(relation)
        for column, sources in (*found.columns.items(), (None, found.rows)):
            yield from (Edge(s.relation, s.column, relation, column, s.how) for s in sorted(sources))

    def edges_from(self, start: Column) -> Iterator[Edge]:
        """Yield the edges that start in a column."""
        for relation in self.readers.get(start[0], ()):
            if relation not in self._leaving:
                by_source = self._leaving.setdefault(relation, {})
                for edge in self.edges(relation):
                    by_source.setdefault((edge.source, edge.source_column), []).append(edge)
            yield from self._leaving[relation].get(start, ())

    def up(self, starts: Iterable[Column]) -> list[Edge]:
        """Return the edges by which values of these columns depend on others, through any number of relations."""
        waiting = [*starts]
        seen, found = set(waiting), []
        for relation, column in waiting:
            for source in sorted(self.lineage(relation).columns.get(column, ())):
                found.append(Edge(source.relation, source.column, relation, column, source.how))
                end = source.relation, source.column
                if end not in seen:
                    seen.add(end)
                    waiting.append(end)
        return found

    def down(
        self, starts: Iterable[Column], also: Callable[[Column], Iterable[Edge]] = lambda start: ()
    ) -> list[Edge]:
        """Return the edges by which others depend on the values of these columns, through any number of relations.

        Where a column only decides on the rows of a relation, the edge to that relation is the last one. `also`
        gives edges from a column that the lineage lacks; all readers of its relation are traced by then.
        """
        wave = [*starts]
        seen, found = set(wave), []
        while wave:
            self.trace({reader for relation, _ in wave for reader in self.readers.get(relation, ())})
            leaving = [edge for start in wave for edge in (*self.edges_from(start), *also(start))]
            found += leaving
            ends = ((edge.target, edge.target_column) for edge in leaving if edge.target_column is not None)
            wave = [*dict.fromkeys(end for end in ends if end not in seen)]
            seen.update(wave)
        return found

    def _of_product(self, contract: Contract) -> dict[str, Relation]:
        name, found = contract.identifier, {}
        if contract.event:
            # Ingest adds the time of ingest; all other columns are in the message.
            queue = queue_relation(contract)
            found[landing_name(contract)] = _copy(queue, [field.name for field in sent_fields(contract)])
            found[quarantine_name(contract)] = Relation((queue,), _NO_LINEAGE)
        if name in self.models:
            model = self.models[name]
            found[name] = Relation(model.inputs, model)
            # The same query computes the rows that a rule holds back.
            found[held_name(contract)] = Relation(model.inputs, model)
        elif not contract.retired and (path := self._file(contract)) is not None:
            found[name] = _copy(path, contract.table.by_name)
        return found

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer(self.mesh, self._readable)

    def _file(self, contract: Contract) -> str | None:
        path = self.mesh.domains[contract.domain].reference_path(contract)
        return f"file:{shown(path, self.mesh.root)}" if path.exists() else None


def _copy(source: str, columns: Iterable[str]) -> Relation:
    return Relation((source,), Lineage({column: frozenset({Source(source, column, "copied")}) for column in columns}))


def queue_relation(contract: Contract) -> str:
    """Return the name under which the events of a product are a relation."""
    return f"queue:{contract.identifier}"


def chart_relation(dashboard: Dashboard, chart: str) -> str:
    """Return the name under which what a chart shows is a relation."""
    return f"{CHART}{dashboard.identifier}.{chart}"


def sent_fields(contract: Contract) -> list[Field]:
    """Return the columns of a landing table that come with the message: all but the time of ingest."""
    return [field for field in landing_schema(contract).fields if field.name != "ingested_at"]
