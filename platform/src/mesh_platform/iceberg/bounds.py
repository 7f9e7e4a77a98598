"""Find a column's greatest value by the bounds in the manifests, and partitions by those in the lists of manifests.

Rows are read only from files whose values are on both sides of a limit.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from pyiceberg.expressions import LessThanOrEqual
from pyiceberg.types import TimestamptzType
from pyiceberg.utils.datetime import datetime_to_micros, micros_to_timestamptz

from mesh_platform.iceberg.snapshot_diff import read_files

if TYPE_CHECKING:
    from pyiceberg.table import FileScanTask, Table


def newest(
    table: Table, column: str, until: datetime | None = None, snapshot_id: int | None = None
) -> datetime | None:
    """Return the latest value of a `timestamptz` column by the files' upper bounds; with `until`, the latest by then.

    It is that of the snapshot `snapshot_id`, by default of the current one.

    Such a bound is eight bytes, microseconds since 1970, lowest byte first (Iceberg spec, Appendix D).

    Returns None if the table has no row with such a value, or does not have the contract's column yet. A file with
    deleted rows counts as if it had all of them.
    """
    field = next((field for field in table.schema().fields if field.name == column), None)
    if field is None or not isinstance(field.field_type, TimestamptzType):
        return None
    number = field.field_id
    files = [
        task for task in table.scan(snapshot_id=snapshot_id).plan_files() if number in (task.file.upper_bounds or {})
    ]
    limit = datetime_to_micros(until) if until else None
    if limit is None:
        micros = [_number(task.file.upper_bounds[number]) for task in files]
    else:
        within = [task for task in files if _number(task.file.upper_bounds[number]) <= limit]
        micros = [_number(task.file.upper_bounds[number]) for task in within]
        across = [task for task in files if task not in within and _number(task.file.lower_bounds[number]) <= limit]
        micros += [found for task in across if (found := _latest(table, task, column, until)) is not None]
    return micros_to_timestamptz(max(micros)) if micros else None


def begins_before_1970(table: Table, transform: str, column: str) -> bool:
    """Whether a file of the current snapshot is in a partition before 1970, of the layout `transform(column)`.

    Only the list of manifests is read. A day or month is stored as a number from 1970 (Iceberg spec, "Partition
    Transforms"), and the bound of a manifest's partitions as its four bytes, lowest first.
    """
    snapshot, source = table.current_snapshot(), table.schema().find_field(column).field_id
    for manifest in snapshot.manifests(table.io) if snapshot else []:
        parts = table.specs()[manifest.partition_spec_id].fields
        for part, summary in zip(parts, manifest.partitions or [], strict=False):
            is_asked = (str(part.transform), part.source_id) == (transform, source)
            if is_asked and summary.lower_bound is not None and _number(summary.lower_bound) < 0:
                return True
    return False


def _number(bound: bytes) -> int:
    return int.from_bytes(bound, "little", signed=True)


def _latest(table: Table, task: FileScanTask, column: str, until: datetime | None) -> int | None:
    rows = read_files(table, [task], [column], LessThanOrEqual(column, until))
    found: int | None = pc.max(rows[column].cast("int64")).as_py()
    return found
