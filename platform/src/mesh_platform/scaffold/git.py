"""Git's three-way merge of texts."""

from __future__ import annotations

from pathlib import Path

from mesh_platform.errors import AttentionError
from mesh_platform.mesh.git import git


def merge(place: Path, ours: bytes, base: bytes, theirs: bytes, labels: tuple[str, str, str]) -> tuple[bytes, bool]:
    """Merge the changes from `base` to `theirs` into `ours`; also return whether they conflict.

    On a conflict, both sides are in the text between git's markers. A file that is not text stays as it is, and
    counts as a conflict. `place` is a temporary folder. Raises AttentionError where git fails.
    """
    if any(b"\0" in body for body in (ours, base, theirs)):
        return ours, True
    for name, body in (("ours", ours), ("base", base), ("theirs", theirs)):
        (place / name).write_bytes(body)
    marks = [word for label in labels for word in ("-L", label)]
    done = git(place, "merge-file", "-p", *marks, "ours", "base", "theirs")
    # The exit code is the number of conflicts, 127 at most.
    if done.code > 127:
        raise AttentionError(f"git merge-file failed: {done.words}")
    return done.out, done.code > 0
