"""One connection to RabbitMQ on its own thread, and the meaning of its errors.

Other threads pass functions, which run on the connection's thread, as do the callbacks for what the broker sends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from mesh_platform.broker.rabbit_frames import Connection
from mesh_platform.errors import AttentionError, MeshError, UnavailableError, UsageError

# The caller gets each failure as an error that says what to do; pika would also print a stack for each attempt.
logging.getLogger("pika").setLevel(logging.CRITICAL)

_REFUSED = (AuthenticationError, ProbableAuthenticationError, ProbableAccessDeniedError)

ALARM = "RabbitMQ blocks publishers by an alarm: free memory or disk there (`rabbitmq-diagnostics alarms`)"


def parse_url(url: str) -> pika.URLParameters:
    """Connection parameters of an AMQP URL; its query may set pika's own options. Raises UsageError."""
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        # Without the URL, which has a password, and without pika's message, which may quote it.
        raise UsageError("MESH_BROKER_URL: not an AMQP URL. Write amqp://user:password@host:port/vhost.") from None
    # Seconds. A dead peer is detected within twice the heartbeat; a busy Python process answers within 30 s.
    if parameters.heartbeat is None:
        parameters.heartbeat = 30
    if parameters.blocked_connection_timeout is None:
        parameters.blocked_connection_timeout = 45.0
    return parameters


def name_of(parameters: pika.URLParameters) -> str:
    """The broker's URL for messages, without the password."""
    return f"{parameters.host}:{parameters.port}/{parameters.virtual_host.removeprefix('/')}".rstrip("/")


def is_fault(error: BaseException) -> bool:
    """Whether the error is a fault in the code, which no broker causes and no new connection repairs."""
    # pika's connector errors do not derive from AMQPError.
    return not isinstance(_innermost(error), AMQPError | AMQPConnectorException | OSError | MeshError)


def explain(error: BaseException, parameters: pika.URLParameters) -> BaseException:
    """Translate a failure of pika for the caller: a MeshError, or the error itself where it `is_fault`."""
    if is_fault(error):
        return _innermost(error)
    error = _innermost(error)
    place = name_of(parameters)
    if isinstance(error, MeshError):
        return error
    if isinstance(error, ChannelClosedByBroker):
        if error.reply_code == 404:
            return MeshError(f"{place}: {error.reply_text}. Declare the queue first.")
        if error.reply_code in (403, 406):
            return AttentionError(f"{place}: {error.reply_text}. Change the rights or the queue, then try again.")
    if isinstance(error, _REFUSED):
        return AttentionError(
            f"{place}: RabbitMQ refuses user '{parameters.credentials.username}' or the virtual host. "
            "Check user, password and virtual host in MESH_BROKER_URL."
        )
    if isinstance(error, ConnectionBlockedTimeout):
        return UnavailableError(f"{place}: {ALARM}, then publish again.")
    return UnavailableError(
        f"{place}: RabbitMQ does not answer ({str(error) or type(error).__name__}). "
        "Start it (scripts/rabbitmq start), or check MESH_BROKER_URL."
    )


def _innermost(error: BaseException) -> BaseException:
    """The error that pika wraps when connecting: in `exception`, in the `exceptions` of attempts, or in `args`."""
    inner = [getattr(error, "exception", None), *getattr(error, "exceptions", [])[-1:], *error.args[:1]]
    return next((_innermost(one) for one in inner if isinstance(one, BaseException)), error)


class Link:
    """One connection with one channel. It does not reconnect: its owner opens another when it is lost."""

    OPEN_SECONDS = 30.0
    CLOSE_SECONDS = 5.0

    def __init__(
        self,
        parameters: pika.URLParameters,
        prepare: Callable[[Any, Callable[[], None]], None],
        lost: Callable[[BaseException], None],
    ) -> None:
        """Connect, open a channel and call `prepare(channel, ready)`; return when that has called `ready`.

        If the connection is lost before `close`, `lost` is called once with the error. Both callbacks run on the
        connection's thread.
        Raises what `explain` says.
        """
        self._parameters = parameters
        self._prepare = prepare
        self._lost = lost
        self._guard = threading.Lock()
        self._settled = threading.Event()
        self._error: BaseException | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
        self._thread.start()
        if not self._settled.wait(self.OPEN_SECONDS):
            self._error = TimeoutError(f"no reply for {self.OPEN_SECONDS:g} s")
        if self._error is not None:
            self.close()
            raise explain(self._error, parameters) from self._error

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` on the connection's thread, in the order of calls; drop it if the channel is closed."""
        self._schedule(partial(self._run_while_open, function))

    def close(self) -> None:
        """Run all scheduled functions, then close, so that the broker sees them. Waits `CLOSE_SECONDS` at most."""
        self._closing = True
        self._schedule(self._end)
        self._thread.join(self.CLOSE_SECONDS)

    def _schedule(self, function: Callable[[], None]) -> None:
        with self._guard:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(function)

    def _run_while_open(self, function: Callable[[], None]) -> None:
        if self._channel is not None and self._channel.is_open:
            function()

    def _end(self) -> None:
        if self._connection.is_open:
            self._connection.close()
        elif self._connection.is_closed or not self._settled.is_set():
            self._connection.ioloop.stop()

    def _run(self) -> None:
        connection: Any = None
        try:
            connection = Connection(
                self._parameters,
                on_open_callback=lambda opened: opened.channel(on_open_callback=self._on_channel),
                on_open_error_callback=self._on_connection_end,
                on_close_callback=self._on_connection_end,
            )
            with self._guard:
                self._connection = connection
            connection.ioloop.start()
        except (
            Exception
        ) as error:  # a fault in a callback must reach the waiting thread, instead of ending this one silently
            self._report(error)
        finally:
            with self._guard:
                self._connection = None
            if connection is not None:
                connection.ioloop.close()

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_end)
        self._prepare(channel, self._settled.set)

    def _on_channel_end(self, channel: Any, error: BaseException) -> None:
        self._report(error)
        if channel.connection.is_open:
            channel.connection.close()

    def _on_connection_end(self, connection: Any, error: BaseException) -> None:
        self._report(error)
        connection.ioloop.stop()

    def _report(self, error: BaseException) -> None:
        if self._closing or self._error is not None:
            return
        self._error = error
        if self._settled.is_set():
            self._lost(error)
        self._settled.set()


def open_patiently(open_link: Callable[[], Link], deadline: float) -> Link:
    """Open a link; retry with growing pauses until `deadline` (of time.monotonic).

    A starting broker may also refuse users or not know its queues yet. Raises the error of the last attempt.
    """
    pause = 0.1
    while True:
        try:
            return open_link()
        except MeshError:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
