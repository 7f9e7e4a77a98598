"""The changes of contracts, from the history of git."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mesh_platform.contract.reader import SUFFIX
from mesh_platform.errors import UsageError
from mesh_platform.mesh.git import git


def contract_changes(root: Path) -> dict[str, list[dict[str, Any]]] | None:
    """Return the commits that changed each contract, newest first, by its path below `root`.

    Returns None where there is no git, or no repository. A commit has `id`, `on` (a date) and `subject`.
    """
    try:
        found = git(
            root, "log", "--format=%x00%h%x09%as%x09%s", "--name-only", "--relative", "-z", "--", f"domains/*{SUFFIX}"
        )
    except UsageError:
        return None
    if not found:
        return None
    changes: dict[str, list[dict[str, Any]]] = {}
    commit: dict[str, Any] = {}
    for part in found.out.decode(errors="replace").split("\0"):
        words = part.strip("\n")
        if words.count("\t") >= 2:
            number, on, subject = words.split("\t", 2)
            commit = {"id": number, "on": on, "subject": subject}
        elif words and commit:
            changes.setdefault(words, []).append(commit)
    return changes
