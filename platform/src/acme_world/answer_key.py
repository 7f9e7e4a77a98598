"""What the tables must hold after a run, computed from the truth.

The world and the plan of faults arrive; rows, sums and counts for each table leave. Nothing here has seen an event,
an encoding or a model, so an error in those cannot hide in the key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.faults import Rates, plan_faults
from acme_world.world import OrderLines, Site, World, region_of


@dataclass
class _Total:
    rows: int = 0
    quantity: int = 0
    cents_usd: int = 0

    def add(self, other: _Total) -> None:
        self.rows += other.rows
        self.quantity += other.quantity
        self.cents_usd += other.cents_usd

    def as_json(self) -> dict[str, Any]:
        amount_usd = f"{self.cents_usd // 100}.{self.cents_usd % 100:02d}"
        return {"rows": self.rows, "sums": {"quantity": self.quantity, "amount_usd": amount_usd}}


@dataclass
class _Table:
    """What arrived for one table: sums by UTC month, spoilt lines, lines of products unknown, customers seen."""

    months: defaultdict[str, _Total] = field(default_factory=lambda: defaultdict(_Total))
    spoilt: int = 0
    orphans: int = 0
    customers: set[str] = field(default_factory=set)

    def add(self, other: _Table) -> None:
        for month, total in other.months.items():
            self.months[month].add(total)
        self.spoilt += other.spoilt
        self.orphans += other.orphans
        self.customers |= other.customers

    def as_json(self) -> dict[str, Any]:
        whole = _Total()
        for total in self.months.values():
            whole.add(total)
        by_month = {month: self.months[month].as_json() for month in sorted(self.months)}
        return {**whole.as_json(), "by_month": by_month, "accepted": whole.rows, "all": whole.rows + self.spoilt}


def answer_key(
    root: Path, sites: Mapping[str, Site], seed: int, start: date, days: int, rates: Rates
) -> dict[str, dict[str, Any]]:
    """The key to a world of `days` days, counting what arrived by the end of the last.

    `sites` maps each warehouse's domain to its site. For each product and for `logistics_core.fact_orders`: `rows`
    and exact `sums` (`amount_usd` a decimal string), the same `by_month` of the order's UTC time, `accepted`
    events (unique and well-formed, as many as rows) and `all` unique ones, spoilt included; for the fact also
    `orphans`, rows whose product is not in the catalogue. Dimensions have `rows` with their unknown member.
    `quarantine` counts spoilt lines by product. Raises UsageError as the world does.
    """
    world = World(root, seed, start)
    tables = {f"{domain}.orders_{region_of(domain)}": _Table() for domain in sites}
    for (domain, site), table in zip(sites.items(), tables.values(), strict=True):
        for day in range(days):
            lines = world.order_lines(domain, site, day)
            plan = plan_faults(seed, start, domain, day, len(lines), rates)
            arrived = (plan.malformed == 0) & (day + plan.arrival_delay < days)
            table.add(_tally(lines, arrived, int((plan.malformed > 0).sum()), world.products.product_id))
    fact = _Table()
    for table in tables.values():
        fact.add(table)
    return {
        **{name: table.as_json() for name, table in tables.items()},
        "logistics_core.fact_orders": {**fact.as_json(), "orphans": fact.orphans},
        "logistics_core.dim_customer": {"rows": len(fact.customers) + 1},
        "logistics_core.dim_product": {"rows": len(world.products.product_id) + 1},
        "logistics_core.dim_warehouse": {"rows": len(sites) + 1},
        "quarantine": {name: table.spoilt for name, table in tables.items()},
    }


def _tally(lines: OrderLines, arrived: NDArray[np.bool_], spoilt: int, catalogue: NDArray[np.str_]) -> _Table:
    """One day's part of a table. The day lies in one UTC month, as all its lines lie in that day."""
    table = _Table(spoilt=spoilt, customers=set(lines.customer_id[arrived].tolist()))
    table.orphans = int((~np.isin(lines.product_id[arrived], catalogue)).sum())
    if arrived.any():
        table.months[f"{lines.day:%Y-%m}"] = _Total(
            int(arrived.sum()), int(lines.quantity[arrived].sum()), int(lines.amount_usd[arrived].sum())
        )
    return table
