"""What a table's manifests know of its rows: a table and a column arrive, a bound leaves; no row is read."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pyiceberg.types import TimestamptzType
from pyiceberg.utils.datetime import micros_to_timestamptz

if TYPE_CHECKING:
    from pyiceberg.table import Table


def newest(table: Table, column: str) -> datetime | None:
    """The latest value of a `timestamptz` column by the files' upper bounds.

    The Iceberg spec (Appendix D) has such a bound as eight bytes, microseconds since 1970, the lowest byte first.

    None where the table has no row with a value, or not yet the column that its contract says. A file whose rows were
    deleted in part still counts whole.
    """
    field = next((field for field in table.schema().fields if field.name == column), None)
    if field is None or not isinstance(field.field_type, TimestamptzType):
        return None
    bounds = [task.file.upper_bounds.get(field.field_id) for task in table.scan().plan_files()]
    micros = [int.from_bytes(bound, "little", signed=True) for bound in bounds if bound is not None]
    return micros_to_timestamptz(max(micros)) if micros else None
