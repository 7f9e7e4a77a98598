"""Remove the rows of a table that are older than a limit: whole files by their bounds, and from others row by row.

Files are read and written one at a time, so the memory that it takes is that of one file. The table property
`mesh.retention.from` (`<field id> <ISO time>`) then says from which time on the table has rows. `append_new` leaves
out older ones, and a build does not take their absence for a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, LessThan
from pyiceberg.utils.datetime import datetime_to_micros

from mesh_platform import faults
from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.commit import write_files
from mesh_platform.iceberg.replace import replace_without_trace
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import read_files

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.snapshots import Snapshot

# The rows that are older than the time of each of these `timestamptz` columns. A row without a time is never older.
Limits = Mapping[str, datetime]
Notes = Callable[["Table"], Mapping[str, str]]

_FROM = "mesh.retention.from"
# In the summary of a snapshot that removed rows: how many; the files that went as a whole, and those that were
# written again; their bytes; and the limits.
_ROWS, _DROPPED, _REWRITTEN, _BYTES, _UNTIL = (
    f"mesh.retention.{each}" for each in ("rows", "dropped", "rewritten", "bytes", "until")
)
ATTEMPTS = 8
GIVEN_UP = "others keep committing; the next run removes the rows"


@dataclass(frozen=True)
class Removed:
    """What one snapshot removed: `rows`; the files `dropped` as a whole and those `rewritten`, with their `bytes`."""

    rows: int = 0
    dropped: int = 0
    rewritten: int = 0
    bytes: int = 0
    until: str = ""


def find_expired(table: Table, limits: Limits, snapshot_id: int | None = None) -> list[FileScanTask]:
    """Return the files of a snapshot, by default the current one, that may have such rows, by their bounds."""
    there = {field.name for field in table.schema().fields}
    if not there.issuperset(limits) or table.current_snapshot() is None:
        return []
    every: BooleanExpression = AlwaysTrue()
    where = reduce(And, (LessThan(name, limit.isoformat()) for name, limit in limits.items()), every)
    return list(table.scan(where, snapshot_id=snapshot_id).plan_files())


def count_expired(table: Table, limits: Limits) -> int:
    """Return how many rows `remove_expired` would remove."""
    return sum(
        task.file.record_count
        if _is_wholly(table, task.file, limits)
        else int(pc.sum(_marks(read_files(table, [task], [*limits]), limits)).as_py() or 0)
        for task in find_expired(table, limits)
    )


def remove_expired(
    load: Callable[[], Table], limits: Limits, notes: Notes = lambda _table: {}, marked: bool = False
) -> int:
    """Commit a state without the rows that are older than `limits`, if there are any; return their number.

    No manifest names the removed files. `notes` are the other entries for the summary. With `marked`, the table
    records from which time on it has rows; `limits` then has one column. Raises ConflictError if others keep
    committing, and AttentionError if another engine has deleted rows of such a file.
    """

    def attempt() -> int:
        table = load()
        removed, added, done = rewrite(table, find_expired(table, limits), limits)
        if not done.rows:
            return 0
        properties = _mark(table, limits) if marked else {}
        replace_without_trace(table, removed, added, {**notes(table), **to_summary(done)}, properties=properties)
        return done.rows

    return on_conflict(ATTEMPTS, attempt, GIVEN_UP)


def rewrite(
    table: Table, tasks: list[FileScanTask], limits: Limits
) -> tuple[list[DataFile], list[DataFile], Removed]:
    """Write the rows of files that are not older than `limits`; return the old files, the new ones, and counts."""
    removed: list[DataFile] = []
    added: list[DataFile] = []
    rows = dropped = 0
    for task in tasks:
        if _is_wholly(table, task.file, limits) and not task.delete_files:
            kept, dropped, rows = None, dropped + 1, rows + task.file.record_count
        else:
            kept = _kept(table, task, limits)
            if kept.num_rows == task.file.record_count:
                continue
            rows += task.file.record_count - kept.num_rows
        removed.append(task.file)
        added += write_files(table, kept, target_bytes=2**62) if kept else []
    faults.point("retain.written")
    size = sum(file.file_size_in_bytes for file in removed)
    return removed, added, Removed(rows, dropped, len(removed) - dropped, size, in_words(limits))


def in_words(limits: Limits) -> str:
    """Return the limits as records of removals show them: `<column> <ISO time>, ...`."""
    return ", ".join(f"{name} {limit.isoformat()}" for name, limit in limits.items())


def to_summary(removed: Removed) -> dict[str, str]:
    """Return the entries for the summary of the snapshot that removed rows."""
    return {
        _ROWS: str(removed.rows),
        _DROPPED: str(removed.dropped),
        _REWRITTEN: str(removed.rewritten),
        _BYTES: str(removed.bytes),
        _UNTIL: removed.until,
    }


def removals(table: Table) -> Iterator[tuple[Snapshot, Removed]]:
    """Yield the kept snapshots that removed rows, oldest first, with what they removed."""
    for snapshot in table.metadata.snapshots:
        noted = snapshot.summary.additional_properties if snapshot.summary else {}
        if _ROWS in noted:
            rows, dropped, rewritten, size = (int(noted[name]) for name in (_ROWS, _DROPPED, _REWRITTEN, _BYTES))
            yield snapshot, Removed(rows, dropped, rewritten, size, noted[_UNTIL])


def kept_from(table: Table) -> tuple[str, datetime] | None:
    """Return the column of the times, and the time from which on the table has rows; None if none were removed."""
    number, _, time = table.properties.get(_FROM, "").partition(" ")
    column = table.schema().find_column_name(int(number)) if number else None
    return (column, datetime.fromisoformat(time)) if column else None


def without_expired(table: Table, rows: pa.Table) -> pa.Table:
    """Leave out the rows of a table that are older than those it still has."""
    noted = kept_from(table)
    if noted is None or noted[0] not in rows.column_names:
        return rows
    return rows.filter(pc.invert(_marks(rows, dict([noted]))))


def _mark(table: Table, limits: Limits) -> dict[str, str]:
    ((column, until),) = limits.items()
    noted = kept_from(table)
    if noted and noted[0] == column:
        # A rollback brings older rows back, of which a longer retention then removes the oldest.
        until = max(until, noted[1])
    return {_FROM: f"{table.schema().find_field(column).field_id} {until.isoformat()}"}


def _kept(table: Table, task: FileScanTask, limits: Limits) -> pa.Table:
    if task.delete_files:
        raise AttentionError(
            f"another engine has deleted rows of {task.file.file_path}. Let it rewrite its files without delete "
            "files, then maintain again."
        )
    rows = read_files(table, [task], [field.name for field in table.schema().fields])
    return rows.filter(pc.invert(_marks(rows, limits)))


def _marks(rows: pa.Table, limits: Limits) -> pa.ChunkedArray:
    older = (pc.less(rows[name], pa.scalar(limit, rows[name].type)) for name, limit in limits.items())
    return pc.fill_null(reduce(pc.and_, older), False)


def _is_wholly(table: Table, file: DataFile, limits: Limits) -> bool:
    """Whether all rows of a file are older, by its upper bounds, whose form is in Iceberg's spec, Appendix D."""
    for name, limit in limits.items():
        number = table.schema().find_field(name).field_id
        upper = (file.upper_bounds or {}).get(number)
        has_null = (file.null_value_counts or {}).get(number, 1) != 0
        if upper is None or has_null or int.from_bytes(upper, "little", signed=True) >= datetime_to_micros(limit):
            return False
    return True
