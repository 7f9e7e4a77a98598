"""What this package uses of pyiceberg that pyiceberg does not promise to keep.

No other module names such a part. `test_internals.py` holds each against what is relied on, so that an upgrade of
pyiceberg which changes one fails there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyiceberg.io.pyarrow
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.fileformat import FileFormatFactory
from pyiceberg.io.pyarrow import (
    ArrowScan,
    ParquetFormatModel,
    ParquetFormatWriter,
    _dataframe_to_data_files,
    _determine_partitions,
    _read_all_delete_files,
)
from pyiceberg.manifest import FileFormat
from pyiceberg.table import Transaction
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry
from pyiceberg.table.update.snapshot import _ManifestMergeManager as ManifestMergeManager
from pyiceberg.table.update.snapshot import _OverwriteFiles as OverwriteFiles
from pyiceberg.table.update.snapshot import _SnapshotProducer as SnapshotProducer

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from pyiceberg.typedef import Record

# `OverwriteFiles` is the base of the commit in `replace`, which overrides how it reads and keeps manifests.
__all__ = ["CheapTransaction", "ManifestMergeManager", "OverwriteFiles"]

# Nobody changes these once they are made. So the copies of the metadata that are still made may share them, and a
# commit does not slow down with every snapshot that there is.
for _entry in (MetadataLogEntry, Snapshot, SnapshotLogEntry):
    _entry.__deepcopy__ = lambda self, memo=None: self  # type: ignore[method-assign]


class CheapTransaction(Transaction):
    """pyiceberg's own looks at the metadata some twenty times in a commit, and copies all of it at each look.

    That is nine tenths of the CPU of a commit to a table with a thousand snapshots. What a commit that failed wrote
    stays, for `mesh maintain` to remove.
    """

    _looked: tuple[TableMetadata, tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The metadata with the updates applied that are staged so far."""
        base, updates = self._table.metadata, self._updates
        if self._looked is None or self._looked[0] is not base or self._looked[1] is not updates:
            self._looked = base, updates, super().table_metadata
        return self._looked[2]

    def _register_snapshot_producer(self, producer: SnapshotProducer[Any]) -> None:
        # pyiceberg deletes the manifests of a commit that was refused. A refusal can be wrong: where something on the
        # way sent the request twice, the second meets the first's success, and the table would lose its head.
        super()._register_snapshot_producer(producer)
        producer._clean_all_uncommitted = lambda: None  # type: ignore[method-assign]


def stage(
    transaction: Transaction, updates: tuple[TableUpdate, ...], requirements: tuple[TableRequirement, ...]
) -> None:
    """Add updates that pyiceberg has no method for, on condition of what the table must still be."""
    transaction._apply(updates, requirements)


def make_data_files(metadata: TableMetadata, rows: pa.Table, io: FileIO) -> list[DataFile]:
    """Write rows to data files of a table with this metadata."""
    return list(_dataframe_to_data_files(metadata, rows, io))


def use_parquet_format(model: ParquetFormatModel) -> None:
    """Let `model` write all Parquet files. `FileFormatFactory.register` refuses a second one for a format."""
    FileFormatFactory._registry[FileFormat.PARQUET] = model


def write_statistics_of(writer: ParquetFormatWriter, columns: Sequence[str]) -> None:
    """Let a file have bounds of these columns only; to be called before its rows are written."""
    writer._parquet_writer_kwargs["write_statistics"] = columns


def use_upper_bound(function: Callable[[str, int | None], str | None]) -> None:
    """Let `function` shorten the upper bounds of texts."""
    pyiceberg.io.pyarrow.truncate_upper_bound_text_string = function  # type: ignore[attr-defined, assignment]


def split_by_partition(spec: PartitionSpec, schema: Schema, rows: pa.Table) -> list[tuple[Record, pa.Table]]:
    """The partitions that rows lie in, each with its rows."""
    found = _determine_partitions(spec, schema, rows)
    return [(part.partition_key.partition, part.arrow_table_partition) for part in found]


def read_in_batches(table: Table, columns: Sequence[str], task: FileScanTask) -> Iterator[pa.RecordBatch]:
    """The rows of a data file, less what delete files take out, a batch at a time."""
    scan = ArrowScan(table.metadata, table.io, table.schema().select(*columns), AlwaysTrue())
    deletes = _read_all_delete_files(table.io, [task]) if task.delete_files else {}
    yield from scan._record_batches_from_scan_tasks_and_deletes([task], deletes)
