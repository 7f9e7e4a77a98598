"""The definitions of the twelve lines of events, and the form of their truth inside the simulation.

`Events` has what happened as columns of integers and text, independent of encodings, contracts and tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["text", "whole", "decimal", "time", "date", "flag"]
_DTYPES: dict[Kind, Any] = {
    "text": np.str_,
    "whole": np.int64,
    "decimal": np.int64,
    "time": np.int64,
    "date": np.int64,
    "flag": np.bool_,
}


@dataclass(frozen=True)
class Field:
    """One field of a payload. A `decimal` has `scale` places; null is '' in a `nullable` text and -1 in a number."""

    name: str
    kind: Kind
    scale: int = 0
    nullable: bool = False


@dataclass(frozen=True)
class Line:
    """One kind of event: its canonical fields in order, with its time, and the extra fields of some warehouses."""

    event: str
    fields: tuple[Field, ...]
    extra: tuple[Field, ...] = ()

    @cached_property
    def time_field(self) -> str:
        """The field of the event time: the last time field, after promised times."""
        return [field.name for field in self.fields if field.kind == "time"][-1]

    @property
    def id_field(self) -> str:
        """The field that identifies the event; an order line needs its `line_number` too."""
        return self.fields[0].name

    @cached_property
    def truth(self) -> tuple[str, ...]:
        """The columns of its Events: all fields but the time field, whose values are `at`."""
        return tuple(field.name for field in (*self.fields, *self.extra) if field.name != self.time_field)


@dataclass(frozen=True)
class Events:
    """What happened, one entry per event, ordered by `at`, then by the first column.

    `at` is the event time in ms since 1970, UTC. `columns` has the line's fields but its time field (`Line.truth`):
    text as `np.str_`, whole numbers and decimals as int64 (a decimal times 10 to its scale), times as ms, dates as
    proleptic ordinals, flags as bool. Columns without a field are facts for the answer key, such as an amount in US
    dollars.
    """

    at: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column]

    def take(self, chosen: NDArray[Any]) -> Events:
        """The events at the indices, or where the mask is true, in that order."""
        return Events(self.at[chosen], {name: values[chosen] for name, values in self.columns.items()})

    def between(self, first: int, end: int) -> Events:
        """The events with first <= at < end."""
        low, high = np.searchsorted(self.at, [first, end])
        return Events(self.at[low:high], {name: values[low:high] for name, values in self.columns.items()})


def arrange(line: Line, at: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> Events:
    """Events of `line` ordered by time, then id, with a stable sort. Raises ValueError for a wrong column."""
    if missing := [name for name in line.truth if name not in columns]:
        raise ValueError(f"{line.event}: no column {missing}")
    if uneven := [name for name, values in columns.items() if len(values) != len(at)]:
        raise ValueError(f"{line.event}: column {uneven} is not as long as the {len(at)} event times")
    order = np.lexsort((columns[line.id_field], at))
    return Events(at[order], {name: values[order] for name, values in columns.items()})


def join(line: Line, parts: Sequence[Events]) -> Events:
    """All events of the parts, ordered. No events without parts."""
    if not parts:
        return no_events(line)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    return arrange(line, np.concatenate([part.at for part in parts]), columns)


def no_events(line: Line) -> Events:
    """An empty set of events."""
    kinds = {field.name: field.kind for field in (*line.fields, *line.extra)}
    return Events(np.zeros(0, np.int64), {name: np.zeros(0, dtype=_DTYPES[kinds[name]]) for name in line.truth})


def _line(event: str, fields: str, extra: str = "") -> Line:
    return Line(event, _fields(fields), _fields(extra))


def _fields(text: str) -> tuple[Field, ...]:
    """Parse `name:kind` or `name:decimal2`, separated by spaces; a final `?` marks nullable fields."""
    found = []
    for each in text.split():
        name, _, kind = each.rstrip("?").partition(":")
        scale = int(kind[7:]) if kind.startswith("decimal") else 0
        plain: Any = "decimal" if scale else kind or "text"
        found.append(Field(name, plain, scale, each.endswith("?")))
    return tuple(found)


ORDERS = _line(
    "order_created",
    "order_id line_number:whole customer_id product_id quantity:whole unit_price:decimal2 amount:decimal2 currency "
    "status order_time:time",
    "loyalty_tier",
)
RETURNS = _line(
    "order_returned",
    "return_id order_id line_number:whole customer_id product_id quantity:whole refund_amount:decimal2 currency "
    "reason condition return_time:time",
    "loyalty_tier",
)
INVENTORY = _line(
    "inventory_movement",
    "movement_id product_id movement_type reason order_id? employee_id quantity_change:whole "
    "inventory_available:whole movement_time:time",
)
RESTOCKS = _line(
    "inventory_restock_event",
    "restock_id product_id supplier_id employee_id quantity:whole unit_cost:decimal2 currency restock_time:time",
)
ORDER_ERRORS = _line(
    "order_error_event",
    "error_id error_code order_id? line_number:whole? product_id? quantity:whole? message error_time:time",
)
DISPATCH_LOGS = _line(
    "dispatch_log_event",
    "dispatch_id trip_id order_id vehicle_id route_id employee_id package_count:whole weight_kg:decimal3 "
    "promised_time:time dispatch_time:time",
    "dock_door",
)
VEHICLE_TRACKING = _line(
    "vehicle_tracking",
    "tracking_id trip_id vehicle_id route_id driver_id warehouse_id activity home_route_id condition weather "
    "distance_km:decimal1 speed_kmh:decimal1 load_kg:decimal3 tracked_time:time",
)
ROUTE_UPDATES = _line(
    "route_update",
    "update_id route_id distance_km:decimal1 promised_hours:decimal2 road_class status reason effective_time:time",
)
DELIVERY_SLA = _line(
    "delivery_sla_event",
    "delivery_id dispatch_id trip_id order_id warehouse_id vehicle_id route_id weather load_kg:decimal3 "
    "promised_time:time delivered_time:time delay_minutes:whole sla_met:flag",
)
DEMAND_FORECAST = _line(
    "demand_forecast_generated",
    "forecast_id product_id warehouse_id target_date:date horizon_days:whole predicted_units:decimal3 "
    "lower_units:decimal3 upper_units:decimal3 model_name model_version generated_time:time",
)
SLA_RISK = _line(
    "sla_risk_predicted",
    "prediction_id dispatch_id order_id warehouse_id vehicle_id route_id risk_score:decimal4 risk_level model_name "
    "model_version predicted_time:time",
)
STOCKOUT_RISK = _line(
    "stockout_risk_predicted",
    "prediction_id product_id warehouse_id risk_score:decimal4 risk_level days_of_cover:decimal2 horizon_days:whole "
    "model_name model_version predicted_time:time",
)
LINES: dict[str, Line] = {
    line.event: line
    for line in (
        ORDERS,
        RETURNS,
        INVENTORY,
        RESTOCKS,
        ORDER_ERRORS,
        DISPATCH_LOGS,
        VEHICLE_TRACKING,
        ROUTE_UPDATES,
        DELIVERY_SLA,
        DEMAND_FORECAST,
        SLA_RISK,
        STOCKOUT_RISK,
    )
}
