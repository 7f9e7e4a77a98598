"""A pool of future rows, added in any order and taken day by day in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import DAY_MS, day_of
from acme_world.truth.lines import Events, Line, arrange, no_events

Columns = Mapping[str, NDArray[Any]]


class Pool:
    """Rows that wait for their day. `empty` has the names and types of the columns, which include `at`."""

    def __init__(self, empty: Columns) -> None:
        self._parts: list[Columns] = [empty]

    def add(self, columns: Columns) -> None:
        """Add rows: all columns of the pool, with equal length."""
        self._parts.append(columns)

    def take_until(self, end: int) -> dict[str, NDArray[Any]]:
        """Remove and return the rows with `at` before `end`, stably sorted by time."""
        whole = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        order = np.argsort(whole["at"], kind="stable")
        split = int(np.searchsorted(whole["at"][order], end))
        self._parts = [{name: values[order[split:]] for name, values in whole.items()}]
        return {name: values[order[:split]] for name, values in whole.items()}


def pool_events(line: Line) -> Pool:
    """A pool for events of `line` without ids."""
    columns = {name: values for name, values in no_events(line).columns.items() if name != line.id_field}
    return Pool({"at": np.zeros(0, np.int64), **columns})


def number_events(line: Line, prefix: str, columns: Columns, end: int) -> Events:
    """Events of the UTC day that ends at `end`, with ids numbered from 1: `<prefix>-20251001-00001`."""
    stamp = f"{prefix}-{day_of(end - DAY_MS):%Y%m%d}"
    ids = [f"{stamp}-{number:05d}" for number in range(1, len(columns["at"]) + 1)]
    named = {line.id_field: np.array(ids, dtype=np.str_), **columns}
    return arrange(line, named.pop("at"), named)
