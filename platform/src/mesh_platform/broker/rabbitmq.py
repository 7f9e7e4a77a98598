"""RabbitMQ behind the interface `Broker`: exchanges, queues and their dead letters.

Only this module knows the settings of a `Queue` in RabbitMQ. `rabbit_publisher` and `rabbit_consumer` do the rest.
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
from mesh_platform.errors import AttentionError, UsageError


class RabbitBroker:
    """The broker at `amqp://user:password@host:port/vhost`, RabbitMQ 3.10 or later."""

    def __init__(self, url: str) -> None:
        """Connect.

        Raises UsageError for a bad URL, UnavailableError without answer, AttentionError for a refused user.
        """
        self._parameters = parse_url(url)
        self._publisher = Publisher(self._parameters)
        with self._channel():
            pass

    def declare(self, queues: Iterable[Queue]) -> None:
        """Create what is missing. Raises AttentionError where something exists with other arguments.

        Dead letters move at least once: the broker drops the original after the dead-letter queue has the copy, which
        requires a quorum queue that rejects on overflow (https://www.rabbitmq.com/docs/quorum-queues).
        """
        if others := self._declare(queues):
            raise AttentionError("\n".join(others))

    def declare_to_consume(self, queues: Iterable[Queue]) -> list[str]:
        """Create what is missing, and accept other arguments: messages in such queues can still be consumed."""
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
                        place, reply = name_of(self._parameters), error.reply_text
                        others.append(f"{place}: {thing} exists with other arguments: {reply}. {mend}")
                        channel = connection.channel()
                channel.queue_bind(queue.name, queue.exchange, queue.routing_key)
        return others

    def publish(self, queue: Queue, messages: Iterable[Message], confirmed: Callable[[Message], None]) -> None:
        """See `Publisher.publish`."""
        self._publisher.publish(queue, messages, confirmed)

    def consume(self, queue_name: str, prefetch: int, max_bytes: int = MAX_MESSAGE_BYTES) -> RabbitConsumer:
        """A consumer with its own connection. Raises MeshError for an unknown queue."""
        if not 1 <= prefetch <= 65535:
            raise UsageError(f"{queue_name}: a prefetch of {prefetch} is not possible. AMQP allows 1 to 65535.")
        return RabbitConsumer(self._parameters, queue_name, prefetch, max_bytes)

    def depth(self, queue_name: str) -> int:
        """The number of waiting messages; RabbitMQ does not count unacknowledged deliveries."""
        with self._channel() as channel:
            return int(channel.queue_declare(queue_name, passive=True).method.message_count)

    def depths(self, queue_names: Collection[str]) -> dict[str, int]:
        """The depth of each of these queues that exists, by one connection."""
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
        """Drop the waiting messages; return their number. Raises MeshError for an unknown queue."""
        with self._channel() as channel:
            return int(channel.queue_purge(queue_name).method.message_count)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with self._connection() as connection:
            yield connection.channel()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        # Short-lived: an idle blocking connection would miss its heartbeats.
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
        """Close the publishing connection. Consumers have their own connections and stay open."""
        self._publisher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# RabbitMQ 4 drops a message of a quorum queue after 20 deliveries by default: dead letters must not be lost.
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
    """The parts of a queue: a name for messages, how to declare it, how to fix other arguments."""
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
            f"nobody publishes (rabbitmqctl delete_queue {name} --if-empty; a quorum queue is deleted without "
            "--if-empty), and run again, which makes it as it must be.",
        )


def _declare_queue(channel: Any, name: str, arguments: dict[str, object]) -> None:
    channel.queue_declare(name, durable=True, arguments=arguments)
