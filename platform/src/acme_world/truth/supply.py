"""The supply of a warehouse: its orders to suppliers, with the time and cost of delivery.

Orders follow from the shelf and the expected demand. Which supplier delivers what, and how reliably, depends on the
region's name alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import HOUR_MS, midnight
from acme_world.truth.demand import divide_half_up
from acme_world.truth.goods import Goods
from acme_world.truth.reference import MICRO
from acme_world.truth.shelf import Shelf
from acme_world.truth.streams import open_stream

SUPPLIERS = 24
# Each of the goods is reviewed once a week, and an order must last until the delivery after the next review.
REVIEW_EVERY, LONGEST_LEAD, COVER_DAYS = 7, 3, 10
RELIABLE, UNRELIABLE, UNRELIABLE_SHARE, MOST_DAYS_LATE = 0.03, 0.15, 0.25, 2
PACK = 4
SCATTER, LEAST_CARE, MOST_CARE = 2.5, 0.45, 1.4


@dataclass(frozen=True)
class Orders:
    """Orders to suppliers, one entry each; times are ms since 1970, UTC, `unit_cost` hundredths of the currency."""

    product: NDArray[np.int64]
    quantity: NDArray[np.int64]
    supplier_id: NDArray[np.str_]
    ordered_at: NDArray[np.int64]
    arrives_at: NDArray[np.int64]


class Supply:
    """The suppliers of one domain's goods."""

    def __init__(self, domain: str, goods: Goods) -> None:
        draw = open_stream("supply", domain)
        count = len(goods)
        self._supplier = draw.integers(0, SUPPLIERS, count)
        self._late = np.where(draw.random(SUPPLIERS) < UNRELIABLE_SHARE, UNRELIABLE, RELIABLE)
        self._names = np.array([f"SUP-{number:03d}" for number in range(1, SUPPLIERS + 1)])
        # The planners' margin above expected sales, in standard deviations of the sales.
        self._care = draw.uniform(LEAST_CARE, MOST_CARE, count)
        self._turn = draw.integers(0, REVIEW_EVERY, count)
        self._cost = goods.list_price * draw.integers(45, 66, count)

    def safety_stock(self, expected: NDArray[np.float64]) -> NDArray[np.int64]:
        """The units that a careful planner would not promise, for goods with an `expected` demand in ten days."""
        return np.ceil(self._care * np.sqrt(SCATTER * expected)).astype(np.int64)

    def unit_cost(self, product: NDArray[np.int64], micro_usd: int) -> NDArray[np.int64]:
        """The cost of one unit in hundredths of a currency worth `micro_usd` millionths of a dollar."""
        return divide_half_up(self._cost[product] * MICRO, 100 * micro_usd)

    def open(self, day: date, expected: NDArray[np.float64]) -> Orders:
        """The first filling of the shelves with all goods that sell, just after midnight of the world's first day.

        Each lasts until the order of its first review arrives; `expected` is the demand in COVER_DAYS, in units.
        """
        until_review = REVIEW_EVERY - (day.toordinal() + self._turn) % REVIEW_EVERY
        target = self._target(expected * (until_review + LONGEST_LEAD) / COVER_DAYS)
        product = np.flatnonzero(target)
        at = midnight(day) + 10 * np.arange(1, len(product) + 1)
        return Orders(product, target[product], self._names[self._supplier[product]], at, at)

    def review(self, day: date, shelf: Shelf, expected: NDArray[np.float64], draw: np.random.Generator) -> Orders:
        """The orders of `day`, which begins with `shelf`; `expected` is the demand in COVER_DAYS, in units."""
        due = (day.toordinal() + self._turn) % REVIEW_EVERY == 0
        lacking = self._target(expected) - shelf.free - shelf.incoming
        product = np.flatnonzero(due & (lacking > 0))
        count = len(product)
        lead = draw.integers(1, LONGEST_LEAD + 1, count)
        late = draw.random(count) < self._late[self._supplier[product]]
        lead += np.where(late, draw.integers(1, MOST_DAYS_LATE + 1, count), 0)
        arrival_days = np.array([midnight(day + timedelta(days=each)) for each in lead.tolist()], np.int64)
        return Orders(
            product,
            -(-lacking[product] // PACK) * PACK,
            self._names[self._supplier[product]],
            midnight(day) + draw.integers(12 * HOUR_MS, 20 * HOUR_MS, count),
            arrival_days + draw.integers(10 * HOUR_MS, 22 * HOUR_MS, count),
        )

    def _target(self, expected: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.ceil(expected).astype(np.int64) + self.safety_stock(expected)
