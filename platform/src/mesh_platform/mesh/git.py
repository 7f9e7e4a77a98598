"""Calls of git in the repository that holds the mesh."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from mesh_platform.errors import UsageError

# git sets these for its hooks, relative to the folder of the hook; here git must find the repository itself.
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


class Answer(NamedTuple):
    """The result of a call of git: its exit code, its output, and the error that it names. True for success."""

    code: int
    out: bytes
    words: str

    def __bool__(self) -> bool:
        return self.code == 0

    @property
    def line(self) -> str:
        """The output, which is one line."""
        return self.out.decode(errors="replace").strip()


def git(folder: Path, *words: str, body: bytes = b"") -> Answer:
    """Call git in a folder, with `body` as its stdin. Raises UsageError where git is not installed."""
    own = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    try:
        done = subprocess.run(["git", *words], cwd=folder, env=own, input=body, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is not installed. The template of a domain is looked up and merged with it.") from error
    complaints = done.stderr.decode(errors="replace").strip().splitlines()
    # Where a mount point ends the search for a repository, git says so in a line of its own after the error.
    errors = [line for line in complaints if line.startswith(("fatal: ", "error: "))] or complaints
    return Answer(
        done.returncode, done.stdout, errors[-1] if errors else f"git {words[0]} ended with {done.returncode}."
    )
