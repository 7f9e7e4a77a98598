"""Cache what was counted in states of tables, so that it is counted only once.

A state (the ids of snapshots, or a query of one) never changes, so what was counted in it stays true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_platform.files import write_whole

State = Sequence[int | str | None]


class CountCache:
    """A cache of counts in the file at `path`; without a path, in the memory of this process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if path is not None:
            # A missing or damaged file only means counting again.
            with suppress(OSError, ValueError, TypeError):
                self._known = dict(json.loads(path.read_text(encoding="utf-8")))

    def knows(self, name: str, state: State) -> bool:
        """Whether the number called `name` was counted for this state; each name keeps its last state only."""
        found = self._known.get(name)
        return isinstance(found, list) and len(found) == 2 and found[0] == list(state)

    def get(self, name: str, state: State, count: Callable[[], Any]) -> Any:
        """Return the number called `name` in `state`, calling `count` if it is unknown. It must fit in JSON."""
        if not self.knows(name, state):
            self._known[name] = [list(state), count()]
            self._changed = True
        return self._known[name][1]

    def save(self) -> None:
        """Save the cache to its file atomically. A folder that cannot be written is no error: it is counted again."""
        if self._path is None or not self._changed:
            return
        with suppress(OSError):
            write_whole(self._path, json.dumps(self._known).encode())
