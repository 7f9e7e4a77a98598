"""Files in which a state folder remembers what a run found, so that a day follows from the last, not from the first.

What is remembered depends only on the code, the reference data, and what it is of, such as a history. So it can be
lost: it is found again. A damaged file is not used, nor one of other code or data.
"""

from __future__ import annotations

import pickle
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mesh_platform.cache.cache import read_stored, write_stored
from mesh_platform.settings import Settings

# Where each warehouse is, and the answer keys by what they are keys of.
COMPANY = "company.state"
# What was read of the tables.
READINGS = "compared.state"


def recall(settings: Settings, name: str, of: object) -> Any:
    """What the file of this name remembers of something with this repr; None if it is missing, damaged or foreign."""
    found = read_stored(settings.state_dir / name)
    if not found or found[0] != _source(settings.root, of):
        return None
    return pickle.loads(zlib.decompress(found[1]))


def remember(settings: Settings, name: str, of: object, found: object) -> None:
    """Replace the file atomically. A folder that cannot be written is no error, as the file only saves time."""
    # Ids repeat each other: a twelfth of the bytes is left.
    content = zlib.compress(pickle.dumps(found, pickle.HIGHEST_PROTOCOL), level=1)
    write_stored(settings.state_dir / name, (_source(settings.root, of), content))


def _source(root: Path, of: object) -> str:
    """A hash of all that it depends on; of the platform and its packages, `read_stored` knows the version."""
    told = blake2b(repr(of).encode())
    for path in (*sorted(Path(__file__).parent.rglob("*.py")), *sorted(root.glob("domains/*/reference/*.csv"))):
        told.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return told.hexdigest()
