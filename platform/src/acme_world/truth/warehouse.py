"""One warehouse's days, told once and kept: any day comes out the same, whatever was asked for before."""

from __future__ import annotations

from collections.abc import Callable

from acme_world.truth.history import Day, History

# Some hundreds of kilobytes each; a history that is asked for a day longer ago is told again from its start.
KEPT_DAYS = 400


class Warehouse:
    """`begin` makes the warehouse's history, at its beginning."""

    def __init__(self, begin: Callable[[], History]) -> None:
        self._begin = begin
        self._history = begin()
        self._days: dict[int, Day] = {}
        self._told = 0

    @property
    def rents(self) -> bool:
        """Whether the vehicles are not its own."""
        return self._history.rents

    def day(self, day_index: int) -> Day:
        """UTC day `day_index`, counted from 0 at the world's start. Raises UsageError as `History.next_day` does."""
        if day_index < self._told and day_index not in self._days:
            self._history, self._told = self._begin(), 0
            self._days.clear()
        while self._told <= day_index:
            self._days[self._told] = self._history.next_day()
            self._told += 1
            self._days.pop(self._told - 1 - KEPT_DAYS, None)
        return self._days[day_index]
