"""The SQLite file of the embedded broker: its tables, its locks and the meaning of its errors.

Its transactions are safe between threads and processes of one machine.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from mesh_platform.errors import AttentionError, MeshError, UnavailableError

_VERSION = 1

# Ids are never reused: a late acknowledgement must not hit another message, nor another consumer's lease.
# Bodies have their own table: a lease then rewrites a small row and not the body.
_TABLES = (
    "CREATE TABLE queue (name TEXT PRIMARY KEY, dead_letter TEXT) WITHOUT ROWID",
    """CREATE TABLE binding (
        exchange TEXT, routing_key TEXT, queue TEXT, PRIMARY KEY (exchange, routing_key, queue)) WITHOUT ROWID""",
    """CREATE TABLE consumer (
        id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, lease_until REAL NOT NULL,
        place TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL)""",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, message_id TEXT,
        deliveries INTEGER NOT NULL DEFAULT 0, owner INTEGER)""",
    "CREATE TABLE body (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE INDEX waiting ON message (queue, id) WHERE owner IS NULL",
    "CREATE INDEX leased ON message (owner, id) WHERE owner IS NOT NULL",
    "CREATE TRIGGER drop_body AFTER DELETE ON message BEGIN DELETE FROM body WHERE id = OLD.id; END",
    f"PRAGMA user_version = {_VERSION}",
)


class BrokerFile:
    """One connection to the file; its threads take turns.

    Writers also hold a lock on `<path>-lock`: SQLite before 3.51.3 can lose a commit when a checkpoint and a commit
    of two connections meet (https://sqlite.org/wal.html#walresetbug), and Python brings older ones.
    """

    BUSY_SECONDS = 30.0

    def __init__(self, path: Path, synchronous: Literal["FULL", "NORMAL"]) -> None:
        """Open or create the file.

        Raises UnavailableError, or AttentionError for a file of another kind or version.
        """
        self.path = path
        self._threads = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._connection = self._open(synchronous)
            except BaseException:
                os.close(self._lock)
                raise

    def _open(self, synchronous: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self.BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            with self._alone():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if version != _VERSION and (version or tables):
                    raise AttentionError(
                        f"{self.path}: not a broker file of version {_VERSION} (it says {version}). "
                        "Move it away, or point MESH_BROKER_URL to another path."
                    )
                if not tables:
                    connection.execute("BEGIN IMMEDIATE")
                    for statement in _TABLES:
                        connection.execute(statement)
                    connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, for single read-only statements. Raises UnavailableError."""
        with self._threads, self._explained():
            yield self._connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end and rolled back where the block raises. Raises UnavailableError."""
        with self._threads, self._explained(), self._alone():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                # SQLite itself may already have rolled back, for example on a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def rewrite(self) -> None:
        """Write the file again without free pages, and empty its write-ahead log. Raises UnavailableError."""
        deadline = time.monotonic() + self.BUSY_SECONDS
        with self._threads, self._explained():
            while True:
                with self._alone():
                    self._connection.execute("VACUUM")
                    (busy, *_) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    return
                if time.monotonic() > deadline:
                    raise UnavailableError(self._locked())
                time.sleep(0.01)

    def close(self) -> None:
        """Close the connection, once. The last one to close checkpoints, hence the lock."""
        with self._threads:
            if self._lock < 0:
                return
            with suppress(MeshError), self._explained(), self._alone():
                self._connection.close()
            self._connection.close()
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        deadline = time.monotonic() + self.BUSY_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnavailableError(self._locked()) from None
                time.sleep(0.001)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _locked(self) -> str:
        return (
            f"{self.path}: another process has held the lock for {self.BUSY_SECONDS:g} s. "
            "Look for a stopped process that has it open (fuser), and try again."
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                raise UnavailableError(
                    f"{self.path}: the disk is full, or a limit on the file is reached. Free space and try again; "
                    "nothing that was confirmed is lost."
                ) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UnavailableError(self._locked()) from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise AttentionError(
                    f"{self.path}: not a SQLite file, or a damaged one ({error}). Keep a copy, move it away and "
                    "publish again what ingest has not landed; ids already landed are recognised."
                ) from error
            if isinstance(error, sqlite3.OperationalError):
                raise UnavailableError(
                    f"{self.path}: the broker's file cannot be used ({error}). Check that its folder exists, "
                    "may be written and lies on a working local disk that is not full."
                ) from error
            raise
        except OSError as error:
            raise UnavailableError(
                f"{self.path}: the broker's file cannot be used ({error.strerror}). Check that its folder exists, "
                "may be written and lies on a working local disk that is not full."
            ) from error
