"""What moves events from a producer to ingest: RabbitMQ, or one SQLite file, behind one small interface.

Messages arrive at `publish`; deliveries leave through a `Consumer` until each is acknowledged.
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
    """One product's queue `<domain>.<product>` on the topic exchange of its domain, keyed by event type."""

    exchange: str
    routing_key: str
    name: str

    @property
    def dead_letter(self) -> str:
        """Where messages go that were delivered `DELIVERY_LIMIT` times, or were dead-lettered by ingest."""
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
    """One message as a consumer got it. `tag` is good for this consumer alone. `redelivered` is a metric only."""

    body: bytes
    message_id: str | None
    tag: int
    redelivered: bool


class Consumer(Protocol):
    """Receives from one queue. What is not acknowledged when it closes, or dies, is delivered again."""

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Up to `max_messages` deliveries in queue order; waits up to `timeout` seconds for the first."""
        ...

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge these deliveries. A lost acknowledgement means redelivery, never loss."""
        ...

    def dead_letter(self, deliveries: Sequence[Delivery]) -> None:
        """Move these deliveries to the dead-letter queue."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing waits in the queue. What this consumer holds or can receive does not wait.

        What others hold waits where the broker tells of it: the embedded one does, RabbitMQ does not.
        """
        ...

    def stop(self) -> None:
        """Ask for no more. `receive` still gives what is on its way, and then nothing, without waiting."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Broker(Protocol):
    """One connection. All methods raise `Unavailable` where the broker cannot be reached."""

    def declare(self, queues: Iterable[Queue]) -> None:
        """Create exchanges, queues, bindings and dead-letter queues; does nothing for those that exist.

        Raises NeedsAttention where one exists that is unfit to be published to.
        """
        ...

    def declare_to_consume(self, queues: Iterable[Queue]) -> list[str]:
        """As `declare`, for who only consumes: a sentence for each that is unfit to be published to, none raised."""
        ...

    def publish(self, queue: Queue, messages: Iterable[Message], confirmed: Callable[[Message], None]) -> None:
        """Publish to the queue's exchange and key; calls `confirmed` once for each message that is durable.

        Returns when all are. Raises UsageError for a body over `MAX_MESSAGE_BYTES` before that message is sent,
        and MeshError where no queue takes the message.
        """
        ...

    def consume(self, queue_name: str, prefetch: int, max_bytes: int = MAX_MESSAGE_BYTES) -> Consumer:
        """A consumer with at most `prefetch` unacknowledged deliveries at a time, half as many more while it begins.

        About `max_bytes` of bodies, and what comes at once beyond, is all that it holds until they are received.
        """
        ...

    def depth(self, queue_name: str) -> int:
        """Messages that wait, or are delivered and not acknowledged where the broker counts these."""
        ...

    def depths(self, queue_names: Collection[str]) -> dict[str, int]:
        """The depth of each of these queues that exists, by one look at the broker."""
        ...

    def purge(self, queue_name: str) -> int:
        """Drop what waits in the queue; how many. For tests and clean starts."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def connect(url: str) -> Broker:
    """The broker at `sqlite:///path` or `amqp://user:password@host:port/vhost`.

    Raises UsageError for another scheme and Unavailable where nothing answers.
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
