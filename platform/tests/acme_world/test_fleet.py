"""Vehicles, routes, drivers, weather and lateness are consistent with the inputs of the fleet."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from acme_world.truth.clock import DAY_MS, HOUR_MS, MINUTE_MS, midnight
from acme_world.truth.fleet import LOADING_MS, Fleet, Loads, Sent
from acme_world.truth.lines import DELIVERY_SLA, LINES, ROUTE_UPDATES, Events
from acme_world.truth.reference import Logistics, read_logistics
from acme_world.truth.staff import SHIFT_BEGINS, local_hours
from acme_world.truth.world import open_world
from numpy.typing import NDArray

ROOT = Path(__file__).parents[3]
START = date(2025, 10, 1)
DAYS = 28


@dataclass(frozen=True)
class Place:
    warehouse_id: str
    time_zone: str
    currency: str = "USD"


ZONES = {
    "north": "America/Toronto",
    "south": "America/Chicago",
    "east": "America/New_York",
    "west": "America/Los_Angeles",
}
SITES = {f"{region}_warehouse": Place(f"WH-{region.upper()}", zone) for region, zone in ZONES.items()}
WEEKDAYS = (0.95, 0.85, 0.85, 1.0, 1.35, 1.55, 0.45)
LOGISTICS = read_logistics(ROOT)


@dataclass(frozen=True)
class History:
    """Everything that one warehouse's fleet did, with its inputs."""

    region: str
    given: list[Loads]
    sent: list[Sent]
    updates: Events

    def all(self, part: str, column: str) -> NDArray[Any]:
        events = [getattr(each, part) for each in self.sent]
        return np.concatenate([one.at if column == "at" else one[column] for one in events])


def fleet(region: str, seed: int = 7, start: date = START, logistics: Logistics = LOGISTICS) -> Fleet:
    zone = ZONES.get(region, "Asia/Tokyo")
    return Fleet(logistics, f"{region}_warehouse", f"WH-{region.upper()}", zone, seed, start)


