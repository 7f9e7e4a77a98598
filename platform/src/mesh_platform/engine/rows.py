"""Compare rows of Arrow tables and queries, and find dates and times outside the calendar."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from mesh_platform.engine.duckdb import registered

if TYPE_CHECKING:
    import pyarrow as pa

    from mesh_platform.engine.protocol import Connection

_DAY_US = 86_400_000_000
# The first and the last day that Python's dates, and so Iceberg's readers, can represent, in days since 1970.
_DAYS = ((date.min - date(1970, 1, 1)).days, (date.max - date(1970, 1, 1)).days)


def count(connection: Connection, query: str) -> int:
    """Return how many rows a SELECT has."""
    found = connection.execute(f"SELECT count(*) FROM ({query})").fetchone()
    assert found is not None
    return int(found[0])


def without(connection: Connection, rows: pa.Table, others: pa.Table) -> pa.Table:
    """Return `rows` minus one equal row for each of `others`."""
    with registered(connection, "mesh_rows", rows), registered(connection, "mesh_others", others):
        query = "SELECT * FROM mesh_rows EXCEPT ALL SELECT * FROM mesh_others"
        return connection.execute(query).to_arrow_table().cast(rows.schema)


def are_rows(connection: Connection, rows: pa.Table, present: str) -> bool:
    """Whether the SELECT `present` returns exactly `rows`, in any order. Its columns must be in the same order."""
    with registered(connection, "mesh_rows", rows):
        if count(connection, present) != rows.num_rows:
            return False
        # Between two lists of one length, one EXCEPT ALL that is empty proves them equal.
        columns = ", ".join(f'"{name}"' for name in rows.column_names)
        return count(connection, f"SELECT {columns} FROM mesh_rows EXCEPT ALL {present}") == 0


def outside_calendar(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return which dates or timestamps are outside the years 1 to 9999, as DuckDB's infinity is; null for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    unit = 1
    if pa.types.is_date32(times.type):
        numbers = times.cast(pa.int32()).cast(pa.int64())
    else:
        numbers = times.cast(pa.int64())
        unit = {"s": _DAY_US // 10**6, "ms": _DAY_US // 1000, "us": _DAY_US, "ns": _DAY_US * 1000}[times.type.unit]
    first, end = _DAYS[0] * unit, min((_DAYS[1] + 1) * unit, 2**63 - 1)
    return pc.or_(pc.less(numbers, max(first, 2 - 2**63)), pc.greater_equal(numbers, end))


def is_time(kind: pa.DataType) -> bool:
    """Whether the values of a type are dates or timestamps."""
    import pyarrow as pa

    return bool(pa.types.is_date32(kind) or pa.types.is_timestamp(kind))
