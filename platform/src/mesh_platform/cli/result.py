"""Writing rows of a query in an output format; values that the format lacks are written as words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mesh_platform.cli.output import to_plain, write_json
from mesh_platform.cli.text_table import write_cut_table, write_table
from mesh_platform.contract.types import number_words
from mesh_platform.engine.rows import is_time, outside_calendar
from mesh_platform.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

# As in DuckDB, which can read them.
_LATEST, _EARLIEST = "infinity", "-infinity"


def write_result(rows: pa.Table, output_format: str, wide: bool) -> None:
    """Write the rows of a query to stdout, as json, as csv or, with any other format, as a table for people.

    Unless it shall be `wide`, a terminal gets as much of the table as fits its lines.

    NaN, infinities and infinite times are the same words in each format. Raises UsageError for a value that the
    format cannot express.
    """
    try:
        if output_format == "csv":
            import pyarrow.csv

            pyarrow.csv.write_csv(_with_words(rows, output_format), sys.stdout.buffer)
        elif output_format == "json":
            write_json(_with_words(rows, output_format).to_pylist())
        else:
            write = write_table if wide else write_cut_table
            write(_with_words(rows, output_format).to_pylist(), columns=rows.column_names)
    # Arrow raises these for types that CSV lacks and times that Python lacks.
    except (NotImplementedError, OverflowError, ValueError) as error:
        raise UsageError(f"a value has no form in {output_format}: {error}. Cast that column to varchar.") from error


def _with_words(rows: pa.Table, output_format: str) -> pa.Table:
    """`rows` with words for infinite times and, in CSV, for NaN and infinities.

    A column with such values becomes a text column. In JSON these numbers are converted later. Raises ValueError,
    which names the column, for other times outside of the years 1 to 9999.
    """
    for place, name in enumerate(rows.column_names):
        values = rows.column(place)
        if is_time(values.type):
            words = _time_words(name, values, output_format)
        else:
            words = _number_words(values) if output_format == "csv" else None
        if words is not None:
            rows = rows.set_column(place, name, words)
    return rows


def _number_words(values: pa.ChunkedArray) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(values.type) or pc.all(pc.is_finite(values)).as_py() is not False:
        return None
    text = pc.cast(values, pa.string()).to_pylist()
    return pa.array(
        [
            None if number is None else number_words(number) or written
            for number, written in zip(values.to_pylist(), text, strict=True)
        ],
        pa.string(),
    )


def _time_words(name: str, values: pa.ChunkedArray, output_format: str) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    odd = outside_calendar(values)
    if not pc.any(odd).as_py():
        return None
    bits = 32 if pa.types.is_date32(values.type) else 64
    numbers = values.cast(pa.int32() if bits == 32 else pa.int64()).to_pylist()
    words = {2 ** (bits - 1) - 1: _LATEST, 1 - 2 ** (bits - 1): _EARLIEST}
    others = pc.if_else(odd, None, values)
    if sum(number in words for number in numbers) != pc.sum(odd).as_py():
        raise ValueError(f"'{name}' has a time that is not in the years 1 to 9999")
    # Formatted as in a column without such values.
    written = pc.cast(others, pa.string()).to_pylist() if output_format == "csv" else _plain(others)
    return pa.array([words.get(number, text) for number, text in zip(numbers, written, strict=True)], pa.string())


def _plain(times: pa.ChunkedArray) -> list[str | None]:
    return [to_plain(time) for time in times.to_pylist()]
