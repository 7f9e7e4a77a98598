"""The history of one warehouse, day by day: orders take stock, are picked, sent, and sometimes returned.

It generates each day's truth for all lines of events from reference data, a seed and a start. Causes precede effects:
what happens on a UTC day depends only on that day and earlier ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth import lines, mishaps
from acme_world.truth.anomalies import Anomaly, Trouble
from acme_world.truth.attempts import Attempts, draw_attempts, expected_units
from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.demand import Demand, divide_half_up
from acme_world.truth.fleet import Fleet, Loads, Sent
from acme_world.truth.goods import Goods
from acme_world.truth.lines import Events, Line, arrange, join, no_events
from acme_world.truth.pool import number_events, pool_events
from acme_world.truth.predictions import Predictions
from acme_world.truth.reference import MICRO, ExchangeRates, Logistics, Products
from acme_world.truth.returns import Returns, put_away_delays
from acme_world.truth.site import Site, region_of
from acme_world.truth.staff import Staff
from acme_world.truth.stockroom import Losses, Stockroom, Wants
from acme_world.truth.streams import open_stream
from acme_world.truth.supply import COVER_DAYS

UNITS_A_PACKAGE = 6
LAST = 1 << 62


@dataclass(frozen=True)
class Company:
    """The facts that all warehouses share."""

    products: Products
    goods: Goods
    logistics: Logistics


@dataclass(frozen=True)
class Day:
    """The truth of one UTC day: its events by name of the line, planted anomalies, and units on hand at its end."""

    events: Mapping[str, Events]
    anomalies: tuple[Anomaly, ...]
    on_hand: NDArray[np.int64]


class History:
    """One warehouse from the world's start on, generated day by day."""

    def __init__(
        self, company: Company, rates: ExchangeRates, domain: str, site: Site, seed: int, start: date
    ) -> None:
        self._goods, self._rates, self._domain, self._site = company.goods, rates, domain, site
        self._region = region_of(domain).upper()
        self._seed, self._start, self._next = seed, start, 0
        self._demand = Demand(domain, company.products)
        self._returns = Returns(domain, company.goods)
        staff = Staff(company.logistics.employees, site.warehouse_id, site.time_zone)
        self._stock = Stockroom(company.goods, domain, site, staff)
        self._fleet = Fleet(company.logistics, domain, site.warehouse_id, site.time_zone, seed, start)
        self._predictions = Predictions(domain, site.warehouse_id, seed, start)
        self._outlook = deque(self._expect(index) for index in range(COVER_DAYS))
        self._errors = pool_events(lines.ORDER_ERRORS)
        self._sent_back = pool_events(lines.RETURNS)
        self._waiting: dict[str, Events] = {}
        # The lines of each order, until they are delivered.
        self._unsent: dict[str, _Sold] = {}

    @property
    def rents(self) -> bool:
        """Whether it rents its vehicles; nobody sends events for their reports and deliveries then."""
        return self._fleet.rents

    def next_day(self) -> Day:
        """Generate the next day. Raises UsageError if no product is launched yet."""
        index = self._next
        self._next += 1
        day = self._start + timedelta(days=index)
        end = midnight(day) + DAY_MS
        draw = open_stream("warehouse", self._seed, self._domain, self._start.toordinal(), index)
        trouble = Trouble(self._domain, self._seed, self._start, index)
        micro_usd = self._rates.rate_on(day)
        opening = self._stock.begin(day, np.sum(self._outlook, axis=0), draw)

        attempts = draw_attempts(
            self._demand, self._goods, self._domain, self._site.time_zone, self._seed, self._start, index, micro_usd
        )
        failed, errors = mishaps.fail_orders(attempts, draw)
        self._errors.add(errors)
        sold = ~failed[attempts.order]
        wanted = sold & (attempts.status != "cancelled")[attempts.order]
        attempts = trouble.upset_orders(attempts, self._goods, wanted, self._stock.shelf.free)
        loads = self._take(day, attempts, sold, np.flatnonzero(wanted), trouble, draw)
        orders = self._orders(attempts, np.flatnonzero(sold), micro_usd)
        for more in (mishaps.fail_systems(midnight(day), draw), trouble.storm()):
            self._errors.add(more)
        movements, restocks = self._stock.end(day, micro_usd, draw)
        error_events = number_events(lines.ORDER_ERRORS, f"ERR-{self._region}", self._errors.take_until(end), end)

        sent = self._fleet.send(index, loads)
        self._send_back(sent.deliveries, draw)
        events = {
            lines.ORDERS.event: orders,
            lines.RETURNS.event: self._returned(end, micro_usd),
            lines.INVENTORY.event: movements,
            lines.RESTOCKS.event: restocks,
            lines.ORDER_ERRORS.event: error_events,
            lines.DISPATCH_LOGS.event: self._of_today(lines.DISPATCH_LOGS, sent.dispatches, end),
            lines.VEHICLE_TRACKING.event: self._of_today(lines.VEHICLE_TRACKING, sent.tracking, end),
            lines.DELIVERY_SLA.event: self._of_today(lines.DELIVERY_SLA, sent.deliveries, end),
            lines.ROUTE_UPDATES.event: self._fleet.route_updates(index),
            **self._predict(index, end, opening, sent),
        }
        self._outlook.popleft()
        self._outlook.append(self._expect(index + COVER_DAYS))
        return Day(events, trouble.tell(orders, movements, error_events), self._stock.shelf.on_hand.copy())

    def _expect(self, day_index: int) -> NDArray[np.float64]:
        return expected_units(self._demand, self._goods, self._start + timedelta(days=day_index), day_index)

    def _take(
        self,
        day: date,
        attempts: Attempts,
        sold: NDArray[np.bool_],
        wanted: NDArray[np.int64],
        trouble: Trouble,
        draw: np.random.Generator,
    ) -> Loads:
        """Take the `wanted` lines off the shelf; those without enough stock are marked as not `sold`."""
        order, product = attempts.order[wanted], attempts.product[wanted]
        shelf = self._stock.shelf
        found = mishaps.find_differences(midnight(day), shelf.on_hand > 0, draw)
        shrunk = vars(trouble.lose_goods(self._goods, shelf.free)).values()
        losses = [np.concatenate(pair) for pair in zip(found, shrunk, strict=True)]
        wants = Wants(attempts.placed_at[order], product, attempts.quantity[wanted], attempts.order_id[order])
        taken = self._stock.take(day, wants, Losses(*losses), draw)
        missed = wanted[~taken.had]
        sold[missed] = False
        self._errors.add(mishaps.miss_stock(attempts, self._goods, missed, taken.left[~taken.had], draw))

        had, order = wanted[taken.had], order[taken.had]
        numbers, first = np.unique(order, return_index=True)
        weight = np.add.reduceat(self._goods.weight[attempts.product[had]] * attempts.quantity[had], first)
        units = np.add.reduceat(attempts.quantity[had], first)
        columns = {
            "line_number": attempts.line_number[had],
            "product": attempts.product[had],
            "quantity": attempts.quantity[had],
            "amount": attempts.quantity[had] * attempts.unit_price[had],
        }
        ordered = (attempts.order_id, attempts.customer_id, attempts.loyalty_tier)
        ends = [*first[1:].tolist(), len(had)]
        for order_id, customer, tier, low, high in zip(
            *(values[numbers].tolist() for values in ordered), first.tolist(), ends, strict=True
        ):
            self._unsent[order_id] = _Sold(customer, tier, columns, low, high)
        return Loads(
            attempts.order_id[numbers],
            attempts.customer_id[numbers],
            weight,
            1 + (units - 1) // UNITS_A_PACKAGE,
            np.maximum.reduceat(taken.picked_at[taken.had], first),
        )

    def _orders(self, attempts: Attempts, sold: NDArray[np.int64], micro_usd: int) -> Events:
        order = attempts.order[sold]
        amount = attempts.quantity[sold] * attempts.unit_price[sold]
        columns = {
            "order_id": attempts.order_id[order],
            "line_number": attempts.line_number[sold],
            "customer_id": attempts.customer_id[order],
            "product_id": self._goods.product_id[attempts.product[sold]],
            "quantity": attempts.quantity[sold],
            "unit_price": attempts.unit_price[sold],
            "amount": amount,
            "currency": np.full(len(sold), self._site.currency),
            "status": attempts.status[order],
            "loyalty_tier": attempts.loyalty_tier[order],
            "amount_usd": divide_half_up(amount * micro_usd, MICRO),
        }
        return arrange(lines.ORDERS, attempts.placed_at[order], columns)

    def _send_back(self, deliveries: Events, draw: np.random.Generator) -> None:
        """Draw the returns of the deliveries, and when the goods are on the shelf again."""
        sold = [self._unsent.pop(order) for order in deliveries["order_id"].tolist()]
        sizes = np.array([each.high - each.low for each in sold], np.int64)
        if not len(sizes):
            return
        back = self._returns.draw_returns(
            {
                **{
                    name: np.concatenate([each.columns[name][each.low : each.high] for each in sold])
                    for name in sold[0].columns
                },
                "order_id": np.repeat(deliveries["order_id"], sizes),
                "customer_id": np.repeat([each.customer_id for each in sold], sizes),
                "loyalty_tier": np.repeat([each.loyalty_tier for each in sold], sizes),
            },
            np.repeat(deliveries.at, sizes),
            np.repeat(~deliveries["sla_met"], sizes),
            draw,
        )
        self._sent_back.add({**back, "currency": np.full(len(back["at"]), self._site.currency)})
        good = back["condition"] == "resaleable"
        at = back["at"][good] + put_away_delays(int(good.sum()), draw)
        self._stock.put_away(at, back["product"][good], back["quantity"][good])

    def _returned(self, end: int, micro_usd: int) -> Events:
        columns = self._sent_back.take_until(end)
        dollars = divide_half_up(columns["refund_amount"] * micro_usd, MICRO)
        return number_events(lines.RETURNS, f"RET-{self._region}", {**columns, "refund_amount_usd": dollars}, end)

    def _predict(self, index: int, end: int, opening: NDArray[np.int64], sent: Sent) -> dict[str, Events]:
        known = np.arange(len(self._goods)) < self._goods.known
        selling = known & (self._outlook[1] > 0)
        product_id = self._goods.product_id[selling]
        mean = np.mean(self._outlook, axis=0)[selling]
        risks = self._predictions.rate_deliveries(index, sent.dispatches, sent.chance_late)
        return {
            lines.DEMAND_FORECAST.event: self._predictions.forecast_demand(
                index, product_id, self._outlook[1][selling]
            ),
            lines.STOCKOUT_RISK.event: self._predictions.rate_stockouts(index, product_id, opening[selling], mean),
            lines.SLA_RISK.event: self._of_today(lines.SLA_RISK, risks, end),
        }

    def _of_today(self, line: Line, more: Events, end: int) -> Events:
        """The events before `end` among `more` and the waiting ones; the others wait for their day."""
        whole = join(line, [self._waiting.get(line.event, no_events(line)), more])
        self._waiting[line.event] = whole.between(end, LAST)
        return whole.between(0, end)


@dataclass(frozen=True)
class _Sold:
    """The lines of one order in delivery: rows `low` to `high` of its day's `columns`."""

    customer_id: str
    loyalty_tier: str
    columns: Mapping[str, NDArray[Any]]
    low: int
    high: int
