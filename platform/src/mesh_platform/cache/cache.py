"""A cache of results by content, so that a check or a catalog only examines what changed since the last one.

The content of a contract depends on its text alone; whether SQL fits, and its lineage, depend on its text and the
schemas that it reads. These results are stored in the state folder.
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

from mesh_platform.cache.parallel import parallel_map
from mesh_platform.files import write_whole

_Found = TypeVar("_Found")
_Thing = TypeVar("_Thing")
_SUM = 32
_READERS = ("duckdb", "sqlglot", "pyyaml", "jsonschema-rs", "open-data-contract-standard", "pyarrow")


class Cache:
    """Cached results, stored in the file at `path`; without a path, for this process only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[bytes, Any] = {}
        self._used: dict[bytes, Any] = {}
        if path is not None:
            # A cache that is missing, damaged, or of another version only costs time.
            with suppress(Exception):
                checksum, content = (stored := path.read_bytes())[:_SUM], stored[_SUM:]
                made_by, known = pickle.loads(content) if checksum == _sum(content) else ("", {})
                self._known = known if made_by == _version() else {}

    def get(self, what: str, source: bytes, look: Callable[[], _Found]) -> _Found:
        """The result of `look`, computed if not cached. It must depend on `source` alone; `what` names the kind."""
        key = _key(what, source)
        if key not in self._used:
            self._used[key] = self._known[key] if key in self._known else look()
        found: _Found = self._used[key]
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
        new = {
            key: thing
            for key, thing in zip(keys, things, strict=True)
            if key not in self._used and key not in self._known
        }
        found = dict(zip(new, look([*new.values()]), strict=True)) if new else {}
        self._used |= {key: self._known[key] for key in keys if key in self._known} | found
        return [self._used[key] for key in keys]

    def save(self) -> None:
        """Store the results that were used. An unwritable folder is no error, as the cache only saves time."""
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
    """A hash that changes with the platform's files, also during development, and the packages that read files."""
    package = Path(__file__).parents[1]
    stats = ((path, path.stat()) for path in sorted(package.rglob("*.py")))
    parts = "".join(f"{path}{stat.st_size}{stat.st_mtime_ns}" for path, stat in stats)
    parts += sys.version + "".join(f"{name} {version(name)}" for name in _READERS)
    return hashlib.sha256(parts.encode()).hexdigest()
