"""A temporary folder in a repository in which one process at a time prepares files for the domains."""

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
    """A temporary folder on the disk of `root`/domains, so that finished files can be renamed into place.

    Only one process has it at a time; others wait. Folders that a killed process left are removed by the next one.
    Raises UsageError where there is no folder domains/.
    """
    domain_folders(root)
    domains = root / "domains"
    handle = os.open(domains, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            # A network disk may not support locks on folders; a second process then fails because files exist.
            pass
        else:
            for left in domains.glob(f"{_PREFIX}*"):
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=domains) as folder:
            yield Path(folder)
    finally:
        # This releases the lock, as does the end of the process.
        os.close(handle)
