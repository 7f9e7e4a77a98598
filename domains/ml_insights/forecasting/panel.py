"""Daily sales as arrays, one row per series: a product in a warehouse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

# A price this much below the usual one is a promotion; smaller differences come from exchange rates.
LEAST_DISCOUNT = 0.07
USUAL_PRICE = 0.75


@dataclass(frozen=True)
class Panel:
    """Sales from `first` on. `warehouse`, `product` and `category` name the series.

    `units` is series x days. `price` is the mean price paid for a unit on the day, divided by the list price; NaN
    without a sale.
    """

    first: date
    warehouse: NDArray[np.str_]
    product: NDArray[np.str_]
    category: NDArray[np.str_]
    units: NDArray[np.float64]
    price: NDArray[np.float64]

    @property
    def days(self) -> int:
        """The number of days."""
        return self.units.shape[1]

    def until(self, days: int) -> Panel:
        """The first `days` days: all that was known then."""
        return replace(self, units=self.units[:, :days], price=self.price[:, :days])

    def take(self, series: NDArray[np.int64]) -> Panel:
        """The series at the indices."""
        names = {name: getattr(self, name)[series] for name in ("warehouse", "product", "category")}
        return replace(self, **names, units=self.units[series], price=self.price[series])


def rolled(
    panel: Panel, days: int, times: int, forecast: Callable[[Panel], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What was forecast of the panel's last `times` times `days` days, each time from before them: series x days."""
    ends = [panel.days - days * ago for ago in range(times, 0, -1)]
    return np.concatenate([forecast(panel.until(end)) for end in ends], axis=1)


def discounts(panel: Panel) -> NDArray[np.float64]:
    """The discount of each series and day, 0 to 1; a day without a sale has that of the day before."""
    sold = ~np.isnan(panel.price)
    usual = np.ones(len(panel.price))
    ever = sold.any(axis=1)
    usual[ever] = np.nanquantile(panel.price[ever], USUAL_PRICE, axis=1)
    below = 1 - panel.price / usual[:, None]
    found = np.where(below > LEAST_DISCOUNT, below, 0.0)
    last = np.maximum.accumulate(np.where(sold, np.arange(panel.days), 0), axis=1)
    found = np.where(sold, found, 0.0)
    filled: NDArray[np.float64] = np.take_along_axis(found, last, axis=1)
    return filled


def promotion_cycle(discount: NDArray[np.float64], most: int = 240) -> int | None:
    """The days after which the discounts repeat best, at most `most` and three quarters of all; None if none do.

    A repetition is a correlation of at least 0.5 between the discounts and those so many days earlier.
    """
    days = discount.shape[1]
    best, found = 0.5, None
    for lag in range(14, min(most, days * 3 // 4) + 1):
        now, before = discount[:, lag:].ravel(), discount[:, :-lag].ravel()
        if now.std() and before.std() and (alike := float(np.corrcoef(now, before)[0, 1])) > best:
            best, found = alike, lag
    return found
