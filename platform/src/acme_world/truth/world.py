"""The truth of the whole company: the events of each line on each day, as columns.

They depend on the repository's reference data, a seed and a start. Days can be requested in any order and by any
process, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path

from mesh_platform.errors import UsageError

from acme_world.truth import lines
from acme_world.truth.anomalies import Anomaly
from acme_world.truth.goods import list_goods
from acme_world.truth.history import Company, History
from acme_world.truth.lines import Events, Line, join
from acme_world.truth.reference import read_exchange_rates, read_logistics, read_products
from acme_world.truth.site import Site
from acme_world.truth.warehouse import Stage, Warehouse

# The lines that each warehouse sends for itself; the others are sent by the company for all warehouses together.
WAREHOUSE_LINES = (
    lines.ORDERS,
    lines.RETURNS,
    lines.INVENTORY,
    lines.RESTOCKS,
    lines.ORDER_ERRORS,
    lines.DISPATCH_LOGS,
)

# The domain of a warehouse, and its site.
Name = tuple[str, str, str, str]


class World:
    """The company from `start` on, in history number `seed`. Reads each reference file once."""

    def __init__(self, root: Path, seed: int, start: date) -> None:
        if seed < 0:
            raise UsageError(f"seed {seed} is negative. Give 0 or more.")
        self.seed, self.start, self._root = seed, start, root
        products = read_products(root)
        self.company = Company(products, list_goods(products), read_logistics(root))
        self._warehouses: dict[Name, Warehouse] = {}
        self._stages: Mapping[Name, Stage] = {}

    def warehouse(self, domain: str, site: Site) -> Warehouse:
        """The warehouse of `domain`. Raises UsageError where its currency has no exchange rates."""
        name = (domain, site.warehouse_id, site.time_zone, site.currency)
        if name not in self._warehouses:
            rates = read_exchange_rates(self._root, domain, site.currency)
            self._warehouses[name] = Warehouse(
                lambda: History(self.company, rates, domain, site, self.seed, self.start), self._stages.get(name)
            )
        return self._warehouses[name]

    def stages(self, days: int) -> dict[Name, Stage]:
        """Where each warehouse is, with its last `days` days, to be stored for `go_on`."""
        return {**self._stages, **{name: house.stage(days) for name, house in self._warehouses.items()}}

    def go_on(self, stages: Mapping[Name, Stage]) -> None:
        """Begin warehouses where another world of the same company, seed and start was, instead of at the start."""
        self._warehouses, self._stages = {}, stages

    def events(self, line: Line, domain: str, sites: Mapping[str, Site], day_index: int) -> Events:
        """The events of `line` that `domain` sends for UTC day `day_index`, counted from 0 at the start.

        `sites` has the site of each domain that has one. A line of the company covers the warehouses whose vehicles
        are in the reference data. Raises UsageError if the domain of a warehouse's line has no site, a currency has
        no exchange rates, or no product is launched yet.
        """
        if line in WAREHOUSE_LINES:
            if domain not in sites:
                raise UsageError(
                    f"domains/{domain}/domain.yaml: has no site, and {line.event} happens at one. Give it a site."
                )
            return self.warehouse(domain, sites[domain]).day(day_index).events[line.event]
        fleets = {name: self.warehouse(name, sites[name]) for name in sorted(sites)}
        shared = {name: fleet for name, fleet in fleets.items() if not fleet.rents}
        return join(line, [fleet.day(day_index).events[line.event] for fleet in shared.values()])

    def anomalies(self, domain: str, site: Site, day_index: int) -> tuple[Anomaly, ...]:
        """The anomalies planted in `domain` on UTC day `day_index`."""
        return self.warehouse(domain, site).day(day_index).anomalies


@lru_cache(maxsize=4)
def open_world(root: Path, seed: int, start: date) -> World:
    """The world, shared by all callers in this process, so that its days are generated once."""
    return World(root, seed, start)
