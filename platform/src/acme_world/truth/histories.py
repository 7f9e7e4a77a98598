"""What becomes of vehicles and routes over time.

Their first state arrives, from the reference data; the state at any instant and the changes of a day leave. Each
history is a stream of its own, made as far as it is asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from acme_world.truth.clock import DAY_MS, MINUTE_MS, midnight
from acme_world.truth.streams import open_stream

FIRST_CHANGE_DAYS = (1, 20)
VEHICLE_CHANGE_DAYS = (8, 20)
ROUTE_CHANGE_DAYS = (9, 20)
DETOUR_REASONS = ("road works", "bridge closed", "flooded road", "landslide")
# A route is told anew now and then although nothing is new, before its next change.
CONFIRMED_SHARE = 0.3
CONFIRMED_AFTER_DAYS = (1, 8)


@dataclass(frozen=True)
class VehicleState:
    """Where a vehicle is at home and whether it is in order: `condition` is normal or limited."""

    home_route_id: str
    condition: str


class VehicleHistory:
    """One vehicle from `start` on: every 8 to 20 days its condition turns, or another route becomes its home."""

    def __init__(self, seed: int, start: date, vehicle_id: str, home_route_id: str, routes: tuple[str, ...]) -> None:
        """`routes` are those of its depot, among which its home moves."""
        self._draw = open_stream("vehicle", seed, start.toordinal(), vehicle_id)
        self._routes = routes
        self._times = [-(1 << 62)]
        self._states = [VehicleState(home_route_id, "normal")]
        self._next = midnight(start) + _pause(self._draw, FIRST_CHANGE_DAYS)

    def at(self, instant: int) -> VehicleState:
        """The state at `instant`, ms since 1970 in UTC."""
        while self._next <= instant:
            self._times.append(self._next)
            self._states.append(self._change(self._states[-1]))
            self._next += _pause(self._draw, VEHICLE_CHANGE_DAYS)
        return self._states[bisect_right(self._times, instant) - 1]

    def _change(self, before: VehicleState) -> VehicleState:
        others = [route for route in self._routes if route != before.home_route_id]
        if others and self._draw.random() < 0.5:
            return replace(before, home_route_id=others[int(self._draw.integers(len(others)))])
        return replace(before, condition="limited" if before.condition == "normal" else "normal")


@dataclass(frozen=True)
class RouteState:
    """How a route runs: `distance` in tenths of a km, `promised` in hundredths of an hour, open or on a detour."""

    distance: int
    promised: int
    road_class: str
    status: str = "open"


@dataclass(frozen=True)
class RouteChange:
    """At `at`, ms since 1970 in UTC, a route is told to be in `state`."""

    at: int
    state: RouteState
    reason: str


class RouteHistory:
    """One route from `start` on: every 9 to 20 days a detour begins or ends, or length or timetable changes."""

    def __init__(self, seed: int, start: date, route_id: str, planned: RouteState) -> None:
        self._draw = open_stream("route", seed, start.toordinal(), route_id)
        self._planned = self._usual = planned
        self._changes = [RouteChange(-(1 << 62), planned, "")]
        self._next = midnight(start) + _pause(self._draw, FIRST_CHANGE_DAYS)

    def at(self, instant: int) -> RouteState:
        """The state at `instant`, ms since 1970 in UTC."""
        self._make(instant)
        return self._changes[bisect_right(self._changes, instant, key=lambda change: change.at) - 1].state

    def changes(self, first: int, end: int) -> Iterator[RouteChange]:
        """What is told at first <= instant < end, in order of time. Some of it changes nothing."""
        self._make(end)
        return (change for change in self._changes[1:] if first <= change.at < end)

    def _make(self, instant: int) -> None:
        while self._next <= instant:
            change = self._change(self._next, self._changes[-1].state)
            self._changes.append(change)
            if self._draw.random() < CONFIRMED_SHARE:
                later = self._next + _pause(self._draw, CONFIRMED_AFTER_DAYS)
                self._changes.append(RouteChange(later, change.state, "confirmed"))
            self._next += _pause(self._draw, ROUTE_CHANGE_DAYS)

    def _change(self, at: int, before: RouteState) -> RouteChange:
        draw = self._draw
        if before.status == "detour":
            return RouteChange(at, self._usual, "detour ends")
        kind = draw.random()
        if kind < 0.6:
            longer = float(draw.uniform(1.10, 1.30))
            # The promise takes in half of what the way round costs.
            around = RouteState(
                round(before.distance * longer),
                round(before.promised * (1 + longer) / 2),
                before.road_class,
                "detour",
            )
            return RouteChange(at, around, DETOUR_REASONS[int(draw.integers(len(DETOUR_REASONS)))])
        # Both go from the plan, not from the last state: over years neither may wander off.
        if kind < 0.85:
            self._usual = replace(before, promised=round(self._planned.promised * float(draw.uniform(0.94, 1.08))))
            return RouteChange(at, self._usual, "timetable revised")
        self._usual = replace(before, distance=round(self._planned.distance * float(draw.uniform(0.96, 1.02))))
        return RouteChange(at, self._usual, "road rebuilt")


def _pause(draw: np.random.Generator, days: tuple[int, int]) -> int:
    """Whole minutes, in ms, from the first to the second number of days."""
    first, last = days
    return int(draw.integers(first * DAY_MS // MINUTE_MS, last * DAY_MS // MINUTE_MS)) * MINUTE_MS
