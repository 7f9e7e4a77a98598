"""A pyiceberg FileIO whose files are on disk, with their folders, when they are closed.

Iceberg's commit is a pointer to files; without this the catalog's own fsync can outlive the files it names.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from uuid import uuid4

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from mesh_platform import faults

# The fault point that is passed when a file of this kind is complete.
_COMPLETE = {".parquet": "commit.written", ".avro": "commit.listed", ".metadata.json": "commit.described"}

# Folders that this process has synced the parents of.
_SETTLED: set[Path] = set()


class _SyncedFile(BufferedWriter):
    """A file that is flushed to disk on close, together with the folder that names it."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        self._folder = path.parent.absolute()
        _settle(self._folder)
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


def _settle(folder: Path) -> None:
    """Make a folder, and those above it, such that it is on disk that they are there."""
    if folder.is_mount() or (folder in _SETTLED and folder.is_dir()):
        return
    _settle(folder.parent)
    folder.mkdir(exist_ok=True)
    # Who made a folder that was there already may have died before this.
    with suppress(PermissionError):
        _sync_folder(folder.parent)
    _SETTLED.add(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(io: PyArrowFileIO, location: str, content: bytes) -> None:
    """Put `content` in the place of a file, so that a reader and a power loss find either the old one or the new one.

    A file in an object store is replaced by one request.
    """
    scheme, _host, path = io.parse_location(location, io.properties)
    if scheme != "file":
        with io.new_output(location).create(overwrite=True) as file:
            file.write(content)
        return
    # Not written into: with hard links it is the file of the copy's original, too.
    # A name of its own: two that replace it at once must not write into one another's.
    beside = Path(f"{path}.{uuid4().hex}.replacing")
    with _SyncedFile(beside, overwrite=True) as file:
        file.write(content)
    os.replace(beside, path)
    _sync_folder(beside.parent)


class _DurableOutput(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        return _SyncedFile(Path(self._path), overwrite)


class _PassingOutput(PyArrowFile):
    """An output whose file passes the fault points; made only where `MESH_FAULT` names one of them."""

    def __init__(self, output: PyArrowFile) -> None:
        super().__init__(output.location, output._path, output._filesystem, output._buffer_size)
        self._output = output

    def create(self, overwrite: bool = False) -> OutputStream:
        return _PassingFile(self._output.create(overwrite), self.location)


class _PassingFile:
    def __init__(self, file: OutputStream, location: str) -> None:
        self._file = file
        self._location = location
        self._writes = 0
        self.closed = False

    def write(self, b: bytes) -> int:
        written = self._file.write(b)
        self._writes += 1
        # The first two are Parquet's magic word and the header of a page, which hold no data.
        if self._writes == 3 and self._location.endswith(".parquet"):
            self.flush()
            faults.point("commit.writing")
        return written

    def flush(self) -> None:
        self._file.flush()  # type: ignore[attr-defined]

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._file.close()
            for ending, point in _COMPLETE.items():
                if self._location.endswith(ending):
                    faults.point(point)

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class DurableFileIO(PyArrowFileIO):
    """pyiceberg's own FileIO, but for local files, which are synced before the commit that names them."""

    def new_output(self, location: str) -> PyArrowFile:
        """The output at `location`, a `file:` URL or a path."""
        scheme, _host, path = self.parse_location(location, self.properties)
        output = super().new_output(location)
        if scheme == "file":
            output = _DurableOutput(
                location=location,
                path=path,
                fs=self.fs_by_scheme("file", ""),
                buffer_size=1024 * 1024,
            )
        return _PassingOutput(output) if faults.armed("commit.") else output