def draw_loads(region: str, seed: int, day: int) -> Loads:
    """The approximate sales of a warehouse in a day, picked within ninety minutes."""
    draw = np.random.default_rng([seed, day, *region.encode()])
    count = int(draw.poisson(214 * WEEKDAYS[(START + timedelta(days=day)).weekday()]))
    ordered = midnight(START + timedelta(days=day)) + draw.integers(0, DAY_MS, count)
    lines = draw.geometric(0.5, count)
    return Loads(
        order_id=np.array([f"{region.upper()}-{day:03d}-{n:06d}" for n in range(count)], dtype=np.str_),
        customer_id=np.array([f"C-{region.upper()}-{n:05d}" for n in draw.integers(0, 4000, count)], dtype=np.str_),
        weight=(lines * 1300 * draw.lognormal(-0.5, 1.0, count)).astype(np.int64) + 50,
        packages=np.maximum(1, lines // 2).astype(np.int64),
        ready_at=ordered + draw.integers(5 * MINUTE_MS, 90 * MINUTE_MS, count),
    )


def some_loads(weights: list[int], ready_at: int, customer: str = "C-NORTH-00001") -> Loads:
    count = len(weights)
    return Loads(
        order_id=np.array([f"X-{n:04d}" for n in range(count)], dtype=np.str_),
        customer_id=np.full(count, customer),
        weight=np.array(weights, np.int64),
        packages=np.ones(count, np.int64),
        ready_at=ready_at + np.arange(count),
    )


NOTHING = some_loads([], 0)


@cache
def history(seed: int, region: str) -> History:
    sending = fleet(region, seed)
    given = [draw_loads(region, seed, day) for day in range(DAYS)]
    sent = [sending.send(day, loads) for day, loads in enumerate(given)]
    told = [updates for day in range(DAYS) if len(updates := sending.route_updates(day))]
    columns = {name: np.concatenate([each[name] for each in told]) for name in ROUTE_UPDATES.truth}
    return History(region, given, sent, Events(np.concatenate([each.at for each in told]), columns))


def trips_of(past: History) -> dict[str, list[dict[str, Any]]]:
    """The reports of each trip, in order of time."""
    columns = {name: past.all("tracking", name).tolist() for name in ("at", *LINES["vehicle_tracking"].truth)}
    reports = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    trips: dict[str, list[dict[str, Any]]] = {}
    for report in sorted(reports, key=lambda each: (each["at"], each["tracking_id"])):
        trips.setdefault(report["trip_id"], []).append(report)
    return trips


def same(one: Events, other: Events) -> bool:
    return np.array_equal(one.at, other.at) and all(np.array_equal(one[name], other[name]) for name in one.columns)


def test_one_history_however_it_is_asked_for() -> None:
    past, again = history(7, "west"), fleet("west")
    backwards = [again.route_updates(day) for day in reversed(range(DAYS))]
    assert sum(len(each) for each in backwards) == len(past.updates)
    for day, sent in enumerate(past.sent):
        repeated = again.send(day, past.given[day])
        assert same(sent.dispatches, repeated.dispatches)
        assert same(sent.tracking, repeated.tracking)
        assert same(sent.deliveries, repeated.deliveries)
        assert np.array_equal(sent.chance_late, repeated.chance_late)
    assert same(past.updates.between(0, 1 << 62), past.updates)
    assert not same(past.sent[3].tracking, history(8, "west").sent[3].tracking)


def test_another_process_draws_the_same() -> None:
    program = (
        "from tests.acme_world import test_fleet as t\n"
        "past = t.history(7, 'north')\n"
        "print(past.all('tracking', 'at').sum(), past.all('deliveries', 'delay_minutes').sum(),"
        " past.all('tracking', 'speed_kmh').sum(), ''.join(past.all('dispatches', 'employee_id')))"
    )
    past = history(7, "north")
    expected = (
        f"{past.all('tracking', 'at').sum()} {past.all('deliveries', 'delay_minutes').sum()} "
        f"{past.all('tracking', 'speed_kmh').sum()} {''.join(past.all('dispatches', 'employee_id'))}"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "platform",
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.strip() == expected


@pytest.mark.parametrize("region", ZONES)
def test_each_order_travels_once_in_the_first_wave_after_it_is_ready(region: str) -> None:
    past = history(7, region)
    ready = {
        order: at
        for each in past.given
        for order, at in zip(each.order_id.tolist(), each.ready_at.tolist(), strict=True)
    }
    departs = {trip: reports[1]["at"] for trip, reports in trips_of(past).items()}
    waves = sorted(set(departs.values()))
    orders = past.all("dispatches", "order_id").tolist()
    assert len(orders) == len(set(orders))
    first = [next((wave for wave in waves if ready[order] <= wave - LOADING_MS), None) for order in ready]
    assert set(orders) == {order for order, wave in zip(ready, first, strict=True) if wave is not None}
    expected = dict(zip(ready, first, strict=True))
    for order, trip, at in zip(
        orders, past.all("dispatches", "trip_id"), past.all("dispatches", "at").tolist(), strict=True
    ):
        assert expected[order] == departs[trip]
        assert ready[order] <= at < departs[trip]
    delivered = dict(zip(past.all("deliveries", "order_id"), past.all("deliveries", "at").tolist(), strict=True))
    trip_of = dict(zip(orders, past.all("dispatches", "trip_id"), strict=True))
    ends = {trip: reports[-1]["at"] for trip, reports in trips_of(past).items()}
    assert delivered.keys() == set(orders)
    assert all(departs[trip_of[order]] < at <= ends[trip_of[order]] for order, at in delivered.items())


def test_a_delivery_repeats_its_dispatch_and_counts_its_delay() -> None:
    past = history(7, "east")
    shared = ("dispatch_id", "trip_id", "order_id", "vehicle_id", "route_id", "promised_time")
    dispatches = {
        row[0]: row for row in zip(*(past.all("dispatches", name).tolist() for name in shared), strict=True)
    }
    deliveries = list(zip(*(past.all("deliveries", name).tolist() for name in shared), strict=True))
    assert len(dispatches) == len(deliveries)
    assert all(dispatches[row[0]] == row for row in deliveries)
    late = past.all("deliveries", "at") - past.all("deliveries", "promised_time")
    minutes = past.all("deliveries", "delay_minutes")
    assert ((minutes * MINUTE_MS >= late) & ((minutes - 1) * MINUTE_MS < late)).all()
    assert ((late <= 0) == past.all("deliveries", "sla_met")).all()
    loads = {trip: reports[0]["load_kg"] for trip, reports in trips_of(past).items()}
    weights: dict[str, int] = {}
    for trip, weight in zip(
        past.all("dispatches", "trip_id"), past.all("dispatches", "weight_kg").tolist(), strict=True
    ):
        weights[trip] = weights.get(trip, 0) + weight
    assert weights == loads
    pairs = zip(past.all("deliveries", "trip_id"), past.all("deliveries", "load_kg").tolist(), strict=True)
    assert all(loads[trip] == load for trip, load in pairs)


@pytest.mark.parametrize("region", ZONES)
def test_vehicles_report_what_can_be(region: str) -> None:
    past = history(7, region)
    fastest = dict(zip(LOGISTICS.vehicles.vehicle_id, LOGISTICS.vehicles.max_speed.tolist(), strict=True))
    depot = dict(zip(LOGISTICS.vehicles.vehicle_id, LOGISTICS.vehicles.warehouse_id, strict=True))
    for reports in trips_of(past).values():
        names = [report["activity"] for report in reports]
        assert names == ["assigned", "departed", *["position"] * (len(names) - 3), "completed"]
        assert depot[reports[0]["vehicle_id"]] == f"WH-{region.upper()}" == reports[0]["warehouse_id"]
        for name in ("vehicle_id", "route_id", "driver_id", "home_route_id", "condition", "weather", "load_kg"):
            assert len({report[name] for report in reports}) == 1
        assert [(report["distance_km"], report["speed_kmh"]) for report in reports[:2]] == [(0, 0)] * 2
        for before, after in pairwise(reports[1:]):
            assert 0 < after["at"] - before["at"] <= 82 * MINUTE_MS
            hours = (after["at"] - before["at"]) / HOUR_MS
            gone = after["distance_km"] - before["distance_km"]
            assert gone >= 0
            assert abs(after["speed_kmh"] - gone / hours) <= 0.5
            assert after["speed_kmh"] <= fastest[after["vehicle_id"]] * 10
        assert reports[-1]["distance_km"] == distance_at(past, reports[0]["route_id"], reports[0]["at"])
        assert reports[-1]["at"] < (reports[0]["at"] // DAY_MS + 2) * DAY_MS


def distance_at(past: History, route: str, at: int) -> int:
    """The last reported length of a route before an instant, else the planned one."""
    told = past.updates.take((past.updates["route_id"] == route) & (past.updates.at <= at))
    planned = LOGISTICS.routes.distance[LOGISTICS.routes.route_id == route]
    return int(told["distance_km"][-1] if len(told) else planned[0])


@pytest.mark.parametrize("seed", [0, 1, 42])
@pytest.mark.parametrize("region", ZONES)
def test_nobody_is_in_two_places_and_everyone_is_on_shift(region: str, seed: int) -> None:
    past = history(seed, region)
    employees = LOGISTICS.employees
    known = {
        employee: (role, warehouse, shift)
        for employee, role, warehouse, shift in zip(
            *(column.tolist() for column in vars(employees).values()), strict=True
        )
    }
    fastest = dict(zip(LOGISTICS.vehicles.vehicle_id, LOGISTICS.vehicles.max_speed.tolist(), strict=True))
    busy: dict[str, list[tuple[int, int]]] = {}
    zone = ZoneInfo(ZONES[region])
    for reports in trips_of(past).values():
        # The vehicle returns over the distance travelled, at no more than its maximum speed.
        away = (
            reports[0]["at"],
            reports[-1]["at"] + reports[-1]["distance_km"] / 10 / fastest[reports[0]["vehicle_id"]] * HOUR_MS,
        )
        for who in ("vehicle_id", "driver_id"):
            busy.setdefault(reports[0][who], []).append(away)
        hour = datetime.fromtimestamp(reports[1]["at"] / 1000, zone).hour
        role, warehouse, shift = known[reports[0]["driver_id"]]
        assert (role, warehouse) == ("driver", f"WH-{region.upper()}")
        assert (hour - SHIFT_BEGINS[shift]) % 24 < 8
    for spans in busy.values():
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))
    hours = local_hours(past.all("dispatches", "at"), ZONES[region])
    for employee, hour in zip(past.all("dispatches", "employee_id").tolist(), hours.tolist(), strict=True):
        role, warehouse, shift = known[employee]
        assert (role, warehouse) == ("loader", f"WH-{region.upper()}")
        assert (hour - SHIFT_BEGINS[shift]) % 24 < 8


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_vehicles_and_routes_change_within_four_weeks(seed: int) -> None:
    states: dict[str, set[tuple[str, str]]] = {}
    routes: dict[str, set[tuple[Any, ...]]] = {}
    for region in ZONES:
        past = history(seed, region)
        for vehicle, home, condition in zip(
            *(past.all("tracking", name).tolist() for name in ("vehicle_id", "home_route_id", "condition")),
            strict=True,
        ):
            states.setdefault(vehicle, set()).add((home, condition))
        assert (np.diff(past.updates.at) >= 0).all()
        told = zip(*(past.updates[name].tolist() for name in ROUTE_UPDATES.truth if name != "update_id"), strict=True)
        for route, *state in told:
            routes.setdefault(route, set()).add(tuple(state[:4]))
        changed = past.updates.take(past.updates["reason"] != "confirmed")
        for route in set(changed["route_id"].tolist()):
            gaps = np.diff(changed.at[changed["route_id"] == route]) / DAY_MS
            assert ((gaps >= 9) & (gaps <= 20)).all()
    assert len(states) == 64
    assert sum(len(each) > 1 for each in states.values()) >= 40
    assert {condition for each in states.values() for _, condition in each} == {"normal", "limited"}
    planned = dict(zip(LOGISTICS.routes.route_id.tolist(), LOGISTICS.routes.distance.tolist(), strict=True))
    assert len(routes) >= 20
    assert sum(any(distance != planned[route] for distance, *_ in each) for route, each in routes.items()) >= 12


def shift_between(groups: NDArray[Any], late: NDArray[np.bool_]) -> float:
    """The difference between the largest and smallest share of late ones among groups of at least 100 deliveries."""
    names, sizes = np.unique(groups, return_counts=True)
    shares = [late[groups == name].mean() for name in names[sizes >= 100]]
    return float(max(shares) - min(shares))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 42))])
