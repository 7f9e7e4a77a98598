"""The demand of a region's customers, and its prices.

This module computes the expected sales and prices of each product on a day. A region's character depends on its name
alone: another seed draws another history of the same company, and an additional warehouse changes none of the others.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from mesh_platform.errors import UsageError
from numpy.typing import NDArray

from acme_world.truth.reference import Products
from acme_world.truth.streams import open_stream

# The day of the year when a category sells best, and its relative increase over the average.
SEASONS = {
    "Electronics": (345, 0.35),
    "Garden": (135, 0.70),
    "Grocery": (350, 0.15),
    "Home": (300, 0.15),
    "Kitchen": (340, 0.25),
    "Sports": (170, 0.40),
    "Tools": (110, 0.25),
    "Toys": (345, 0.75),
}
OTHER_SEASON = (340, 0.20)
# Monday first. Categories deviate from it differently, so that last week predicts more than the mean of all weeks.
WEEKDAYS = np.array([0.66, 0.50, 0.56, 0.95, 1.80, 2.20, 0.33])
WEEKDAY_SPREAD = 0.12
PROMOTION_EVERY, PROMOTION_LASTS = 56, 7
DISCOUNTS = (10, 15, 20, 25)


class Demand:
    """The preferences of one domain's region for each product, in the order of `products`."""

    def __init__(self, domain: str, products: Products) -> None:
        draw = open_stream("demand", domain)
        count = len(products.product_id)
        self._products = products
        self._size = draw.uniform(0.85, 1.15)
        self._price = int(draw.integers(960, 1061))
        self._popularity = draw.lognormal(0.0, 0.8, count)
        self._growth = draw.normal(0.06, 0.08, count)
        self._elasticity = draw.uniform(2.0, 4.5, count)
        seasons = [SEASONS.get(category, OTHER_SEASON) for category in products.category.tolist()]
        self._peak = np.array([peak for peak, _ in seasons]) + draw.normal(0.0, 6.0, count)
        swing = draw.uniform(0.8, 1.2) * np.array([swing for _, swing in seasons]) * draw.uniform(0.8, 1.2, count)
        self._swing = np.minimum(swing, 0.9)
        categories, category = np.unique(products.category, return_inverse=True)
        weekdays = WEEKDAYS * np.exp(draw.normal(0.0, WEEKDAY_SPREAD, (len(categories), 7)))
        self._weekdays = (weekdays / weekdays.mean(axis=1, keepdims=True))[category]
        self._phase = draw.integers(0, PROMOTION_EVERY, count)

    def expect(self, day: date, since_start: int) -> NDArray[np.float64]:
        """Relative sales of each product on `day`, by weekday, season, trend and promotion; 0 before its launch.

        The sum of a day averages about 1 over a year and the four warehouses of the company. The trend begins at the
        world's start, `since_start` days ago. Raises UsageError if no product is launched yet.
        """
        launched = self._products.launched <= day.toordinal()
        if not launched.any():
            raise UsageError(f"No product of products.csv is launched on {day}. Start the world on a later day.")
        popularity = np.where(launched, self._popularity, 0.0)
        season = 1 + self._swing * np.cos(2 * np.pi * (day.timetuple().tm_yday - self._peak) / 365.25)
        weekday = self._weekdays[:, day.weekday()]
        trend = (1 + self._growth) ** (since_start / 365.25)
        promotion = 1 + self._elasticity * self.discounts(day) / 100
        sales: NDArray[np.float64] = self._size * popularity / popularity.sum() * season * weekday * trend * promotion
        return sales

    def discounts(self, day: date) -> NDArray[np.int64]:
        """The discount of each product on `day`, in per cent, given one week in eight, which differs by region."""
        turn, into = np.divmod(day.toordinal() + self._phase, PROMOTION_EVERY)
        percent = np.array(DISCOUNTS)[(turn + self._phase) % len(DISCOUNTS)]
        return np.where(into < PROMOTION_LASTS, percent, 0).astype(np.int64)

    def price(self, day: date, micro_usd: int) -> NDArray[np.int64]:
        """The price of each product on `day` in cents of a currency worth `micro_usd` millionths of a dollar.

        It is the list price times the region's factor times the promotion, converted and rounded once, half up.
        """
        exact = self._products.list_price * self._price * (100 - self.discounts(day)) * 1_000_000
        return divide_half_up(exact, 1000 * 100 * micro_usd)


def divide_half_up(numerator: NDArray[np.int64], denominator: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """The quotient of positive integers, rounded half up, without floats."""
    return (2 * numerator + denominator) // (2 * denominator)
