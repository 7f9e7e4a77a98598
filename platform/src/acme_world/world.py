"""The truth: which order lines each warehouse sold on each day.

The repository's reference data, a seed and a start arrive; a day's order lines leave as columns. Any day can be
computed alone, in any order and by any process, and comes out the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from mesh_platform.errors import UsageError
from numpy.typing import NDArray

from acme_world.demand import Demand, divide_half_up
from acme_world.reference import MICRO, read_exchange_rates, read_products
from acme_world.streams import open_stream

ORDERS_A_DAY = 188
LINES_PER_ORDER = np.array([0.45, 0.27, 0.15, 0.08, 0.05])
CUSTOMERS_AT_START, CUSTOMERS_A_DAY = 4000, 15
STATUSES = ("placed", "paid", "cancelled")
STATUS_SHARES = np.array([0.14, 0.83, 0.03])
TIERS = ("standard", "silver", "gold", "platinum")
TIER_STEPS = (0.60, 0.85, 0.97)
UNKNOWN_PRODUCTS = np.array(["P-9001", "P-9002", "P-9003", "P-9004", "P-9005"])
UNKNOWN_SHARE = 0.001
# Share of sales by local hour of the day, to be scaled: few at night, a peak at noon and one in the evening.
HOURS = np.array([18, 15, 15, 14, 13, 12, 15, 25, 40, 52, 60, 66, 70, 62, 55, 52, 54, 60, 70, 80, 82, 68, 42, 20])
HOUR_MS = 3_600_000


class Site(Protocol):
    """The little that the world must know of a warehouse."""

    @property
    def time_zone(self) -> str:
        """An IANA name."""
        ...

    @property
    def currency(self) -> str:
        """An ISO 4217 code."""
        ...


@dataclass(frozen=True)
class OrderLines:
    """The lines that one domain sold on one UTC day, in order of time.

    Money is in cents: `unit_price` and `amount` of `currency`, `amount_usd` of the US dollar. `ordered_at` counts
    milliseconds since 1970 in UTC and lies inside the day.
    """

    day: date
    currency: str
    order_id: NDArray[np.str_]
    line_number: NDArray[np.int64]
    customer_id: NDArray[np.str_]
    product_id: NDArray[np.str_]
    quantity: NDArray[np.int64]
    unit_price: NDArray[np.int64]
    amount: NDArray[np.int64]
    amount_usd: NDArray[np.int64]
    status: NDArray[np.str_]
    loyalty_tier: NDArray[np.str_]
    ordered_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.line_number)


class World:
    """The company from `start` on, as history number `seed` has it. Reads each reference file once."""

    def __init__(self, root: Path, seed: int, start: date) -> None:
        if seed < 0:
            raise UsageError(f"seed {seed} is negative. Give 0 or more.")
        self.seed, self.start = seed, start
        self.products = read_products(root)
        self._demand = lru_cache(maxsize=None)(lambda domain: Demand(domain, self.products))
        self._rates = lru_cache(maxsize=None)(lambda domain, currency: read_exchange_rates(root, domain, currency))
        # Late lines make each day wanted again on the days after it, in all domains by turns.
        self._days = lru_cache(maxsize=64)(self._simulate)

    def order_lines(self, domain: str, site: Site, day_index: int) -> OrderLines:
        """The lines that `domain` sold on day `day_index`, counted from 0 at the start.

        Raises UsageError where the domain's currency has no exchange rates, or nothing is launched yet.
        """
        return self._days(domain, site.time_zone, site.currency, day_index)

    def _simulate(self, domain: str, time_zone: str, currency: str, day_index: int) -> OrderLines:
        day = self.start + timedelta(days=day_index)
        draw = open_stream("orders", self.seed, domain, self.start.toordinal(), day_index)
        demand: Demand = self._demand(domain)
        sales = demand.expect(day, day_index)

        # A shared mood of the day: real days scatter more than independent buyers would.
        orders = int(draw.poisson(ORDERS_A_DAY * sales.sum() * np.exp(draw.normal(0.0, 0.06))))
        placed_at = np.sort(_hours(day, time_zone, draw, orders))
        sizes = 1 + draw.choice(len(LINES_PER_ORDER), orders, p=LINES_PER_ORDER)
        customer, rank = self._customers(domain, day_index, draw, orders)
        status = np.array(STATUSES)[draw.choice(len(STATUSES), orders, p=STATUS_SHARES)]

        order = np.repeat(np.arange(orders), sizes)
        line = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        product = _baskets(sales, draw, orders)[order, line]
        micro_usd: int = self._rates(domain, currency).rate_on(day)
        unit_price = demand.price(day, micro_usd)[product]
        cheap = self.products.list_price[product] < 1500
        quantity = np.minimum(draw.geometric(np.where(cheap, 0.5, 0.8)), 12).astype(np.int64)
        amount = quantity * unit_price
        # A product too new for the catalogue is sold in place of the one drawn, at its price.
        unknown = draw.random(len(order)) < UNKNOWN_SHARE
        newcomer = UNKNOWN_PRODUCTS[draw.integers(0, len(UNKNOWN_PRODUCTS), len(order))]

        region = region_of(domain).upper()
        order_ids = np.array([f"{region}-{day:%Y%m%d}-{n:06d}" for n in range(1, orders + 1)], dtype=np.str_)
        customer_ids = np.array([f"C-{region}-{n + 1:05d}" for n in customer.tolist()], dtype=np.str_)
        return OrderLines(
            day=day,
            currency=currency,
            order_id=order_ids[order],
            line_number=line + 1,
            customer_id=customer_ids[order],
            product_id=np.where(unknown, newcomer, self.products.product_id[product]),
            quantity=quantity,
            unit_price=unit_price,
            amount=amount,
            amount_usd=divide_half_up(amount * micro_usd, MICRO),
            status=status[order],
            loyalty_tier=np.array(TIERS)[np.searchsorted(TIER_STEPS, rank, side="right")][order],
            ordered_at=placed_at[order],
        )

    def _customers(
        self, domain: str, day_index: int, draw: np.random.Generator, orders: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Number, from 0, and rank, 0 to 1, of each order's customer. The first fifth by rank buys about half.

        The base grows day by day; who is in it keeps its rank, for a stream's first numbers never change.
        """
        ranks = open_stream("customers", self.seed, domain).random(CUSTOMERS_AT_START + CUSTOMERS_A_DAY * day_index)
        upto = np.cumsum((1.001 - ranks) ** -0.6)
        chosen = np.searchsorted(upto, draw.random(orders) * upto[-1], side="right").astype(np.int64)
        return chosen, ranks[chosen]


