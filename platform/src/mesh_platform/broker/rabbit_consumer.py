"""A consumer of RabbitMQ.

The connection's thread buffers the messages of one queue, and `receive` takes them from there. The thread stops
reading while the buffer is full, so that the broker has to wait. When the connection is lost, all unacknowledged
deliveries are void and come again.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import pika
from pika.exceptions import ConsumerCancelled

from mesh_platform.broker import MAX_MESSAGE_BYTES, Delivery
from mesh_platform.broker.rabbit_connection import Link, is_fault, open_patiently
from mesh_platform.broker.rabbit_frames import Arrived

# A tag names the connection and the delivery on its channel; RabbitMQ counts those from 1 up.
_TAG_BITS = 48
_OF_CHANNEL = (1 << _TAG_BITS) - 1
# The number of recent messages from which the size of the next ones is estimated.
_SAMPLE = 64
# RabbitMQ loads the whole prefetch before it sends anything, so the prefetch starts small and grows by this factor.
_GROWTH = 4


class RabbitConsumer:
    """Receives from one queue. One thread may receive while another acknowledges."""

    RECONNECT_SECONDS = 30.0
    # How many buffers may be delivered and unacknowledged: one here, the others at the receiver.
    BUFFERS = 3

    def __init__(self, parameters: pika.URLParameters, queue: str, prefetch: int, max_bytes: int) -> None:
        """Connect and start filling the buffer. Raises MeshError for an unknown queue, and UnavailableError."""
        self._parameters = parameters
        self._queue = queue
        self._most = prefetch
        self._max_bytes = max_bytes
        # RabbitMQ limits deliveries in flight by number, not by size, so the number follows the size of the messages.
        self._prefetch = self._fitting_prefetch(MAX_MESSAGE_BYTES)
        self._sampled = self._sampled_bytes = 0
        self._restarting = False
        self._changed = threading.Condition()
        self._generation = 0
        self._alive = False
        self._fault: BaseException | None = None
        self._stopping = False
        self._channel: Any = None
        self._consumer = ""
        # Whether a basic.get is unanswered; the tag of the message that the last one returned.
        self._asking = False
        self._asked_for = 0
        self._buffer: deque[Delivery] = deque()
        self._buffered_bytes = 0
        # Tags of unsettled deliveries, in ascending order.
        self._unsettled: dict[int, None] = {}
        self._link = self._open_link()

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Receive up to `max_messages` deliveries in queue order; wait up to `timeout` seconds for the first.

        If the connection is lost, it reconnects within `RECONNECT_SECONDS` and waits again, unless it was stopped.
        Raises UnavailableError after that time; faults in the code, on the connection's thread too, are raised
        unchanged.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                while self._alive and not self._buffer and (remaining := deadline - time.monotonic()) > 0:
                    self._changed.wait(remaining)
                if self._fault is not None:
                    raise self._fault
                if self._alive or self._stopping:
                    return self._pop(max_messages)
            self._link.close()
            self._link = open_patiently(self._open_link, time.monotonic() + self.RECONNECT_SECONDS)
            deadline = time.monotonic() + timeout

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Pass the acknowledgements to the connection; drop those of an older connection."""
        with self._changed:
            tags = self._settle(deliveries)
            # RabbitMQ's `multiple` acknowledges all earlier deliveries, so it may only cover a range without a gap.
            first_kept = next(iter(self._unsettled), None)
            together = [tag for tag in tags if first_kept is None or tag < first_kept]
            singly = tags[len(together) :]
            if tags:
                self._link.call(partial(self._send_acks, self._channel, together[-1:], singly))

    def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Reject these messages; the broker moves them to the dead-letter queue.

        A dead-letter queue has no dead-letter queue itself: its messages stay, and return when this consumer closes.
        """
        if self._queue.endswith(".dlq"):
            return
        with self._changed:
            if tags := self._settle(deliveries):
                self._link.call(partial(self._send_rejects, self._channel, tags))

    def is_empty(self) -> bool:
        """Whether the queue has no message to deliver, to this consumer or another.

        RabbitMQ's count of a quorum queue is up to five seconds old, so this gets one message; if there is one, it
        counts as delivered. Until that one is settled, the queue answers another get of the channel as if it were
        empty.
        """
        with self._changed:
            if self._asked_for in self._unsettled:
                return False
            self._await_answer()
            if self._buffer or not self._alive:
                return False
            self._asking = True
            self._link.call(partial(self._ask, self._generation, self._channel))
            self._await_answer()
            return self._alive and not self._asking and not self._buffer

    def stop(self) -> None:
        """Request no more messages. `receive` returns those on their way, and then nothing, without waiting."""
        with self._changed:
            self._stopping = True
            self._link.call(partial(self._cancel, self._generation, self._channel, self._on_stopped))

    def close(self) -> None:
        """Send the pending acknowledgements and close; the broker redelivers all other messages."""
        with self._changed:
            # Releases the connection's thread, which may wait for room in the buffer.
            self._stopping, self._max_bytes = True, sys.maxsize
            self._changed.notify_all()
        self._link.close()

    def _await_answer(self) -> None:
        while self._alive and self._asking and not self._buffer:
            self._changed.wait()

    def _pop(self, most: int) -> list[Delivery]:
        deliveries = [self._buffer.popleft() for _ in range(min(most, len(self._buffer)))]
        self._buffered_bytes -= sum(len(delivery.body) for delivery in deliveries)
        self._changed.notify_all()
        return deliveries

    def _settle(self, deliveries: Sequence[Delivery]) -> list[int]:
        tags = sorted({delivery.tag for delivery in deliveries} & self._unsettled.keys())
        for tag in tags:
            del self._unsettled[tag]
        return tags

    def _open_link(self) -> Link:
        with self._changed:
            self._generation += 1
            self._restarting = self._asking = False
            self._asked_for = 0
            self._clear()
            generation = self._generation
        return Link(self._parameters, partial(self._on_channel, generation), partial(self._on_lost, generation))

    def _clear(self) -> None:
        self._buffer.clear()
        self._buffered_bytes = 0
        self._unsettled.clear()

    def _fitting_prefetch(self, mean_bytes: float) -> int:
        return min(self._most, max(16, int(self.BUFFERS * self._max_bytes / max(1.0, mean_bytes))))

    # The methods below run on the connection's thread.

    def _on_channel(self, generation: int, channel: Any, ready: Callable[[], None]) -> None:
        def on_consume(_frame: Any) -> None:
            with self._changed:
                if generation == self._generation:
                    self._channel, self._alive = channel, True
            ready()

        channel.connection.on_messages = partial(self._on_messages, generation, channel)
        channel.add_callback(
            lambda _frame: self._on_answer(generation, channel), [pika.spec.Basic.GetEmpty], one_shot=False
        )
        channel.add_on_cancel_callback(lambda _frame: self._on_lost(generation, ConsumerCancelled()))
        self._consume(generation, channel, on_consume)

    def _consume(self, generation: int, channel: Any, then: Callable[[Any], None]) -> None:
        def on_qos(_frame: Any) -> None:
            if self._stopping:
                self._on_stopped(generation, channel)
                return
            # A new tag: a quorum queue treats a consumer with a known tag as the earlier one.
            self._consumer = channel.basic_consume(self._queue, _goes_to_the_connection, callback=then)

        channel.basic_qos(prefetch_count=self._prefetch, callback=on_qos)

    def _cancel(self, generation: int, channel: Any, then: Callable[[int, Any], None]) -> None:
        channel.add_callback(lambda _frame: then(generation, channel), [pika.spec.Basic.CancelOk])
        # pika's basic_cancel rejects messages on their way, and each rejection counts against the delivery limit.
        channel._send_method(pika.spec.Basic.Cancel(consumer_tag=self._consumer))
        # Closing the channel would cancel all consumers that pika still knows, one after the other.
        channel._cleanup_consumer_ref(self._consumer)

    def _ask(self, generation: int, channel: Any) -> None:
        channel.basic_get(self._queue, partial(self._on_answer, generation))

    def _on_answer(self, generation: int, channel: Any, *message: Any) -> None:
        if message:
            method, properties, body = message
            arrived = Arrived(method.delivery_tag, method.redelivered, properties.message_id, body)
            self._on_messages(generation, channel, [arrived])
        with self._changed:
            if generation == self._generation:
                self._asking = False
                if message:
                    self._asked_for = _tag(generation, method.delivery_tag)
                self._changed.notify_all()

    def _on_stopped(self, generation: int, _channel: Any) -> None:
        with self._changed:
            if generation == self._generation:
                self._alive = False
                self._changed.notify_all()

    def _on_messages(self, generation: int, channel: Any, messages: list[Arrived]) -> None:
        deliveries = [
            Delivery(body, message_id, _tag(generation, tag), redelivered)
            for tag, redelivered, message_id, body in messages
        ]
        size = sum(len(delivery.body) for delivery in deliveries)
        with self._changed:
            while self._buffered_bytes >= self._max_bytes and generation == self._generation:
                self._changed.wait()
            if generation != self._generation:
                return
            self._unsettled.update((delivery.tag, None) for delivery in deliveries)
            was_empty = not self._buffer
            self._buffer.extend(deliveries)
            self._buffered_bytes += size
            if was_empty:
                self._changed.notify_all()
            self._sampled += len(deliveries)
            self._sampled_bytes += size
            self._follow_sizes(generation, channel)

    def _follow_sizes(self, generation: int, channel: Any) -> None:
        if self._sampled < min(self._prefetch, _SAMPLE):
            return
        fitting = min(self._fitting_prefetch(self._sampled_bytes / self._sampled), _GROWTH * self._prefetch)
        self._sampled = self._sampled_bytes = 0
        fits = self._prefetch / 2 <= fitting <= 2 * self._prefetch and fitting != self._most
        if fitting != self._prefetch and not (fits or self._stopping or self._restarting):
            self._prefetch, self._restarting = fitting, True
            # A consumer keeps its initial prefetch, so a new one replaces it; its deliveries stay with the channel.
            self._cancel(generation, channel, self._begin_again)

    def _begin_again(self, generation: int, channel: Any) -> None:
        if self._stopping:
            self._on_stopped(generation, channel)
            return
        self._consume(generation, channel, self._on_begun)

    def _on_begun(self, _frame: Any) -> None:
        self._restarting = False

    def _on_lost(self, generation: int, error: BaseException) -> None:
        with self._changed:
            if generation == self._generation:
                self._alive = False
                self._fault = error if is_fault(error) else None
                self._clear()
                self._changed.notify_all()

    @staticmethod
    def _send_acks(channel: Any, together: list[int], singly: list[int]) -> None:
        for tag in together:
            channel.basic_ack(tag & _OF_CHANNEL, multiple=True)
        for tag in singly:
            channel.basic_ack(tag & _OF_CHANNEL)

    @staticmethod
    def _send_rejects(channel: Any, tags: list[int]) -> None:
        for tag in tags:
            channel.basic_nack(tag & _OF_CHANNEL, requeue=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _tag(generation: int, tag: int) -> int:
    return generation << _TAG_BITS | tag


def _goes_to_the_connection(*message: Any) -> None:
    raise AssertionError("The connection takes all messages of the channel.")
