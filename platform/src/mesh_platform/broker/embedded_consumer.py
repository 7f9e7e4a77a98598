"""A consumer of the embedded broker.

It leases deliveries of one queue until it acknowledges them, closes, dies, or is silent for longer than its lease.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from mesh_platform.broker import DELIVERY_LIMIT, Delivery
from mesh_platform.broker.embedded_file import BrokerFile
from mesh_platform.broker.process import identify, is_gone
from mesh_platform.errors import MeshError


class EmbeddedConsumer:
    """Receives from one queue. One thread may receive while another acknowledges.

    The lease starts with the last receive or acknowledgement. After it expires another consumer may take the
    messages; acknowledging them here then has no effect. A consumer whose process has ended loses them at once.
    """

    LEASE_SECONDS = 60.0
    POLL_SECONDS = 0.02

    def __init__(self, file: BrokerFile, queue: str, dead_letter: str | None, prefetch: int, max_bytes: int) -> None:
        self._file = file
        self._queue = queue
        self._dead_letter = dead_letter
        self._prefetch = prefetch
        self._max_bytes = max_bytes
        self._stopped = False
        self._process = identify()
        try:
            with file.write() as connection:
                self._id = self._register(connection)
        except BaseException:
            file.close()
            raise

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Receive up to `max_messages` deliveries in queue order; wait up to `timeout` seconds for the first.

        It also waits while `prefetch` deliveries are unacknowledged.
        """
        deadline = time.monotonic() + timeout
        while not self._stopped:
            if self._must_write() and (deliveries := self._take(max_messages)):
                return deliveries
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return []
            time.sleep(min(self.POLL_SECONDS, remaining))
        return []

    def is_empty(self) -> bool:
        """Whether the queue has no messages besides those that this consumer holds."""
        with self._file.read() as connection:
            (others,) = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM message WHERE queue = ? AND owner IS NOT ?)", (self._queue, self._id)
            ).fetchone()
        return not others

    def stop(self) -> None:
        """Lease no more messages; none are on their way in this broker."""
        self._stopped = True

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Delete these messages, where this consumer still holds them."""
        with self._file.write() as connection:
            self._renew(connection)
            connection.executemany(
                "DELETE FROM message WHERE id = ? AND owner = ?",
                [(delivery.tag, self._id) for delivery in deliveries],
            )

    def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Move these messages to the dead-letter queue, where this consumer still holds them.

        A dead-letter queue has no dead-letter queue itself: its messages stay, and return when this consumer closes.
        """
        with self._file.write() as connection:
            self._renew(connection)
            if self._dead_letter is not None:
                connection.executemany(
                    "UPDATE message SET queue = ?, owner = NULL, deliveries = 0 WHERE id = ? AND owner = ?",
                    [(self._dead_letter, delivery.tag, self._id) for delivery in deliveries],
                )

    def close(self) -> None:
        """Return unacknowledged messages to their old places in the queue."""
        try:
            with self._file.write() as connection:
                _give_back(connection, self._id)
        finally:
            self._file.close()

    def _must_write(self) -> bool:
        """Whether there are messages or leases to take, return or renew; idle polling writes nothing."""
        with self._file.read() as connection:
            held, waiting, lease_until = connection.execute(
                "SELECT (SELECT count(*) FROM message WHERE owner = :id),"
                " EXISTS (SELECT 1 FROM message WHERE queue = :queue AND owner IS NULL),"
                " (SELECT lease_until FROM consumer WHERE id = :id)",
                {"id": self._id, "queue": self._queue},
            ).fetchone()
            if (waiting and held < self._prefetch) or lease_until is None:
                return True
            return lease_until < time.time() + self.LEASE_SECONDS / 2 or bool(self._lapsed(connection))

    def _take(self, max_messages: int) -> list[Delivery]:
        with self._file.write() as connection:
            if not self._renew(connection):
                self._id = self._register(connection)
            for lapsed in self._lapsed(connection):
                _give_back(connection, lapsed)
            (held,) = connection.execute("SELECT count(*) FROM message WHERE owner = ?", (self._id,)).fetchone()
            found = connection.execute(
                "SELECT id, message_id, deliveries, bytes FROM message JOIN body USING (id)"
                " WHERE queue = ? AND owner IS NULL ORDER BY id LIMIT ?",
                (self._queue, max(0, min(max_messages, self._prefetch - held))),
            )
            rows = []
            size = 0
            while size < self._max_bytes and (row := found.fetchone()) is not None:
                rows.append(row)
                size += len(row[3])
            found.close()
            connection.executemany(
                "UPDATE message SET owner = ?, deliveries = deliveries + 1 WHERE id = ?",
                [(self._id, row[0]) for row in rows],
            )
        return [Delivery(body, message_id, tag, deliveries > 0) for tag, message_id, deliveries, body in rows]

    def _register(self, connection: sqlite3.Connection) -> int:
        cursor = connection.execute(
            "INSERT INTO consumer (queue, lease_until, place, pid, started) VALUES (?, ?, ?, ?, ?)",
            (self._queue, time.time() + self.LEASE_SECONDS, *self._process),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _renew(self, connection: sqlite3.Connection) -> bool:
        """Renew the lease; False where another consumer has declared this one lost."""
        changed = connection.execute(
            "UPDATE consumer SET lease_until = ? WHERE id = ?", (time.time() + self.LEASE_SECONDS, self._id)
        )
        return changed.rowcount == 1

    def _lapsed(self, connection: sqlite3.Connection) -> list[int]:
        """The other consumers of this queue whose lease has expired or whose process has ended."""
        others = connection.execute(
            "SELECT id, lease_until, place, pid, started FROM consumer WHERE queue = ? AND id <> ?",
            (self._queue, self._id),
        ).fetchall()
        now = time.time()
        return [number for number, lease_until, *process in others if lease_until < now or is_gone(*process)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # What cannot be returned now returns when the lease expires; the first error is the one to show.
        with suppress(MeshError):
            self.close()


def _give_back(connection: sqlite3.Connection, consumer: int) -> None:
    connection.execute(
        "UPDATE message SET owner = NULL, deliveries = 0, queue = queue.dead_letter FROM queue"
        " WHERE queue.name = message.queue AND queue.dead_letter IS NOT NULL AND owner = ? AND deliveries >= ?",
        (consumer, DELIVERY_LIMIT),
    )
    connection.execute("UPDATE message SET owner = NULL WHERE owner = ?", (consumer,))
    connection.execute("DELETE FROM consumer WHERE id = ?", (consumer,))