def region_of(domain: str) -> str:
    """`north` for `north_warehouse`; the name itself where it has no such ending."""
    return domain.removesuffix("_warehouse")


def _hours(day: date, time_zone: str, draw: np.random.Generator, orders: int) -> NDArray[np.int64]:
    """Instants inside the UTC day, in ms since 1970, spread as the region's local hours are busy."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    zone = ZoneInfo(time_zone)
    local = [(midnight + timedelta(hours=hour)).astimezone(zone).hour for hour in range(24)]
    busy = HOURS[local] / HOURS[local].sum()
    hour = draw.choice(24, orders, p=busy)
    # From 1: an instant at midnight exactly would lie on the border of two days.
    return int(midnight.timestamp()) * 1000 + hour * HOUR_MS + draw.integers(1, HOUR_MS, orders)


def _baskets(sales: NDArray[np.float64], draw: np.random.Generator, orders: int) -> NDArray[np.int64]:
    """Product indices, orders x 5, each row without a product twice, drawn in proportion to `sales`.

    The largest of log-weights plus Gumbel noise are a weighted draw without replacement (Efraimidis and Spirakis,
    2006).
    """
    with np.errstate(divide="ignore"):
        weights = np.log(sales)
    scores = weights + draw.gumbel(size=(orders, len(sales)))
    return np.argsort(-scores, axis=1)[:, : len(LINES_PER_ORDER)].astype(np.int64)
