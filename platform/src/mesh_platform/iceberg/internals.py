"""Wrap the private parts of pyiceberg that this package uses.

Besides, only `replace` and `connection` use such parts: those of the classes that they extend. `test_internals.py`
tests what is relied on in each, so that an upgrade of pyiceberg that changes one fails there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyiceberg.avro.file
import pyiceberg.avro.resolver
import pyiceberg.io.pyarrow
from pyiceberg.avro.file import AvroFileHeader
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
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil
from pyiceberg.table.snapshots import MetadataLogEntry, Snapshot, SnapshotLogEntry
from pyiceberg.table.sorting import SortOrder
from pyiceberg.table.update.snapshot import _ManifestMergeManager as ManifestMergeManager
from pyiceberg.table.update.snapshot import _OverwriteFiles as OverwriteFiles
from pyiceberg.table.update.snapshot import _SnapshotProducer as SnapshotProducer
from pyiceberg.typedef import EMPTY_DICT

if TYPE_CHECKING:
    from pyiceberg.avro.reader import Reader
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from pyiceberg.typedef import Record

# The commit in `replace` subclasses `OverwriteFiles` and overrides how it reads and keeps manifests.
__all__ = ["CheapTransaction", "ManifestMergeManager", "OverwriteFiles"]

# These objects are never changed. So the copies of the metadata that pyiceberg still makes can share them, and a
# commit does not become slower with every snapshot.
for _entry in (MetadataLogEntry, PartitionSpec, Schema, Snapshot, SnapshotLogEntry, SortOrder):
    _entry.__deepcopy__ = lambda self, memo=None: self  # type: ignore[method-assign]

# A run loads each table several times, and parsing takes most of that. Metadata objects are never changed either.
# There is room for two states of each table of a mesh like ACME's.
_METADATA_KEPT, _MOST_LETTERS = 256, 30_000
_parse = TableMetadataUtil.parse_raw
_parse_once = lru_cache(_METADATA_KEPT)(_parse)


def _parse_metadata(text: str) -> TableMetadata:
    # The metadata of a busy table is long, and seldom read twice.
    return _parse_once(text) if len(text) < _MOST_LETTERS else _parse(text)


TableMetadataUtil.parse_raw = staticmethod(_parse_metadata)  # type: ignore[method-assign, assignment]

_KEPT = 64

# Manifests of one kind and partition have one schema, and what reads them depends on their schema alone.
_get_schema, _AVRO_SCHEMA = AvroFileHeader.get_schema, pyiceberg.avro.file._SCHEMA_KEY
_resolve_reader = pyiceberg.avro.resolver.resolve_reader
_readers: dict[tuple[object, ...], tuple[Reader, Any, Any]] = {}


@lru_cache(_KEPT)
def _schema_of(text: str) -> Schema:
    return _get_schema(SimpleNamespace(meta={_AVRO_SCHEMA: text}))  # type: ignore[arg-type]


def _get_schema_once(header: AvroFileHeader) -> Schema:
    text = header.meta.get(_AVRO_SCHEMA)
    return _get_schema(header) if text is None else _schema_of(text)


def _resolve_reader_once(file: Any, read: Any, types: Any = EMPTY_DICT, enums: Any = EMPTY_DICT) -> Reader:
    key = (id(file), id(read), *types.items(), *enums.items())
    found = _readers.get(key)
    if found is None:
        if len(_readers) >= _KEPT:
            _readers.clear()
        # With the schemas, so that no others get their ids.
        found = _readers[key] = _resolve_reader(file, read, types, enums), file, read
    return found[0]


AvroFileHeader.get_schema = _get_schema_once  # type: ignore[method-assign, assignment]
for _module in (pyiceberg.avro.file, pyiceberg.avro.resolver):
    _module.resolve_reader = _resolve_reader_once  # type: ignore[attr-defined]


class CheapTransaction(Transaction):
    """A transaction that does not copy the metadata at each access, and does not delete the files of a failed commit.

    pyiceberg's own copies all metadata some twenty times in a commit, which takes nine tenths of the CPU time for a
    table with a thousand snapshots. `mesh maintain` removes what a failed commit wrote.
    """

    _looked: tuple[TableMetadata, tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The metadata with the updates staged so far."""
        base, updates = self._table.metadata, self._updates
        if self._looked is None or self._looked[0] is not base or self._looked[1] is not updates:
            self._looked = base, updates, super().table_metadata
        return self._looked[2]

    def _register_snapshot_producer(self, producer: SnapshotProducer[Any]) -> None:
        # pyiceberg deletes the manifests of a refused commit. But if something on the way sent the request twice, the
        # second is refused because the first succeeded, and the table would lose its current snapshot's manifests.
        super()._register_snapshot_producer(producer)
        producer._clean_all_uncommitted = lambda: None  # type: ignore[method-assign]


def stage(
    transaction: Transaction, updates: tuple[TableUpdate, ...], requirements: tuple[TableRequirement, ...]
) -> None:
    """Add updates that pyiceberg has no method for, with the requirements that the table must meet at the commit."""
    transaction._apply(updates, requirements)


def make_data_files(metadata: TableMetadata, rows: pa.Table, io: FileIO) -> list[DataFile]:
    """Write rows to data files of a table with this metadata."""
    return list(_dataframe_to_data_files(metadata, rows, io))


def use_parquet_format(model: ParquetFormatModel) -> None:
    """Let `model` write all Parquet files. The public `FileFormatFactory.register` refuses a second model."""
    FileFormatFactory._registry[FileFormat.PARQUET] = model


def write_statistics_of(writer: ParquetFormatWriter, columns: Sequence[str]) -> None:
    """Write bounds for these columns only. Call it before the rows of the file are written."""
    writer._parquet_writer_kwargs["write_statistics"] = columns


def use_upper_bound(function: Callable[[str, int | None], str | None]) -> None:
    """Let `function` truncate the upper bounds of texts."""
    pyiceberg.io.pyarrow.truncate_upper_bound_text_string = function  # type: ignore[attr-defined, assignment]


def split_by_partition(spec: PartitionSpec, schema: Schema, rows: pa.Table) -> list[tuple[Record, pa.Table]]:
    """Return the partitions of rows, each with its rows."""
    found = _determine_partitions(spec, schema, rows)
    return [(part.partition_key.partition, part.arrow_table_partition) for part in found]


def read_in_batches(table: Table, columns: Sequence[str], task: FileScanTask) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a data file, without those that delete files remove, a batch at a time."""
    scan = ArrowScan(table.metadata, table.io, table.schema().select(*columns), AlwaysTrue())
    deletes = _read_all_delete_files(table.io, [task]) if task.delete_files else {}
    yield from scan._record_batches_from_scan_tasks_and_deletes([task], deletes)


def deleted_positions(io: FileIO, tasks: Sequence[FileScanTask]) -> dict[str, set[int]]:
    """Return the numbers of the rows that delete files remove, by the path of the data file."""
    found = _read_all_delete_files(io, tasks)
    return {path: {number for part in parts for number in part.to_pylist()} for path, parts in found.items()}
