"""Writing a fleet's trips as its three lines of events: dispatches, vehicle reports and deliveries.

Events are numbered in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import MINUTE_MS
from acme_world.truth.driving import Drive
from acme_world.truth.histories import RouteState, VehicleState
from acme_world.truth.lines import DELIVERY_SLA, DISPATCH_LOGS, VEHICLE_TRACKING, Events, Line, arrange, no_events

PROMISED_MS = 36_000


@dataclass(frozen=True)
class Trip:
    """One vehicle on one route with some orders. Times are in ms since 1970, UTC, weights in grams.

    `order_id`, `weight`, `packages` and `dispatched` have an entry for each order, as `driven` has.
    """

    trip_id: str
    vehicle_id: str
    route_id: str
    driver_id: str
    loader_id: str
    dock_door: str
    vehicle: VehicleState
    route: RouteState
    weather: str
    assigned: int
    departs: int
    order_id: NDArray[np.str_]
    weight: NDArray[np.int64]
    packages: NDArray[np.int64]
    dispatched: NDArray[np.int64]
    driven: Drive

    @property
    def promised(self) -> int:
        """The promised time of all orders of the trip."""
        return self.departs + self.route.promised * PROMISED_MS


def note_orders(stamp: str, warehouse_id: str, trips: Sequence[Trip]) -> tuple[Events, Events, NDArray[np.float64]]:
    """The dispatch and the delivery of each order, and for each dispatch the probability of a late delivery.

    `stamp` makes ids unique: DSP-<stamp>-000001. Delays are in whole minutes, rounded up: a delivery meets its
    promise if delay_minutes is 0 or less.
    """
    if not trips:
        return no_events(DISPATCH_LOGS), no_events(DELIVERY_SLA), np.zeros(0)
    sizes = [len(trip.order_id) for trip in trips]

    def each(value: Callable[[Trip], Any]) -> NDArray[Any]:
        return np.repeat(np.array([value(trip) for trip in trips]), sizes)

    dispatched = np.concatenate([trip.dispatched for trip in trips])
    delivered = np.concatenate([trip.departs + trip.driven.delivered for trip in trips])
    promised = each(lambda trip: trip.promised)
    both = {
        "dispatch_id": _number(f"DSP-{stamp}", dispatched),
        "trip_id": each(lambda trip: trip.trip_id),
        "order_id": np.concatenate([trip.order_id for trip in trips]),
        "vehicle_id": each(lambda trip: trip.vehicle_id),
        "route_id": each(lambda trip: trip.route_id),
        "promised_time": promised,
    }
    chance = np.concatenate([trip.driven.chance_late for trip in trips])
    dispatches = arrange(
        DISPATCH_LOGS,
        dispatched,
        {
            **both,
            "employee_id": each(lambda trip: trip.loader_id),
            "package_count": np.concatenate([trip.packages for trip in trips]),
            "weight_kg": np.concatenate([trip.weight for trip in trips]),
            "dock_door": each(lambda trip: trip.dock_door),
        },
    )
    delay = -((promised - delivered) // MINUTE_MS)
    deliveries = number_events(
        DELIVERY_SLA,
        f"DLV-{stamp}",
        delivered,
        {
            **both,
            "warehouse_id": np.full(len(delivered), warehouse_id),
            "weather": each(lambda trip: trip.weather),
            "load_kg": each(lambda trip: int(trip.weight.sum())),
            "delay_minutes": delay,
            "sla_met": delay <= 0,
        },
    )
    return dispatches, deliveries, chance[_by_time(dispatched)]


def note_reports(stamp: str, warehouse_id: str, trips: Sequence[Trip]) -> Events:
    """The reports of each vehicle: assigned, departed, position about once an hour, completed."""
    if not trips:
        return no_events(VEHICLE_TRACKING)
    sizes = [2 + len(trip.driven.reported) for trip in trips]

    def each(value: Callable[[Trip], Any]) -> NDArray[Any]:
        return np.repeat(np.array([value(trip) for trip in trips]), sizes)

    def begun(of: Callable[[Drive], NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate([part for trip in trips for part in (np.zeros(2, np.int64), of(trip.driven))])

    at = np.concatenate(
        [
            part
            for trip in trips
            for part in (np.array([trip.assigned, trip.departs]), trip.departs + trip.driven.reported)
        ]
    )
    columns = {
        "trip_id": each(lambda trip: trip.trip_id),
        "vehicle_id": each(lambda trip: trip.vehicle_id),
        "route_id": each(lambda trip: trip.route_id),
        "driver_id": each(lambda trip: trip.driver_id),
        "warehouse_id": np.full(len(at), warehouse_id),
        "activity": np.array(
            [name for size in sizes for name in ("assigned", "departed", *["position"] * (size - 3), "completed")]
        ),
        "home_route_id": each(lambda trip: trip.vehicle.home_route_id),
        "condition": each(lambda trip: trip.vehicle.condition),
        "weather": each(lambda trip: trip.weather),
        "distance_km": begun(lambda driven: driven.travelled),
        "speed_kmh": begun(lambda driven: driven.speed),
        "load_kg": each(lambda trip: int(trip.weight.sum())),
    }
    return number_events(VEHICLE_TRACKING, f"TRK-{stamp}", at, columns)


def number_events(line: Line, prefix: str, at: NDArray[np.int64], columns: dict[str, NDArray[Any]]) -> Events:
    """Events of `line` whose ids are `prefix`-000001 and so on in order of time."""
    return arrange(line, at, {line.id_field: _number(prefix, at), **columns})


def _by_time(at: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.argsort(at, kind="stable")


def _number(prefix: str, at: NDArray[np.int64]) -> NDArray[np.str_]:
    """Ids that ascend with `at`, in the order of `at`."""
    ids = np.array([f"{prefix}-{n:06d}" for n in range(1, len(at) + 1)], dtype=np.str_)
    numbered = np.empty_like(ids)
    numbered[_by_time(at)] = ids
    return numbered
