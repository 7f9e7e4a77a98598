"""A disk that forgets at a power cut what nobody synced: files lose their unsynced bytes, folders the unsynced names.

Operations on the lake's files arrive; after the cut nothing more happens, and what the disk kept is left in place.
The catalog's and the broker's SQLite files are left as their last commit made them: SQLite syncs for itself, and a
kept acknowledgement is the hardest case for what was acknowledged.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

import pytest
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.broker.embedded_file import BrokerFile
from mesh_platform.errors import UnavailableError
from mesh_platform.iceberg import durable_io
from pyiceberg.catalog.sql import SqlCatalog


@dataclass
class Disk:
    """What of `folder` is on disk for sure, and the operation at which the power fails.

    `cut_at` counts file and catalog operations from 1; where the number is even, the operation still took place.
    """

    folder: Path
    chance: Random
    cut_at: int
    count: int = 0
    off: bool = False
    # Bytes of each file, and names in each folder, at their last sync.
    content: dict[Path, int] = field(default_factory=dict)
    names: dict[Path, set[str]] = field(default_factory=dict)
    syncing: Lock = field(default_factory=Lock)

    def before(self) -> None:
        """An operation begins; it does not where the power is off."""
        self.count += 1
        self.off = self.off or (self.count == self.cut_at and self.cut_at % 2 == 1)
        if self.off:
            raise OSError(errno.EIO, "the power is off")

    def after(self) -> None:
        """An operation has ended, and its caller hears of it, or never does."""
        if self.count >= self.cut_at:
            self.off = True
            raise OSError(errno.EIO, "the power is off")

    def sync(self, handle: int) -> None:
        """What fsync promises: of a file its bytes, of a folder its names (fsync(2))."""
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        # Of two that sync a folder at once, the one that looked first must not have the last word.
        with self.syncing:
            if path.is_dir():
                self.names[path] = {entry.name for entry in path.iterdir()}
            else:
                self.content[path] = path.stat().st_size

    def forget(self) -> int:
        """Drop or tear what was not synced; how many files and folders were harmed."""
        # Half of the disks lose all that they may lose; the others any part of it.
        all_of_it = self.chance.random() < 0.5
        return self._forget(self.folder, all_of_it)

    def _forget(self, folder: Path, all_of_it: bool) -> int:
        harmed = 0
        for path in sorted(folder.iterdir()):
            if path.name not in self.names.get(folder, set()) and (all_of_it or self.chance.random() < 0.5):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                harmed += 1
            elif path.is_dir():
                harmed += self._forget(path, all_of_it)
            else:
                harmed += self._tear(path, all_of_it)
        return harmed

    def _tear(self, path: Path, all_of_it: bool) -> bool:
        size, synced = path.stat().st_size, self.content.get(path, 0)
        if size <= synced or not (all_of_it or self.chance.random() < 0.7):
            return False
        kept = synced if all_of_it else self.chance.randint(synced, size)
        os.truncate(path, kept)
        if self.chance.random() < 0.5:
            # The file's new length was written, its bytes were not.
            os.truncate(path, size)
        return True


@contextmanager
def powered(disk: Disk) -> Iterator[Disk]:
    """In the block the lake's files lie on `disk`, until its power fails: then all that is tried fails."""

    def hook(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*words: Any, **options: Any) -> Any:
            disk.before()
            done = real(*words, **options)
            disk.after()
            return done

        return do

    class File(FileIO):
        def write(self, data: Any) -> int | None:
            disk.before()
            written = super().write(data)
            disk.after()
            return written

    def broker_write(file: BrokerFile) -> Any:
        if disk.off:
            raise UnavailableError("the power is off")
        return real_broker_write(file)

    def ack(consumer: EmbeddedConsumer, deliveries: Any) -> None:
        if disk.off:
            raise UnavailableError("the power is off")
        real_ack(consumer, deliveries)
        disk.count += 1
        disk.off = disk.count >= disk.cut_at

    real_broker_write, real_ack = BrokerFile.write, EmbeddedConsumer.ack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", hook(disk.sync))
        patch.setattr(durable_io, "FileIO", File)
        for name in ("create", "to_input_file"):
            patch.setattr(durable_io._DurableOutput, name, hook(getattr(durable_io._DurableOutput, name)))
        patch.setattr(durable_io.DurableFileIO, "delete", hook(durable_io.DurableFileIO.delete))
        for name in ("load_table", "commit_table", "create_table"):
            patch.setattr(SqlCatalog, name, hook(getattr(SqlCatalog, name)))
        patch.setattr(BrokerFile, "write", broker_write)
        patch.setattr(EmbeddedConsumer, "ack", ack)
        yield disk
