"""Find where new rows differ from the published ones, so that a build rewrites only those partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh_platform.engine.duckdb import registered
from mesh_platform.engine.sql import in_partitions, quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from mesh_platform.contract.contract import TableSchema
    from mesh_platform.engine.protocol import Connection


def differing_rows(connection: Connection, rows: pa.Table, published: str) -> pa.Table:
    """Return what `rows` and the SELECT `published` do not have equally often, each row once."""
    columns = ", ".join(map(quoted, rows.column_names))
    with registered(connection, "mesh_rows", rows):
        both = f"SELECT {columns}, 1 AS mesh_sign FROM mesh_rows UNION ALL SELECT {columns}, -1 FROM ({published})"
        query = f"SELECT {columns} FROM ({both}) GROUP BY ALL HAVING sum(mesh_sign) <> 0"
        return connection.execute(query).to_arrow_table().cast(rows.schema)


def rows_beside(
    connection: Connection, schema: TableSchema, rows: pa.Table, differing: pa.Table, kept: str = ""
) -> pa.Table:
    """Return those of `rows`, and of the SELECT `kept`, that are in the partitions of the rows `differing`."""
    columns = ", ".join(map(quoted, rows.column_names))
    with registered(connection, "mesh_rows", rows), registered(connection, "mesh_differing", differing):
        both = f"SELECT {columns} FROM mesh_rows" + (f" UNION ALL SELECT {columns} FROM ({kept})" if kept else "")
        query = f"SELECT {columns} FROM ({both}) AS made WHERE {in_partitions(schema, 'made', 'mesh_differing')}"
        return connection.execute(query).to_arrow_table().cast(rows.schema)
