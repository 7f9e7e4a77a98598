"""Delete rows of a table as other engines do: by a file of positions, beside the data files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles


def delete_positions(table: Table, positions: Mapping[str, Sequence[int]]) -> None:
    """Commit delete files for rows by the path of their file and their number in it, from 0."""
    files = {task.file.file_path: task.file for task in table.scan().plan_files()}
    with table.transaction() as transaction, _AppendDeletes(Operation.DELETE, transaction, table.io) as snapshot:
        for path, numbers in positions.items():
            snapshot.append_data_file(_write(table, files[path], numbers))


def _write(table: Table, file: DataFile, numbers: Sequence[int]) -> DataFile:
    # The ids are those of the Iceberg spec, "Reserved Field IDs".
    schema = pa.schema(
        [
            pa.field("file_path", pa.string(), False, {"PARQUET:field_id": "2147483546"}),
            pa.field("pos", pa.int64(), False, {"PARQUET:field_id": "2147483545"}),
        ]
    )
    path = f"{table.location()}/data/{uuid4()}-deletes.parquet"
    with table.io.new_output(path).create() as output:
        pq.write_table(pa.table([[file.file_path] * len(numbers), [*numbers]], schema=schema), output)
    unknown: dict[str, dict[int, Any]] = {
        name: {} for name in ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")
    }
    written = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=file.partition,
        record_count=len(numbers),
        file_size_in_bytes=len(table.io.new_input(path)),
        lower_bounds={},
        upper_bounds={},
        **unknown,
    )
    written.spec_id = file.spec_id
    return written


class _Writer(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _AppendDeletes(_FastAppendFiles):
    def new_manifest_writer(self, spec: PartitionSpec) -> ManifestWriter:
        output: Any = self.new_manifest_output()
        return _Writer(spec, self.schema(), output, self._snapshot_id, self._compression)

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        return manifests
