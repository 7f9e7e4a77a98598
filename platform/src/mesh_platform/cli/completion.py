"""Names that a shell completes: of domains, products and roles, read from the names of files and by patterns.

A shell waits for them at each Tab, so they are not parsed: loading the mesh takes longer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from mesh_platform.settings import find_root

Complete = Callable[[click.Context, click.Parameter, str], list[str]]
_SUFFIX = ".odcs.yaml"
_ROLE = re.compile(r"\{role: *([\w-]+)|^ *- role: *([\w-]+)|warehouse_id: *([A-Z0-9-]+)$", re.MULTILINE)
_TAG = re.compile(r"classification: *(\w+)|tags: *\[([^\]]*)\]")


def complete(*kinds: Callable[[Path], Iterable[str]]) -> Complete:
    """For `shell_complete` of a parameter: the names of these kinds that begin as the word does."""

    def find(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        try:
            root = Path(os.environ.get("MESH_ROOT") or find_root(Path.cwd()))
            return sorted({name for kind in kinds for name in kind(root) if name.startswith(begun)})
        # A shell would show a message in the middle of the line that somebody types.
        except Exception:
            return []

    return find


def domains(root: Path) -> Iterable[str]:
    """The names of the domains."""
    return (path.parent.name for path in root.glob("domains/[a-z]*/domain.yaml"))


def products(root: Path) -> Iterable[str]:
    """The products as `<domain>.<product>`."""
    paths = root.glob(f"domains/[a-z]*/contracts/*{_SUFFIX}")
    return (f"{path.parts[-3]}.{path.name.removesuffix(_SUFFIX)}" for path in paths)


def roles(root: Path) -> Iterable[str]:
    """The roles that `mesh query` takes."""
    yield from ("analyst", "steward", "owner")
    yield from _written(root, _ROLE)


def tags(root: Path) -> Iterable[str]:
    """The classifications and tags that contracts give."""
    for found in _written(root, _TAG):
        yield from re.split(r", *", found)


def _written(root: Path, pattern: re.Pattern[str]) -> Iterable[str]:
    """What the first group of `pattern` that matches has, in the files of all domains."""
    for path in [*root.glob("domains/*/domain.yaml"), *root.glob(f"domains/*/*/*{_SUFFIX}")]:
        for match in pattern.finditer(path.read_text(encoding="utf-8")):
            yield next(group for group in match.groups() if group is not None)
