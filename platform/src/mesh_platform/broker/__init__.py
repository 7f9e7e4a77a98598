"""Brokers, which carry events from producers to ingest: RabbitMQ, or one SQLite file, behind one small interface.

`Broker.publish` takes messages; a `Consumer` receives them as deliveries until each is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from mesh_platform.contract.contract import Contract
from mesh_platform.errors import UsageError

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
DELIVERY_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue `<domain>.<product>` of one product, bound to the topic exchange of its domain by event type."""

    exchange: str
    routing_key: str
    name: str

    @property
    def dead_letter(self) -> str:
        """The queue of messages that were delivered `DELIVERY_LIMIT` times, or were dead-lettered by ingest."""
        return f"{self.name}.dlq"


def queue_of(contract: Contract) -> Queue:
    """The queue of a product with an event."""
    if contract.event is None:
        raise UsageError(f"{contract.identifier}: no event is sent for it, so it has no queue.")
    return Queue(contract.domain, contract.event.name, contract.identifier)


@dataclass(frozen=True, slots=True)
class Message:
    """One envelope, or a batch of them as NDJSON."""

    body: bytes
    message_id: str


def check_size(queue: Queue, message: Message) -> None:
    """Raise UsageError for a message that is too large to be published."""
    if len(message.body) > MAX_MESSAGE_BYTES:
        raise UsageError(
            f"{queue.name}: message {message.message_id} has {len(message.body)} bytes; "
            f"{MAX_MESSAGE_BYTES} are allowed. Send smaller batches."
        )


class Delivery(NamedTuple):
    """One message as received. `tag` is valid for its consumer only. `redelivered` is only a metric."""

    body: bytes
    message_id: str | None
    tag: int
    redelivered: bool


class Consumer(Protocol):
    """Receives from one queue. Deliveries that are unacknowledged when it closes or dies are delivered again."""

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Receive up to `max_messages` deliveries in queue order; wait up to `timeout` seconds for the first."""
        ...

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge these deliveries. A lost acknowledgement means redelivery, never loss."""
        ...

    def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Move these deliveries to the dead-letter queue."""
        ...

    def is_empty(self) -> bool:
        """Whether no message waits in the queue, apart from those that this consumer holds or can receive.

        Messages that other consumers hold count where the broker reports them: the embedded one does, RabbitMQ does
        not.
        """
        ...

    def stop(self) -> None:
        """Request no more messages. `receive` returns those on their way, and then nothing, without waiting."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Broker(Protocol):
    """One connection. All methods raise `UnavailableError` where the broker is unreachable."""

    def declare(self, queues: Iterable[Queue]) -> None:
        """Create missing exchanges, queues, bindings and dead-letter queues.

        Raises AttentionError where one exists with settings that are unfit for publishing.
        """
        ...

    def declare_to_consume(self, queues: Iterable[Queue]) -> list[str]:
        """As `declare`, for consumers: return a sentence for each that is unfit for publishing instead of raising."""
        ...

    def publish(self, queue: Queue, messages: Iterable[Message], confirmed: Callable[[Message], None]) -> None:
        """Publish to the queue's exchange and key; call `confirmed` once for each message that is durable.

        Returns when all are. Raises UsageError for a body over `MAX_MESSAGE_BYTES` before sending that message, and
        MeshError where no queue is bound for the message.
        """
        ...

    def consume(self, queue_name: str, prefetch: int, max_bytes: int = MAX_MESSAGE_BYTES) -> Consumer:
        """A consumer with at most `prefetch` unacknowledged deliveries at a time, half as many more while it starts.

        It buffers about `max_bytes` of bodies, plus what arrives in one read, until they are received.
        """
        ...

    def depth(self, queue_name: str) -> int:
        """The number of waiting messages, plus the unacknowledged ones where the broker counts these."""
        ...

    def depths(self, queue_names: Collection[str]) -> dict[str, int]:
        """The depth of each of these queues that exists, by one request."""
        ...

    def purge(self, queue_name: str) -> int:
        """Drop the waiting messages; return their number. For tests and clean starts."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def connect(url: str) -> Broker:
    """Connect to the broker at `sqlite:///path` or `amqp://user:password@host:port/vhost`.

    Raises UsageError for another scheme and UnavailableError where nothing answers.
    """
    scheme = url.split(":", 1)[0]
    if scheme == "sqlite":
        from mesh_platform.broker.embedded import EmbeddedBroker

        return EmbeddedBroker(url)
    if scheme in ("amqp", "amqps"):
        from mesh_platform.broker.rabbitmq import RabbitBroker

        return RabbitBroker(url)
    raise UsageError(
        f"{url}: a broker is 'sqlite:///path' or 'amqp://user:password@host:port/vhost'. Set MESH_BROKER_URL."
    )
