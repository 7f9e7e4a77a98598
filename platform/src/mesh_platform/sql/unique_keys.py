"""Check that a primary key is unique in the whole table: find where the keys of a build's rows may be already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mesh_platform.engine.duckdb import VERSION, registered
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import FileScanTask, Table

    from mesh_platform.contract.contract import TableSchema
    from mesh_platform.iceberg.key_index import Hashes

_PLACE = {"day": "strftime({}, '%Y-%m-%d')", "month": "strftime({}, '%Y-%m')", "year": "strftime({}, '%Y')"}
# How many of the partitions that a key is in are shown.
_PLACES = 3


def determines_partition(schema: TableSchema) -> bool:
    """Whether rows with the same key are always in one partition: all partition columns are in the key."""
    # Doubles do not count: two NaN are the same key in SQL, but different partition values.
    return all(c in schema.key and schema.by_name[c].type.name != "double" for _, c in schema.partition)


def keys_that_stay(
    connection: Connection,
    table: Table,
    schema: TableSchema,
    rows: pa.Table,
    here: Sequence[FileScanTask],
    elsewhere: Sequence[FileScanTask],
) -> pa.Table | None:
    """Return the keys in `table` that `rows` may have too; None if there are no rows or no key.

    `here` are the files that stay in the partitions of `rows`, `elsewhere` those in other partitions.
    """
    if not schema.key or not rows.num_rows:
        return None
    # Imported here because pyiceberg is slow to import, and a check of rules has no lake.
    from mesh_platform.iceberg.key_index import KEY_INDEX, KeyIndex
    from mesh_platform.iceberg.key_search import find_candidates

    folder = table.io.properties.get(KEY_INDEX)
    index = KeyIndex(Path(folder) if folder else None, partial(_hash, connection), f"duckdb {VERSION}")
    files = [*here] if determines_partition(schema) else [*here, *elsewhere]
    return find_candidates(table, files, rows.select(schema.key), index)


def any_repeats(key: Sequence[str], relation: str, existing: str = "") -> str:
    """Return SQL that gives a row if a key repeats in `relation`, or is also in the relation `existing`."""
    columns = ", ".join(map(quoted, key))
    again = ""
    if existing:
        same = " AND ".join(f"{relation}.{name} IS NOT DISTINCT FROM {existing}.{name}" for name in map(quoted, key))
        again = f" UNION ALL SELECT {columns} FROM {existing} SEMI JOIN {relation} ON {same}"
    every = f"SELECT {columns} FROM {relation}{again}"
    return f"SELECT 1 FROM ({every}) GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"


def repeated_keys(schema: TableSchema, relation: str) -> str:
    """Return the SQL of the keys that repeat in `relation`, with how many times, and the partitions if several."""
    columns = ", ".join(map(quoted, schema.key))
    times = "count(*)::VARCHAR"
    if not determines_partition(schema):
        parts = [
            f"'{_called(transform, column)}=' || coalesce({_place(transform, column)}, 'NULL')"
            for transform, column in schema.partition
        ]
        places = f"list_sort(list(DISTINCT concat_ws(', ', {', '.join(parts)})))"
        shown = f"array_to_string({places}[:{_PLACES}], ' and ')"
        more = f"if(len({places}) > {_PLACES}, ' and ' || (len({places}) - {_PLACES}) || ' more', '')"
        times = f"{times} || if(len({places}) > 1, ' in ' || {shown} || {more}, '')"
    return f"SELECT {columns}, {times} AS times FROM {relation} GROUP BY {columns} HAVING count(*) > 1"


def _called(transform: str, column: str) -> str:
    return column if transform == "identity" else f"{transform}({column})"


def _place(transform: str, column: str) -> str:
    return _PLACE.get(transform, "{}::VARCHAR").format(quoted(column))


def _hash(connection: Connection, keys: pa.Table) -> Hashes:
    """Return a number for each row; DuckDB hashes values that it deems equal, such as 0.0 and -0.0, alike."""
    columns = ", ".join(map(quoted, keys.column_names))
    with registered(connection, "mesh_keys", keys):
        hashes = connection.execute(f"SELECT hash({columns}) AS h FROM mesh_keys").to_arrow_table()["h"]
    found: Hashes = hashes.to_numpy().astype("uint64", copy=False)
    return found