def test_type_route_weather_and_load_each_shift_lateness(seed: int) -> None:
    world = open_world(ROOT, seed, START)
    days = [world.events(DELIVERY_SLA, "logistics_core", SITES, day) for day in range(DAYS)]
    column = {name: np.concatenate([events[name] for events in days]) for name in DELIVERY_SLA.truth}
    late = ~column["sla_met"]
    assert 0.12 <= late.mean() <= 0.20
    kinds = dict(zip(LOGISTICS.vehicles.vehicle_id, LOGISTICS.vehicles.vehicle_type, strict=True))
    kind = np.array([kinds[vehicle] for vehicle in column["vehicle_id"]])
    assert shift_between(kind, late) >= 0.1
    assert shift_between(column["route_id"], late) >= 0.1
    assert shift_between(column["weather"], late) >= 0.1
    fair = (kind == "van") & (column["weather"] == "clear")
    heavy = column["load_kg"] > np.quantile(column["load_kg"][fair], 0.8)
    light = column["load_kg"] < np.quantile(column["load_kg"][fair], 0.2)
    assert column["delay_minutes"][fair & heavy].mean() > column["delay_minutes"][fair & light].mean() + 10
    for each in np.unique(column["route_id"]):
        assert len(set(kind[column["route_id"] == each])) == 4, "types mix over routes"


