"""The base of a change in git: its commit, and the files that differ from it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh_platform.errors import MeshError, UsageError

_MAIN = ("refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/heads/main")
_REMOTE = "refs/remotes/origin/"
_NO_BLOB = "0" * 40
# The mode of regular files, not of links and submodules.
_FILE = "100"


class NoBase(MeshError):
    """The repository cannot tell which commit to compare a change with."""


@dataclass(frozen=True)
class Base:
    """One commit. `differing` has the files below domains/ that differ in the working tree, relative to `root`.

    The values are the ids of their blobs at the base; None where the base has no such file.
    """

    root: Path
    commit: str
    differing: Mapping[str, str | None]

    def texts(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents at the base of those `paths` that existed there. Raises NoBase where git cannot read them."""
        blobs = {path: blob for path in paths if (blob := self.differing.get(path))}
        if not blobs:
            return {}
        out = _git(self.root, "cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs.values()).encode())
        found: dict[str, bytes] = {}
        for path in blobs:
            header, _, out = out.partition(b"\n")
            if header.endswith(b" missing"):
                raise NoBase(f"git lacks {path} as it was at {self.commit[:12]}. Run 'git fetch'.")
            size = int(header.split()[-1])
            found[path], out = out[:size], out[size + 1 :]
        return found


def read_base(root: Path, revision: str | None) -> Base | None:
    """The merge base of the folder `root` with `revision`, by default with the main branch; on main, the last commit.

    None outside git and before the first commit. Raises UsageError for an unknown revision, and NoBase where the
    repository lacks the base, as in a shallow clone.
    """
    try:
        _git(root, "rev-parse", "--show-toplevel")
    except (NoBase, FileNotFoundError) as error:
        outside = isinstance(error, FileNotFoundError) or "not a git repository" in str(error)
        if revision is not None:
            raise UsageError(f"--base {revision}: {root} is in no repository that git can read. {error}") from error
        if outside and not any(os.path.lexists(folder / ".git") for folder in (root, *root.absolute().parents)):
            return None
        if isinstance(error, FileNotFoundError):
            return None
        raise NoBase(f"there is a .git, and git cannot read it. {error}") from error
    commit = _given_base(root, revision) if revision is not None else _default(root)
    return Base(root, commit, _differing(root, commit)) if commit else None


def _given_base(root: Path, revision: str) -> str:
    commit = _commit(root, revision)
    if commit is None:
        raise UsageError(
            f"--base {revision}: git knows no such commit here. Name a branch, a tag or a commit, or fetch it first."
        )
    return _merge_base(root, commit) or commit


def _default(root: Path) -> str | None:
    head = _commit(root, "HEAD")
    if head is None:
        if _ask(root, "rev-parse", "--verify", "--quiet", "HEAD"):
            raise NoBase("the repository lacks the commit of HEAD. Run 'git fetch', or clone it again.")
        return None
    listed = _git(root, "for-each-ref", "--format=%(refname) %(symref)", *_MAIN).decode().splitlines()
    known = {name: symbolic or name for name, _, symbolic in (line.partition(" ") for line in listed)}
    main = next((known[name] for name in _MAIN if name in known), None)
    if main is not None:
        branch = main.removeprefix(_REMOTE).removeprefix("refs/heads/")
        if _ask(root, "symbolic-ref", "--quiet", "HEAD") == f"refs/heads/{branch}":
            return head
        if found := _merge_base(root, main):
            return found
    if _ask(root, "rev-parse", "--is-shallow-repository") == "true":
        raise NoBase(
            "this clone is shallow, and lacks the commit that changes are compared with. "
            "Run 'git fetch --unshallow origin main', or name a commit that is there with --base."
        )
    return _commit(root, main) if main else head


def _commit(root: Path, revision: str) -> str | None:
    return _ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")


def _merge_base(root: Path, revision: str) -> str | None:
    return _ask(root, "merge-base", revision, "HEAD")


def _ask(root: Path, *words: str) -> str | None:
    """The output of git, or None where it fails or is empty."""
    try:
        return _git(root, *words).decode("utf-8", "replace").strip() or None
    except NoBase:
        return None


def _differing(root: Path, commit: str) -> dict[str, str | None]:
    """The differing files. With --relative paths are relative to `root`, wherever in the repository it is."""
    quiet = ("--no-renames", "--no-ext-diff", "--ignore-submodules", "--relative")
    output = _git(root, "diff", "--raw", "-z", "--no-abbrev", *quiet, commit, "--", "domains").split(b"\0")
    found: dict[str, str | None] = {}
    for facts, path in zip(output[::2], output[1::2], strict=False):
        old_mode, _, blob, *_ = facts.decode().lstrip(":").split()
        known = old_mode.startswith(_FILE) and blob != _NO_BLOB
        found[_text(path)] = blob if known else found.get(_text(path))
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "domains").split(b"\0")
    return {_text(path): None for path in new if path} | found


def _text(path: bytes) -> str:
    # As shown in problems. This loses nothing, as the names of contracts are UTF-8.
    return path.decode("utf-8", "replace")


def _git(root: Path, *words: str, stdin: bytes = b"") -> bytes:
    """Run git in `root`. Raises NoBase with its error message, and FileNotFoundError where git is not installed."""
    # A hook has the index and folders of its own commit in the environment. This needs the working tree of `root`,
    # in whichever repository that is; and its index may be locked at the moment.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
    environment = {**kept, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    done = subprocess.run(
        ["git", "-C", str(root), "-c", "core.quotePath=false", *words],
        env=environment,
        input=stdin,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        complaint = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        raise NoBase(f"git says: {' '.join(complaint.split())}" if complaint else "git says no.")
    return done.stdout
