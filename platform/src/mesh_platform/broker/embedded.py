"""The embedded broker, without a server: one SQLite file that several processes of one machine share.

A commit confirms messages; deliveries are leased to their consumer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from mesh_platform.broker import MAX_MESSAGE_BYTES, Message, Queue, check_size
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.broker.embedded_file import BrokerFile
from mesh_platform.errors import MeshError, UsageError


class EmbeddedBroker:
    """The broker at `sqlite:///relative/path` or `sqlite:////absolute/path`; the file is created if missing.

    Keys match exactly: `*` and `#` have no meaning here.
    """

    GROUP_MESSAGES = 500
    GROUP_BYTES = 4 * 1024 * 1024
    GROUP_SECONDS = 0.02

    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        if path in ("", url):
            raise UsageError(f"{url}: the file is missing. Write 'sqlite:///path/to/broker.db' in MESH_BROKER_URL.")
        # A confirm means durable, so each commit of a publisher waits for the disk.
        self._file = BrokerFile(Path(path), synchronous="FULL")

    def declare(self, queues: Iterable[Queue]) -> None:
        """Create missing queues, bindings and dead-letter queues."""
        with self._file.write() as connection:
            for queue in queues:
                connection.executemany(
                    "INSERT OR IGNORE INTO queue VALUES (?, ?)",
                    [(queue.name, queue.dead_letter), (queue.dead_letter, None)],
                )
                connection.execute(
                    "INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", (queue.exchange, queue.routing_key, queue.name)
                )

    def declare_to_consume(self, queues: Iterable[Queue]) -> list[str]:
        """As `declare`; all queues of this broker are fit for publishing."""
        self.declare(queues)
        return []

    def publish(self, queue: Queue, messages: Iterable[Message], confirmed: Callable[[Message], None]) -> None:
        """Commit in groups; call `confirmed`, on this thread, for each message of a group when it is durable.

        A group ends when it is full, or when a message comes `GROUP_SECONDS` after the last commit, so that a slow
        source has each message confirmed at once. If the source raises, the messages before that are still
        published. Raises as `Broker.publish` says, and UnavailableError where the disk is full.
        """
        group: list[Message] = []
        size = 0
        due = 0.0
        try:
            for message in messages:
                check_size(queue, message)
                group.append(message)
                size += len(message.body)
                if len(group) >= self.GROUP_MESSAGES or size >= self.GROUP_BYTES or time.monotonic() >= due:
                    full, group, size = group, [], 0
                    self._commit(queue, full, confirmed)
                    due = time.monotonic() + self.GROUP_SECONDS
        finally:
            if group:
                self._commit(queue, group, confirmed)

    def _commit(self, queue: Queue, group: list[Message], confirmed: Callable[[Message], None]) -> None:
        with self._file.write() as connection:
            bound = connection.execute(
                "SELECT queue FROM binding WHERE exchange = ? AND routing_key = ?",
                (queue.exchange, queue.routing_key),
            ).fetchall()
            if not bound:
                raise MeshError(
                    f"{self._file.path}: no queue takes key '{queue.routing_key}' on exchange '{queue.exchange}'. "
                    f"Declare '{queue.name}' before publishing."
                )
            for (name,) in bound:
                for message in group:
                    cursor = connection.execute(
                        "INSERT INTO message (queue, message_id) VALUES (?, ?)", (name, message.message_id)
                    )
                    connection.execute("INSERT INTO body VALUES (?, ?)", (cursor.lastrowid, message.body))
        for message in group:
            confirmed(message)

    def consume(self, queue_name: str, prefetch: int, max_bytes: int = MAX_MESSAGE_BYTES) -> EmbeddedConsumer:
        """A consumer with at most `prefetch` unacknowledged deliveries; `receive` returns about `max_bytes` at once.

        Raises MeshError for an unknown queue.
        """
        if prefetch < 1:
            raise UsageError(f"{queue_name}: a prefetch of {prefetch} delivers nothing. Give 1 or more.")
        with self._file.read() as connection:
            found = connection.execute("SELECT dead_letter FROM queue WHERE name = ?", (queue_name,)).fetchone()
        if found is None:
            raise self._unknown(queue_name)
        # Durable acknowledgements are not promised, so a consumer's commits need not wait for the disk.
        file = BrokerFile(self._file.path, synchronous="NORMAL")
        return EmbeddedConsumer(file, queue_name, found[0], prefetch, max_bytes)

    def depth(self, queue_name: str) -> int:
        """The number of waiting and leased messages. Raises MeshError for an unknown queue."""
        with self._file.read() as connection:
            known, count = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM queue WHERE name = :name),"
                " (SELECT count(*) FROM message WHERE queue = :name)",
                {"name": queue_name},
            ).fetchone()
        if not known:
            raise self._unknown(queue_name)
        return int(count)

    def depths(self, queue_names: Collection[str]) -> dict[str, int]:
        """The number of waiting and leased messages in each of the queues that exists."""
        with self._file.read() as connection:
            known = connection.execute("SELECT name FROM queue").fetchall()
            counted = connection.execute("SELECT queue, count(*) FROM message GROUP BY queue").fetchall()
        depths = dict.fromkeys((name for (name,) in known), 0) | dict(counted)
        return {name: depths[name] for name in queue_names if name in depths}

    def purge(self, queue_name: str) -> int:
        """Drop the waiting messages; return their number. Raises MeshError for an unknown queue."""
        self.depth(queue_name)
        with self._file.write() as connection:
            return connection.execute("DELETE FROM message WHERE queue = ? AND owner IS NULL", (queue_name,)).rowcount

    def close(self) -> None:
        """Close the file. Consumers have their own connections and stay open."""
        self._file.close()

    def _unknown(self, queue_name: str) -> MeshError:
        return MeshError(f"{self._file.path}: there is no queue '{queue_name}'. Declare it first.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(MeshError):
            self.close()
