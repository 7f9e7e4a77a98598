"""RabbitMQ behind the interface: exchanges, queues and their dead letters.

Queues arrive as `Queue`; what they mean to RabbitMQ is written here alone. Publishing and consuming have modules of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from mesh_platform.broker import DELIVERY_LIMIT, MAX_MESSAGE_BYTES, Message, Queue
from mesh_platform.broker.rabbit_connection import explain, name_of, parse_url
from mesh_platform.broker.rabbit_consumer import RabbitConsumer
from mesh_platform.broker.rabbit_publisher import Publisher
from mesh_platform.errors import NeedsAttention, UsageError


class RabbitBroker:
    """The broker at `amqp://user:password@host:port/vhost`, RabbitMQ 3.10 or later."""

    def __init__(self, url: str) -> None:
        """Raises UsageError for a bad URL, Unavailable where nothing answers, NeedsAttention for a refused user."""
        self._parameters = parse_url(url)
        self._publisher = Publisher(self._parameters)
        with self._channel():
            pass

    def declare(self, queues: Iterable[Queue]) -> None:
        """Create what is missing. Raises NeedsAttention where something exists with other arguments.

        Dead letters move at least once: the broker drops the original when the dead-letter queue holds the copy,
        which takes a quorum queue that rejects on overflow (https://www.rabbitmq.com/docs/quorum-queues).
        """
        with self._channel() as channel:
            for queue in queues:
                with self._mended(f"exchange '{queue.exchange}'", "rabbitmqadmin delete exchange"):
                    channel.exchange_declare(queue.exchange, "topic", durable=True)
                for name, arguments in ((queue.dead_letter, _DEAD_LETTER_ARGUMENTS), (queue.name, _arguments(queue))):
                    with self._mended(f"queue '{name}'", "rabbitmqctl delete_queue"):
                        channel.queue_declare(name, durable=True, arguments=arguments)
                channel.queue_bind(queue.name, queue.exchange, queue.routing_key)

    @contextmanager
    def _mended(self, thing: str, command: str) -> Iterator[None]:
        try:
            yield
        except ChannelClosedByBroker as error:
            if error.reply_code != 406:
                raise
            raise NeedsAttention(
                f"{name_of(self._parameters)}: {thing} exists with other arguments: {error.reply_text}. "
                f"Ingest what it holds (`mesh ingest --until-empty`), delete it ({command}) and declare again."
            ) from error

    def publish(self, queue: Queue, messages: Iterable[Message], confirmed: Callable[[Message], None]) -> None:
        """See `Publisher.publish`."""
        self._publisher.publish(queue, messages, confirmed)

    def consume(self, queue_name: str, prefetch: int, max_bytes: int = MAX_MESSAGE_BYTES) -> RabbitConsumer:
        """A consumer on a connection of its own. Raises MeshError for an unknown queue."""
        if not 1 <= prefetch <= 65535:
            raise UsageError(f"{queue_name}: a prefetch of {prefetch} is not possible. AMQP allows 1 to 65535.")
        return RabbitConsumer(self._parameters, queue_name, prefetch, max_bytes)

    def depth(self, queue_name: str) -> int:
        """Messages that wait; RabbitMQ leaves out those that are delivered and not acknowledged."""
        with self._channel() as channel:
            return int(channel.queue_declare(queue_name, passive=True).method.message_count)

    def depths(self, queue_names: Collection[str]) -> dict[str, int]:
        """The depth of each of these queues that exists, over one connection."""
        found: dict[str, int] = {}
        with self._connection() as connection:
            channel = connection.channel()
            for name in queue_names:
                try:
                    found[name] = int(channel.queue_declare(name, passive=True).method.message_count)
                except ChannelClosedByBroker as error:
                    if error.reply_code != 404:
                        raise
                    channel = connection.channel()
        return found

    def purge(self, queue_name: str) -> int:
        """Drop what waits in the queue; how many. Raises MeshError for an unknown queue."""
        with self._channel() as channel:
            return int(channel.queue_purge(queue_name).method.message_count)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with self._connection() as connection:
            yield connection.channel()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        # Short-lived: a blocking connection that nobody serves would miss its heartbeats.
        try:
            connection = pika.BlockingConnection(self._parameters)
        except (AMQPError, OSError) as error:
            raise explain(error, self._parameters) from error
        try:
            yield connection
        except AMQPError as error:
            raise explain(error, self._parameters) from error
        finally:
            with suppress(AMQPError):
                connection.close()

    def close(self) -> None:
        """Close the publishing connection. Consumers have connections of their own and live on."""
        self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# RabbitMQ 4 gives every quorum queue a limit of 20 deliveries and then drops: nobody may lose a dead letter so.
_DEAD_LETTER_ARGUMENTS: dict[str, object] = {"x-queue-type": "quorum", "x-delivery-limit": 2**31 - 1}


def _arguments(queue: Queue) -> dict[str, object]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue.dead_letter,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
