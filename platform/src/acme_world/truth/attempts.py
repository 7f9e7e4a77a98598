"""The orders that customers of one warehouse attempt on one day.

Orders and their lines are drawn from demand, goods and the day, before stock or payment is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import HOUR_MS, midnight
from acme_world.truth.demand import Demand
from acme_world.truth.goods import NEWCOMERS, Goods
from acme_world.truth.site import region_of
from acme_world.truth.streams import open_stream

ORDERS_A_DAY = 203
LINES_PER_ORDER = np.array([0.45, 0.27, 0.15, 0.08, 0.05])
CUSTOMERS_AT_START, CUSTOMERS_A_DAY = 4000, 15
STATUSES = ("placed", "paid", "cancelled")
STATUS_SHARES = np.array([0.14, 0.83, 0.03])
TIERS = ("standard", "silver", "gold", "platinum")
TIER_STEPS = (0.60, 0.85, 0.97)
NEWCOMER_SHARE = 0.001
# Cheap goods are bought in larger quantities.
CHEAP, MORE_OF_CHEAP, MORE_OF_DEAR, MOST_UNITS = 1500, 0.55, 0.8, 12
# Relative sales by local hour of the day: few at night, a peak at noon and one in the evening.
HOURS = np.array([30, 26, 24, 22, 20, 20, 22, 28, 40, 52, 60, 66, 70, 62, 55, 52, 54, 60, 70, 80, 82, 68, 42, 20])


@dataclass(frozen=True)
class Attempts:
    """Orders in order of time (`order_id` to `placed_at`), and their lines (`order` to `unit_price`).

    `order` is the index of the day's order, from 0, `product` that of the goods. `placed_at` is in ms since 1970,
    UTC, inside the day; `unit_price` in hundredths of the billing currency.
    """

    order_id: NDArray[np.str_]
    customer_id: NDArray[np.str_]
    loyalty_tier: NDArray[np.str_]
    status: NDArray[np.str_]
    placed_at: NDArray[np.int64]
    order: NDArray[np.int64]
    line_number: NDArray[np.int64]
    product: NDArray[np.int64]
    quantity: NDArray[np.int64]
    unit_price: NDArray[np.int64]


def draw_attempts(
    demand: Demand, goods: Goods, domain: str, time_zone: str, seed: int, start: date, day_index: int, micro_usd: int
) -> Attempts:
    """The attempts of one UTC day in a currency worth `micro_usd` millionths of a dollar.

    Raises UsageError if no product is launched yet.
    """
    day = start + timedelta(days=day_index)
    draw = open_stream("orders", seed, domain, start.toordinal(), day_index)
    sales = demand.expect(day, day_index)

    # A common factor of the day, as real days vary more than independent buyers would.
    orders = int(draw.poisson(ORDERS_A_DAY * sales.sum() * np.exp(draw.normal(0.0, 0.05))))
    placed_at = np.sort(_hours(day, time_zone, draw, orders))
    sizes = 1 + draw.choice(len(LINES_PER_ORDER), orders, p=LINES_PER_ORDER)
    customer, rank = _customers(seed, domain, day_index, draw, orders)
    status = np.array(STATUSES)[draw.choice(len(STATUSES), orders, p=STATUS_SHARES)]

    order = np.repeat(np.arange(orders), sizes)
    line = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    product = _baskets(sales, draw, orders)[order, line]
    quantity = np.minimum(draw.geometric(_chance_of_one(goods)[product]), MOST_UNITS).astype(np.int64)
    unit_price = demand.price(day, micro_usd)[product]
    # A product too new for the catalogue replaces the one drawn, at the same price.
    new = draw.random(len(order)) < NEWCOMER_SHARE
    newcomer = goods.known + draw.integers(0, len(NEWCOMERS), len(order))

    region = region_of(domain).upper()
    stamp = f"{region}-{day:%Y%m%d}"
    tier = np.array(TIERS)[np.searchsorted(TIER_STEPS, rank, side="right")]
    return Attempts(
        order_id=np.array([f"{stamp}-{n:06d}" for n in range(1, orders + 1)], dtype=np.str_),
        customer_id=np.array([f"C-{region}-{n + 1:05d}" for n in customer.tolist()], dtype=np.str_),
        loyalty_tier=tier,
        status=status,
        placed_at=placed_at,
        order=order,
        line_number=line + 1,
        product=np.where(new, newcomer, product),
        quantity=quantity,
        unit_price=unit_price,
    )


def expected_units(demand: Demand, goods: Goods, day: date, day_index: int) -> NDArray[np.float64]:
    """The expected demand on `day`, in units of each of the goods. Raises as `draw_attempts` does."""
    lines = ORDERS_A_DAY * float(LINES_PER_ORDER @ np.arange(1, len(LINES_PER_ORDER) + 1))
    known = demand.expect(day, day_index) * lines
    new = np.full(len(goods) - goods.known, known.sum() * NEWCOMER_SHARE / len(NEWCOMERS))
    units: NDArray[np.float64] = np.concatenate([known, new]) / _chance_of_one(goods)
    return units


def _chance_of_one(goods: Goods) -> NDArray[np.float64]:
    return np.where(goods.list_price < CHEAP, MORE_OF_CHEAP, MORE_OF_DEAR)


def _customers(
    seed: int, domain: str, day_index: int, draw: np.random.Generator, orders: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The number, from 0, and rank, 0 to 1, of each order's customer. The first fifth by rank buys about half.

    The number of customers grows daily; existing ones keep their rank, because a stream's first numbers never change.
    """
    ranks = open_stream("customers", seed, domain).random(CUSTOMERS_AT_START + CUSTOMERS_A_DAY * day_index)
    upto = np.cumsum((1.001 - ranks) ** -0.6)
    chosen = np.searchsorted(upto, draw.random(orders) * upto[-1], side="right").astype(np.int64)
    return chosen, ranks[chosen]


def _hours(day: date, time_zone: str, draw: np.random.Generator, orders: int) -> NDArray[np.int64]:
    """Instants inside the UTC day, in ms since 1970, distributed by the region's busy local hours."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    zone = ZoneInfo(time_zone)
    local = [(begin + timedelta(hours=hour)).astimezone(zone).hour for hour in range(24)]
    busy = HOURS[local] / HOURS[local].sum()
    hour = draw.choice(24, orders, p=busy)
    # From 1, because exactly midnight would be on the border of two days.
    return midnight(day) + hour * HOUR_MS + draw.integers(1, HOUR_MS, orders)


def _baskets(sales: NDArray[np.float64], draw: np.random.Generator, orders: int) -> NDArray[np.int64]:
    """Product indices, orders x 5, without repeats in a row, drawn in proportion to `sales`.

    The largest of log-weights plus Gumbel noise are a weighted draw without replacement (Efraimidis and Spirakis,
    2006).
    """
    with np.errstate(divide="ignore"):
        weights = np.log(sales)
    scores = weights + draw.gumbel(size=(orders, len(sales)))
    return np.argsort(-scores, axis=1)[:, : len(LINES_PER_ORDER)].astype(np.int64)
