"""The days of one warehouse, generated once and cached: a day is the same in whatever order days are requested."""

from __future__ import annotations

from collections.abc import Callable

from acme_world.truth.history import Day, History

# Some hundreds of kilobytes each; for an older day the history is generated again from its start.
KEPT_DAYS = 400


class Warehouse:
    """The days of a warehouse; `begin` creates its history, at its beginning."""

    def __init__(self, begin: Callable[[], History]) -> None:
        self._begin = begin
        self._history = begin()
        self._days: dict[int, Day] = {}
        self._generated = 0

    @property
    def rents(self) -> bool:
        """Whether it rents its vehicles."""
        return self._history.rents

    def day(self, day_index: int) -> Day:
        """UTC day `day_index`, counted from 0 at the world's start. Raises UsageError as `History.next_day` does."""
        if day_index < self._generated and day_index not in self._days:
            self._history, self._generated = self._begin(), 0
            self._days.clear()
        while self._generated <= day_index:
            self._days[self._generated] = self._history.next_day()
            self._generated += 1
            self._days.pop(self._generated - 1 - KEPT_DAYS, None)
        return self._days[day_index]
