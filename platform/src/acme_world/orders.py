"""The order lines of a warehouse as its producer sends them.

The world's truth and a dialect arrive; endless records leave for the live and burst modes, or the lines of NDJSON
that reach the broker on one simulated day, faults included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from mesh_platform.errors import UsageError
from mesh_platform.event import Event, EventIds, Record
from numpy.typing import NDArray

from acme_world.faults import MAX_DUPLICATE_DAYS, MAX_LATE_DAYS, Rates, plan_faults
from acme_world.spoiling import spoil_line
from acme_world.streams import open_stream
from acme_world.world import OrderLines, Site, World

FIELDS = (
    "order_id",
    "line_number",
    "customer_id",
    "product_id",
    "quantity",
    "unit_price",
    "amount",
    "currency",
    "status",
    "order_time",
)
EXTRA_FIELDS = ("loyalty_tier",)
DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Source:
    """Order lines in one warehouse's dialect; see `order_lines`."""

    rename: Mapping[str, str]
    local_time: bool
    extra: tuple[str, ...]

    def records(self, domain_name: str, site: Site, *, root: Path, seed: int, start: date) -> Iterator[Record]:
        """All lines that the domain sells from `start` on, in order of time, well-formed, without end."""
        world = _world(root, seed, start)
        for day in count():
            lines = world.order_lines(domain_name, site, day)
            yield from self._encode(lines, site, np.arange(len(lines)))

    def arrivals(
        self,
        domain_name: str,
        site: Site,
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
    ) -> list[bytes]:
        """The lines of NDJSON, without newlines, that arrive on day `day` (from 0), in order of arrival.

        `product` is the source of the ids, `<domain>.<product>`. A copy has the same bytes as the first. Of the days
        before the start nothing arrives.
        """
        world = _world(root, seed, start)
        sent: list[tuple[int, bytes]] = []
        for sold_on in range(max(0, day - MAX_LATE_DAYS - MAX_DUPLICATE_DAYS), day + 1):
            lines = world.order_lines(domain_name, site, sold_on)
            plan = plan_faults(seed, start, domain_name, sold_on, len(lines), rates)
            copied_on = sold_on + plan.arrival_delay + plan.duplicate_delay
            first = plan.arrival_delay == day - sold_on
            copy = (plan.duplicate_delay >= 0) & (copied_on == day)
            draw = open_stream("arrivals", seed, domain_name, start.toordinal(), sold_on, day)
            # Lines of the day itself travel for seconds; what comes from earlier days comes at any time of this one.
            travel = draw.integers(0, 90_000, len(lines))
            anywhen = DAY_MS * (day - sold_on) + draw.integers(0, DAY_MS, len(lines))
            at = np.where(sold_on == day, lines.ordered_at + travel, lines.ordered_at // DAY_MS * DAY_MS + anywhen)
            indices = np.flatnonzero(first | copy)
            ids = EventIds(product)
            for index, record in zip(indices.tolist(), self._encode(lines, site, indices), strict=True):
                event = Event(ids.id_of(record), event_type, record.time, producer, schema_version, record.payload)
                kind = int(plan.malformed[index])
                line = spoil_line(event, kind, self.rename) if kind else event.to_json()
                sent += [(int(at[index]), line)] * (int(first[index]) + int(copy[index]))
        sent.sort(key=lambda each: each[0])
        return [line for _, line in sent]

    def _encode(self, lines: OrderLines, site: Site, indices: NDArray[np.int64]) -> Iterator[Record]:
        milliseconds = lines.ordered_at[indices].tolist()
        times = [EPOCH + timedelta(milliseconds=each) for each in milliseconds]
        columns = {
            "order_id": lines.order_id[indices].tolist(),
            "line_number": lines.line_number[indices].tolist(),
            "customer_id": lines.customer_id[indices].tolist(),
            "product_id": lines.product_id[indices].tolist(),
            "quantity": lines.quantity[indices].tolist(),
            "unit_price": _decimals(lines.unit_price[indices]),
            "amount": _decimals(lines.amount[indices]),
            "currency": [lines.currency] * len(indices),
            "status": lines.status[indices].tolist(),
            "order_time": _wall_clock(times, site.time_zone) if self.local_time else _utc(times),
            "loyalty_tier": lines.loyalty_tier[indices].tolist(),
        }
        chosen = [*FIELDS, *self.extra]
        names = [self.rename.get(name, name) for name in chosen]
        for time, values in zip(times, zip(*(columns[name] for name in chosen), strict=True), strict=True):
            yield Record(time, dict(zip(names, values, strict=True)))


def order_lines(rename: Mapping[str, str] = {}, local_time: bool = False, extra: Sequence[str] = ()) -> Source:
    """The source of a warehouse's orders, in its dialect.

    `rename` gives fields of FIELDS and EXTRA_FIELDS a name of the warehouse's own. `local_time` writes `order_time`
    as the site's wall clock without an offset, else it is UTC with `Z`. `extra` adds fields of EXTRA_FIELDS at the
    end. Raises UsageError for another field.
    """
    if unknown := (set(rename) - {*FIELDS, *EXTRA_FIELDS}) | (set(extra) - set(EXTRA_FIELDS)):
        raise UsageError(
            f"order_lines: no field {sorted(unknown)}. To rename there are {[*FIELDS, *EXTRA_FIELDS]}, "
            f"to add there are {list(EXTRA_FIELDS)}. Correct the producer."
        )
    return Source(dict(rename), local_time, tuple(extra))


@lru_cache(maxsize=4)
def _world(root: Path, seed: int, start: date) -> World:
    return World(root, seed, start)


def _decimals(cents: NDArray[np.int64]) -> list[str]:
    return [f"{each // 100}.{each % 100:02d}" for each in cents.tolist()]


def _utc(times: list[datetime]) -> list[str]:
    return [f"{each.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z" for each in times]


def _wall_clock(times: list[datetime], time_zone: str) -> list[str]:
    zone = ZoneInfo(time_zone)
    return [each.astimezone(zone).replace(tzinfo=None).isoformat(timespec="milliseconds") for each in times]
