"""Anomalies planted on some days, for detection: events do not mark them, only the answer key knows.

They change a day's attempts, and cause losses and errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.attempts import Attempts
from acme_world.truth.clock import DAY_MS, HOUR_MS, midnight
from acme_world.truth.demand import divide_half_up
from acme_world.truth.goods import Goods
from acme_world.truth.lines import INVENTORY, ORDER_ERRORS, ORDERS, Events, Line
from acme_world.truth.mishaps import SYSTEM_ERRORS, Columns, system_errors
from acme_world.truth.stockroom import Losses
from acme_world.truth.streams import open_stream

Kind = Literal["bulk_order", "price_glitch", "shrink", "error_storm"]
KINDS: tuple[Kind, ...] = ("bulk_order", "price_glitch", "shrink", "error_storm")
ONE_IN_DAYS = 10
BULK_FACTOR, BULK_MOST_WEIGHT = 40, 500_000
GLITCH_DIVISOR, GLITCH_LASTS = 10, DAY_MS
SHRINK_LEAST, SHRINK_LOW, SHRINK_HIGH = 30, 50, 71
STORM_LOW, STORM_HIGH, STORM_LASTS = 60, 121, HOUR_MS


@dataclass(frozen=True)
class Anomaly:
    """One planted anomaly: `event` is the line that shows it, `ids` has its order, movement or error ids there."""

    kind: Kind
    event: str
    domain: str
    day: date
    ids: tuple[str, ...]
    product_id: str


class Trouble:
    """The anomaly of one domain's day, if any. Call the method for each kind, then `tell` for the result."""

    def __init__(self, domain: str, seed: int, start: date, day_index: int) -> None:
        self._draw = open_stream("anomalies", seed, domain, start.toordinal(), day_index)
        turn, into = divmod(day_index, ONE_IN_DAYS)
        planted = into == open_stream("anomaly day", seed, domain, start.toordinal(), turn).integers(0, ONE_IN_DAYS)
        first = open_stream("anomaly kind", seed, domain).integers(0, len(KINDS))
        self.kind: Kind | None = KINDS[(first + turn) % len(KINDS)] if planted else None
        self._domain, self._day = domain, start + timedelta(days=day_index)
        # These identify the planted events.
        self._product_id, self._error_code, self._order_ids = "", "", np.zeros(0, np.str_)
        self._first_at, self._last_at = 0, -1

    def upset_orders(
        self, attempts: Attempts, goods: Goods, wanted: NDArray[np.bool_], free: NDArray[np.int64]
    ) -> Attempts:
        """Plant a bulk order or a price glitch among the `wanted` lines, if it is due on this day."""
        if self.kind == "bulk_order":
            lines = self._find_bulk(attempts, goods, wanted, free)
            quantity = attempts.quantity.copy()
            quantity[lines] *= BULK_FACTOR
            upset = replace(attempts, quantity=quantity)
        elif self.kind == "price_glitch":
            lines = self._find_glitch(attempts, wanted)
            unit_price = attempts.unit_price.copy()
            unit_price[lines] = np.maximum(divide_half_up(unit_price[lines], GLITCH_DIVISOR), 1)
            upset = replace(attempts, unit_price=unit_price)
        else:
            return attempts
        if len(lines):
            self._product_id = str(goods.product_id[attempts.product[lines[0]]])
            self._order_ids = attempts.order_id[attempts.order[lines]]
        return upset

    def lose_goods(self, goods: Goods, free: NDArray[np.int64]) -> Losses:
        """Lose most of a full shelf, if this is due on this day."""
        full = np.flatnonzero(free[: goods.known] >= SHRINK_LEAST) if self.kind == "shrink" else free[:0]
        which = self._one_of(full)
        at = midnight(self._day) + self._draw.integers(1, DAY_MS, len(which))
        percent = self._draw.integers(SHRINK_LOW, SHRINK_HIGH, len(which))
        if len(which):
            self._product_id = str(goods.product_id[which[0]])
            self._first_at = self._last_at = int(at[0])
        return Losses(at, which, -(free[which] * percent // 100), np.full(len(which), "cycle_count"))

    def storm(self) -> Columns:
        """Errors of one system, all within an hour, if they are due on this day."""
        count = int(self._draw.integers(STORM_LOW, STORM_HIGH)) if self.kind == "error_storm" else 0
        begin = midnight(self._day) + int(self._draw.integers(1, DAY_MS - STORM_LASTS))
        at = begin + self._draw.integers(0, STORM_LASTS, count)
        which = int(self._draw.integers(0, len(SYSTEM_ERRORS)))
        if count:
            self._error_code = SYSTEM_ERRORS[which][0]
            self._first_at, self._last_at = begin, begin + STORM_LASTS
        return system_errors(at, np.full(count, which))

    def tell(self, orders: Events, movements: Events, errors: Events) -> tuple[Anomaly, ...]:
        """The planted anomaly, if it took place, with its ids from the day's events."""
        if self.kind in ("bulk_order", "price_glitch"):
            found = np.isin(orders["order_id"], self._order_ids) & (orders["product_id"] == self._product_id)
            return self._as_anomaly(ORDERS, orders.take(found))
        if self.kind == "shrink":
            at_once = self._at_its_time(movements) & (movements["quantity_change"] <= -SHRINK_LEAST // 2)
            return self._as_anomaly(
                INVENTORY, movements.take(at_once & (movements["product_id"] == self._product_id))
            )
        of_a_system = (errors["order_id"] == "") & (errors["error_code"] == self._error_code)
        return self._as_anomaly(ORDER_ERRORS, errors.take(self._at_its_time(errors) & of_a_system))

    def _at_its_time(self, events: Events) -> NDArray[np.bool_]:
        return (events.at >= self._first_at) & (events.at <= self._last_at)

    def _as_anomaly(self, line: Line, events: Events) -> tuple[Anomaly, ...]:
        ids = tuple(dict.fromkeys(events[line.id_field].tolist()))
        if self.kind is None or not ids:
            return ()
        return (Anomaly(self.kind, line.event, self._domain, self._day, ids, self._product_id),)

    def _find_bulk(
        self, attempts: Attempts, goods: Goods, wanted: NDArray[np.bool_], free: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """One line that the shelf can serve in bulk, in addition to all other demand, and that a van can carry."""
        much = attempts.quantity * BULK_FACTOR
        asked = np.zeros(len(goods), np.int64)
        np.add.at(asked, attempts.product[wanted], attempts.quantity[wanted])
        enough = free[attempts.product] >= much + asked[attempts.product]
        known = attempts.product < goods.known
        light = goods.weight[attempts.product] * much <= BULK_MOST_WEIGHT
        return self._one_of(np.flatnonzero(wanted & enough & known & light))

    def _find_glitch(self, attempts: Attempts, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        """All lines of one product within GLITCH_LASTS."""
        first = self._one_of(np.flatnonzero(wanted))
        span = attempts.placed_at[attempts.order] // GLITCH_LASTS
        alike = np.isin(attempts.product, attempts.product[first]) & np.isin(span, span[first])
        return np.flatnonzero(wanted & alike)

    def _one_of(self, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """One of the candidates, or none without any."""
        luck = self._draw.random()
        return candidates[int(luck * len(candidates)) :][:1]
