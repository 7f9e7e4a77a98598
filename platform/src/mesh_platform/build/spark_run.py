"""Run the whole query of a model on Spark, which reads the inputs itself, at exactly the snapshots that a build read.

Only the rows of the result come back. What follows (checks, held rows, provenance, the commit) is the same as for
rows of DuckDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mesh_platform.engine.protocol import Server
from mesh_platform.errors import AttentionError, UnavailableError
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id, names_then
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.relations import SITES, SITES_SCHEMA, interface_unions, relation_schemas, site_rows
from mesh_platform.sql.spark_sql import quoted, spark_literal, spark_name, spark_query, spark_select

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table

    from mesh_platform.contract.contract import TableSchema
    from mesh_platform.sql.model import Model


class SparkRuns:
    """Runs whole queries on Spark. `connect` is called before the first of them.

    `catalog` is the lake's catalog in Spark; if it is empty, Spark reads tables at their paths. `differing` maps the
    tables for which Spark is known to return other rows to the file and line that says so.
    """

    def __init__(self, mesh: Mesh, connect: Callable[[], Server], catalog: str, differing: Mapping[str, str]) -> None:
        self._mesh, self._connect, self._catalog, self._differing = mesh, connect, catalog, differing
        self._schemas = relation_schemas(mesh)

    @cached_property
    def server(self) -> Server:
        """The session in which queries run. Raises UsageError and UnavailableError if there is none."""
        return self._connect()

    def why_not(self, model: Model) -> str:
        """Return why the query of a model does not run on Spark; an empty string if it does."""
        if place := self._differing.get(model.contract.identifier):
            return f"{place} says that Spark returns other rows."
        try:
            self._query(model)
        except AttentionError as error:
            return str(error)
        return ""

    def run(self, model: Model, tables: Mapping[str, Table]) -> pa.Table:
        """Return the rows of a model's query on the current snapshots of `tables`, with the contract's columns.

        Raises AttentionError if Spark refuses the query or a row, and UnavailableError if it does not answer or
        cannot read a table.
        """
        for name, table in tables.items():
            self._show(name, table)
        for name, select in self._derived(model):
            self.server.view(spark_name(name), select)
        try:
            return self.server.query(self._query(model))
        except AttentionError as error:
            raise AttentionError(
                f"{model.path}: {error} Nothing was committed. Mend the query or the input; or write the difference "
                "into parity.yaml, and DuckDB runs it."
            ) from error

    def _query(self, model: Model) -> str:
        return spark_query(model, self._schemas, spark_name)

    def _show(self, name: str, table: Table) -> None:
        snapshot, schema = current_snapshot_id(table), self._schemas[name]
        if snapshot is None:
            self.server.view(spark_name(name), _union(schema, ()))
            return
        parts = (self._catalog, *name.split(".")) if self._catalog else ("iceberg", table.location())
        place = f"{'.'.join(map(quoted, parts))} VERSION AS OF {snapshot}"
        values = {now: quoted(then) for now, then in names_then(table, snapshot).items()}
        try:
            self.server.view(spark_name(name), spark_select(schema, place, values))
        except AttentionError as error:
            raise UnavailableError(
                f"{name}: Spark cannot read its snapshot {snapshot} as {'.'.join(parts)}: {error} Nothing was "
                "committed. Give Spark a catalog of this lake, and its name to MESH_SPARK_CATALOG, then build again."
            ) from error

    def _derived(self, model: Model) -> Iterator[tuple[str, str]]:
        """Yield the relations that the model reads and that are no tables, each with its SELECT."""
        for name, (interface, implementations) in interface_unions(self._mesh).items():
            if name in model.inputs:
                sources = [spark_name(contract.identifier) for contract in implementations]
                yield name, _union(interface.table, [spark_select(interface.table, each) for each in sources])
        if SITES in model.inputs:
            names = [field.name for field in SITES_SCHEMA.fields]
            rows = [dict(zip(names, map(spark_literal, row), strict=True)) for row in site_rows(self._mesh)]
            yield SITES, _union(SITES_SCHEMA, [spark_select(SITES_SCHEMA, values=row) for row in rows])


def _union(schema: TableSchema, selects: Sequence[str]) -> str:
    return " UNION ALL ".join(selects) or f"{spark_select(schema, values={})} WHERE false"
