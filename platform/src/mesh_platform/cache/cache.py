"""A cache of results by content, so that a check or a catalog only examines what changed since the last one.

The content of a contract depends on its text alone; whether SQL fits, and its lineage, depend on its text and the
schemas that it reads. These results are stored in the state folder.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from mesh_platform.cache.parallel import parallel_map
from mesh_platform.files import write_whole

_Found = TypeVar("_Found")
_Thing = TypeVar("_Thing")
_SUM = 32


class Cache:
    """Cached results, stored in the file at `path`; without a path, for this process only.

    A stored result is unpickled when it is first used: of a large mesh, most calls use few.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stored: dict[bytes, bytes] = read_stored(path) or {} if path else {}
        self._used: dict[bytes, Any] = {}

    def get(self, what: str, source: bytes, look: Callable[[], _Found]) -> _Found:
        """The result of `look`, computed if not cached. It must depend on `source` alone; `what` names the kind."""
        (found,) = self.get_together(what, [source], [look], lambda looks: [each() for each in looks])
        return found

    def get_all(self, what: str, looks: Sequence[tuple[bytes, Callable[[], _Found]]]) -> list[_Found]:
        """The result of each function for its source; many new ones are computed on all cores."""
        return self.get_together(what, [source for source, _ in looks], [look for _, look in looks], parallel_map)

    def get_together(
        self,
        what: str,
        sources: Sequence[bytes],
        things: Sequence[_Thing],
        look: Callable[[list[_Thing]], list[_Found]],
    ) -> list[_Found]:
        """The result for each of `things`, by its source; `look` computes those that are new in one call."""
        keys = [_key(what, source) for source in sources]
        for key in keys:
            if key not in self._used and key in self._stored:
                self._used[key] = pickle.loads(self._stored[key])
        new = {key: thing for key, thing in zip(keys, things, strict=True) if key not in self._used}
        if new:
            self._used |= zip(new, look([*new.values()]), strict=True)
        return [self._used[key] for key in keys]

    def save(self, is_part: bool = False) -> None:
        """Store the results that were used; of a part of the mesh, with all that were stored before.

        An unwritable folder is no error, as the cache only saves time.
        """
        kept = self._stored if is_part else {}
        if self._path is None or {*self._used, *kept} == self._stored.keys():
            return
        made = {key: self._stored.get(key) or _pickled(found) for key, found in self._used.items()}
        write_stored(self._path, kept | made)


def read_stored(path: Path) -> Any:
    """The value that `write_stored` wrote; None if it is missing, damaged, or of another version."""
    # All three only cost time.
    with suppress(Exception):
        checksum, content = (stored := path.read_bytes())[:_SUM], stored[_SUM:]
        made_by, value = pickle.loads(content) if checksum == _sum(content) else ("", None)
        return value if made_by == _version() else None
    return None


def write_stored(path: Path, value: Any) -> None:
    """Store a value for the same version of the platform. An unwritable folder is no error."""
    content = _pickled((_version(), value))
    with suppress(OSError):
        write_whole(path, _sum(content) + content)


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def _sum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SUM).digest()


def _key(what: str, source: bytes) -> bytes:
    return hashlib.blake2b(source, digest_size=16, person=what.encode()[:16]).digest()


@cache
def _version() -> str:
    """A hash that changes with the platform's files, also during development, and with every installed package."""
    package = Path(__file__).parents[1]
    stats = ((path, path.stat()) for path in sorted(package.rglob("*.py")))
    parts = [sys.version, *(f"{path}{stat.st_size}{stat.st_mtime_ns}" for path, stat in stats)]
    # The folder's name has the version. To ask for versions by importlib.metadata takes as long as a small build.
    for place in sys.path:
        with suppress(OSError):
            parts += sorted(name for name in os.listdir(place or ".") if name.endswith(".dist-info"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
