"""Returns from customers.

They are drawn for delivered lines, as columns, with the goods that go back on the shelf.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import DAY_MS, HOUR_MS
from acme_world.truth.demand import divide_half_up
from acme_world.truth.goods import Goods
from acme_world.truth.streams import open_stream

# The share of delivered lines that are returned, by category.
RATES = {
    "Electronics": 0.085,
    "Garden": 0.035,
    "Grocery": 0.015,
    "Home": 0.045,
    "Kitchen": 0.05,
    "Sports": 0.07,
    "Tools": 0.04,
    "Toys": 0.06,
}
OTHER_RATE = 0.045
MORE_WHEN_LATE, SHARE_FOR_LATENESS = 1.9, 0.5
REASONS = ("damaged", "wrong_item", "not_as_described", "changed_mind")
LATE = "late_delivery"
# The average frequency of each reason; it differs by product.
REASON_WEIGHTS = np.array([2.4, 1.5, 2.2, 3.4])
DAYS_LATER = (1, 10)

Columns = dict[str, NDArray[Any]]


class Returns:
    """The returns of the goods of one domain."""

    def __init__(self, domain: str, goods: Goods) -> None:
        draw = open_stream("returns", domain)
        usual = np.array([RATES.get(category, OTHER_RATE) for category in goods.category.tolist()])
        self._rate = usual * draw.lognormal(0.0, 0.35, len(goods))
        self._reasons = np.cumsum(draw.dirichlet(REASON_WEIGHTS, len(goods)), axis=1)
        self._goods = goods

    def draw_returns(
        self,
        sold: Columns,
        delivered_at: NDArray[np.int64],
        late: NDArray[np.bool_],
        draw: np.random.Generator,
    ) -> Columns:
        """The returns of the lines of `sold`, one to ten days after delivery; `product` has their goods.

        The refund is the full amount of the line, or a part of it for a change of mind.
        """
        rate = self._rate[sold["product"]] * np.where(late, MORE_WHEN_LATE, 1.0)
        back = np.flatnonzero(draw.random(len(rate)) < rate)
        count = len(back)
        line = {name: values[back] for name, values in sold.items()}
        own = (draw.random(count)[:, None] > self._reasons[line["product"]][:, :-1]).sum(axis=1)
        for_lateness = late[back] & (draw.random(count) < SHARE_FOR_LATENESS)
        reason = np.where(for_lateness, LATE, np.array(REASONS)[own])
        broken = draw.random(count) < np.where(reason == "damaged", 0.95, 0.08)
        quantity = np.where(draw.random(count) < 0.7, line["quantity"], draw.integers(1, line["quantity"] + 1))
        percent = np.where(reason == "changed_mind", draw.integers(80, 101, count), 100)
        first, last = DAYS_LATER
        return {
            "at": delivered_at[back] + draw.integers(first * DAY_MS, last * DAY_MS, count),
            "order_id": line["order_id"],
            "line_number": line["line_number"],
            "customer_id": line["customer_id"],
            "product_id": self._goods.product_id[line["product"]],
            "quantity": quantity,
            "refund_amount": divide_half_up(line["amount"] * quantity * percent, line["quantity"] * 100),
            "reason": reason,
            "condition": np.where(broken, "damaged", "resaleable"),
            "loyalty_tier": line["loyalty_tier"],
            "product": line["product"],
        }


def put_away_delays(count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Random delays from a return to the shelf, in ms: one to eight hours."""
    return draw.integers(HOUR_MS, 8 * HOUR_MS, count)
