"""The sources of events: each line of the world's truth, in the dialect of one producer.

A source returns endless records for the live and burst modes, or the lines of NDJSON that reach the broker on one
simulated day, including faults.
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

# The producer that the events of a run name.
PRODUCER = "acme_world"
# The producer of predictions that the world draws until there is a model.
DRAWN_PREDICTIONS = "acme_world_draw"


@dataclass(frozen=True)
class Source:
    """One line of events in one domain's dialect; the functions below create them.

    `producer` is the sender that the events name, if it is not the product's script.
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
        """Endless, well-formed records of the domain from `start` on, in order of time.

        `sites` has the site of each domain that has one. Raises UsageError as `World.events` does.
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

        `product` is the source of the ids, `<domain>.<product>`, and `names_in_ids` has the names of fields in ids,
        as in `TableSchema`. A duplicate has the bytes of the original. No events of days before the start arrive.
        Raises UsageError as `World.events` does.
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
            # Events of the day itself arrive after seconds; those of earlier days arrive at any time of this day.
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

    `rename` maps fields to the warehouse's own names. With `local_time` all times of the payload are local times of
    the site without an offset, else they are UTC with `Z`. `extra` appends fields that not all warehouses send
    (`Line.extra`). Raises UsageError for an unknown field. The same holds for the functions below.
    """
    return Source(Dialect(lines.ORDERS, dict(rename), local_time, tuple(extra)))


def returns(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """Returned order lines, refunded in the currency of the site."""
    return Source(Dialect(lines.RETURNS, dict(rename), local_time, tuple(extra)))


def inventory(
    rename: Mapping[str, str] = {},
    local_time: bool = False,
    extra: Sequence[str] = (),
    counted: Counted = "signed",
    available: Available = "on_hand",
) -> Source:
    """Movements of goods off the shelves and back on them.

    `counted` is the form of a change: `quantity_change`; `direction` and `quantity`; `direction` with `cases`,
    `loose_units` and `units_per_case`; or `on_hand_before` and `on_hand_after`. `available` is the rule for
    `inventory_available`: units on hand, less a safety stock, less what is promised to orders not yet picked, or
    including deliveries on the way from suppliers.
    """
    return Source(Dialect(lines.INVENTORY, dict(rename), local_time, tuple(extra), counted, available))


def restocks(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """Deliveries from suppliers, with their cost in the currency of the site."""
    return Source(Dialect(lines.RESTOCKS, dict(rename), local_time, tuple(extra)))


def order_errors(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """Order lines without stock, failed orders, and failed systems."""
    return Source(Dialect(lines.ORDER_ERRORS, dict(rename), local_time, tuple(extra)))


def dispatch_logs(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """Orders loaded on a vehicle."""
    return Source(Dialect(lines.DISPATCH_LOGS, dict(rename), local_time, tuple(extra)))


def vehicle_tracking() -> Source:
    """Reports of the company's vehicles on their trips."""
    return Source(Dialect(lines.VEHICLE_TRACKING, {}))


def route_updates() -> Source:
    """Changes of the routes."""
    return Source(Dialect(lines.ROUTE_UPDATES, {}))


def delivery_sla() -> Source:
    """Deliveries, with whether each was in time."""
    return Source(Dialect(lines.DELIVERY_SLA, {}))


def demand_forecast() -> Source:
    """Forecasts of the next day's demand, drawn from the world instead of a model."""
    return Source(Dialect(lines.DEMAND_FORECAST, {}), DRAWN_PREDICTIONS)


def sla_risk() -> Source:
    """The risk of each dispatch being late, drawn from the world instead of a model."""
    return Source(Dialect(lines.SLA_RISK, {}), DRAWN_PREDICTIONS)


def stockout_risk() -> Source:
    """The risk of each shelf being empty soon, drawn from the world instead of a model."""
    return Source(Dialect(lines.STOCKOUT_RISK, {}), DRAWN_PREDICTIONS)
