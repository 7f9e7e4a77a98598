"""Rows compared: Arrow tables and queries arrive; what the one has and the other lacks leaves, counted or itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh_platform.engine.duckdb import registered

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """How many rows a SELECT has."""
    found = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
    assert found is not None
    return int(found[0])


def without(connection: duckdb.DuckDBPyConnection, rows: pa.Table, others: pa.Table) -> pa.Table:
    """`rows` less one row for each of `others` that is the same."""
    with registered(connection, "mesh_rows", rows), registered(connection, "mesh_others", others):
        query = "SELECT * FROM mesh_rows EXCEPT ALL SELECT * FROM mesh_others"
        return connection.execute(query).to_arrow_table().cast(rows.schema)


def are_rows(connection: duckdb.DuckDBPyConnection, rows: pa.Table, present: str) -> bool:
    """Whether the SELECT `present` has these very rows, in any order; it names their columns in the same one."""
    with registered(connection, "mesh_rows", rows):
        if count(connection, present) != rows.num_rows:
            return False
        # Of two equally long lists, one has nothing that the other lacks only where they are the same.
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        return count(connection, f"SELECT {columns} FROM mesh_rows EXCEPT ALL {present}") == 0
