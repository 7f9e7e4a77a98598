"""What was found in files before: what it was found in arrives, what was found leaves, looked for only if new.

What a file says depends on its text alone, and whether SQL fits on its text and on the shapes that it meets. So that
is kept in the state folder, and a check looks only at what changed since the last one.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from mesh_platform.files import write_whole
from mesh_platform.governance.spread import spread

_Found = TypeVar("_Found")
_SUM = 32
_READERS = ("duckdb", "sqlglot", "pyyaml", "jsonschema-rs", "open-data-contract-standard", "pyarrow")


class Cache:
    """What was found, in the file at `path`; without one, what this process found."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[bytes, Any] = {}
        self._used: dict[bytes, Any] = {}
        if path is not None:
            # One that is not there, was damaged, or is of another version costs looking again.
            with suppress(Exception):
                told, content = (stored := path.read_bytes())[:_SUM], stored[_SUM:]
                made_by, known = pickle.loads(content) if told == _sum(content) else ("", {})
                self._known = known if made_by == _version() else {}

    def knows(self, what: str, source: bytes) -> bool:
        """Whether `get` would not have to look."""
        key = _key(what, source)
        return key in self._used or key in self._known

    def get(self, what: str, source: bytes, look: Callable[[], _Found]) -> _Found:
        """What `look` finds in `source`, which is all that it depends on; `what` tells kinds of looking apart."""
        key = _key(what, source)
        if key not in self._used:
            self._used[key] = self._known[key] if key in self._known else look()
        found: _Found = self._used[key]
        return found

    def get_all(self, what: str, looks: Sequence[tuple[bytes, Callable[[], _Found]]]) -> list[_Found]:
        """What each finds in its source, where much is new looked for on all cores."""
        new = {_key(what, source): look for source, look in looks if not self.knows(what, source)}
        self._used.update(zip(new, spread([*new.values()]), strict=True))
        return [self.get(what, source, look) for source, look in looks]

    def save(self) -> None:
        """Keep what was asked for. A folder that takes no files is no fault: it is looked for again."""
        if self._path is None or self._used.keys() == self._known.keys():
            return
        content = pickle.dumps((_version(), self._used), protocol=pickle.HIGHEST_PROTOCOL)
        with suppress(OSError):
            write_whole(self._path, _sum(content) + content)


def _sum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SUM).digest()


def _key(what: str, source: bytes) -> bytes:
    return hashlib.blake2b(source, digest_size=16, person=what.encode()[:16]).digest()


@cache
def _version() -> str:
    """Another one with each change of the platform, also while it is worked on, and of what it reads files with."""
    package = Path(__file__).parents[1]
    stats = ((path, path.stat()) for path in sorted(package.rglob("*.py")))
    told = "".join(f"{path}{stat.st_size}{stat.st_mtime_ns}" for path, stat in stats)
    told += sys.version + "".join(f"{name} {version(name)}" for name in _READERS)
    return hashlib.sha256(told.encode()).hexdigest()