def test_the_chance_told_at_departure_is_the_share_that_comes_late() -> None:
    chance, late = [], []
    for past in (history(seed, region) for seed in (0, 1, 42) for region in ZONES):
        met = dict(zip(past.all("deliveries", "dispatch_id"), past.all("deliveries", "sla_met"), strict=True))
        chance += [each for sent in past.sent for each in sent.chance_late.tolist()]
        late += [not met[dispatch] for dispatch in past.all("dispatches", "dispatch_id")]
    told, came = np.array(chance), np.array(late)
    assert ((told >= 0) & (told <= 1)).all()
    for low, high in pairwise((0.0, 0.1, 0.3, 0.6, 0.9, 1.0)):
        among = (told >= low) & (told < high)
        assert abs(told[among].mean() - came[among].mean()) < 0.08


def test_what_is_too_heavy_waits_for_the_next_wave() -> None:
    heavy = some_loads([9_000_000, 9_000_000, 9_000_000, 400_000], midnight(START))
    sending = fleet("north")
    sent = [sending.send(day, heavy if day == 0 else NOTHING) for day in range(6)]
    capacity = dict(zip(LOGISTICS.vehicles.vehicle_id, LOGISTICS.vehicles.capacity.tolist(), strict=True))
    orders: list[str] = []
    for each in sent:
        orders += each.dispatches["order_id"].tolist()
        for vehicle, load in zip(each.tracking["vehicle_id"], each.tracking["load_kg"].tolist(), strict=True):
            assert load <= capacity[vehicle]
        for column in ("dispatches", "tracking", "deliveries"):
            assert list(getattr(each, column).columns)
    assert sorted(orders) == heavy.order_id.tolist()
    assert len({trip for each in sent for trip in each.tracking["trip_id"].tolist()}) >= 2
    monster = fleet("north")
    gone = [len(monster.send(day, some_loads([90_000_000], midnight(START)) if day == 0 else NOTHING).dispatches)
            for day in range(3)]  # fmt: skip
    assert sum(gone) == 1, "what no vehicle can carry does not block the route"


