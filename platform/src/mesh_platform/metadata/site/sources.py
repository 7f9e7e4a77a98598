"""The files of a mesh that pages are made from, and which of them changed since they were last looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from mesh_platform.contract.reader import SUFFIX
from mesh_platform.mesh.dashboards import FOLDER as DASHBOARDS
from mesh_platform.mesh.glossary import GLOSSARY
from mesh_platform.mesh.mesh import domain_folders

_TOP = ("domain.yaml", "owners.yaml", GLOSSARY)
# Of reference data, pages say only that the file is there.
_BELOW = {"": ".yaml", "contracts": SUFFIX, "interfaces": SUFFIX, "models": ".sql", "reference": ".csv"}
_NAME_ALONE = "reference"
# A file that is written again within the clock's tick keeps its times; some file systems count in two seconds.
_TICK_NS = 2_000_000_000

Stat = tuple[int, int, int]
_NOTHING: Stat = (0, 0, 0)


@dataclass(frozen=True)
class Sources:
    """Each file by its path below the root: size, times of change, and a hash of its content.

    Times say nothing of files that changed after `settled`, in nanoseconds since 1970.
    """

    stats: Mapping[str, Stat]
    hashes: Mapping[str, bytes]
    settled: int


def look_at(root: Path, before: Sources | None = None) -> Sources:
    """Look at all files. Only those whose size or times are others than `before` are read."""
    settled = time.time_ns() - _TICK_NS
    stats = _stats(root)
    known = before.hashes if before else {}
    hashes = {
        path: known[path] if before and _is_as_before(path, stat, before) else _hash(root / path)
        for path, stat in stats.items()
    }
    return Sources(stats, hashes, settled)


def changed(now: Sources, before: Sources) -> set[str]:
    """Return the files that are new, gone, or have other content."""
    return {path for path, _ in now.hashes.items() ^ before.hashes.items()}


def _is_as_before(path: str, stat: Stat, before: Sources) -> bool:
    return before.stats.get(path) == stat and max(stat[1:]) < before.settled


def _stats(root: Path) -> dict[str, Stat]:
    found: dict[str, Stat] = {}
    for folder in domain_folders(root):
        # One without any file is an error, which only a build of the whole mesh reports.
        found[f"domains/{folder.name}"] = _NOTHING
        for below, suffix in _BELOW.items():
            place = f"domains/{folder.name}/{below}".rstrip("/")
            for entry in _entries(folder / below):
                if entry.name.endswith(suffix) and (below or entry.name in _TOP):
                    found[f"{place}/{entry.name}"] = _NOTHING if below == _NAME_ALONE else _stat(entry)
        for path in (folder / DASHBOARDS).glob("**/*.*"):
            found[str(path.relative_to(root))] = _stat(path)
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return [*os.scandir(folder)]
    except OSError:
        return []


def _stat(entry: os.DirEntry[str] | Path) -> Stat:
    try:
        stat = entry.stat()
    except OSError:
        return _NOTHING
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _hash(path: Path) -> bytes:
    try:
        content = b"" if path.parent.name == _NAME_ALONE else path.read_bytes()
    except OSError as error:
        content = str(error).encode()
    return blake2b(content, digest_size=16).digest()
