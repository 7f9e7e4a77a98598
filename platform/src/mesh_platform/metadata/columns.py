"""The lineage of the columns of a mesh, from the fields of events to the columns of views.

Relations have their names in SQL. Two kinds have none: `queue:<product>`, the events as sent, with the fields of the
event as columns; and `file:<path>`, a file of reference data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from mesh_platform.contract.contract import Contract
from mesh_platform.errors import Problem
from mesh_platform.lake.tables import MeshTable, all_tables, held_name, landing_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.bound_plan import How, Source
from mesh_platform.sql.lineage import Lineage, Tracer
from mesh_platform.sql.model import Model
from mesh_platform.sql.references import references, resolved_select, tables_referred_to
from mesh_platform.sql.relations import interface_unions, union_select
from mesh_platform.text import shown

Column = tuple[str, str]
_NO_LINEAGE = Lineage({})


class Edge(NamedTuple):
    """A column of a relation depends on another; if `target_column` is None, the relation's set of rows does."""

    source: str
    source_column: str
    target: str
    target_column: str | None
    how: How


class Relation(NamedTuple):
    """One relation of the mesh: the relations that it is computed from, and how its lineage is found."""

    inputs: tuple[str, ...]
    trace: Callable[[], Lineage]


class Columns:
    """The lineage of the columns of a mesh; each relation is traced when it is first asked for.

    `problems` has, by product, why a model that does not fit what it reads could not be traced.
    """

    def __init__(self, mesh: Mesh, models: Mapping[str, Model]) -> None:
        self.mesh, self.models = mesh, models
        self.problems: dict[str, Problem] = {}
        self._traced: dict[str, Lineage] = {}
        self._leaving: dict[str, dict[Column, list[Edge]]] = {}

    @cached_property
    def relations(self) -> Mapping[str, Relation]:
        """Every relation that is computed from others, by name."""
        found: dict[str, Relation] = {}
        for table in all_tables(self.mesh):
            found |= self._of_table(table)
        for name, (interface, members) in interface_unions(self.mesh).items():
            names = tuple(member.identifier for member in members)
            found[name] = self._of_query(names, union_select(interface, {member: {} for member in names}))
        for name, contract in self.mesh.contracts.items():
            if references(contract):
                sql = resolved_select(self.mesh, contract, contract.table.by_name, {})
                found[f"{name}__resolved"] = self._of_query((name, *tables_referred_to(contract)), sql)
        return found

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """The relations that are computed from each relation."""
        found: dict[str, list[str]] = {}
        for name, relation in self.relations.items():
            for source in relation.inputs:
                found.setdefault(source, []).append(name)
        return {source: tuple(names) for source, names in found.items()}

    def lineage(self, relation: str) -> Lineage:
        """Return the lineage of a relation; empty for a source, and for a model that does not fit what it reads."""
        if relation not in self._traced:
            known = self.relations.get(relation)
            self._traced[relation] = known.trace() if known else _NO_LINEAGE
        return self._traced[relation]

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

    def down(self, starts: Iterable[Column]) -> list[Edge]:
        """Return the edges by which others depend on the values of these columns, through any number of relations.

        Where a column only decides on the rows of a relation, the edge to that relation is the last one.
        """
        waiting = [*starts]
        seen, found = set(waiting), []
        for start in waiting:
            for edge in self.edges_from(start):
                found.append(edge)
                if edge.target_column is not None and (end := (edge.target, edge.target_column)) not in seen:
                    seen.add(end)
                    waiting.append(end)
        return found

    def _of_table(self, table: MeshTable) -> Mapping[str, Relation]:
        name, contract = table.name, table.contract
        match table.kind:
            case "landing":
                return {name: self._copy(queue_relation(contract), sent_columns(contract))}
            case "quarantine":
                return {name: Relation((queue_relation(contract),), lambda: _NO_LINEAGE)}
            case "product" if contract.identifier in self.models:
                model = self.models[contract.identifier]
                # The same query computes the rows that a rule holds back.
                held = Relation(model.inputs, lambda: self.lineage(name))
                return {name: Relation(model.inputs, lambda: self._of_model(model)), held_name(contract): held}
            case "product" if (path := self._file(contract)) is not None:
                return {name: self._copy(path, contract.table.by_name)}
        return {}

    def _copy(self, source: str, columns: Iterable[str]) -> Relation:
        copied = {column: frozenset({Source(source, column, "copied")}) for column in columns}
        return Relation((source,), lambda: Lineage(copied))

    def _of_query(self, inputs: tuple[str, ...], sql: str) -> Relation:
        return Relation(inputs, lambda: self._tracer.trace(sql, inputs))

    def _of_model(self, model: Model) -> Lineage:
        found = self._tracer.model(model)
        if isinstance(found, Problem):
            self.problems[model.contract.identifier] = found
            return _NO_LINEAGE
        return found

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer(self.mesh)

    def _file(self, contract: Contract) -> str | None:
        path = self.mesh.domains[contract.domain].reference_path(contract)
        return f"file:{shown(path, self.mesh.root)}" if path.exists() else None


def queue_relation(contract: Contract) -> str:
    """Return the name under which the events of a product are a relation."""
    return f"queue:{contract.identifier}"


def sent_columns(contract: Contract) -> list[str]:
    """Return the columns of a landing table that come with the message: all but the time of ingest."""
    return [name for name in landing_schema(contract).by_name if name != "ingested_at"]
