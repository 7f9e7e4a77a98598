"""Cache what was read of states of tables, so that it is read only once: counts, newest times, dangling references.

A state (the ids of snapshots, or a query of one) never changes, so what was read of it stays true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_platform.files import write_whole

State = Sequence[int | str | None]


class StateCache:
    """A cache of values by state, in the file at `path`; without a path, in the memory of this process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if path is not None:
            # A missing or damaged file only means reading again.
            with suppress(OSError, ValueError, TypeError):
                self._known = dict(json.loads(path.read_text(encoding="utf-8")))

    def knows(self, name: str, state: State) -> bool:
        """Whether the value called `name` is known for this state; each name keeps its last state only."""
        found = self._known.get(name)
        return isinstance(found, list) and len(found) == 2 and found[0] == list(state)

    def get(self, name: str, state: State, read: Callable[[], Any]) -> Any:
        """Return the value called `name` of `state`, calling `read` if it is unknown. It must fit in JSON."""
        if not self.knows(name, state):
            self._known[name] = [list(state), read()]
            self._changed = True
        return self._known[name][1]

    def save(self) -> None:
        """Save the cache to its file atomically. A folder that cannot be written is no error: it is read again."""
        if self._path is None or not self._changed:
            return
        with suppress(OSError):
            write_whole(self._path, json.dumps(self._known).encode())
