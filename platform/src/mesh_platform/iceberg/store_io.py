"""Files in an object store, written and read with few requests.

By default Arrow writes a small file by three requests, pyiceberg asks for its size by a fourth, and reads a manifest
list again that it has just written. `docs/operations.md` counts the requests of a commit.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import pyarrow as pa
from cachetools import LRUCache
from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.io import InputStream, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from mesh_platform.iceberg.written_file import WrittenFile

# Bytes of Avro files that a process keeps: only `mesh relocate` changes one, here. A larger file is not kept.
_KEPT, _LARGEST = 32 * 1024 * 1024, 1024 * 1024
_recent: LRUCache[str, bytes] = LRUCache(_KEPT, getsizeof=len)
_turn = Lock()
_S3 = ("s3", "s3a", "s3n")
# pyiceberg's names of what decides how to connect.
_CONNECTION = ("s3.", "client.")


def connect_store(properties: dict[str, str], scheme: str, netloc: str | None) -> FileSystem | None:
    """Return the S3 file system for pyiceberg's `properties`, whose connections all tables of a process share.

    It sends a file of up to 10 MiB in one request. None if `scheme` is no S3, or if the properties name a retry
    strategy, which Arrow does not copy: pyiceberg connects by itself then.
    """
    if scheme not in _S3 or "s3.retry-strategy-impl" in properties:
        return None
    return _connect(tuple(sorted(each for each in properties.items() if each[0].startswith(_CONNECTION))), netloc)


@lru_cache(16)
def _connect(properties: tuple[tuple[str, str], ...], netloc: str | None) -> FileSystem:
    made = PyArrowFileIO(dict(properties)).fs_by_scheme("s3", netloc)
    _, (options,) = made.__reduce__()
    return S3FileSystem._reconstruct({**options, "allow_delayed_open": True})


class StoredFile(PyArrowFile):
    """A file of an object store. It knows the size of what was written; the content of Avro files is kept."""

    _size: int | None = None

    def create(self, overwrite: bool = False) -> OutputStream:
        """Open the file for writing. What was written is in the store when it is closed without an error."""
        # A request that fails may have replaced the file.
        self._size = None
        with _turn:
            _recent.pop(self.location, None)
        return _Counted(super().create(overwrite), self)

    def open(self, seekable: bool = True) -> InputStream:
        """Open the file for reading. Raises what PyArrowFile raises."""
        if not self.location.endswith(".avro"):
            return super().open(seekable)
        with _turn:
            content = _recent.get(self.location)
        if content is None:
            with super().open(seekable) as file:
                content = bytes(file.read())
            self._keep(content)
        reader: InputStream = pa.BufferReader(content)
        return reader

    def __len__(self) -> int:
        """Return the size in bytes; the store is asked only for a file that this object has not written."""
        return super().__len__() if self._size is None else self._size

    def written(self, size: int, content: bytes | None) -> None:
        """Note what was written; `content` is None if the file is not to be kept."""
        self._size = size
        if content is not None:
            self._keep(content)

    def _keep(self, content: bytes) -> None:
        if len(content) <= _LARGEST:
            with _turn:
                _recent[self.location] = content


class _Counted(WrittenFile):
    """A file that is being written to a store. When it is closed, it tells its `StoredFile` what is there."""

    def __init__(self, file: OutputStream, stored: StoredFile) -> None:
        super().__init__(file)
        self._stored = stored
        self._parts: list[bytes] | None = [] if stored.location.endswith(".avro") else None

    def write(self, b: bytes) -> int:
        written = super().write(b)
        if self._parts is not None:
            self._parts.append(bytes(b))
        return written

    def complete(self) -> None:
        size = self.tell()
        super().complete()
        self._stored.written(size, None if self._parts is None else b"".join(self._parts))
