"""The histories of one vehicle and one route over years."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from acme_world.truth.clock import DAY_MS, HOUR_MS, midnight
from acme_world.truth.histories import RouteHistory, RouteState, VehicleHistory, VehicleState

START = date(2025, 10, 1)
PLAN = RouteState(distance=1000, promised=250, road_class="regional")


def test_a_vehicle_changes_every_8_to_20_days_within_its_depot() -> None:
    routes = ("R-1", "R-2", "R-3")
    past = VehicleHistory(7, START, "V-001", "R-2", routes)
    states = [past.at(midnight(START) + hour * HOUR_MS) for hour in range(24 * 400)]
    turns = [hour for hour, (before, after) in enumerate(pairwise(states), 1) if before != after]
    assert turns[0] <= 20 * 24 + 1
    assert all(8 * 24 - 1 <= later - earlier <= 20 * 24 + 1 for earlier, later in pairwise(turns))
    assert states[0] == VehicleState("R-2", "normal")
    assert {state.home_route_id for state in states} == set(routes)
    assert past.at(midnight(START) + 5 * HOUR_MS) == states[5], "the past stays"


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_years_of_updates_keep_a_route_near_its_plan(seed: int) -> None:
    """Also, the end of a detour restores the previous route, and a repeated report changes nothing."""
    told = list(RouteHistory(seed, START, "R-1", PLAN).changes(0, midnight(START) + 3650 * DAY_MS))
    usual = before = PLAN
    for change in told:
        state = change.state
        assert 0.95 < state.distance / PLAN.distance < (1.35 if state.status == "detour" else 1.03)
        if change.reason == "detour ends":
            assert (before.status, state) == ("detour", usual)
        elif change.reason == "confirmed":
            assert state == before
        elif state.status == "open":
            usual = state
        else:
            assert state.distance > before.distance
            assert 1 < state.promised / before.promised < state.distance / before.distance
        before = state
    assert {change.state.road_class for change in told} == {"regional"}
    assert {"confirmed", "detour ends", "timetable revised", "road rebuilt"} < {change.reason for change in told}


def test_the_state_between_two_changes_is_the_first() -> None:
    past = RouteHistory(7, START, "R-1", PLAN)
    # The later days first, then the early ones: the order of requests does not matter.
    later = list(past.changes(midnight(START) + 100 * DAY_MS, midnight(START) + 200 * DAY_MS))
    first, second, *_ = past.changes(midnight(START), midnight(START) + 100 * DAY_MS)
    assert past.at(first.at - 1) == PLAN
    assert past.at(first.at) == past.at(second.at - 1) == first.state
    assert past.at(second.at) == second.state
    again = RouteHistory(7, START, "R-1", PLAN)
    days = [midnight(START) + day * DAY_MS for day in range(100, 201)]
    assert later == [change for day, end in pairwise(days) for change in again.changes(day, end)]
