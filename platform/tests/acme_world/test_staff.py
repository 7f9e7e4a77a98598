"""Shifts of the staff, and the weather."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.reference import Employees, read_employees
from acme_world.truth.staff import SHIFT_BEGINS, Staff
from acme_world.truth.weather import Weather

ROOT = Path(__file__).parents[3]
START = date(2025, 10, 30)
ZONES = {"north": "America/Toronto", "south": "America/Chicago", "west": "America/Los_Angeles"}


def test_staff_work_their_shift_and_some_replace_who_is_missing() -> None:
    employees = read_employees(ROOT)
    draw = np.random.default_rng(1)
    instants = midnight(START) + draw.integers(0, 3 * DAY_MS, 4000)
    for region, zone in ZONES.items():
        staff = Staff(employees, f"WH-{region.upper()}", zone)
        chosen = staff.on_shift("picker", instants, draw)
        pickers = employees.employee_id[
            (employees.role == "picker") & (employees.warehouse_id == f"WH-{region.upper()}")
        ]
        assert set(chosen.tolist()) == set(pickers.tolist())
        shifts = dict(zip(employees.employee_id.tolist(), employees.shift.tolist(), strict=True))
        for employee, instant in zip(chosen.tolist(), instants.tolist(), strict=True):
            hour = datetime.fromtimestamp(instant / 1000, ZoneInfo(zone)).hour
            assert (hour - SHIFT_BEGINS[shifts[employee]]) % 24 < 8
    lent = Staff(employees, "WH-HARBOUR", "Europe/Lisbon").on_shift("picker", instants, draw)
    assert set(lent.tolist()) == set(employees.employee_id[employees.role == "picker"].tolist())
    nobody_else = Staff(Employees(*(column[:1] for column in vars(employees).values())), "WH-X", "UTC")
    assert set(nobody_else.on_shift("clerk", instants, draw).tolist()) == {str(employees.employee_id[0])}


def test_weather_follows_climate_and_season() -> None:
    def shares(warehouse: str, start: date) -> Mapping[str, float]:
        weather = Weather(warehouse, 7, start)
        seen = [weather.on(day, afternoon) for day in range(90) for afternoon in (False, True)]
        return {name: seen.count(name) / len(seen) for name in ("clear", "rain", "snow", "fog")}

    winter, summer = shares("WH-NORTH", date(2025, 12, 1)), shares("WH-NORTH", date(2025, 6, 1))
    assert winter["snow"] > 0.2 > summer["snow"] == 0
    assert shares("WH-SOUTH", date(2025, 12, 1))["snow"] < 0.05
    assert min(shares("WH-ELSEWHERE", date(2025, 12, 1)).values()) > 0
    again = Weather("WH-NORTH", 7, date(2025, 12, 1))
    assert [again.on(day, True) for day in (5, 4)] == [
        Weather("WH-NORTH", 7, date(2025, 12, 1)).on(d, True) for d in (5, 4)
    ]
