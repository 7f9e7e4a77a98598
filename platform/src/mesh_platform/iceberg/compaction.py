"""Compact a table: merge small files into big ones, in snapshots of the operation `replace`.

In each partition, the files under three quarters of the target size are merged, fewest rows first, in bins of at most
the target size. A bin takes only so many files that the biggest has no more rows than the others have together. So
each merge puts a row into a file with at least twice as many rows: the row is rewritten at most
log2(rows of a full file / rows of its first file) times, and a partition without new rows keeps at most that many
small files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.errors import AttentionError, ConflictError
from mesh_platform.iceberg.commit import write_files
from mesh_platform.iceberg.replace import MANIFESTS, ManifestReader, data_manifests, replace_same_rows
from mesh_platform.iceberg.snapshot_diff import (
    all_files,
    changed_files,
    current_snapshot_id,
    maintained_since,
    read_files,
)
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table

# On disk. A table's `write.target-file-size-bytes` overrides it.
TARGET_BYTES = 64 * 1024 * 1024
# The amount written before each commit, which is what a crash can cost.
_BATCH_BYTES = 512 * 1024 * 1024
# An attempt is cheap compared with the rewriting that it commits.
_ATTEMPTS = 32

Bin = list["FileScanTask"]


@dataclass(frozen=True)
class Compacted:
    """`files` were replaced by fewer, `bytes` is their size. `reason` says why some candidates were not merged."""

    files: int = 0
    bytes: int = 0
    reason: str = ""


def plan(table: Table) -> list[Bin]:
    """Return the bins of files to merge, by the rule in the module's docstring.

    Files with an older partition spec are not merged, nor are files with deleted rows, which are left to the engine
    that deletes rows.
    """
    target = int(table.properties.get("write.target-file-size-bytes", TARGET_BYTES))
    partitions: dict[object, list[FileScanTask]] = {}
    for task in all_files(table):
        is_small = task.file.file_size_in_bytes < target * 3 // 4
        if is_small and not task.delete_files and task.file.spec_id == table.spec().spec_id:
            partitions.setdefault(task.file.partition, []).append(task)
    return [bin_ for tasks in partitions.values() for full in _filled(tasks, target) if (bin_ := _worthwhile(full))]


def compact(load: Callable[[], Table]) -> Compacted:
    """Merge the files that `plan` returns, without changing rows or the `mesh.*` entries of the table's snapshot.

    The new files are written first; then they replace the old ones on top of the newest snapshot, if that still has
    all of these. It gives up if somebody else always commits first or another maintainer was at work. Errors other
    than those of `errors` mean that the outcome is unknown: files written and not committed are orphans.
    """
    table = load()
    files = size = 0
    for bins in _batches(plan(table)):
        written: list[DataFile] = []
        for bin_ in bins:
            written += _write(table, bin_)
        faults.point("maintain.written")
        replaced = [task for bin_ in bins for task in bin_]
        committed = _commit(load, table, replaced, written)
        if isinstance(committed, str):
            return Compacted(files, size, committed)
        faults.point("maintain.committed")
        # The next batch is compared with this commit, so that `_in_the_way` takes nobody for another maintainer.
        table = committed
        files += len(replaced)
        size += sum(task.file.file_size_in_bytes for task in replaced)
    if len(data_manifests(table)) > MANIFESTS:
        with suppress(ConflictError):
            replace_same_rows(load())
    return Compacted(files, size)


def _filled(tasks: Iterable[FileScanTask], target: int) -> Iterator[Bin]:
    bin_: Bin = []
    size = 0
    for task in sorted(tasks, key=lambda task: task.file.record_count):
        size += task.file.file_size_in_bytes
        if bin_ and size > target:
            yield bin_
            bin_, size = [], task.file.file_size_in_bytes
        bin_.append(task)
    yield bin_


def _worthwhile(bin_: Bin) -> Bin:
    """Return the longest start of a bin whose biggest file has no more rows than the others together; or nothing."""
    rows, count = _rows(bin_), len(bin_)
    while count and (count == 1 or 2 * bin_[count - 1].file.record_count > rows):
        count -= 1
        rows -= bin_[count].file.record_count
    return bin_[:count]


def _batches(bins: Iterable[Bin]) -> Iterator[list[Bin]]:
    batch: list[Bin] = []
    size = 0
    for bin_ in bins:
        batch.append(bin_)
        size += sum(task.file.file_size_in_bytes for task in bin_)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(table: Table, bin_: Bin) -> Sequence[DataFile]:
    rows = read_files(table, bin_, [field.name for field in table.schema().fields])
    if rows.num_rows != _rows(bin_):
        raise AttentionError(
            f"{_name(table)}: {counted(len(bin_), 'file')} should have {counted(_rows(bin_), 'row')}, "
            f"and {rows.num_rows} can be read. "
            f"Nothing was changed. Look at {bin_[0].file.file_path} and its neighbours."
        )
    # Otherwise pyiceberg would split at the table's target size, which it compares with the size in memory.
    return write_files(table, rows, target_bytes=2**62)


def _commit(
    load: Callable[[], Table], planned: Table, replaced: list[FileScanTask], written: list[DataFile]
) -> Table | str:
    """Commit the written files on the newest snapshot; return the table, or why it gave up and left orphans."""
    reader = ManifestReader(planned.io)
    table = load()
    for _ in range(_ATTEMPTS):
        reason = _in_the_way(planned, table, replaced)
        if reason:
            return f"not all compacted: {reason}"
        try:
            replace_same_rows(table, [task.file for task in replaced], written, reader)
            return table
        except ConflictError:
            table = load()
            # If something on the way sent the request twice, the second is refused because the first succeeded.
            if {file.file_path for file in written} <= reader.files(table):
                return table
    return f"not all compacted: others committed first, {_ATTEMPTS} times in a row; the next run tries again"


def _in_the_way(planned: Table, table: Table, replaced: list[FileScanTask]) -> str:
    """Say why files that were planned on the state `planned` cannot be committed on `table`; empty if they can."""
    if maintained_since(table, current_snapshot_id(planned)):
        return "another maintainer was at work, or the table was set back or moved far on; the next run tries again"
    removed = {task.file.file_path for task in changed_files(table, current_snapshot_id(planned))[0]}
    is_stale = any(task.file.spec_id != table.spec().spec_id or task.file.file_path in removed for task in replaced)
    return "others rewrote the same files; the next run tries again" if is_stale else ""


def _rows(bin_: Bin) -> int:
    return sum(task.file.record_count for task in bin_)


def _name(table: Table) -> str:
    return ".".join(table.name())
