"""A pyiceberg FileIO that syncs local files and their folders to disk when they are closed.

An Iceberg commit is a pointer to files. Without this, a power loss could keep the catalog's commit, which is synced,
and lose the files that it names.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import BufferedWriter, FileIO
from pathlib import Path
from uuid import uuid4

from pyarrow.fs import FileSystem
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from mesh_platform import faults
from mesh_platform.iceberg.store_io import StoredFile, connect_store
from mesh_platform.iceberg.written_file import WrittenFile

# The fault point to pass when a file with this ending is complete.
_COMPLETE = {".parquet": "commit.written", ".avro": "commit.listed", ".metadata.json": "commit.described"}

# Folders whose parents this process has synced.
_SETTLED: set[Path] = set()


class _SyncedFile(BufferedWriter):
    """A file that is synced to disk on close, together with the folder that it is in."""

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
    """Create a folder and its parents, and sync the entries of all of them to disk."""
    if folder.is_mount() or (folder in _SETTLED and folder.is_dir()):
        return
    _settle(folder.parent)
    folder.mkdir(exist_ok=True)
    # Also for an existing folder: its creator may have died before syncing.
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
    """Replace a file by `content` atomically: a reader, or a power loss, finds either the old or the new content.

    A file in an object store is replaced by one request.
    """
    scheme, _host, path = io.parse_location(location, io.properties)
    if scheme != "file":
        with io.new_output(location).create(overwrite=True) as file:
            file.write(content)
        return
    # The file is not written in place: with hard links it may be the original's file, too.
    # The temporary name is unique, so that two processes that replace the file at once do not share one.
    beside = Path(f"{path}.{uuid4().hex}.replacing")
    with _SyncedFile(beside, overwrite=True) as file:
        file.write(content)
    os.replace(beside, path)
    _sync_folder(beside.parent)


class _DurableOutput(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        return _SyncedFile(Path(self._path), overwrite)


class _PassingOutput(PyArrowFile):
    """An output whose file passes the fault points; used only if `MESH_FAULT` names one of them."""

    def __init__(self, output: PyArrowFile) -> None:
        super().__init__(output.location, output._path, output._filesystem, output._buffer_size)
        self._output = output

    def create(self, overwrite: bool = False) -> OutputStream:
        return _PassingFile(self._output.create(overwrite), self.location)

    def __len__(self) -> int:
        return len(self._output)


class _PassingFile(WrittenFile):
    def __init__(self, file: OutputStream, location: str) -> None:
        super().__init__(file)
        self._location = location
        self._writes = 0

    def write(self, b: bytes) -> int:
        written = super().write(b)
        self._writes += 1
        # The first two writes are Parquet's magic word and the header of a page, which contain no data.
        if self._writes == 3 and self._location.endswith(".parquet"):
            self.flush()
            faults.point("commit.writing")
        return written

    def complete(self) -> None:
        super().complete()
        for ending, point in _COMPLETE.items():
            if self._location.endswith(ending):
                faults.point(point)


class DurableFileIO(PyArrowFileIO):
    """pyiceberg's FileIO, except that local files are synced before the commit that names them.

    Files in an object store take few requests, see `store_io`.
    """

    def new_input(self, location: str) -> PyArrowFile:
        """Return the input for `location`."""
        made = super().new_input(location)
        return made if self._is_local(location) else _stored(made)

    def new_output(self, location: str) -> PyArrowFile:
        """Return the output for `location`; a `file:` URL or a path gets a synced one."""
        made = super().new_output(location)
        if self._is_local(location):
            output: PyArrowFile = _DurableOutput(location, made._path, made._filesystem, 1024 * 1024)
        else:
            output = _stored(made)
        return _PassingOutput(output) if faults.armed("commit.") else output

    def _is_local(self, location: str) -> bool:
        return self.parse_location(location, self.properties)[0] == "file"

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        return connect_store(self.properties, scheme, netloc) or super()._initialize_fs(scheme, netloc)


def _stored(made: PyArrowFile) -> StoredFile:
    return StoredFile(made.location, made._path, made._filesystem, made._buffer_size)
