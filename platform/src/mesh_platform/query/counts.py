"""What was once found in states of tables: a name and a state arrive; it leaves, looked for only if new.

A state (the ids of snapshots, or a query of one) never changes, so what was found in it holds for good.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_platform.files import write_whole

State = Sequence[int | str | None]


class Memo:
    """What was counted, in the file at `path`; without one, what this process counted."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if path is not None:
            # A file that is not there, or was damaged, costs counting again.
            with suppress(OSError, ValueError, TypeError):
                self._known = dict(json.loads(path.read_text(encoding="utf-8")))

    def knows(self, name: str, state: State) -> bool:
        """Whether the number called `name` was counted for this state; of each name only the last state is kept."""
        found = self._known.get(name)
        return isinstance(found, list) and len(found) == 2 and found[0] == list(state)

    def get(self, name: str, state: State, count: Callable[[], Any]) -> Any:
        """The number called `name` in `state`, by `count` where it is not known. It must have a form in JSON."""
        if not self.knows(name, state):
            self._known[name] = [list(state), count()]
            self._changed = True
        return self._known[name][1]

    def save(self) -> None:
        """Keep what is known, whole or not at all. A folder that takes no files is no fault: it is counted again."""
        if self._path is None or not self._changed:
            return
        with suppress(OSError):
            write_whole(self._path, json.dumps(self._known).encode())
