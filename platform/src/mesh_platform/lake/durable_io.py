"""A pyiceberg FileIO whose files are on disk, with their folders, when they are closed.

Iceberg's commit is a pointer to files; without this the catalog's own fsync can outlive the files it names.
"""

from __future__ import annotations

import os
from io import BufferedWriter, FileIO
from pathlib import Path

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO


class _SyncedFile(BufferedWriter):
    """A file that is flushed to disk on close, together with the folder that names it."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        new_folders = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in new_folders:
            _sync_folder(folder.parent)
        self._folder = path.parent
        super().__init__(FileIO(path, "wb" if overwrite else "xb"), buffer_size=1024 * 1024)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self.flush()
            os.fsync(self.fileno())
        finally:
            super().close()
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _DurableOutput(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        return _SyncedFile(Path(self._path), overwrite)


class DurableFileIO(PyArrowFileIO):
    """pyiceberg's own FileIO, but for local files, which are synced before the commit that names them."""

    def new_output(self, location: str) -> PyArrowFile:
        """The output at `location`, a `file:` URL or a path."""
        scheme, _host, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return super().new_output(location)
        return _DurableOutput(
            location=location,
            path=path,
            fs=self.fs_by_scheme("file", ""),
            buffer_size=1024 * 1024,
        )
