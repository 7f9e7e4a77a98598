"""The number of versions of vehicles or routes, as their states are told day by day, some of them late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.lines import Events, Line, join, no_events

LAST = 1 << 62


class Versions:
    """The versions of the keys in column `key` of `line`: each begins where another state is told in `state`.

    `begun` has the initial state of some keys, with the columns `key`, `at` and `state`. Versions that no late event
    can change are only counted, so it remembers the last of each key and the events of the last days.
    """

    def __init__(self, line: Line, key: str, state: tuple[str, ...], begun: Mapping[str, NDArray[Any]]) -> None:
        self._line, self._columns = line, (key, "at", *state)
        self._begun = [begun[name] for name in self._columns]
        self._before = 0
        self._open = no_events(line)

    def add(self, events: Events, settled: int) -> None:
        """Add events that arrived; no event before `settled`, ms since 1970, will arrive after them."""
        told = join(self._line, [self._open, events])
        self._open = told.between(settled, LAST)
        columns, found = self._find(told.between(0, settled))
        keys = columns[0][found]
        last = found[np.append(keys[1:] != keys[:-1], True)[: len(keys)]]
        self._before += len(found) - len(last)
        self._begun = [column[last] for column in columns]

    def count(self) -> int:
        """The number of versions of all keys."""
        return self._before + len(self._find(self._open)[1])

    def _find(self, events: Events) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """The columns of the events after those begun, and where in them versions begin, by key, then time."""
        told = {**events.columns, "at": events.at}
        columns = [
            np.concatenate([begun, told[name]]) for begun, name in zip(self._begun, self._columns, strict=True)
        ]
        key, at, *state = columns
        return columns, find_versions(key, at, len(self._begun[0]), *state)


def find_versions(
    key: NDArray[np.str_], at: NDArray[np.int64], begun: int, *state: NDArray[Any]
) -> NDArray[np.int64]:
    """The entries with which versions begin, by key, then time. The first `begun` are the initial states of keys.

    Entries not later than the initial state of their key do not count; of several at the same instant only the last
    counts, and only if its state differs from the previous one.
    """
    if not len(key):
        return np.zeros(0, np.int64)
    _, keys = np.unique(key, return_inverse=True)
    beginning = np.full(keys.max() + 1, np.iinfo(np.int64).min)
    beginning[keys[:begun]] = at[:begun]
    counts = at > beginning[keys]
    counts[:begun] = True
    order = np.flatnonzero(counts)
    order = order[np.lexsort((order, at[order], keys[order]))]
    keys, at = keys[order], at[order]
    last = np.append((keys[1:] != keys[:-1]) | (at[1:] != at[:-1]), True)
    order, keys = order[last], keys[last]
    new = np.append(True, keys[1:] != keys[:-1])
    for column in state:
        values = column[order]
        new |= np.append(True, values[1:] != values[:-1])
    begins: NDArray[np.int64] = order[new]
    return begins
