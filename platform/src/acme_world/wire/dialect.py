"""The dialect in which one warehouse writes its events: field names, clocks and ways of counting.

It encodes events as payloads with values in their JSON form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
from mesh_platform.errors import UsageError
from mesh_platform.events.event import Record
from numpy.typing import NDArray

from acme_world.truth.lines import INVENTORY, Events, Field, Line

Counted = Literal["signed", "cases", "direction", "before_after"]
Available = Literal["on_hand", "less_safety_stock", "less_promised", "plus_incoming"]

# Units per case, by the last digit of the product's number.
CASES = np.array([6, 12, 8, 10, 24, 4, 20, 6, 12, 16])
_DIRECTION = Field("direction", "text")
# The fields that each way of counting sends instead of `quantity_change`.
COUNTED: Mapping[Counted, tuple[Field, ...]] = {
    "signed": (Field("quantity_change", "whole"),),
    "cases": (
        _DIRECTION,
        Field("cases", "whole"),
        Field("loose_units", "whole"),
        Field("units_per_case", "whole"),
    ),
    "direction": (_DIRECTION, Field("quantity", "whole")),
    "before_after": (Field("on_hand_before", "whole"), Field("on_hand_after", "whole")),
}
# What each rule adds to the units on hand to compute the available units.
AVAILABLE: Mapping[Available, Callable[[Events], NDArray[np.int64] | int]] = {
    "on_hand": lambda _events: 0,
    "less_safety_stock": lambda events: -events["safety_stock"],
    "less_promised": lambda events: -events["promised"],
    "plus_incoming": lambda events: events["incoming"],
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Dialect:
    """One warehouse's encoding of a line; `acme_world.wire.sources` explains each part."""

    line: Line
    rename: Mapping[str, str]
    local_time: bool = False
    extra: tuple[str, ...] = ()
    counted: Counted = "signed"
    available: Available = "on_hand"

    def __post_init__(self) -> None:
        to_add = [field.name for field in self.line.extra]
        to_rename = [field.name for field in self._fields(to_add)]
        if unknown := (set(self.rename) - set(to_rename)) | (set(self.extra) - set(to_add)):
            raise UsageError(
                f"{self.line.event}: no field {sorted(unknown)}. To rename there are {to_rename}, to add there are "
                f"{to_add}. Correct the producer."
            )

    def write(self, events: Events, time_zone: str | None) -> list[Record]:
        """The records of the events, in their order, without null fields.

        Raises UsageError where `time_zone` is needed but None.
        """
        if self.local_time and time_zone is None:
            raise UsageError(f"{self.line.event}: local time needs a site. Give the domain one, or write UTC.")
        clock = ZoneInfo(time_zone) if self.local_time and time_zone else None
        columns = {**events.columns, self.line.time_field: events.at}
        if self.line is INVENTORY:
            columns |= _count(events, self.counted)
            columns["inventory_available"] = events["inventory_available"] + AVAILABLE[self.available](events)
        fields = self._fields(self.extra)
        names = [self.rename.get(field.name, field.name) for field in fields]
        times = _instants(events.at)
        values = [
            _write_times(times, clock)
            if field.name == self.line.time_field
            else _write(field, columns[field.name], clock)
            for field in fields
        ]
        rows = (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))
        if any(field.nullable for field in fields):
            rows = ({name: value for name, value in row.items() if value is not None} for row in rows)
        return [Record(time, payload) for time, payload in zip(times, rows, strict=True)]

    def _fields(self, extra: Any) -> list[Field]:
        fields: list[Field] = []
        for field in self.line.fields:
            fields += COUNTED[self.counted] if field.name == "quantity_change" else (field,)
        return fields + [field for field in self.line.extra if field.name in extra]


def _count(events: Events, counted: Counted) -> dict[str, NDArray[Any]]:
    """The columns that this way of counting sends for the changes of units."""
    change = events["quantity_change"]
    units, direction = np.abs(change), np.where(change > 0, "in", "out")
    if counted == "cases":
        digits = [int(product[-1]) for product in events["product_id"].tolist()]
        units_per_case = CASES[digits] if digits else change
        cases, loose = np.divmod(units, units_per_case)
        return {"direction": direction, "cases": cases, "loose_units": loose, "units_per_case": units_per_case}
    if counted == "direction":
        return {"direction": direction, "quantity": units}
    if counted == "before_after":
        on_hand = events["inventory_available"]
        return {"on_hand_before": on_hand - change, "on_hand_after": on_hand}
    return {"quantity_change": change}


def _write(field: Field, values: NDArray[Any], clock: ZoneInfo | None) -> list[Any]:
    if field.kind == "decimal":
        return _decimals(values, field.scale)
    if field.kind == "time":
        return _write_times(_instants(values), clock)
    if field.kind == "date":
        return [date.fromordinal(each).isoformat() for each in values.tolist()]
    written: list[Any] = values.tolist()
    if field.nullable:
        null = "" if field.kind == "text" else -1
        return [None if each == null else each for each in written]
    return written


def _decimals(values: NDArray[np.int64], scale: int) -> list[str]:
    one = 10**scale
    return [f"{'-' if each < 0 else ''}{abs(each) // one}.{abs(each) % one:0{scale}d}" for each in values.tolist()]


def _instants(milliseconds: NDArray[np.int64]) -> list[datetime]:
    return [_EPOCH + timedelta(milliseconds=each) for each in milliseconds.tolist()]


def _write_times(times: list[datetime], clock: ZoneInfo | None) -> list[str]:
    if clock:
        return [each.astimezone(clock).replace(tzinfo=None).isoformat(timespec="milliseconds") for each in times]
    return [f"{each.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z" for each in times]
