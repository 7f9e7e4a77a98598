"""The features of this domain's models as arrays: from the Arrow tables that a training or a prediction gets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml_insights.forecasting.panel import Panel

DEMAND, STOCK, DELIVERIES = "ml_insights.daily_demand", "ml_insights.stock_position", "ml_insights.delivery_features"


@dataclass(frozen=True)
class Stock:
    """Units on the shelves of a panel's series at the end of each of its days, and units received: series x days."""

    on_hand: NDArray[np.int64]
    received: NDArray[np.int64]


def panel_of(rows: pa.Table, like: Panel | None = None, end: date | None = None) -> Panel:
    """The panel of the rows of DEMAND, from their first day to before `end`, by default the day after the last.

    With `like` it has the series and the first day of that panel; rows of other series are left out.
    """
    warehouse, product = text(rows, "warehouse_id"), text(rows, "product_id")
    days = rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    if like is None:
        _, at, series = np.unique(
            np.char.add(np.char.add(warehouse, "/"), product), return_index=True, return_inverse=True
        )
        names = {"warehouse": warehouse[at], "product": product[at], "category": text(rows, "category")[at]}
        first = int(days.min())
    else:
        series = _series(like, warehouse, product)
        names = {name: getattr(like, name) for name in ("warehouse", "product", "category")}
        first = _number(like.first)
    count = (int(days.max()) + 1 if end is None else _number(end)) - first
    units, paid, listed = (np.zeros((len(names["product"]), count)) for _ in range(3))
    inside = (series >= 0) & (days >= first) & (days < first + count)
    place = series[inside], days[inside] - first
    sold = _numbers(rows, "units")[inside]
    np.add.at(units, place, sold)
    np.add.at(paid, place, _numbers(rows, "amount_usd")[inside])
    np.add.at(listed, place, sold * _numbers(rows, "list_price_usd")[inside])
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(listed > 0, paid / listed, np.nan)
    return Panel(first=_date(first), units=units, price=price, **names)


def stock_of(rows: pa.Table, like: Panel, end: date) -> Stock:
    """The rows of STOCK for the series and days of a panel, to before `end`; a gap has what the day before had."""
    series = _series(like, text(rows, "warehouse_id"), text(rows, "product_id"))
    day = rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64) - _number(like.first)
    shape = (len(like.units), _number(end) - _number(like.first))
    on_hand, received, there = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    inside = (series >= 0) & (day >= 0) & (day < shape[1])
    place = series[inside], day[inside]
    on_hand[place] = _numbers(rows, "on_hand")[inside]
    received[place] = _numbers(rows, "received")[inside]
    there[place] = True
    last = np.maximum.accumulate(np.where(there, np.arange(shape[1]), 0), axis=1)
    return Stock(np.take_along_axis(on_hand, last, axis=1), received)


def delivery_columns(rows: pa.Table) -> dict[str, NDArray[np.generic]]:
    """The columns of `risks.DELIVERY` from rows of DELIVERIES. What is missing is NaN, or the empty text."""
    left, promised = instants(rows, "dispatch_ts"), instants(rows, "promised_ts")
    hour = np.timedelta64(1, "h")
    return {
        "promised_hours": (promised - left) / hour,
        "load_share": _numbers(rows, "load_kg") / _numbers(rows, "capacity_kg"),
        "weight_kg": _numbers(rows, "weight_kg"),
        "orders": _numbers(rows, "orders"),
        "hour": left.astype("datetime64[h]").astype(np.int64) % 24,
        **{name: text(rows, name) for name in ("vehicle_type", "weather", "route_id")},
    }


def instants(rows: pa.Table, name: str) -> NDArray[np.datetime64]:
    """The instants of a column, in UTC."""
    return np.asarray(pc.cast(rows[name], pa.timestamp("us")).to_numpy())


def text(rows: pa.Table, name: str) -> NDArray[np.str_]:
    """The texts of a column; a missing one is empty."""
    return np.array(pc.fill_null(rows[name], "").to_pylist(), dtype=np.str_)


def _numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(pc.cast(rows[name], pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _series(like: Panel, warehouse: NDArray[np.str_], product: NDArray[np.str_]) -> NDArray[np.int64]:
    """The series of each row in a panel; -1 for one that it does not have."""
    known = {name: n for n, name in enumerate(zip(like.warehouse.tolist(), like.product.tolist(), strict=True))}
    pairs = zip(warehouse.tolist(), product.tolist(), strict=True)
    return np.array([known.get(pair, -1) for pair in pairs], dtype=np.int64)


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _date(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)
