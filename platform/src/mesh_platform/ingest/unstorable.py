"""Append rows of which some cannot be stored: find these by halving, so that no single record stops a queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from mesh_platform.errors import MeshError
from mesh_platform.iceberg.append import Appended

# So many rows in one flush are no accident of single records, but a fault in the code.
_MOST = 100

Append = Callable[[pa.Table], Appended]


def append_storable(append: Append, rows: pa.Table) -> tuple[Appended, dict[int, Exception]]:
    """Append all rows that `append` can store, and return the error of each other row by its number.

    Raises the errors of `errors`, which are not those of a row, and the error of a row when too many rows have one.
    """
    failed: dict[int, Exception] = {}
    return _append(append, rows, 0, failed), failed


def _append(append: Append, rows: pa.Table, start: int, failed: dict[int, Exception]) -> Appended:
    try:
        landed = append(rows)
    except MeshError:
        raise
    except Exception as error:
        if not rows.num_rows or len(failed) >= _MOST:
            raise
        if rows.num_rows == 1:
            failed[start] = error
            return Appended(0, 0, None)
        half = rows.num_rows // 2
        first = _append(append, rows.slice(0, half), start, failed)
        second = _append(append, rows.slice(half), start + half, failed)
        return Appended(
            first.appended + second.appended,
            first.duplicates + second.duplicates,
            second.snapshot_id or first.snapshot_id,
            (*first.reused, *second.reused),
            first.of_others + second.of_others,
        )
    return replace(landed, reused=[replace(each, row=start + each.row) for each in landed.reused])
