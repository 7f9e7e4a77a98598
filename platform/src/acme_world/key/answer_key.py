"""Computing the answer key: the rows, sums and counts that each table must have after a run.

They follow from the world and the plan of faults, day by day, so that a day costs the same whatever lies before it.
This module uses no event, encoding or model, so that an error in those cannot hide in the key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from acme_world.key.dimensions import Dimensions
from acme_world.key.totals import Totals
from acme_world.truth import lines
from acme_world.truth.anomalies import Anomaly
from acme_world.truth.clock import midnight
from acme_world.truth.lines import LINES, Events, Line, join
from acme_world.truth.site import Site
from acme_world.truth.world import World, open_world
from acme_world.wire.faults import MAX_LATE_DAYS, Rates, plan_faults

# The facts with one line each; `_facts` has the two facts that combine two lines.
FACTS: Mapping[str, Line] = {
    "logistics_core.fact_orders": lines.ORDERS,
    "logistics_core.fact_returns": lines.RETURNS,
    "logistics_core.fact_dispatch_logs": lines.DISPATCH_LOGS,
    "logistics_core.fact_vehicle_routes": lines.VEHICLE_TRACKING,
    "logistics_core.fact_delivery_sla": lines.DELIVERY_SLA,
    "ml_insights.fact_forecast_demand": lines.DEMAND_FORECAST,
    "ml_insights.fact_sla_risk": lines.SLA_RISK,
    "ml_insights.fact_stockout_risks": lines.STOCKOUT_RISK,
}
MOVEMENTS, ERRORS = "logistics_core.fact_inventory_movements", "logistics_core.fact_order_errors"
SLA_MISSED = "E-501"


def answer_key(
    root: Path,
    sites: Mapping[str, Site],
    feeds: Mapping[str, str],
    tables: Collection[str],
    seed: int,
    start: date,
    days: int,
    rates: Rates,
) -> dict[str, dict[str, Any]]:
    """The figures of an `AnswerKey` after `days` days, each computed anew. Raises UsageError as the world does."""
    world = open_world(root, seed, start)
    key = AnswerKey(root, sites, feeds, tables, world, rates)
    key.advance(world, days)
    return key.figures()


class AnswerKey:
    """The key for a world after a number of `days`, counting events that arrived by the end of the last day.

    `sites` has the site of each domain that has one. `feeds` maps each product for which the world sends events to
    the name of the event. The key only has tables that are in `tables`, all tables of the mesh. It can be stored: the
    world is not part of it.
    """

    def __init__(
        self,
        root: Path,
        sites: Mapping[str, Site],
        feeds: Mapping[str, str],
        tables: Collection[str],
        world: World,
        rates: Rates,
    ) -> None:
        self.days = 0
        self._sites, self._tables, self._rates = sites, tables, rates
        self._products = [_Product(product, product.split(".")[0], LINES[event]) for product, event in feeds.items()]
        self._dimensions = Dimensions(root, world.company, {site.warehouse_id for site in sites.values()})
        self._facts: dict[str, Totals] = {}
        self._planted: list[_Planted] = []

    def advance(self, world: World, days: int) -> None:
        """Add the days until there are `days`, in the world that it was made for."""
        for day in range(self.days, days):
            self._add(world, day)

    def figures(self) -> dict[str, dict[str, Any]]:
        """The figures of each table.

        For each product and fact: `rows` and exact `sums` (decimals as strings), the same `by_month` of the event's
        UTC time, `accepted` events (unique and well-formed, equal to rows) and `all` unique ones, including spoilt
        ones; for facts also `dangling`, the rows with a reference that a dimension lacks, and the planted
        `anomalies`, if any. Dimensions have `rows` including their unknown member, and like the KPI `sources`: the
        products that they are built from. `quarantine` counts spoilt events by product.
        """
        products: dict[str, list[_Product]] = {}
        for each in self._products:
            products.setdefault(each.line.event, []).append(each)
        key = {each.name: each.totals.figures(each.spoilt) for each in self._products}
        # A spoilt delivery may have been in time, so only spoilt error events count for the fact of errors.
        parts = {name: (line,) for name, line in FACTS.items()} | {
            MOVEMENTS: (lines.INVENTORY, lines.RESTOCKS),
            ERRORS: (lines.ORDER_ERRORS,),
        }
        for name, totals in self._facts.items():
            spoilt = sum(each.spoilt for line in parts[name] for each in products.get(line.event, ()))
            found = [shown for planted in self._planted_in(parts[name][0]) if (shown := planted.show())]
            key[name] = {
                **totals.figures(spoilt),
                "dangling": self._dimensions.count_dangling(name),
                **({"anomalies": found} if found else {}),
            }
        for name, figures, made_of in self._dimensions.tables():
            if name in self._tables:
                sources = [each.name for event in made_of for each in products.get(event, ())]
                key[name] = {**figures, "sources": sources}
        key["quarantine"] = {each.name: each.spoilt for each in self._products}
        return key

    def _add(self, world: World, day: int) -> None:
        arrived: dict[str, list[Events]] = {}
        for domain, site in self._sites.items():
            senders = [each for each in self._products if each.domain == domain]
            for anomaly in world.anomalies(domain, site, day) if senders else ():
                self._planted += [_Planted(each, anomaly) for each in senders if each.line.event == anomaly.event]
        recent = [each for each in self._planted if each.anomaly.day >= world.start + timedelta(day - MAX_LATE_DAYS)]
        for each in self._products:
            events = each.add(world, world.events(each.line, each.domain, self._sites, day), day, self._rates)
            arrived.setdefault(each.line.event, []).append(events)
            for planted in recent:
                if planted.product is each:
                    planted.add(events)
        self.days = day + 1
        if not self._tables:
            return
        of_line = {event: join(LINES[event], parts) for event, parts in arrived.items()}
        # What happened on the day MAX_LATE_DAYS ago has arrived today at the latest.
        self._dimensions.add(of_line, midnight(world.start + timedelta(days=day + 1 - MAX_LATE_DAYS)))
        for name, (line, events) in _facts(of_line).items():
            if name in self._tables:
                self._facts.setdefault(name, Totals(line)).add(events)
                self._dimensions.add_fact(name, events)

    def _planted_in(self, line: Line) -> list[_Planted]:
        """What was planted in a line, by domain, then day."""
        order = [*self._sites]
        found = [each for each in self._planted if each.anomaly.event == line.event]
        return sorted(found, key=lambda each: order.index(each.anomaly.domain))


class _Product:
    """The events of one product: the figures of those that arrived, the number of spoilt ones, and those to come."""

    def __init__(self, name: str, domain: str, line: Line) -> None:
        self.name, self.domain, self.line, self.spoilt = name, domain, line, 0
        self.totals = Totals(line)
        self._late: defaultdict[int, list[Events]] = defaultdict(list)

    def add(self, world: World, events: Events, day: int, rates: Rates) -> Events:
        """Add the events that happened on a day; return the well-formed ones that arrived on it."""
        plan = plan_faults(world.seed, world.start, self.name, day, len(events), rates)
        self.spoilt += int((plan.malformed > 0).sum())
        for delay in range(MAX_LATE_DAYS + 1):
            self._late[day + delay].append(events.take((plan.malformed == 0) & (plan.arrival_delay == delay)))
        arrived = join(self.line, self._late.pop(day))
        self.totals.add(arrived)
        return arrived


@dataclass
class _Planted:
    """An anomaly in a product, with the ids of those of its events that arrived."""

    product: _Product
    anomaly: Anomaly
    ids: set[str] = field(default_factory=set)

    def add(self, arrived: Events) -> None:
        """Add those of its events that are among the arrived ones."""
        product_id, ids = self.anomaly.product_id, arrived[self.product.line.id_field]
        of_product = arrived["product_id"] == product_id if product_id else True
        self.ids.update(ids[np.isin(ids, self.anomaly.ids) & of_product].tolist())

    def show(self) -> dict[str, Any] | None:
        """The anomaly as far as it arrived; None if nothing of it did."""
        if not self.ids:
            return None
        return {
            "domain": self.anomaly.domain,
            "date": self.anomaly.day.isoformat(),
            "kind": self.anomaly.kind,
            **({"product_id": self.anomaly.product_id} if self.anomaly.product_id else {}),
            "ids": sorted(self.ids),
        }


def _facts(arrived: Mapping[str, Events]) -> dict[str, tuple[Line, Events]]:
    """Each fact with a source: the line whose measures it has, and its events."""
    facts = {name: (line, arrived[line.event]) for name, line in FACTS.items() if line.event in arrived}
    moved, restocked = arrived.get(lines.INVENTORY.event), arrived.get(lines.RESTOCKS.event)
    failed, delivered = arrived.get(lines.ORDER_ERRORS.event), arrived.get(lines.DELIVERY_SLA.event)
    if moved is not None or restocked is not None:
        parts = (
            [_only(moved, "product_id", "warehouse_id", "employee_id", "quantity_change")]
            if moved is not None
            else []
        )
        if restocked is not None:
            renamed = {**restocked.columns, "quantity_change": restocked["quantity"]}
            parts.append(
                _only(Events(restocked.at, renamed), "product_id", "warehouse_id", "employee_id", "quantity_change")
            )
        facts[MOVEMENTS] = (lines.INVENTORY, _concatenate(parts))
    if failed is not None or delivered is not None:
        parts = [_only(failed, "error_code", "product_id", "quantity")] if failed is not None else []
        if delivered is not None:
            missed = delivered.take(~delivered["sla_met"])
            count = len(missed)
            codes, nothing = np.full(count, SLA_MISSED), np.full(count, "", np.str_)
            parts.append(
                Events(missed.at, {"error_code": codes, "product_id": nothing, "quantity": np.full(count, -1)})
            )
        facts[ERRORS] = (lines.ORDER_ERRORS, _concatenate(parts))
    return facts


def _only(events: Events, *columns: str) -> Events:
    return Events(events.at, {name: events[name] for name in columns})


def _concatenate(parts: list[Events]) -> Events:
    """All events of the parts, unordered."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    return Events(np.concatenate([part.at for part in parts]), columns)
