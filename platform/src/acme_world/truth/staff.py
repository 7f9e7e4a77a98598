"""The staff of a warehouse, and who is on shift at a given time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import HOUR_MS
from acme_world.truth.reference import SHIFTS, Employees

SHIFT_BEGINS = {"early": 6, "late": 14, "night": 22}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Staff:
    """The employees of one warehouse. A warehouse without any uses those of all others."""

    def __init__(self, employees: Employees, warehouse_id: str, time_zone: str) -> None:
        self._zone = time_zone
        here = employees.warehouse_id == warehouse_id
        here = here if here.any() else np.ones(len(here), np.bool_)
        self._rosters: dict[tuple[str, str], NDArray[np.str_]] = {
            (role, shift): employees.employee_id[here & (employees.role == role) & (employees.shift == shift)]
            for role in set(employees.role.tolist())
            for shift in SHIFTS
        }
        self._everyone: NDArray[np.str_] = employees.employee_id[here]

    def roster(self, role: str, shift: str) -> NDArray[np.str_]:
        """The employees with this role and shift; if there are none, those with the role, else all."""
        if (role, shift) in self._rosters and len(self._rosters[role, shift]):
            return self._rosters[role, shift]
        anywhen = [ids for (each, _), ids in self._rosters.items() if each == role and len(ids)]
        return np.concatenate(anywhen) if anywhen else self._everyone

    def on_shift(self, role: str, at: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.str_]:
        """One employee of `role` for each instant of `at` (ms since 1970, UTC), on shift in that local hour."""
        hours = local_hours(at, self._zone)
        luck = draw.random(len(at))
        chosen = np.zeros(len(at), dtype=self._everyone.dtype)
        for shift, begins in SHIFT_BEGINS.items():
            now = (hours - begins) % 24 < 8
            roster: NDArray[np.str_] = self.roster(role, shift)
            chosen[now] = roster[(luck[now] * len(roster)).astype(np.int64)]
        return chosen


def local_hours(at: NDArray[np.int64], time_zone: str) -> NDArray[np.int64]:
    """The local hour, 0 to 23, at each instant of `at` (ms since 1970, UTC)."""
    # Offsets change only at full quarters of an hour.
    quarters = (at // (HOUR_MS // 4)).tolist()
    return np.array([_hour(quarter, time_zone) for quarter in quarters], np.int64)


@lru_cache(maxsize=100_000)
def _hour(quarter: int, time_zone: str) -> int:
    return (_EPOCH + timedelta(minutes=15 * quarter)).astimezone(ZoneInfo(time_zone)).hour
