"""Exactly-once append: rows that may have come before arrive, each new one is in one snapshot when this returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan, Or

from mesh_platform import faults
from mesh_platform.errors import ConflictError, NeedsAttention, Unavailable
from mesh_platform.lake.commit import append_rows
from mesh_platform.lake.delta import head

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_CONFLICTS = 100
_FAILURES = 3
_TOKEN = "mesh.append"


@dataclass(frozen=True)
class Appended:
    """What became of the rows: `appended` are new, `duplicates` were there, came twice, or were removed on purpose.

    `snapshot_id` is the table's newest snapshot, None while it has none.
    """

    appended: int
    duplicates: int
    snapshot_id: int | None


def append_new(
    load: Callable[[], Table],
    rows: pa.Table,
    key: str,
    time_column: str | None,
    refused: Callable[[pa.Table], pa.Array],
) -> Appended:
    """Append the rows whose `key` the table does not hold, deciding on the snapshot that the commit asserts.

    Where `time_column` is given, the key determines it, and only the days of the rows are looked at: every copy
    of a key lies there. `refused` gives keys that must not come in. A commit whose outcome is unknown is looked
    up by beginning again. Raises Unavailable where that fails repeatedly, with nothing lost, and NeedsAttention.
    """
    distinct = _first_of_each(rows, key)
    failures = conflicts = attempted = 0
    token = uuid4().hex
    while True:
        try:
            table = load()
            if attempted and _has_landed(table, token):
                return Appended(attempted, rows.num_rows - attempted, head(table))
            known = pa.chunked_array([_known_keys(table, distinct, key, time_column), refused(distinct)])
            fresh = distinct.filter(pc.invert(pc.is_in(distinct[key], known.cast(distinct[key].type))))
            faults.point("append.deduplicated")
            if fresh.num_rows:
                attempted = fresh.num_rows
                append_rows(table, fresh, {_TOKEN: token})
                faults.point("append.committed")
            return Appended(fresh.num_rows, rows.num_rows - fresh.num_rows, head(table))
        except ConflictError as error:
            conflicts += 1
            if conflicts > _CONFLICTS:
                raise Unavailable(
                    f"{error} It went so {conflicts} times in a row: stop other writers, then run again."
                ) from error
        except NeedsAttention:
            raise
        except Exception as error:
            failures += 1
            if failures > _FAILURES:
                raise Unavailable(
                    f"the lake does not take rows: {error}. Nothing was acknowledged; mend the storage or the "
                    "catalog, then run again."
                ) from error
            time.sleep(0.2 * failures)


def read_keys(table: Table, key: str, row_filter: BooleanExpression | None = None) -> pa.Array:
    """All values of `key` in the table's current snapshot, within `row_filter`."""
    scan = table.scan(row_filter=row_filter or AlwaysTrue(), selected_fields=(key,))
    return scan.to_arrow()[key].combine_chunks()


def days_filter(column: str, times: pa.ChunkedArray) -> BooleanExpression:
    """A filter for all rows on the same UTC days as `times`; adjacent days are one range."""
    numbers = sorted(set(pc.unique(times.cast(pa.timestamp("us")).cast(pa.date32()).cast(pa.int32())).to_pylist()))
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    days = [And(GreaterThanOrEqual(column, _day(low)), LessThan(column, _day(high))) for low, high in ranges]
    # In one call they make a balanced tree: hundreds of days in a chain are too deep for pyiceberg's recursion.
    return Or(*days) if len(days) > 1 else days[0]


def removed_keys(catalog: Catalog, ledger: str) -> Callable[[pa.Table], pa.Array]:
    """What `append_new` must refuse: the ids in the ledger table, if there is one, on the days of the rows."""
    from mesh_platform.lake.catalog import find_table

    def refused(rows: pa.Table) -> pa.Array:
        table = find_table(catalog, ledger)
        if table is None or not rows.num_rows:
            return pa.array([], pa.large_string())
        return read_keys(table, "event_id", days_filter("event_time", rows["event_time"]))

    return refused


def nothing_refused(rows: pa.Table) -> pa.Array:
    """For tables from which nothing is removed."""
    return pa.array([], pa.large_string())


def _has_landed(table: Table, token: str) -> bool:
    """Whether a commit of this call is in the table, though it was reported as failed."""
    summaries = (snapshot.summary for snapshot in reversed(table.metadata.snapshots))
    return any(summary is not None and summary.additional_properties.get(_TOKEN) == token for summary in summaries)


def _known_keys(table: Table, rows: pa.Table, key: str, time_column: str | None) -> pa.Array:
    if not rows.num_rows or table.current_snapshot() is None:
        return pa.array([], pa.large_string())
    return read_keys(table, key, days_filter(time_column, rows[time_column]) if time_column else None)


def _first_of_each(rows: pa.Table, key: str) -> pa.Table:
    numbered = pa.table({"key": rows[key], "row": pa.array(range(rows.num_rows), pa.int64())})
    firsts = numbered.group_by("key").aggregate([("row", "min")])["row_min"]
    return rows if len(firsts) == rows.num_rows else rows.take(firsts.take(pc.sort_indices(firsts)))


def _day(number: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).isoformat()
