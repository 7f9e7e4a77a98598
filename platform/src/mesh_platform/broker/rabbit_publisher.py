"""Publishing to RabbitMQ with asynchronous confirms.

Each message is reported once the broker has stored it durably. Messages that are unconfirmed when the connection is
lost are sent again, so a message may arrive twice.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import takewhile
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionBlockedTimeout

from mesh_platform.broker import Message, Queue, check_size
from mesh_platform.broker.rabbit_connection import ALARM, Link, explain, is_fault, name_of, open_patiently
from mesh_platform.errors import MeshError, UnavailableError
from mesh_platform.text import counted


class Publisher:
    """One publishing connection, opened when needed and reused. Calls of several threads take turns."""

    WINDOW_MESSAGES = 1000
    WINDOW_BYTES = 16 * 1024 * 1024
    # The longest time without a confirm, whatever the cause: a lost connection, refusals, an alarm.
    PATIENCE_SECONDS = 30.0
    RETRY_SECONDS = 0.2

    def __init__(self, parameters: pika.URLParameters) -> None:
        self._parameters = parameters
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._link: Link | None = None
        self._channel: Any = None
        self._queue = Queue("", "", "")
        # Callbacks carry the number of their connection; those of an older one are ignored.
        self._generation = 0
        self._reset()

    def _reset(self) -> None:
        self._generation += 1
        self._alive = False
        self._scheduled = False
        self._waiting: deque[Message] = deque()
        self._sent: dict[int, Message] = {}
        self._refused: list[Message] = []
        self._confirmed: deque[Message] = deque()
        self._returned: set[str] = set()
        self._open = 0
        self._open_bytes = 0
        self._moved = time.monotonic()
        self._reason = ""
        self._error: BaseException | None = None
        self._unroutable: MeshError | None = None

    def publish(self, queue: Queue, messages: Iterable[Message], confirmed: Callable[[Message], None]) -> None:
        """As `Broker.publish` says; `confirmed` is called on this thread, between messages and at the end.

        Raises UnavailableError where nothing is confirmed for `PATIENCE_SECONDS`. If the source raises, the messages
        before that are still published.
        """
        with self._turn:
            if self._open or not self._alive:
                self._drop()
            self._queue = queue
            self._unroutable = None
            self._returned.clear()
            try:
                for message in messages:
                    check_size(queue, message)
                    self._wait(partial(self._has_room, len(message.body)), confirmed)
                    if self._unroutable is not None:
                        break
                    self._give(message)
            finally:
                self._wait(lambda: not self._open, confirmed)
            if self._unroutable is not None:
                raise self._unroutable

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        with self._changed:
            self._reset()
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _has_room(self, size: int) -> bool:
        fits = self._open < self.WINDOW_MESSAGES and self._open_bytes + size <= self.WINDOW_BYTES
        return self._alive and (fits or not self._open)

    def _give(self, message: Message) -> None:
        with self._changed:
            if not self._open:
                self._moved = time.monotonic()
            self._open += 1
            self._open_bytes += len(message.body)
            self._waiting.append(message)
            self._schedule()

    def _schedule(self) -> None:
        if self._alive and self._link is not None and not self._scheduled:
            self._scheduled = True
            self._link.call(partial(self._send, self._generation))

    def _wait(self, done: Callable[[], bool], confirmed: Callable[[Message], None]) -> None:
        while True:
            with self._changed:
                while not (done() or self._confirmed or self._error) and self._alive:
                    remaining = self._moved + self.PATIENCE_SECONDS - time.monotonic()
                    if remaining <= 0:
                        self._error = self._impatient()
                    else:
                        self._changed.wait(remaining)
                settled, self._confirmed = self._confirmed, deque()
                error, finished, alive = self._error, done(), self._alive
            for message in settled:
                confirmed(message)
            if error is not None:
                self._drop()
                raise error
            if finished:
                return
            if not alive:
                self._connect()

    def _impatient(self) -> UnavailableError:
        reason = self._reason or "A quorum queue may have lost its majority"
        return UnavailableError(
            f"{name_of(self._parameters)}: {self._queue.name}: RabbitMQ confirmed nothing for "
            f"{self.PATIENCE_SECONDS:g} s. {reason}. "
            f"{counted(self._open, 'message is', 'messages are')} unconfirmed: publish again."
        )

    def _connect(self) -> None:
        with self._changed:
            if not self._open:
                self._moved = time.monotonic()
            deadline = self._moved + self.PATIENCE_SECONDS
            old, self._link = self._link, None
        if old is not None:
            old.close()
        try:
            link = open_patiently(self._open_link, deadline)
        except MeshError:
            self._drop()
            raise
        with self._changed:
            self._link = link
            self._schedule()

    def _open_link(self) -> Link:
        with self._changed:
            self._generation += 1
            self._scheduled = False
            generation = self._generation
        return Link(self._parameters, partial(self._on_channel, generation), partial(self._on_lost, generation))

    # The methods below run on the connection's thread.

    def _on_channel(self, generation: int, channel: Any, ready: Callable[[], None]) -> None:
        def on_confirms(_frame: Any) -> None:
            with self._changed:
                if generation == self._generation:
                    self._channel, self._tag, self._alive = channel, 0, True
            ready()

        channel.add_on_return_callback(partial(self._on_return, generation))
        channel.connection.add_on_connection_blocked_callback(partial(self._on_blocked, generation))
        channel.confirm_delivery(partial(self._on_confirm, generation), callback=on_confirms)

    def _send(self, generation: int) -> None:
        with self._changed:
            if generation != self._generation:
                return
            self._scheduled = False
            while self._waiting:
                message = self._waiting.popleft()
                self._tag += 1
                self._sent[self._tag] = message
                self._channel.basic_publish(
                    self._queue.exchange,
                    self._queue.routing_key,
                    message.body,
                    pika.BasicProperties(delivery_mode=2, message_id=message.message_id),
                    mandatory=True,
                )

    def _on_confirm(self, generation: int, frame: Any) -> None:
        method = frame.method
        with self._changed:
            if generation != self._generation:
                return
            last = method.delivery_tag
            tags = list(takewhile(lambda tag: tag <= last, self._sent)) if method.multiple else [last]
            messages = [self._sent.pop(tag) for tag in tags]
            if isinstance(method, pika.spec.Basic.Nack):
                self._reason = "It refuses messages: a queue is full or has no leader"
                if not self._refused:
                    self._channel.connection.ioloop.call_later(self.RETRY_SECONDS, partial(self._retry, generation))
                self._refused.extend(messages)
                return
            for message in messages:
                self._open -= 1
                self._open_bytes -= len(message.body)
                if message.message_id not in self._returned:
                    self._confirmed.append(message)
            self._moved = time.monotonic()
            self._reason = ""
            self._changed.notify()

    def _retry(self, generation: int) -> None:
        with self._changed:
            if generation == self._generation and self._alive:
                self._waiting.extend(self._refused)
                self._refused.clear()
                self._send(generation)

    def _on_return(self, generation: int, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        # The broker returns a message before it acknowledges it, so the acknowledgement finds this id.
        with self._changed:
            if generation == self._generation:
                self._returned.add(properties.message_id)
                self._unroutable = MeshError(
                    f"{name_of(self._parameters)}: no queue takes key '{method.routing_key}' on exchange "
                    f"'{method.exchange}' ({method.reply_text}). Declare '{self._queue.name}' before publishing."
                )

    def _on_blocked(self, generation: int, _connection: Any, _method: Any) -> None:
        with self._changed:
            if generation == self._generation:
                self._reason = ALARM

    def _on_lost(self, generation: int, error: BaseException) -> None:
        with self._changed:
            if generation != self._generation:
                return
            self._alive = False
            self._waiting.extendleft(reversed([*self._sent.values(), *self._refused]))
            self._sent.clear()
            self._refused.clear()
            if isinstance(error, ChannelClosedByBroker | ConnectionBlockedTimeout) or is_fault(error):
                self._error = explain(error, self._parameters)
            self._changed.notify()
