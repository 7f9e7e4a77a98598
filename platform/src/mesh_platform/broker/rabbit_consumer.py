"""A consumer of RabbitMQ.

Messages of one queue arrive on the connection's thread and are buffered; deliveries leave from the buffer. While that
is full the thread reads nothing, so that the broker has to wait. When the connection is lost, all that was not
acknowledged is void and comes again.
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
# So many messages say how large the next ones will be.
_SAMPLE = 64
# RabbitMQ sends nothing before it has read all that it may send. So it may send more from one step to the next.
_GROWTH = 4


class RabbitConsumer:
    """Receives from one queue. One thread may receive while another acknowledges."""

    RECONNECT_SECONDS = 30.0
    # About so many buffers may be delivered and not acknowledged: one here, the others at whoever received them.
    BUFFERS = 3

    def __init__(self, parameters: pika.URLParameters, queue: str, prefetch: int, max_bytes: int) -> None:
        """Connect and start to fill the buffer. Raises MeshError for an unknown queue, and Unavailable."""
        self._parameters = parameters
        self._queue = queue
        self._most = prefetch
        self._max_bytes = max_bytes
        # RabbitMQ limits what is in flight by number, not by size. So the number follows the size of what comes.
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
        # Whether the queue was asked for a message and has not answered; which one it gave.
        self._asking = False
        self._asked_for = 0
        self._buffer: deque[Delivery] = deque()
        self._buffered_bytes = 0
        # Tags of deliveries that are not settled, in ascending order.
        self._unsettled: dict[int, None] = {}
        self._link = self._open_link()

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Up to `max_messages` deliveries in queue order; waits up to `timeout` seconds for the first.

        Where the connection is lost, connects again for up to `RECONNECT_SECONDS` and then waits anew, unless it was
        to stop. Raises Unavailable after that; a fault in the code, on the connection's thread too, passes.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                while self._alive and not self._buffer and (left := deadline - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._fault is not None:
                    raise self._fault
                if self._alive or self._stopping:
                    return self._pop(max_messages)
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

    def is_empty(self) -> bool:
        """Whether the queue has nothing to deliver, to this consumer nor to another.

        The count that RabbitMQ gives of a quorum queue is up to five seconds old. So one message is asked for; where
        there is one, it is as good as delivered. As long as that one is not settled, the queue answers a channel that
        asks for another as if it were empty.
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
        """Ask for no more. `receive` still gives what is on its way, and then nothing, without waiting."""
        with self._changed:
            self._stopping = True
            self._link.call(partial(self._cancel, self._generation, self._channel, self._on_stopped))

    def close(self) -> None:
        """Send what acknowledgements are pending and close; the broker delivers the rest again."""
        with self._changed:
            # What waits for room in the buffer need wait no longer.
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

    # From here on: on the connection's thread.

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
            # A tag of its own: to a quorum queue one that comes again is still the consumer of before.
            self._consumer = channel.basic_consume(self._queue, _goes_to_the_connection, callback=then)

        channel.basic_qos(prefetch_count=self._prefetch, callback=on_qos)

    def _cancel(self, generation: int, channel: Any, then: Callable[[int, Any], None]) -> None:
        channel.add_callback(lambda _frame: then(generation, channel), [pika.spec.Basic.CancelOk])
        # pika's basic_cancel rejects what is still on its way; each rejection spends one of a message's deliveries.
        channel._send_method(pika.spec.Basic.Cancel(consumer_tag=self._consumer))
        # Closing the channel would cancel all that pika still knows of, one after the other.
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
            # A consumer keeps the prefetch that it began with; what it holds stays delivered to the channel.
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
