"""A step that makes a server enforce the rights of the mesh, and the credentials of its principals."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from mesh_platform.errors import AttentionError
from mesh_platform.files import write_whole

# The principal that may do everything: it runs `mesh run`, maintenance and releases for all domains.
PLATFORM = "mesh"


@dataclass(frozen=True)
class Step:
    """One difference between a server and the mesh: `was` is what the server holds, `now` what it must hold."""

    server: str
    principal: str
    action: Literal["create", "update", "remove"]
    what: str
    was: Any = None
    now: Any = None


class Server(Protocol):
    """A server that enforces rights. After a stop, the next plan has the steps that are left."""

    def plan(self) -> Iterator[Step]:
        """Yield what must change, in an order in which it can be done. Nothing is changed."""
        ...

    def apply(self, step: Step) -> None:
        """Do one step."""
        ...


class Credentials:
    """The secrets of the principals: `<folder>/<principal>.env`, each a file of variables that only its owner reads.

    A file is what a process of that domain is started with: `set -a; . north_warehouse.env`. A secret is made where
    none is there, and never printed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, principal: str) -> Path:
        """The file of a principal."""
        return self.folder / f"{principal}.env"

    def read(self, principal: str) -> dict[str, str]:
        """Return the variables of a principal. Raises AttentionError for a line that is no variable."""
        path = self.path(principal)
        if not path.exists():
            return {}
        found = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            name, equals, value = line.partition("=")
            if not line.strip() or line.startswith("#"):
                continue
            try:
                words = shlex.split(value)
            except ValueError:
                words = None
            if not equals or not name.isidentifier() or words is None:
                raise AttentionError(f"{path}:{number}: is no line NAME=value. Correct it, or remove the file.")
            found[name] = " ".join(words)
        return found

    def set(self, principal: str, variables: Mapping[str, str]) -> None:
        """Set variables of a principal and keep its others."""
        kept = self.read(principal) | dict(variables)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A temporary file is made for its owner alone, and `write_whole` renames it.
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in kept.items())
        write_whole(self.path(principal), "".join(lines).encode())


def new_secret() -> str:
    """Return a secret of 32 letters and digits, which needs no quoting in URLs, shells and files."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _ in range(32))


def principals(domains: Iterable[str]) -> list[str]:
    """Return all principals: one for each domain, and the platform's own."""
    return [*domains, PLATFORM]
