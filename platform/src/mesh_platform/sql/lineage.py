"""The lineage of a query: the columns that each of its columns comes from, and those that decide on its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mesh_platform.engine.duckdb import DuckDBError, bound_plan, connect_in_memory
from mesh_platform.engine.sql import quoted, table_definition
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.bound_plan import Sources, UnknownOperatorError, trace
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.type_check import binding_problem


@dataclass(frozen=True)
class Lineage:
    """What a relation is computed from: the sources of each of its columns, and those of its set of rows."""

    columns: Mapping[str, Sources]
    rows: Sources = frozenset()

    def values(self, column: str) -> list[tuple[str, str]]:
        """Return the (relation, column) pairs that the value of `column` is derived from, sorted."""
        return sorted({(s.relation, s.column) for s in self.columns[column] if s.how in ("copied", "computed")})


class Tracer:
    """Traces queries over the relations of `mesh`, of which none needs a row."""

    def __init__(self, mesh: Mesh) -> None:
        self._schemas = relation_schemas(mesh)
        self._connection = connect_in_memory()
        self._namespaces: set[str] = set()
        self._tables: set[str] = set()

    def trace(self, sql: str, inputs: Iterable[str], columns: Collection[str] = ()) -> Lineage:
        """Return the lineage of `columns`, by default all, of a query over `inputs`, relations of the mesh.

        Raises DuckDBError for a query that does not fit them, and UnknownOperatorError.
        """
        for name in inputs:
            self._create(name)
        columns = columns or [row[0] for row in self._connection.execute(f"DESCRIBE {sql}").fetchall()]
        # A build selects by name; so does this, and the plan has these columns in this order.
        selected = ", ".join(quoted(name) for name in columns)
        found = trace(bound_plan(self._connection, f"SELECT {selected} FROM ({sql}\n)"))
        return Lineage(dict(zip(columns, (value.sources for value in found.columns), strict=True)), found.rows)

    def model(self, model: Model) -> Lineage | Problem:
        """Return the lineage of a model, or the problem that it does not fit what it reads.

        Columns of its contract that it does not select have no sources.
        """
        wanted = model.contract.table.by_name
        try:
            try:
                return self.trace(model.sql, model.inputs, [*wanted])
            except DuckDBError:
                found = self.trace(model.sql, model.inputs)
                return Lineage({name: found.columns.get(name, frozenset()) for name in wanted}, found.rows)
        except DuckDBError as error:
            return binding_problem(model, error)
        except UnknownOperatorError as error:
            what = f"cannot be traced: its plan in DuckDB has {error}, which lineage does not know."
            return Problem(model.path, 1, what, "Write it with other clauses.", rule="sql")

    def _create(self, name: str) -> None:
        if name in self._tables or name not in self._schemas:
            return
        namespace = name.partition(".")[0]
        if namespace not in self._namespaces:
            self._connection.execute(f"CREATE SCHEMA {quoted(namespace)}")
            self._namespaces.add(namespace)
        self._connection.execute(table_definition(name, self._schemas[name]))
        self._tables.add(name)


def lineage(mesh: Mesh, model: Model) -> Lineage:
    """Return the lineage of one model. Raises ContractError if its SQL does not fit what it reads."""
    found = Tracer(mesh).model(model)
    if isinstance(found, Problem):
        raise ContractError([found])
    return found
