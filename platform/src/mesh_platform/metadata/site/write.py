"""Writing the site: only pages that changed, each atomically; pages that are no longer made are removed.

`.catalog.json` in its folder lists the files that the catalog made, each with what it was made from. Others are never
removed or overwritten. Before the first page is written, all that will change is noted as unfinished: what a killed
build leaves behind is written again by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mesh_platform.errors import UsageError
from mesh_platform.files import write_whole

MANIFEST = ".catalog.json"
_LOCK = ".catalog.lock"
# What a file was made from, its size and its time of change; None while it is being written.
Made = tuple[str, int, int] | None
# Given the number of files to write, it shows how many are written while it is open.
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Written:
    """What one build did: numbers of files written, left as they were, and removed; the size of all, bytes."""

    written: int
    unchanged: int
    removed: int
    size: int


def write_site(
    folder: Path,
    pages: Mapping[str, str],
    render: Callable[[str], bytes],
    progress: Progress = lambda pages: nullcontext(lambda steps: None),
    as_of: datetime | None = None,
) -> Written:
    """Make the folder hold the files `pages`, each with a hash of what it is made from.

    `render` returns the bytes of one. `as_of` is the time that ages in them are relative to, if there are any. Waits
    for another build of the same folder. Raises UsageError if a file of somebody else is in the way.
    """
    with _locked(folder):
        known = read_manifest(folder)
        _check_foreign(folder, pages, known)
        stale = [path for path, source in pages.items() if not is_sound(folder, path, source, known.get(path))]
        gone = [path for path in known if path not in pages]
        made = {path: known.get(path) for path in (*pages, *gone)}
        if stale or gone:
            _write_manifest(folder, made | dict.fromkeys((*stale, *gone)), as_of)
        mode = 0o666 & ~_umask()
        with progress(len(stale)) as advance:
            for path in stale:
                write_whole(folder / path, render(path))
                (folder / path).chmod(mode)
                stat = (folder / path).stat()
                made[path] = (pages[path], stat.st_size, stat.st_mtime_ns)
                advance(1)
        for path in gone:
            (folder / path).unlink(missing_ok=True)
        found = {path: made[path] for path in pages}
        if stale or gone:
            _remove_torn(folder, made)
            _write_manifest(folder, found, as_of)
            for path in gone:
                with suppress(OSError):
                    (folder / path).parent.rmdir()
        return Written(
            len(stale), len(pages) - len(stale), len(gone), sum(each[1] for each in found.values() if each)
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other build writes to the folder. The lock ends with its process, however that ends."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file. Name a folder with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _umask() -> int:
    """Return which rights new files of this process do not get; temporary files get none for others."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_as_of(folder: Path) -> datetime | None:
    """Return the time that ages in the pages are relative to; None if no build noted one."""
    try:
        return datetime.fromisoformat(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["as_of"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_manifest(folder: Path) -> dict[str, Made]:
    """Return the files that the catalog made. Without a readable list there are none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = {str(path): None if made is None else (str(made[0]), int(made[1]), int(made[2]))
                  for path, made in found["files"].items()}  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}
    return {path: made for path, made in listed.items() if _is_inside(path)}


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and {"", ".", ".."}.isdisjoint(path.split("/"))


def _write_manifest(folder: Path, files: Mapping[str, Made], as_of: datetime | None) -> None:
    at = as_of.isoformat() if as_of else None
    content = {"made_by": "mesh catalog build", "as_of": at, "files": files}
    write_whole(folder / MANIFEST, json.dumps(content).encode())


def _check_foreign(folder: Path, pages: Iterable[str], known: Mapping[str, Made]) -> None:
    foreign = [path for path in pages if path not in known and (folder / path).exists()]
    if foreign:
        raise UsageError(
            f"{folder / foreign[0]}: the catalog did not make this file and does not overwrite it. Name an empty "
            f"folder with --out, or, if an earlier catalog without its {MANIFEST} is there, remove that folder."
        )


def is_sound(folder: Path, path: str, source: str, made: Made) -> bool:
    """Whether a file is made from `source` and nobody has changed it since."""
    if made is None or made[0] != source:
        return False
    try:
        stat = os.stat(f"{folder}/{path}")
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (made[1], made[2])


def _remove_torn(folder: Path, pages: Iterable[str]) -> None:
    """Remove what killed builds left of files that they were writing: `.<name>-<random>`."""
    names: dict[str, set[str]] = {"": {MANIFEST}}
    for page in pages:
        place, _, name = page.rpartition("/")
        names.setdefault(place, set()).add(name)
    for place, own in names.items():
        for name in os.listdir(folder / place) if (folder / place).is_dir() else ():
            if name.startswith(".") and name[1:].rpartition("-")[0] in own:
                (folder / place / name).unlink(missing_ok=True)
