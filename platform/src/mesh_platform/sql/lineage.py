"""The lineage of a query: the columns that each of its columns comes from, and those that decide on its rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mesh_platform.contract.contract import TableSchema
from mesh_platform.engine.sql import quoted, table_definition
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.bound_plan import Sources, UnknownOperatorError, trace
from mesh_platform.sql.model import Model, binding_problem
from mesh_platform.sql.relations import relation_schemas


@dataclass(frozen=True)
class Lineage:
    """What a relation is computed from: the sources of each of its columns, and those of its set of rows."""

    columns: Mapping[str, Sources]
    rows: Sources = frozenset()

    def values(self, column: str) -> list[tuple[str, str]]:
        """Return the (relation, column) pairs that the value of `column` is derived from, sorted."""
        return sorted({(s.relation, s.column) for s in self.columns[column] if s.how in ("copied", "computed")})


class Query(NamedTuple):
    """A query over `inputs`, relations of the mesh, and those of its `columns` whose lineage is wanted."""

    sql: str
    inputs: tuple[str, ...]
    columns: tuple[str, ...]


class Tracer:
    """Traces queries over relations, of which none needs a row: by default those that models of `mesh` read."""

    def __init__(self, mesh: Mesh, schemas: Mapping[str, TableSchema] | None = None) -> None:
        # What was traced is read without it.
        from mesh_platform.engine.duckdb import connect_in_memory

        self._schemas = relation_schemas(mesh) if schemas is None else schemas
        self._connection = connect_in_memory()
        # Without rows there is nothing to share among threads and nothing to optimize.
        self._connection.execute("SET threads = 1")
        self._connection.execute("PRAGMA disable_optimizer")
        self._namespaces: set[str] = set()
        self._tables: set[str] = set()

    def trace(self, queries: Sequence[Query]) -> list[Lineage]:
        """Return the lineage of each query; an empty one if it does not fit its inputs, as in a mesh with faults.

        Raises UnknownOperatorError.
        """
        plans = zip(queries, self.plans(queries), strict=True)
        return [Lineage({}) if plan.get("error") else self._lineage(query, plan) for query, plan in plans]

    def models(self, models: Sequence[Model]) -> list[Lineage | Problem]:
        """Return the lineage of each model, or the problem that it does not fit what it reads.

        Columns of its contract that it does not select have no sources.
        """
        queries = [Query(model.sql, model.inputs, tuple(model.contract.table.by_name)) for model in models]
        plans = self.plans(queries)
        return [self._of_model(*each) for each in zip(models, queries, plans, strict=True)]

    def _of_model(self, model: Model, query: Query, plan: Mapping[str, object]) -> Lineage | Problem:
        from mesh_platform.engine.duckdb import DuckDBError

        try:
            if not plan.get("error"):
                return self._lineage(query, plan)
            described = self._connection.execute(f"DESCRIBE {query.sql}").fetchall()
            there = {row[0].lower() for row in described}
            selected = query._replace(columns=tuple(name for name in query.columns if name.lower() in there))
            if selected == query:
                # It fits, and its plan cannot be read.
                raise UnknownOperatorError(plan.get("error_message"))
            (found,) = self.trace([selected]) if selected.columns else (Lineage({}),)
            return Lineage({name: found.columns.get(name, frozenset()) for name in query.columns}, found.rows)
        except DuckDBError as error:
            return binding_problem(model, error)
        except UnknownOperatorError as error:
            what = f"has no lineage: its plan in DuckDB cannot be followed ({error})."
            return Problem(model.path, 1, what, "Write it with other clauses, or in fewer levels.", rule="sql")

    def plans(self, queries: Sequence[Query]) -> list[dict[str, object]]:
        from mesh_platform.engine.duckdb import bound_plans

        self._create({name for query in queries for name in query.inputs})
        return bound_plans(self._connection, [_selected(query) for query in queries])

    def _lineage(self, query: Query, plan: Mapping[str, object]) -> Lineage:
        try:
            found = trace(plan)
        except RecursionError:
            raise UnknownOperatorError("it is nested too deeply") from None
        return Lineage(dict(zip(query.columns, (value.sources for value in found.columns), strict=True)), found.rows)

    def _create(self, names: Collection[str]) -> None:
        new = [name for name in names if name in self._schemas and name not in self._tables]
        namespaces = {name.partition(".")[0] for name in new} - self._namespaces
        statements = [f"CREATE SCHEMA {quoted(namespace)}" for namespace in sorted(namespaces)]
        statements += [table_definition(name, self._schemas[name]) for name in new]
        if statements:
            self._connection.execute(";\n".join(statements))
        self._namespaces |= namespaces
        self._tables |= {*new}


def lineage(mesh: Mesh, model: Model) -> Lineage:
    """Return the lineage of one model. Raises ContractError if its SQL does not fit what it reads."""
    (found,) = Tracer(mesh).models([model])
    if isinstance(found, Problem):
        raise ContractError([found])
    return found


def _selected(query: Query) -> str:
    # A build selects by name; so does this, and the plan has these columns in this order.
    return f"SELECT {', '.join(map(quoted, query.columns))} FROM ({query.sql}\n)"
