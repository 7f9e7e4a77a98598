"""The secrets of a Superset of one's own: they are made where they are missing, for the owner of the folder alone."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mesh_platform.files import write_whole

ADMIN = "admin"


def make_secrets(path: Path, roles: Iterable[str]) -> None:
    """Write Superset's key, and a password for its administrator and one user of each role, to a file of mode 600.

    Secrets that the file has stay.
    """
    known = read_secrets(path)
    passwords = {name: known.get("passwords", {}).get(name) or secrets.token_urlsafe(15) for name in (ADMIN, *roles)}
    found = {"secret_key": known.get("secret_key") or secrets.token_urlsafe(42), "passwords": passwords}
    if found != known:
        write_whole(path, json.dumps(found, indent=1).encode())
        os.chmod(path, 0o600)


def read_secrets(path: Path) -> dict[str, Any]:
    """Return what the file has; nothing if there is none."""
    with suppress(FileNotFoundError):
        return dict(json.loads(path.read_bytes()))
    return {}
