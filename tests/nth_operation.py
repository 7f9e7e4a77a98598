"""File and catalog operations of this process, counted: the Nth is made to fail, before it takes effect or after it.

What the lake does with files and with its catalog passes here; a broken disk or a lost answer leaves.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.errors import UnavailableError
from mesh_platform.iceberg import durable_io
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile

ERRORS: dict[str, Callable[[], Exception]] = {
    "no space": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "I/O error": lambda: OSError(errno.EIO, "Input/output error"),
    "time-out": lambda: TimeoutError("timed out"),
}
CATALOG = ("load_table", "commit_table", "create_table", "create_namespace", "list_tables", "list_namespaces")
# Of these the answer can be lost: they take effect and are then reported as failed.
ANSWERED = ("commit_table", "create_table", "create_namespace", "ack", "receive", "delete")


@dataclass
class Operations:
    """Counts operations; with `at`, the one of that number, counted from 1, fails with `error`.

    `lasting`: so do all that follow. `after`: it takes effect first, where an answer can be lost at all. With `of`,
    operations of other names are neither counted nor failed.
    """

    at: int = 0
    error: Callable[[], Exception] = ERRORS["I/O error"]
    lasting: bool = False
    after: bool = False
    of: Collection[str] = ()
    count: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def fails(self, name: str) -> bool:
        """Count one operation; whether it fails."""
        if self.of and name not in self.of:
            return False
        with self._turn:
            self.count += 1
            self.passed[name] += 1
            hit = self.count == self.at or (self.lasting and 0 < self.at < self.count)
            if hit:
                self.failed.append(name)
            return hit

    def around(self, name: str, real: Callable[..., Any], *words: Any, **options: Any) -> Any:
        """Do one operation, or fail it."""
        failing = self.fails(name)
        if not failing:
            return real(*words, **options)
        if self.after and name in ANSWERED:
            real(*words, **options)
        error = self.error()
        if name in ("ack", "receive"):
            # The broker's own words for what its file raises.
            raise UnavailableError(f"the broker's file: {error}") from error
        raise error


class _Read:
    """A file that is read through the counter."""

    def __init__(self, file: pa.NativeFile, operations: Operations) -> None:
        self._file, self._operations = file, operations

    def read(self, *size: int) -> bytes:
        data: bytes = self._operations.around("read", self._file.read, *size)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def watched(operations: Operations) -> Iterator[Operations]:
    """All file and catalog operations in the block, and a consumer's, pass `operations`."""

    def hook(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *words, **options: operations.around(name, real, *words, **options)

    class Counted(FileIO):
        def write(self, data: Any) -> int | None:
            if not operations.fails("write"):
                return super().write(data)
            super().write(memoryview(data)[: len(data) // 2])
            raise operations.error()

        def close(self) -> None:
            if self.closed or not operations.fails("close"):
                return super().close()
            super().close()
            raise operations.error()

    def opened(self: Any, seekable: bool = True) -> Any:
        return pa.PythonFile(_Read(operations.around("open", real_open, self, seekable), operations), mode="r")

    real_open = PyArrowFile.open
    with pytest.MonkeyPatch.context() as patch:
        for name in ("new_input", "new_output", "delete"):
            patch.setattr(durable_io.DurableFileIO, name, hook(name, getattr(durable_io.DurableFileIO, name)))
        patch.setattr(durable_io._DurableOutput, "create", hook("create", durable_io._DurableOutput.create))
        patch.setattr(durable_io, "FileIO", Counted)
        patch.setattr(PyArrowFile, "open", opened)
        # What a sync does to a disk that keeps its power cannot be seen, only its failure can.
        patch.setattr(os, "fsync", hook("fsync", lambda handle: None))
        for name in CATALOG:
            patch.setattr(SqlCatalog, name, hook(name, getattr(SqlCatalog, name)))
        for name in ("receive", "ack"):
            patch.setattr(EmbeddedConsumer, name, hook(name, getattr(EmbeddedConsumer, name)))
        yield operations
