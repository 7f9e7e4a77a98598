"""Write the data files of a table, as Parquet whose bounds mislead no reader.

Parquet writers leave NaN out of a column's minimum and maximum. DuckDB treats NaN as the greatest value and trusts
the bounds: it skips a file if no row can pass a filter by them, and does not check the rows of one if all must pass.
The Parquet format (README, "Statistics") allows a writer to omit bounds; Iceberg's bounds of a file are made of them.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io.pyarrow import ParquetFormatModel, ParquetFormatWriter

from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.internals import (
    make_data_files,
    use_parquet_format,
    use_upper_bound,
    write_statistics_of,
)
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.io import FileIO, OutputFile
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.typedef import Properties


_SURROGATES = range(0xD800, 0xE000)


def write_data_files(metadata: TableMetadata, rows: pa.Table, io: FileIO) -> list[DataFile]:
    """Write `rows` to data files of the table, which no snapshot names yet; no rows give no files.

    Raises AttentionError unless the files have as many rows together.
    """
    files = make_data_files(metadata, rows, io) if rows.num_rows else []
    written = sum(file.record_count for file in files)
    if written != rows.num_rows:
        raise AttentionError(
            f"{metadata.location}: {counted(rows.num_rows, 'row')} went to data files, which have {written}. Nothing "
            "was committed. Partition the table by another column, and report this to the maintainers."
        )
    return files


class _Writer(ParquetFormatWriter):
    """A writer that omits the bounds of a column with NaN. pyiceberg writes each file in one call."""

    def write(self, table: pa.Table) -> None:
        """Write the rows of a file."""
        bounded = [name for name in table.column_names if not _holds_nan(table[name])]
        if len(bounded) < table.num_columns:
            write_statistics_of(self, bounded)
        super().write(table)


class _Model(ParquetFormatModel):
    def create_writer(self, output_file: OutputFile, file_schema: Schema, properties: Properties) -> _Writer:
        return _Writer(output_file, file_schema, properties)


def _upper_bound(value: str, trunc_length: int | None) -> str | None:
    """Return a text of at most `trunc_length` characters that is not below `value`; None if there is none.

    pyiceberg's own function increments a character without checking the result. After U+D7FF come the surrogates,
    which UTF-8 cannot encode, so the file could not be committed.
    """
    start = value[:trunc_length]
    if start == value:
        return value
    for place in reversed(range(len(start))):
        following = ord(start[place]) + 1
        if following in _SURROGATES:
            following = _SURROGATES.stop
        if following <= sys.maxunicode:
            return start[:place] + chr(following)
    return None


def _holds_nan(values: pa.ChunkedArray) -> bool:
    return pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py() is True


# It warns about each column without bounds in each file.
logging.getLogger("pyiceberg.io.pyarrow").addFilter(
    lambda record: not record.getMessage().startswith("PyArrow statistics missing for column")
)
use_parquet_format(_Model())
use_upper_bound(_upper_bound)
