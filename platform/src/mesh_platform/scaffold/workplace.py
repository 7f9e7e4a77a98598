"""A place to make files ready beside the domains: a repository arrives, a folder leaves that nobody else works in."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh_platform.mesh.mesh import domain_folders

_PREFIX = ".new-"


@contextmanager
def open_workplace(root: Path) -> Iterator[Path]:
    """A folder on the disk of `root`/domains, so that what is ready can be renamed into place; gone afterwards.

    Nobody else has one meanwhile: who comes second waits. What one that was killed left is removed by the next.
    Raises UsageError where there is no folder domains/.
    """
    domain_folders(root)
    domains = root / "domains"
    handle = os.open(domains, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            # A network disk may know no locks of folders; who comes second is then refused by what stands.
            pass
        else:
            for left in domains.glob(f"{_PREFIX}*"):
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=domains) as folder:
            yield Path(folder)
    finally:
        # Which lets the lock go, as the end of the process does.
        os.close(handle)
