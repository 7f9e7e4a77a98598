"""The events of each line as its producer sends them.

The world's truth and a dialect arrive; endless records leave for the live and burst modes, or the lines of NDJSON
that reach the broker on one simulated day, faults included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path

import numpy as np
from mesh_platform.events.event import Event, EventIds, Record

from acme_world.truth import lines
from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.lines import Events, Line
from acme_world.truth.site import Site
from acme_world.truth.streams import open_stream
from acme_world.truth.world import open_world
from acme_world.wire.dialect import Available, Counted, Dialect
from acme_world.wire.faults import MAX_DUPLICATE_DAYS, MAX_LATE_DAYS, Rates, plan_faults
from acme_world.wire.spoiling import spoil_event

# Who sends what the world draws in the place of a model, until a model does.
DRAWN_PREDICTIONS = "acme_world_draw"


@dataclass(frozen=True)
class Source:
    """One line of events in one domain's dialect; the functions below make them.

    `producer` is who the events say sent them, where it is not the product's script.
    """

    dialect: Dialect
    producer: str | None = None

    @property
    def line(self) -> Line:
        """The line of events."""
        return self.dialect.line

    def records(
        self, domain_name: str, sites: Mapping[str, Site], *, root: Path, seed: int, start: date
    ) -> Iterator[Record]:
        """All that happens in the domain from `start` on, in order of time, well-formed, without end.

        `sites` are those of all domains that have one. Raises UsageError as `World.events` does.
        """
        world = open_world(root, seed, start)
        for day in count():
            yield from self._write(world.events(self.line, domain_name, sites, day), domain_name, sites)

    def arrivals(
        self,
        domain_name: str,
        sites: Mapping[str, Site],
        *,
        root: Path,
        seed: int,
        start: date,
        day: int,
        rates: Rates,
        product: str,
        event_type: str,
        producer: str,
        schema_version: str,
        names_in_ids: Mapping[str, str] | None = None,
    ) -> list[bytes]:
        """The lines of NDJSON, without newlines, that arrive on day `day` (from 0), in order of arrival.

        `product` is the source of the ids, `<domain>.<product>`, and `names_in_ids` what they call fields, as `Shape`
        has it. A copy has the same bytes as the first. Of the days before the start nothing arrives. Raises
        UsageError as `World.events` does.
        """
        world = open_world(root, seed, start)
        sent: list[tuple[int, bytes]] = []
        for happened_on in range(max(0, day - MAX_LATE_DAYS - MAX_DUPLICATE_DAYS), day + 1):
            events = world.events(self.line, domain_name, sites, happened_on)
            plan = plan_faults(seed, start, product, happened_on, len(events), rates)
            copied_on = happened_on + plan.arrival_delay + plan.duplicate_delay
            first = plan.arrival_delay == day - happened_on
            copy = (plan.duplicate_delay >= 0) & (copied_on == day)
            draw = open_stream("arrivals", seed, product, start.toordinal(), happened_on, day)
            # Events of the day itself travel for seconds; what comes from earlier days comes at any time of this one.
            travel = draw.integers(0, 90_000, len(events))
            anywhen = midnight(start) + DAY_MS * day + draw.integers(0, DAY_MS, len(events))
            at = events.at + travel if happened_on == day else anywhen
            indices = np.flatnonzero(first | copy)
            ids = EventIds(product, names_in_ids)
            records = self._write(events.take(indices), domain_name, sites)
            for index, record in zip(indices.tolist(), records, strict=True):
                event = Event(ids.id_of(record), event_type, record.time, producer, schema_version, record.payload)
                kind = int(plan.malformed[index])
                line = spoil_event(event, kind, self.line, self.dialect.rename) if kind else event.to_json()
                sent += [(int(at[index]), line)] * (int(first[index]) + int(copy[index]))
        sent.sort(key=lambda each: each[0])
        return [line for _, line in sent]

    def _write(self, events: Events, domain_name: str, sites: Mapping[str, Site]) -> list[Record]:
        site = sites.get(domain_name)
        return self.dialect.write(events, site.time_zone if site else None)


def orders(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """The order lines of a warehouse, in its dialect.

    `rename` gives fields names of the warehouse's own. `local_time` writes all times of the payload as the site's
    wall clock without an offset, else they are UTC with `Z`. `extra` adds fields that not all warehouses send
    (`Line.extra`) at the end. Raises UsageError for a field that is not there. So do the other lines.
    """
    return Source(Dialect(lines.ORDERS, dict(rename), local_time, tuple(extra)))


def returns(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """The order lines that come back, refunded in the currency of the site."""
    return Source(Dialect(lines.RETURNS, dict(rename), local_time, tuple(extra)))


def inventory(
    rename: Mapping[str, str] = {},
    local_time: bool = False,
    extra: Sequence[str] = (),
    counted: Counted = "signed",
    available: Available = "on_hand",
) -> Source:
    """What is taken off the shelves, and put back on them.

    `counted` says how a change is written: as `quantity_change`, as `direction` and `quantity`, as `direction` with
    `cases`, `loose_units` and `units_per_case`, or as `on_hand_before` and `on_hand_after`. `available` says by
    which rule `inventory_available` is reckoned: units on hand, less a safety stock, less what is promised to orders
    not yet picked, or with what suppliers have on the way.
    """
    return Source(Dialect(lines.INVENTORY, dict(rename), local_time, tuple(extra), counted, available))


def restocks(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """What suppliers deliver, at its cost in the currency of the site."""
    return Source(Dialect(lines.RESTOCKS, dict(rename), local_time, tuple(extra)))


def order_errors(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """Lines that found an empty shelf, orders that failed, and systems that did."""
    return Source(Dialect(lines.ORDER_ERRORS, dict(rename), local_time, tuple(extra)))


def dispatch_logs(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """Orders as they are loaded on a vehicle."""
    return Source(Dialect(lines.DISPATCH_LOGS, dict(rename), local_time, tuple(extra)))


def vehicle_tracking() -> Source:
    """What the company's vehicles report on their trips."""
    return Source(Dialect(lines.VEHICLE_TRACKING, {}))


def route_updates() -> Source:
    """Changes of the routes."""
    return Source(Dialect(lines.ROUTE_UPDATES, {}))


def delivery_sla() -> Source:
    """Deliveries, and whether each was in time."""
    return Source(Dialect(lines.DELIVERY_SLA, {}))


def demand_forecast() -> Source:
    """Demand of the next day, drawn from the world in the place of a model."""
    return Source(Dialect(lines.DEMAND_FORECAST, {}), DRAWN_PREDICTIONS)


def sla_risk() -> Source:
    """How likely each dispatch is late, drawn from the world in the place of a model."""
    return Source(Dialect(lines.SLA_RISK, {}), DRAWN_PREDICTIONS)


def stockout_risk() -> Source:
    """How likely each shelf is soon empty, drawn from the world in the place of a model."""
    return Source(Dialect(lines.STOCKOUT_RISK, {}), DRAWN_PREDICTIONS)
