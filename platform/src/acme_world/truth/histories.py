"""The changes of vehicles and routes over time, starting from the reference data.

Each history has its own random stream, and is generated as far as needed.
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
# The probability that a route is reported again, without a change, before its next change.
CONFIRMED_SHARE = 0.3
CONFIRMED_AFTER_DAYS = (1, 8)


@dataclass(frozen=True)
class VehicleState:
    """The home route of a vehicle and its condition: `condition` is normal or limited."""

    home_route_id: str
    condition: str


class VehicleHistory:
    """One vehicle from `start` on: every 8 to 20 days its condition or its home route changes."""

    def __init__(self, seed: int, start: date, vehicle_id: str, home_route_id: str, routes: tuple[str, ...]) -> None:
        """`routes` are those of its depot, which its home route may be."""
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
    """The state of a route: `distance` in tenths of a km, `promised` in hundredths of an hour, open or detoured."""

    distance: int
    promised: int
    road_class: str
    status: str = "open"


@dataclass(frozen=True)
class RouteChange:
    """A report, at `at` (ms since 1970 in UTC), that a route is in `state`."""

    at: int
    state: RouteState
    reason: str


class RouteHistory:
    """One route from `start` on: every 9 to 20 days a detour begins or ends, or its length or timetable changes."""

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
        """The reports with first <= at < end, in order of time. Some of them change nothing."""
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
            # The promise includes half of the delay by the detour.
            around = RouteState(
                round(before.distance * longer),
                round(before.promised * (1 + longer) / 2),
                before.road_class,
                "detour",
            )
            return RouteChange(at, around, DETOUR_REASONS[int(draw.integers(len(DETOUR_REASONS)))])
        # Both start from the plan, not from the last state, so that neither drifts away over years.
        if kind < 0.85:
            self._usual = replace(before, promised=round(self._planned.promised * float(draw.uniform(0.94, 1.08))))
            return RouteChange(at, self._usual, "timetable revised")
        self._usual = replace(before, distance=round(self._planned.distance * float(draw.uniform(0.96, 1.02))))
        return RouteChange(at, self._usual, "road rebuilt")


def _pause(draw: np.random.Generator, days: tuple[int, int]) -> int:
    """A random duration between the two numbers of days, in whole minutes, as ms."""
    first, last = days
    return int(draw.integers(first * DAY_MS // MINUTE_MS, last * DAY_MS // MINUTE_MS)) * MINUTE_MS
