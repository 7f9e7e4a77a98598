"""Let a table keep its rows from before the time at which its inputs begin, once retention shortened these.

What a query makes of that time is not whole any more: a total lacks rows, and most rows are missing. So the published
rows of then stay as they are, and what the query makes of it counts only for keys that they lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform.engine.duckdb import registered
from mesh_platform.engine.sql import has_key, quoted
from mesh_platform.iceberg.retention import kept_from
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from mesh_platform.build.job import Job
    from mesh_platform.engine.protocol import Connection


def with_past(
    connection: Connection, job: Job, inputs: Mapping[str, Table], rows: pa.Table, published: str
) -> pa.Table:
    """Return the rows that a query made, with those of the SELECT `published` that its inputs cannot give any more.

    `published` returns what the rows would replace, under the alias `kept`, and ends with a condition. A table
    without a column of freshness has no time, so it is what the query makes of what is left.
    """
    column = job.contract.freshness_column
    begins = [noted[1] for table in inputs.values() if (noted := kept_from(table))]
    if column is None or not begins or current_snapshot_id(job.output) is None:
        return rows
    key, names = job.contract.table.key, ", ".join(map(quoted, rows.column_names))
    time, limit = quoted(column), f"TIMESTAMPTZ '{max(begins).isoformat()}'"
    is_new = f"({time} < {limit}) IS NOT TRUE"
    old = connection.execute(f"{published} AND kept.{time} < {limit}").to_arrow_table()
    with registered(connection, "mesh_made", rows), registered(connection, "mesh_old", old):
        there = has_key("mesh_made", key, "mesh_old", key) if key else "true"
        renewed = has_key("mesh_old", key, "mesh_new", key) if key else "false"
        query = (
            f"WITH mesh_new AS (FROM mesh_made WHERE {is_new}) "
            f"SELECT {names} FROM mesh_made WHERE {is_new} OR NOT {there} "
            f"UNION ALL SELECT {names} FROM mesh_old WHERE NOT {renewed}"
        )
        return connection.execute(query).to_arrow_table().cast(rows.schema)
