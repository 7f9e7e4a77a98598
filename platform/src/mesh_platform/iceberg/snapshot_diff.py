"""Compare two states of a table: the files, rows and partitions in which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io.pyarrow import PYARROW_PARQUET_FIELD_ID_KEY, ArrowScan, schema_to_pyarrow
from pyiceberg.manifest import ManifestContent, ManifestEntryStatus
from pyiceberg.table import FileScanTask, ManifestGroupPlanner
from pyiceberg.table.snapshots import Operation, Snapshot, ancestors_of
from pyiceberg.typedef import Record

from mesh_platform.iceberg.internals import deleted_positions, split_by_partition

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table

# The entry in the summary of a snapshot with which this platform replaced files by others with the same rows.
COMPACTION = "mesh.compaction"
_ADDED = ManifestEntryStatus.ADDED

_FileKey = tuple[str, frozenset[str]]

_ALL = AlwaysTrue()
# Rows of a file that one thread reads: to wake others takes longer.
_FEW = 100_000


def current_snapshot_id(table: Table) -> int | None:
    """Return the id of the snapshot that `table` was loaded at, None if it has none."""
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def rows_in_files(table: Table, snapshot_id: int | None = None) -> int:
    """Return the rows in the data files of a snapshot, by default the current one, as its summary has them.

    That includes rows which delete files remove: see `count_rows`.
    """
    return _total(_snapshot(table, snapshot_id), "total-records")


def count_rows(table: Table, snapshot_id: int | None = None) -> int:
    """Return the rows that readers see of a snapshot, by default the current one.

    Delete files are read if it has some. Rows that are deleted by their values, which pyiceberg does not read, count.
    """
    snapshot = _snapshot(table, snapshot_id)
    if snapshot is None or not _total(snapshot, "total-delete-files") or _total(snapshot, "total-equality-deletes"):
        return _total(snapshot, "total-records")
    files = files_at(table, snapshot.snapshot_id)
    deleted = deleted_positions(table.io, files)
    return sum(task.file.record_count - len(deleted.get(task.file.file_path, ())) for task in files)


def _snapshot(table: Table, snapshot_id: int | None) -> Snapshot | None:
    return table.metadata.snapshot_by_id(snapshot_id) if snapshot_id else table.current_snapshot()


def _total(snapshot: Snapshot | None, name: str) -> int:
    return int(snapshot.summary[name] or 0) if snapshot and snapshot.summary else 0


def names_then(table: Table, snapshot_id: int) -> dict[str, str]:
    """Return today's name of each column that a snapshot has, with the name that it had then.

    Engines that read a snapshot read it by the schema that the table had when it was committed.
    """
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    assert snapshot is not None
    schema = table.schema() if snapshot.schema_id is None else table.schemas()[snapshot.schema_id]
    then = {column.field_id: column.name for column in schema.fields}
    return {column.name: then[column.field_id] for column in table.schema().fields if column.field_id in then}


def has_snapshot(table: Table, snapshot_id: int | None) -> bool:
    """Whether a snapshot can still be read: not if it has expired. None, the empty first state, always can."""
    return snapshot_id is None or table.metadata.snapshot_by_id(snapshot_id) is not None


def changed_files(table: Table, since: int | None) -> tuple[list[FileScanTask], list[FileScanTask]]:
    """Return the files removed and the files added between the snapshot `since` and the current one.

    Neither snapshot needs to be an ancestor of the other, so a rollback is a change like any other. A file whose
    deleted rows changed counts as removed and added. Merges by compaction are undone in the result if all snapshots
    since are kept; otherwise the merged files count as removed and added, with the same rows. Manifests that both
    snapshots have are not read.
    """
    before, after = _differing(table, since, current_snapshot_id(table))
    after = _undo_compaction(table, since, after)
    removed = [task for key, task in before.items() if key not in after]
    return removed, [task for key, task in after.items() if key not in before]


def read_files(
    table: Table, tasks: Iterable[FileScanTask], columns: Iterable[str], where: BooleanExpression = _ALL
) -> pa.Table:
    """Read the rows of some files, with `columns` in that order and in the current types of the table.

    `where` is a filter on these columns.
    """
    names, tasks = list(columns), list(tasks)
    parts = [_read_as_written(table, task, names) for task in tasks] if where is _ALL else []
    plain = [part for part in parts if part is not None]
    if plain and len(plain) == len(tasks):
        return pa.concat_tables(plain, promote_options="permissive")
    schema = table.schema().select(*names)
    return ArrowScan(table.metadata, table.io, schema, where).to_table(tasks).select(names)


def _read_as_written(table: Table, task: FileScanTask, names: list[str]) -> pa.Table | None:
    """Read a file that has the columns as the table has them now; None for another, which pyiceberg must convert.

    For a file of few rows, pyiceberg's conversion of schemas takes more time than the reading.
    """
    if task.delete_files:
        return None
    with table.io.new_input(task.file.file_path).open() as opened:
        file = pq.ParquetFile(opened)
        there = {(field.metadata or {}).get(PYARROW_PARQUET_FIELD_ID_KEY): field for field in file.schema_arrow}
        fields = []
        for column in map(table.schema().find_field, names):
            field = there.get(str(column.field_id).encode())
            if field is None or (field.name, field.type) != (column.name, schema_to_pyarrow(column.field_type)):
                return None
            fields.append(field.remove_metadata().with_nullable(not column.required))
        return file.read(names, use_threads=task.file.record_count > _FEW).cast(pa.schema(fields))


def partitions_of(table: Table, rows: pa.Table) -> set[Record]:
    """Return the partitions of `rows`; an unpartitioned table has one."""
    if not rows.num_rows:
        return set()
    if table.spec().is_unpartitioned():
        return {Record()}
    return {partition for partition, _ in split_by_partition(table.spec(), table.schema(), rows)}


def files_in(table: Table, partitions: set[Record]) -> tuple[list[FileScanTask], list[FileScanTask]] | None:
    """Return the current files in `partitions`, and all others; None if a file has an older partition spec."""
    tasks = all_files(table)
    if any(task.file.spec_id != table.spec().spec_id for task in tasks):
        return None
    inside = [task for task in tasks if task.file.partition in partitions]
    return inside, [task for task in tasks if task.file.partition not in partitions]


def all_files(table: Table) -> list[FileScanTask]:
    """Return the files of the current snapshot."""
    return files_at(table, current_snapshot_id(table))


def files_at(table: Table, snapshot_id: int | None) -> list[FileScanTask]:
    """Return the files of a snapshot; None has no files."""
    return list(_files_at(table, snapshot_id).values())


def maintained_since(table: Table, since: int | None) -> bool:
    """Whether files were replaced by others with the same rows since a snapshot; also true if that is unknown.

    Before orphans are removed, a table gets such a snapshot: files that were written before it, and that no snapshot
    names, may then be gone.
    """
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if snapshot.snapshot_id == since:
            return False
        if not snapshot.summary or snapshot.summary.operation == Operation.REPLACE:
            return True
        if since is None and snapshot.sequence_number == 1:
            return False
    return current_snapshot_id(table) != since


def _undo_compaction(
    table: Table, since: int | None, files: dict[_FileKey, FileScanTask]
) -> dict[_FileKey, FileScanTask]:
    """Return the current `files`, with those that compaction wrote since a snapshot replaced by what it merged.

    Returns them unchanged if a snapshot in between has expired or a merged file was changed later, because then the
    rows of one original file cannot be told apart.
    """
    apart = dict(files)
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if snapshot.snapshot_id == since:
            return apart
        if snapshot.summary and snapshot.summary.operation == Operation.REPLACE:
            entries = list(_entries(table, snapshot))
            added = {(file.file_path, frozenset[str]()) for status, file in entries if status == _ADDED}
            if COMPACTION not in snapshot.summary.additional_properties or not added <= apart.keys():
                return files
            for key in added:
                del apart[key]
            apart |= {
                (file.file_path, frozenset[str]()): FileScanTask(file) for status, file in entries if status != _ADDED
            }
    return files


def _entries(table: Table, snapshot: Snapshot) -> Iterator[tuple[ManifestEntryStatus, DataFile]]:
    """Yield the files that a snapshot itself added or deleted, with their status."""
    for manifest in snapshot.manifests(table.io):
        if manifest.added_snapshot_id == snapshot.snapshot_id:
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                if entry.status != ManifestEntryStatus.EXISTING and entry.snapshot_id == snapshot.snapshot_id:
                    yield entry.status, entry.data_file


def _differing(
    table: Table, one: int | None, other: int | None
) -> tuple[dict[_FileKey, FileScanTask], dict[_FileKey, FileScanTask]]:
    """Return the files of two snapshots, except those in manifests that both have, which would take long to read."""
    sides = [{manifest.manifest_path: manifest for manifest in _manifests_at(table, at)} for at in (one, other)]
    shared = sides[0].keys() & sides[1].keys()
    # The deletes of a file are in another manifest than the file, so shared manifests say too little.
    if any(manifest.content == ManifestContent.DELETES for side in sides for manifest in side.values()):
        shared = set()
    before, after = ([manifest for path, manifest in side.items() if path not in shared] for side in sides)
    return _files_of(table, before), _files_of(table, after)


def _manifests_at(table: Table, snapshot_id: int | None) -> list[ManifestFile]:
    snapshot = table.metadata.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
    return snapshot.manifests(table.io) if snapshot else []


def _files_of(table: Table, manifests: list[ManifestFile]) -> dict[_FileKey, FileScanTask]:
    tasks = ManifestGroupPlanner(table.metadata, table.io).plan_files(manifests)
    return {(t.file.file_path, frozenset(deleted.file_path for deleted in t.delete_files)): t for t in tasks}


def _files_at(table: Table, snapshot_id: int | None) -> dict[_FileKey, FileScanTask]:
    return _files_of(table, _manifests_at(table, snapshot_id))
