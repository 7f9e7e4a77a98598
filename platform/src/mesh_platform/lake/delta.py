"""What differs between two states of a table: a table and a snapshot arrive; files, rows and partitions leave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, _determine_partitions
from pyiceberg.typedef import Record

if TYPE_CHECKING:
    from pyiceberg.table import FileScanTask, Table

_FileKey = tuple[str, frozenset[str]]


def head(table: Table) -> int | None:
    """The id of the snapshot that `table` was loaded at, or None where it has none."""
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def has_snapshot(table: Table, snapshot_id: int | None) -> bool:
    """Whether the state is still readable: an expired one is not, and the empty state before all others is."""
    return snapshot_id is None or table.metadata.snapshot_by_id(snapshot_id) is not None


def changed_files(table: Table, since: int | None) -> tuple[list[FileScanTask], list[FileScanTask]]:
    """The files that left and the files that came between snapshot `since` and the head.

    Neither needs to be an ancestor of the other, so a rollback is a change like any other. A file whose deleted
    rows changed both left and came.
    """
    before, after = _files_at(table, since), _files_at(table, head(table))
    return [t for key, t in before.items() if key not in after], [t for k, t in after.items() if k not in before]


def read_files(table: Table, tasks: Iterable[FileScanTask], columns: Iterable[str]) -> pa.Table:
    """The rows of some files, in the types that the table's columns have now, and in the order of `columns`."""
    names = list(columns)
    schema = table.schema().select(*names)
    return ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_table(tasks).select(names)


def partitions_of(table: Table, rows: pa.Table) -> set[Record]:
    """The partitions that `rows` lie in; a table without partitions has one."""
    if not rows.num_rows:
        return set()
    if table.spec().is_unpartitioned():
        return {Record()}
    found = _determine_partitions(table.spec(), table.schema(), rows)
    return {part.partition_key.partition for part in found}


def files_in(table: Table, partitions: set[Record]) -> list[FileScanTask] | None:
    """The head's files that lie in `partitions`, or None where some file is partitioned in an older way."""
    tasks = list(_files_at(table, head(table)).values())
    if any(task.file.spec_id != table.spec().spec_id for task in tasks):
        return None
    return [task for task in tasks if task.file.partition in partitions]


def all_files(table: Table) -> list[FileScanTask]:
    """The head's files."""
    return files_at(table, head(table))


def files_at(table: Table, snapshot_id: int | None) -> list[FileScanTask]:
    """The files of a snapshot, none at None."""
    return list(_files_at(table, snapshot_id).values())


def _files_at(table: Table, snapshot_id: int | None) -> dict[_FileKey, FileScanTask]:
    if snapshot_id is None:
        return {}
    tasks = table.scan(snapshot_id=snapshot_id).plan_files()
    return {(t.file.file_path, frozenset(deleted.file_path for deleted in t.delete_files)): t for t in tasks}
