"""The secrets of a Superset of one's own: they are made where they are missing, for the owner of the folder alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_platform.files import write_whole

ADMIN = "admin"


def make_secrets(path: Path, roles: Iterable[str], admin: str | None = None) -> None:
    """Write Superset's key, and a password for its administrator and one user of each role, to a file of mode 600.

    Secrets that the file has stay. `admin` is the administrator's password, which is made if it is not given.
    """
    known = read_secrets(path)
    there = {ADMIN: admin} | known.get("passwords", {})
    passwords = {name: there.get(name) or secrets.token_urlsafe(15) for name in (ADMIN, *roles)}
    found = {"secret_key": known.get("secret_key") or secrets.token_urlsafe(42), "passwords": passwords}
    if found != known:
        write_whole(path, json.dumps(found, indent=1).encode())


def read_secrets(path: Path) -> dict[str, Any]:
    """Return what the file has; nothing if there is none."""
    with suppress(FileNotFoundError):
        return dict(json.loads(path.read_bytes()))
    return {}
