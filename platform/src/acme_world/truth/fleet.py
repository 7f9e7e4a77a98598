"""The fleet of a warehouse, which delivers orders to its customers.

It turns the loads of each day into dispatches, reports of vehicles, and deliveries. Twice a local day a vehicle
leaves on each route with waiting orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from hashlib import blake2b
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import DAY_MS, MINUTE_MS, midnight
from acme_world.truth.driving import Circumstances, drive
from acme_world.truth.histories import RouteHistory, RouteState, VehicleHistory
from acme_world.truth.lines import ROUTE_UPDATES, Events, no_events
from acme_world.truth.logbook import PROMISED_MS, Trip, note_orders, note_reports, number_events
from acme_world.truth.reference import Logistics
from acme_world.truth.site import region_of
from acme_world.truth.staff import Staff
from acme_world.truth.streams import open_stream
from acme_world.truth.weather import Weather

# Local hours of departure, and the shift of the drivers.
WAVES = {7: "early", 15: "late"}
ASSIGNED_MS, LOADING_MS = 75 * MINUTE_MS, 45 * MINUTE_MS
# The bonus for a vehicle's home route when vehicles are assigned, added to a random number from 0 to 1.
HOME_BONUS = 0.1


@dataclass(frozen=True)
class Loads:
    """Orders to be sent, one entry per order.

    `weight` is in grams; `ready_at`, ms since 1970 in UTC, is when the order was completely picked.
    """

    order_id: NDArray[np.str_]
    customer_id: NDArray[np.str_]
    weight: NDArray[np.int64]
    packages: NDArray[np.int64]
    ready_at: NDArray[np.int64]

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Loads:
        """The entries at the indices, or where the mask is true."""
        return Loads(*(column[chosen] for column in vars(self).values()))


@dataclass(frozen=True)
class Sent:
    """The events of the waves of one UTC day. They happen on that day or the next one.

    `chance_late` has, for each of `dispatches`, the probability of a late delivery as known at its departure.
    """

    dispatches: Events
    tracking: Events
    deliveries: Events
    chance_late: NDArray[np.float64]


class Fleet:
    """The vehicles, routes and drivers of one warehouse.

    A warehouse without vehicles or routes in the reference data rents: `rents` is true, and it uses all of the
    company's. Days must be sent in order from day 0, because orders that do not fit on a vehicle wait.
    """

    def __init__(
        self, logistics: Logistics, domain: str, warehouse_id: str, time_zone: str, seed: int, start: date
    ) -> None:
        own = [each.warehouse_id == warehouse_id for each in (logistics.vehicles, logistics.routes)]
        self.rents = not (own[0].any() and own[1].any())
        self._vehicles = logistics.vehicles if self.rents else logistics.vehicles.take(own[0])
        self._routes = logistics.routes if self.rents else logistics.routes.take(own[1])
        self._staff = Staff(logistics.employees, warehouse_id, time_zone)
        self._weather = Weather(warehouse_id, seed, start)
        self._zone, self._start = ZoneInfo(time_zone), start
        self._names = (seed, domain, start.toordinal())
        self._warehouse_id, self._region = warehouse_id, region_of(domain).upper()

        depots: dict[str, list[str]] = {}
        for route, depot in zip(self._routes.route_id.tolist(), self._routes.warehouse_id.tolist(), strict=True):
            depots.setdefault(depot, []).append(route)
        vehicles = self._vehicles
        self._vehicle_histories = [
            VehicleHistory(seed, start, vehicle, home, tuple(depots.get(depot, (home,))))
            for vehicle, home, depot in zip(
                vehicles.vehicle_id.tolist(),
                vehicles.home_route_id.tolist(),
                vehicles.warehouse_id.tolist(),
                strict=True,
            )
        ]
        routes = self._routes
        self._route_histories = [
            RouteHistory(seed, start, route, RouteState(distance, promised, road_class))
            for route, distance, promised, road_class in zip(
                routes.route_id.tolist(),
                routes.distance.tolist(),
                routes.promised.tolist(),
                routes.road_class.tolist(),
                strict=True,
            )
        ]
        self._vehicle_back = np.full(len(vehicles.vehicle_id), -(1 << 62), np.int64)
        self._driver_back: dict[str, int] = {}
        self._waiting: Loads | None = None
        self._next_day = 0

    def send(self, day_index: int, loads: Loads) -> Sent:
        """Send the waves that leave on UTC day `day_index`, with the orders of `loads` and those still waiting.

        An order leaves in the first wave of its customer's route that has room and whose loading begins (LOADING_MS
        before departure) after it is ready; that may be on a later day. Pass each order once, on the day when it is
        ready or before. Raises ValueError if a day is omitted or repeated.
        """
        if day_index != self._next_day:
            raise ValueError(f"day {day_index} is sent after day {self._next_day - 1}: send them one by one, from 0")
        self._next_day += 1
        draw = open_stream("fleet", *self._names, day_index)
        waiting = loads if self._waiting is None else _join(self._waiting, loads)
        waiting = waiting.take(np.argsort(waiting.ready_at, kind="stable"))
        routes = len(self._routes.route_id)
        route_of = np.array([_route_of(customer, routes) for customer in waiting.customer_id.tolist()], np.int64)
        gone = np.zeros(len(route_of), np.bool_)
        trips: list[Trip] = []
        day = self._start + timedelta(days=day_index)
        stamp = f"{self._region}-{day:%Y%m%d}"
        for departs, shift in self._waves(day):
            ready = (waiting.ready_at <= departs - LOADING_MS) & ~gone
            for route in draw.permutation(np.unique(route_of[ready])).tolist():
                queue = np.flatnonzero(ready & (route_of == route))
                vehicle = self._vehicle(route, int(waiting.weight[queue[0]]), departs, draw)
                driver = self._driver(shift, departs, draw)
                if vehicle is None or driver is None:
                    continue
                aboard = queue[: self._fit(vehicle, waiting.weight[queue])]
                trip = self._drive(
                    f"TRIP-{stamp}-{len(trips) + 1:04d}", departs, route, vehicle, driver, waiting.take(aboard), draw
                )
                gone[aboard] = True
                trips.append(trip)
                self._vehicle_back[vehicle] = self._driver_back[driver] = departs + trip.driven.back
        self._waiting = waiting.take(~gone)
        dispatches, deliveries, chance_late = note_orders(stamp, self._warehouse_id, trips)
        return Sent(dispatches, note_reports(stamp, self._warehouse_id, trips), deliveries, chance_late)

    def route_updates(self, day_index: int) -> Events:
        """The changes of this warehouse's routes that begin on UTC day `day_index`; always none if it rents."""
        if self.rents:
            return no_events(ROUTE_UPDATES)
        day = self._start + timedelta(days=day_index)
        first = midnight(day)
        reports = [
            (route, change)
            for route, history in zip(self._routes.route_id.tolist(), self._route_histories, strict=True)
            for change in history.changes(first, first + DAY_MS)
        ]
        if not reports:
            return no_events(ROUTE_UPDATES)
        columns = {
            "route_id": np.array([route for route, _ in reports]),
            "distance_km": np.array([change.state.distance for _, change in reports], np.int64),
            "promised_hours": np.array([change.state.promised for _, change in reports], np.int64),
            "road_class": np.array([change.state.road_class for _, change in reports]),
            "status": np.array([change.state.status for _, change in reports]),
            "reason": np.array([change.reason for _, change in reports]),
        }
        at = np.array([change.at for _, change in reports], np.int64)
        return number_events(ROUTE_UPDATES, f"RTU-{self._region}-{day:%Y%m%d}", at, columns)

    def _waves(self, day: date) -> list[tuple[int, str]]:
        """The departures, in order of time, with their shifts, whose vehicles are assigned on UTC day `day`."""
        first = midnight(day)
        found = []
        for local in (day - timedelta(days=1), day, day + timedelta(days=1)):
            for hour, shift in WAVES.items():
                departs = int(datetime.combine(local, time(hour), self._zone).timestamp()) * 1000
                if first <= departs - ASSIGNED_MS < first + DAY_MS:
                    found.append((departs, shift))
        return found

    def _vehicle(self, route: int, heaviest: int, departs: int, draw: np.random.Generator) -> int | None:
        """A random available vehicle that can carry the longest waiting order, preferably with this home route."""
        route_id = str(self._routes.route_id[route])
        bonus = [HOME_BONUS * (history.at(departs).home_route_id == route_id) for history in self._vehicle_histories]
        # If no vehicle is large enough, the largest takes it.
        needed = min(heaviest, int(self._vehicles.capacity.max()))
        fits = (self._vehicle_back <= departs - ASSIGNED_MS) & (self._vehicles.capacity >= needed)
        score = np.where(fits, draw.random(len(fits)) + bonus, -1.0)
        best = int(np.argmax(score))
        return best if fits[best] else None

    def _driver(self, shift: str, departs: int, draw: np.random.Generator) -> str | None:
        drivers: list[str] = self._staff.roster("driver", shift).tolist()
        free = [each for each in drivers if self._driver_back.get(each, 0) <= departs - ASSIGNED_MS]
        return free[int(draw.integers(len(free)))] if free else None

    def _fit(self, vehicle: int, weights: NDArray[np.int64]) -> int:
        """The number of orders of the queue that fit the vehicle, at least one."""
        return max(1, int((np.cumsum(weights) <= self._vehicles.capacity[vehicle]).sum()))

    def _drive(
        self,
        trip_id: str,
        departs: int,
        route: int,
        vehicle: int,
        driver: str,
        aboard: Loads,
        draw: np.random.Generator,
    ) -> Trip:
        local = datetime.fromtimestamp(departs / 1000, self._zone)
        weather = self._weather.on((local.date() - self._start).days, local.hour >= 12)
        # The states at the time of assignment: later changes affect the next trip.
        assigned = departs - int(draw.integers(ASSIGNED_MS * 4 // 5, ASSIGNED_MS))
        vehicle_state = self._vehicle_histories[vehicle].at(assigned)
        route_state = self._route_histories[route].at(assigned)
        dispatched = departs - draw.integers(5 * MINUTE_MS, LOADING_MS, len(aboard.weight))
        loader = self._staff.on_shift("loader", np.array([departs - LOADING_MS]), draw)[0]
        circumstances = Circumstances(
            distance=route_state.distance,
            promised=route_state.promised * PROMISED_MS,
            road_class=route_state.road_class,
            detour=route_state.status == "detour",
            vehicle_type=str(self._vehicles.vehicle_type[vehicle]),
            capacity=int(self._vehicles.capacity[vehicle]),
            max_speed=int(self._vehicles.max_speed[vehicle]),
            limited=vehicle_state.condition == "limited",
            weather=weather,
            load=int(aboard.weight.sum()),
        )
        return Trip(
            trip_id=trip_id,
            vehicle_id=str(self._vehicles.vehicle_id[vehicle]),
            route_id=str(self._routes.route_id[route]),
            driver_id=driver,
            loader_id=str(loader),
            dock_door=f"D-{route + 1:02d}",
            vehicle=vehicle_state,
            route=route_state,
            weather=weather,
            assigned=assigned,
            departs=departs,
            order_id=aboard.order_id,
            weight=aboard.weight,
            packages=aboard.packages,
            dispatched=dispatched,
            driven=drive(circumstances, aboard.weight, draw),
        )


def _route_of(customer: str, routes: int) -> int:
    return int.from_bytes(blake2b(customer.encode(), digest_size=4).digest(), "big") % routes


def _join(one: Loads, other: Loads) -> Loads:
    both = zip(vars(one).values(), vars(other).values(), strict=True)
    return Loads(*(np.concatenate(columns) for columns in both))
