"""RabbitMQ behind the interface: exchanges, queues and their dead letters.

Queues arrive as `Queue`; what they mean to RabbitMQ is written here alone. Publishing and consuming have modules of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
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
        if others := self._declare(queues):
            raise NeedsAttention("\n".join(others))

    def declare_to_consume(self, queues: Iterable[Queue]) -> list[str]:
        """Create what is missing, and leave what exists with other arguments: what waits there can be consumed."""
        return self._declare(queues)

    def _declare(self, queues: Iterable[Queue]) -> list[str]:
        others: list[str] = []
        with self._connection() as connection:
            channel = connection.channel()
            for queue in queues:
                for thing, method, mend in _things(queue):
                    try:
                        method(channel)
                    except ChannelClosedByBroker as error:
                        if error.reply_code != 406:
                            raise
                        place, said = name_of(self._parameters), error.reply_text
                        others.append(f"{place}: {thing} exists with other arguments: {said}. {mend}")
                        channel = connection.channel()
                channel.queue_bind(queue.name, queue.exchange, queue.routing_key)
        return others

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
        except (AMQPError, AMQPConnectorException, OSError) as error:
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


def _things(queue: Queue) -> Iterator[tuple[str, Callable[[Any], object], str]]:
    """What a queue needs: what people call it, how to declare it, what to do where it exists with other arguments."""
    yield (
        f"exchange '{queue.exchange}'",
        lambda channel: channel.exchange_declare(queue.exchange, "topic", durable=True),
        f"Delete it (rabbitmqadmin delete exchange name={queue.exchange}) and run again: it is made as it must be. "
        "Queues keep what they hold.",
    )
    ingest = f"mesh ingest {queue.name} --until-empty"
    for name, arguments, command in (
        (queue.dead_letter, _DEAD_LETTER_ARGUMENTS, f"{ingest} --dead-letters"),
        (queue.name, _arguments(queue), ingest),
    ):
        yield (
            f"queue '{name}'",
            partial(_declare_queue, name=name, arguments=arguments),
            f"Nothing may be published to it. Take what waits ('{command}' does so all the same), delete it while "
            f"nobody publishes (rabbitmqctl delete_queue {name}), and run again, which makes it as it must be.",
        )


def _declare_queue(channel: Any, name: str, arguments: dict[str, object]) -> None:
    channel.queue_declare(name, durable=True, arguments=arguments)
