"""Find rows by their keys in data files: bounds rule files out, then the index; of the rest only keys are read.

Only candidates are returned, so that an exact comparison has little to do.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.types import (
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    PrimitiveType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from mesh_platform.iceberg.snapshot_diff import read_files

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.types import NestedField

    from mesh_platform.iceberg.key_index import KeyIndex

# Types with the same order in Arrow and in Iceberg's bounds, and the Arrow type of their bounds if it is another.
_ORDERED = {
    DateType: pa.int32(),
    DecimalType: None,
    IntegerType: None,
    LongType: None,
    StringType: None,
    TimestampType: pa.int64(),
    TimestamptzType: pa.int64(),
}
# Rows that are compared at once. The wanted keys are hashed for each such part, so small files share one.
_ROWS_AT_ONCE = 1_000_000
_SOME = 8


def find_candidates(
    table: Table, tasks: Iterable[FileScanTask], keys: pa.Table, index: KeyIndex | None = None
) -> pa.Table:
    """Return the key columns of all rows in the files `tasks` that have one of `keys`, and of few other rows.

    In each column a candidate has a value that one of `keys` has. A file is opened only if its bounds in the
    manifests allow one of the values in each column, and `index` does not rule it out.
    """
    fields = {name: table.schema().find_field(name) for name in keys.column_names}
    wanted = [Wanted(fields[name], keys.column(name)) for name in keys.column_names]
    possible = [task for task in tasks if all(column.may_be_in(task.file) for column in wanted)]
    if index is not None:
        possible = index.may_hold(table, possible, keys)
    if not possible:
        return keys.slice(0, 0)
    return pa.concat_tables(
        [_candidates(table, part, wanted) for part in _parts(possible)], promote_options="permissive"
    )


class Wanted:
    """The values that are wanted in one column."""

    def __init__(self, field: NestedField, values: pa.ChunkedArray) -> None:
        self.field = field
        self.values = pc.unique(values)

        # Bounds do not cover a missing value.
        self._has_bounds = isinstance(field.field_type, tuple(_ORDERED)) and not self.values.null_count

    @cached_property
    def _as_bounds(self) -> pa.Array:
        as_bound = next(kind for of, kind in _ORDERED.items() if isinstance(self.field.field_type, of))
        return self.values.cast(as_bound) if as_bound else self.values

    @cached_property
    def _some(self) -> list[Any]:
        """A few of the values: if keys have no order, one of them is within most bounds, so sorting is not needed."""
        found: list[Any] = self._as_bounds[:_SOME].to_pylist()
        return found

    @cached_property
    def _ascending(self) -> pa.Array:
        return self._as_bounds.take(pc.sort_indices(self._as_bounds))

    def may_be_in(self, file: DataFile) -> bool:
        """Whether the bounds of a file allow one of the values.

        A missing bound allows all values. The bounds of a text are truncated to 16 characters, a lower one downwards
        and an upper one upwards (Iceberg spec, "Column Metrics", `truncate(16)`), so no value is ruled out wrongly.
        """
        if not self._has_bounds:
            return True
        lower, upper = self._bound(file.lower_bounds), self._bound(file.upper_bounds)
        if any((lower is None or lower <= one) and (upper is None or one <= upper) for one in self._some):
            return True
        values = self._ascending
        places = range(len(values))

        def value(place: int) -> Any:
            return values[place].as_py()

        begin = 0 if lower is None else bisect_left(places, lower, key=value)
        end = len(values) if upper is None else bisect_right(places, upper, key=value)
        return begin < end

    def _bound(self, bounds: dict[int, bytes] | None) -> Any:
        bound = (bounds or {}).get(self.field.field_id)
        kind = self.field.field_type
        assert isinstance(kind, PrimitiveType), f"{self.field.name} is of a type that no contract has"
        return None if bound is None else from_bytes(kind, bound)

    def among(self, column: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Return which rows of `column` have one of the values; None if only an exact comparison can tell."""
        # The doubles 0.0 and -0.0 are equal in SQL, but have different hashes.
        if isinstance(self.field.field_type, DoubleType):
            return None
        return pc.is_in(column, value_set=self.values.cast(column.type))


def _parts(tasks: Iterable[FileScanTask]) -> Iterator[list[FileScanTask]]:
    part: list[FileScanTask] = []
    rows = 0
    for task in tasks:
        part.append(task)
        rows += task.file.record_count
        if rows >= _ROWS_AT_ONCE:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _candidates(table: Table, tasks: list[FileScanTask], wanted: list[Wanted]) -> pa.Table:
    rows = read_files(table, tasks, [each.field.name for each in wanted])
    for each in wanted:
        among = each.among(rows.column(each.field.name))
        if among is not None:
            rows = rows.filter(among)
    return rows
