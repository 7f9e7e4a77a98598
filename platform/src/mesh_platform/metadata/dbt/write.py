"""Writing a dbt project into its folder, which can also hold files of its users.

`.mesh-dbt.json` lists the files that an export wrote, each with a hash of its content. Other files are never changed
or removed, nor are written ones that somebody has changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mesh_platform.errors import UsageError
from mesh_platform.files import write_whole

MANIFEST = ".mesh-dbt.json"


@dataclass(frozen=True)
class Written:
    """What one export did: numbers of files written, left as they were, and removed."""

    written: int
    unchanged: int
    removed: int


def write_project(folder: Path, project: Mapping[str, str]) -> Written:
    """Make `folder` hold the files of `project`, by path, and remove the others that an earlier export wrote.

    If it is stopped, the next one goes on. Raises UsageError, and changes nothing, if the folder holds something and
    is no exported project, if a file of somebody else is in the way, or if somebody has changed an exported file.
    """
    known = _known(folder)
    hashes = {path: _hash(text.encode()) for path, text in project.items()}
    found = {path: _hash_of(folder / path) for path in {*known, *project}}
    for path, content in sorted(found.items()):
        # A stopped export may have written the new content already, or removed a file.
        if content not in (None, hashes.get(path), *known.get(path, ())):
            what = "was changed by hand" if path in known else "is not from an export"
            raise UsageError(
                f"{folder / path}: {what}, and the export would replace it. Move your lines into a file of another "
                "name, or remove the file."
            )
    stale = [path for path in project if found[path] != hashes[path]]
    gone = [path for path in known if path not in project]
    if stale or gone:
        both = {path: sorted({*known.get(path, ()), *filter(None, [hashes.get(path)])}) for path in found}
        _write_manifest(folder, both)
    for path in stale:
        _write(folder / path, project[path])
    for path in gone:
        parent = (folder / path).parent
        # A stopped export may have removed the file already, and its folder.
        if found[path] is not None:
            (folder / path).unlink()
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    _write_manifest(folder, {path: [content] for path, content in hashes.items()})
    return Written(len(stale), len(project) - len(stale), len(gone))


def _known(folder: Path) -> dict[str, list[str]]:
    """Return the files of the last export, each with the hashes that it may have."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file. Name a folder.")
    if not folder.exists() or not any(entry.name != ".git" for entry in folder.iterdir()):
        return {}
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        known = {str(path): [str(content) for content in contents] for path, contents in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{folder}: is not empty, and no export wrote it: it has no {MANIFEST}. Name an empty or a new folder."
        ) from None
    return {path: contents for path, contents in known.items() if _is_inside(path)}


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and {"", ".", ".."}.isdisjoint(path.split("/"))


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()


def _hash_of(path: Path) -> str | None:
    try:
        return _hash(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write_manifest(folder: Path, files: Mapping[str, list[str]]) -> None:
    content = {"made_by": "mesh dbt export", "files": dict(sorted(files.items()))}
    _write(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode())
    # A temporary file is its owner's alone, and a project is shared.
    path.chmod(0o644)