def test_one_without_vehicles_rents_from_all() -> None:
    sending = fleet("harbour")
    assert sending.rents
    assert not fleet("north").rents
    loads = [replace(draw_loads("north", 7, day)) for day in range(5)]
    sent = [sending.send(day, each) for day, each in enumerate(loads)]
    used = {vehicle for each in sent for vehicle in each.dispatches["vehicle_id"].tolist()}
    depots = dict(zip(LOGISTICS.vehicles.vehicle_id.tolist(), LOGISTICS.vehicles.warehouse_id.tolist(), strict=True))
    assert {depots[vehicle] for vehicle in used} == {f"WH-{region.upper()}" for region in ZONES}
    assert all(len(sending.route_updates(day)) == 0 for day in range(DAYS))
    assert {"WH-HARBOUR"} == {warehouse for each in sent for warehouse in each.deliveries["warehouse_id"].tolist()}


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"])
def test_no_event_of_a_day_lies_before_it_or_after_the_next(zone: str) -> None:
    start = date(2025, 10, 30)
    sending = Fleet(LOGISTICS, "east_warehouse", "WH-EAST", zone, 3, start)
    departed: list[int] = []
    for day in range(6):
        sent = sending.send(day, some_loads([500] * 60, midnight(start) + day * DAY_MS, f"C-EAST-{day:05d}"))
        first = midnight(start) + day * DAY_MS
        for events in (sent.dispatches, sent.tracking, sent.deliveries):
            assert len(events)
            assert ((events.at >= first) & (events.at < first + 2 * DAY_MS)).all()
            assert (np.diff(events.at) >= 0).all()
        departed += sent.tracking.at[sent.tracking["activity"] == "departed"].tolist()
    hours = {datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%H:%M") for at in departed}
    assert hours <= {"07:00", "15:00"}, "whatever the clocks do"


def test_days_come_one_by_one() -> None:
    sending = fleet("north")
    sending.send(0, NOTHING)
    for wrong in (0, 2):
        with pytest.raises(ValueError, match="one by one"):
            sending.send(wrong, NOTHING)
