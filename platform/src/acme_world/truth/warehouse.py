"""The days of one warehouse, generated once and cached: a day is the same in whatever order days are requested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from acme_world.truth.history import Day, History

# Some hundreds of kilobytes each; for an older day the history is generated again from its start.
KEPT_DAYS = 64


@dataclass(frozen=True)
class Stage:
    """A warehouse after its first `generated` days: the history that goes on from there, and its last days."""

    history: History
    generated: int
    days: Mapping[int, Day]


class Warehouse:
    """The days of a warehouse; `begin` creates its history, at its beginning, and `stage` is where to go on from."""

    def __init__(self, begin: Callable[[], History], stage: Stage | None = None) -> None:
        self._begin = begin
        self._set(stage or Stage(begin(), 0, {}))

    @property
    def rents(self) -> bool:
        """Whether it rents its vehicles."""
        return self._history.rents

    def day(self, day_index: int) -> Day:
        """UTC day `day_index`, counted from 0 at the world's start. Raises UsageError as `History.next_day` does."""
        if day_index < self._generated and day_index not in self._days:
            self._set(Stage(self._begin(), 0, {}))
        while self._generated <= day_index:
            self._days[self._generated] = self._history.next_day()
            self._generated += 1
            self._days.pop(self._generated - 1 - KEPT_DAYS, None)
        return self._days[day_index]

    def stage(self, days: int) -> Stage:
        """Where the warehouse is, with the last `days` days. Its history moves on with the warehouse: store it."""
        last = {index: day for index, day in self._days.items() if index >= self._generated - days}
        return Stage(self._history, self._generated, last)

    def _set(self, stage: Stage) -> None:
        self._history, self._generated, self._days = stage.history, stage.generated, {**stage.days}
