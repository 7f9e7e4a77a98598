"""A consumer of RabbitMQ.

Messages of one queue arrive on the connection's thread and are buffered up to the prefetch; deliveries leave from
the buffer. When the connection is lost, all that was not acknowledged is void and comes again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import pika
from pika.exceptions import ConsumerCancelled

from mesh_platform.broker import Delivery
from mesh_platform.broker.rabbit_connection import Link, open_patiently

# A tag names the connection and the delivery on its channel; RabbitMQ counts those from 1 up.
_TAG_BITS = 48


class RabbitConsumer:
    """Receives from one queue. One thread may receive while another acknowledges."""

    RECONNECT_SECONDS = 30.0

    def __init__(self, parameters: pika.URLParameters, queue: str, prefetch: int) -> None:
        """Connect and start to fill the buffer. Raises MeshError for an unknown queue, and Unavailable."""
        self._parameters = parameters
        self._queue = queue
        self._prefetch = prefetch
        self._changed = threading.Condition()
        self._generation = 0
        self._alive = False
        self._channel: Any = None
        self._buffer: deque[Delivery] = deque()
        # Delivery tags that are not settled, in ascending order.
        self._unsettled: dict[int, None] = {}
        self._link = self._open_link()

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Up to `max_messages` deliveries in queue order; waits up to `timeout` seconds for the first.

        Where the connection is lost, connects again for up to `RECONNECT_SECONDS` and then waits anew. Raises
        Unavailable after that.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                while self._alive and not self._buffer and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._alive:
                    return [self._buffer.popleft() for _ in range(min(max_messages, len(self._buffer)))]
            self._link.close()
            self._link = open_patiently(self._open_link, time.monotonic() + self.RECONNECT_SECONDS)
            deadline = time.monotonic() + timeout

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Hand the acknowledgements to the connection. Those of an older connection are dropped."""
        with self._changed:
            tags = self._settle(deliveries)
            # RabbitMQ's `multiple` acknowledges all that came before, so it may only cover what leaves no gap.
            first_kept = next(iter(self._unsettled), None)
            together = [tag for tag in tags if first_kept is None or tag < first_kept]
            singly = tags[len(together) :]
            if tags:
                self._link.call(partial(self._send_acks, self._channel, together[-1:], singly))

    def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Reject these messages; the broker moves them to the dead-letter queue.

        A dead-letter queue has none of its own: there they stay, and come back after this consumer closes.
        """
        if self._queue.endswith(".dlq"):
            return
        with self._changed:
            if tags := self._settle(deliveries):
                self._link.call(partial(self._send_rejects, self._channel, tags))

    def close(self) -> None:
        """Send what acknowledgements are pending and close; the broker delivers the rest again."""
        self._link.close()

    def _settle(self, deliveries: Sequence[Delivery]) -> list[int]:
        tags = []
        for delivery in deliveries:
            generation, tag = delivery.tag >> _TAG_BITS, delivery.tag & ((1 << _TAG_BITS) - 1)
            if generation == self._generation and tag in self._unsettled:
                del self._unsettled[tag]
                tags.append(tag)
        return sorted(tags)

    def _open_link(self) -> Link:
        with self._changed:
            self._generation += 1
            self._buffer.clear()
            self._unsettled.clear()
            generation = self._generation
        return Link(self._parameters, partial(self._on_channel, generation), partial(self._on_lost, generation))

    # From here on: on the connection's thread.

    def _on_channel(self, generation: int, channel: Any, ready: Callable[[], None]) -> None:
        def on_consume(_frame: Any) -> None:
            with self._changed:
                if generation == self._generation:
                    self._channel, self._alive = channel, True
            ready()

        def on_qos(_frame: Any) -> None:
            channel.basic_consume(self._queue, partial(self._on_message, generation), callback=on_consume)

        channel.add_on_cancel_callback(lambda _frame: self._on_lost(generation, ConsumerCancelled()))
        channel.basic_qos(prefetch_count=self._prefetch, callback=on_qos)

    def _on_message(self, generation: int, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        tag = method.delivery_tag
        with self._changed:
            if generation == self._generation:
                self._unsettled[tag] = None
                self._buffer.append(
                    Delivery(body, properties.message_id, generation << _TAG_BITS | tag, method.redelivered)
                )
                self._changed.notify()

    def _on_lost(self, generation: int, _error: BaseException) -> None:
        with self._changed:
            if generation == self._generation:
                self._alive = False
                self._buffer.clear()
                self._unsettled.clear()
                self._changed.notify()

    @staticmethod
    def _send_acks(channel: Any, together: list[int], singly: list[int]) -> None:
        for tag in together:
            channel.basic_ack(tag, multiple=True)
        for tag in singly:
            channel.basic_ack(tag)

    @staticmethod
    def _send_rejects(channel: Any, tags: list[int]) -> None:
        for tag in tags:
            channel.basic_nack(tag, requeue=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
