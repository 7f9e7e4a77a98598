"""Models of the two risks: what they say as events, and how wrong they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ml_insights.forecasting import demand
from ml_insights.forecasting.frames import (
    DELIVERIES,
    DEMAND,
    STOCK,
    delivery_columns,
    instants,
    panel_of,
    stock_of,
)
from ml_insights.forecasting.risks import DELIVERY, SHELF, Columns, RiskModel, shelf_columns
from ml_insights.forecasting.scores import brier

# What left on the last days may not have arrived: of these days only the deliveries in time would be known.
UNDER_WAY = 2
# The days that the chance of an empty shelf looks ahead.
SHELF_DAYS = 3
# From these chances on a risk is medium, and high.
MEDIUM, HIGH = 0.3, 0.6


@dataclass(frozen=True)
class Share:
    """The same chance for all, which is how often it happened: the baseline."""

    share: float

    def chance(self, columns: Columns) -> NDArray[np.float64]:
        """The chance of each entry of the columns."""
        return np.full(len(next(iter(columns.values()))), self.share)


@dataclass(frozen=True)
class LateDelivery:
    """How likely it is that a delivery which has left comes late."""

    model: RiskModel | Share

    def predict(self, frames: Mapping[str, pa.Table], now: datetime, run: str) -> pa.Table:
        """The events `sla_risk_predicted` for what left on the last UNDER_WAY days and has not arrived."""
        rows = frames[DELIVERIES]
        since = pa.scalar(now - timedelta(days=UNDER_WAY), rows.schema.field("dispatch_ts").type)
        rows = rows.filter(pc.and_(pc.is_null(rows["is_late"]), pc.greater_equal(rows["dispatch_ts"], since)))
        chance = self.model.chance(delivery_columns(rows))
        names = ("dispatch_id", "order_id", "warehouse_id", "vehicle_id", "route_id")
        return pa.table(
            {
                "prediction_id": [f"SLR-{run}-{dispatch}" for dispatch in rows["dispatch_id"].to_pylist()],
                **{name: rows[name] for name in names},
                "risk_score": chance,
                "risk_level": _levels(chance),
            }
        )

    def loss(self, frames: Mapping[str, pa.Table], first: date, end: date) -> float:
        """The Brier score over what left on these days, but for the last UNDER_WAY."""
        rows = arrived(frames[DELIVERIES], end)
        rows = rows.filter(pa.array(instants(rows, "dispatch_ts") >= np.datetime64(first)))
        return brier(self.model.chance(delivery_columns(rows)), late(rows))


def learn_deliveries(frames: Mapping[str, pa.Table], seed: int) -> LateDelivery:
    """A model of all that had time to arrive."""
    rows = _had_time(frames)
    return LateDelivery(RiskModel(DELIVERY, delivery_columns(rows), late(rows), seed))


def share_of_late(frames: Mapping[str, pa.Table]) -> LateDelivery:
    """The share of late ones among all that had time to arrive."""
    return LateDelivery(Share(float(late(_had_time(frames)).mean())))


def _had_time(frames: Mapping[str, pa.Table]) -> pa.Table:
    newest = pc.max(frames[DELIVERIES]["dispatch_ts"]).as_py()
    return arrived(frames[DELIVERIES], newest.date() + timedelta(days=1))


def arrived(rows: pa.Table, end: date) -> pa.Table:
    """The rows of what left until UNDER_WAY days before `end`, and has arrived."""
    before = instants(rows, "dispatch_ts") < np.datetime64(end - timedelta(days=UNDER_WAY))
    return rows.filter(pc.and_(pa.array(before), pc.is_valid(rows["is_late"])))


def late(rows: pa.Table) -> NDArray[np.bool_]:
    """Whether each row came late."""
    return np.array(rows["is_late"].to_pylist(), dtype=np.bool_)


@dataclass(frozen=True)
class EmptyShelf:
    """How likely it is that a shelf is empty on one of the next SHELF_DAYS days; `demand` says what will be sold."""

    demand: demand.Trained
    model: RiskModel | Share

    def predict(self, frames: Mapping[str, pa.Table], now: datetime, run: str) -> pa.Table:
        """The events `stockout_risk_predicted` for the day of `now`."""
        panel, today = self.demand.panel, now.date()
        columns = {name: each[:, -1] for name, each in shelves(self.demand, frames, today).items()}
        chance = self.model.chance(columns)
        daily = np.maximum(columns["expected_units"].astype(float) / SHELF_DAYS, 0.01)
        warehouse, product = panel.warehouse.tolist(), panel.product.tolist()
        return pa.table(
            {
                "prediction_id": [f"STR-{run}-{w}-{p}" for w, p in zip(warehouse, product, strict=True)],
                "product_id": product,
                "warehouse_id": warehouse,
                "risk_score": chance,
                "risk_level": _levels(chance),
                "days_of_cover": np.maximum(columns["on_hand"], 0) / daily,
                "horizon_days": np.full(len(product), SHELF_DAYS),
            }
        )

    def loss(self, frames: Mapping[str, pa.Table], first: date, end: date) -> float:
        """The Brier score over the shelves at the beginning of each of these days that SHELF_DAYS days follow."""
        begin = (first - self.demand.panel.first).days
        happened = empty_soon(self.demand, frames, end)[:, begin:]
        columns = shelves(self.demand, frames, end)
        chosen = {name: each[:, begin : begin + happened.shape[1]].ravel() for name, each in columns.items()}
        return brier(self.model.chance(chosen), happened.ravel())


def learn_shelves(frames: Mapping[str, pa.Table], seed: int) -> EmptyShelf:
    """A model of the shelves on all days of the panel that SHELF_DAYS days follow."""
    trained, end = _of_panel(frames)
    happened = empty_soon(trained, frames, end)
    columns = shelves(trained, frames, end)
    chosen = {name: each[:, : happened.shape[1]].ravel() for name, each in columns.items()}
    return EmptyShelf(trained, RiskModel(SHELF, chosen, happened.ravel(), seed))


def share_of_empty(frames: Mapping[str, pa.Table]) -> EmptyShelf:
    """The share of days that an empty shelf follows soon."""
    trained, end = _of_panel(frames)
    return EmptyShelf(trained, Share(float(empty_soon(trained, frames, end).mean())))


def _of_panel(frames: Mapping[str, pa.Table]) -> tuple[demand.Trained, date]:
    panel = panel_of(frames[DEMAND])
    return demand.train(panel), panel.first + timedelta(days=panel.days)


def shelves(trained: demand.Trained, frames: Mapping[str, pa.Table], end: date) -> dict[str, NDArray[np.generic]]:
    """The SHELF columns at the beginning of each day up to `end`, that one too: series x days."""
    stock = stock_of(frames[STOCK], trained.panel, end)
    days = stock.on_hand.shape[1]
    # A day begins with what the day before left.
    before = [np.concatenate([each[:, :1], each], axis=1) for each in (stock.on_hand, stock.received)]
    daily = trained.expected(0, days + SHELF_DAYS)
    expected = sum(daily[:, ahead : ahead + days + 1] for ahead in range(SHELF_DAYS))
    return shelf_columns(before[0], before[1], expected)


def empty_soon(trained: demand.Trained, frames: Mapping[str, pa.Table], end: date) -> NDArray[np.bool_]:
    """Whether a shelf was empty at the end of one of SHELF_DAYS days, from each day that has so many before `end`."""
    empty = stock_of(frames[STOCK], trained.panel, end).on_hand <= 0
    days = empty.shape[1] - SHELF_DAYS + 1
    return np.any([empty[:, ahead : ahead + days] for ahead in range(SHELF_DAYS)], axis=0)


def _levels(chance: NDArray[np.float64]) -> list[str]:
    return [("low", "medium", "high")[int(each >= MEDIUM) + int(each >= HIGH)] for each in chance.tolist()]
