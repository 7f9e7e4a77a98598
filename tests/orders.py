"""Orders to send: envelopes made by hand, so that tests need neither the simulation nor its producers."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pika
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.ingest.ingest import Ingested, Limits, ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh

from conftest import State

PRODUCT = "south_warehouse.orders_south"
START = datetime(2025, 10, 1, tzinfo=UTC)


def envelope(number: int, minutes: int = 0, payload: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Order `number`, placed `minutes` after START, with changes to its payload and its envelope."""
    time = START + timedelta(minutes=minutes)
    text = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    milliseconds = int(time.timestamp() * 1000)
    rest = int.from_bytes(sha256(b"order %d" % number).digest()[:10], "big")
    order = {
        "order_id": f"SOUTH-{number:06}",
        "line_number": 1,
        "client_no": "C-SOUTH-00001",
        "product_id": "P-0001",
        "quantity": 2,
        "unit_price": "10.00",
        "amount": "20.00",
        "currency": "USD",
        "status": "placed",
        "order_time": text,
    }
    return {
        "event_id": str(UUID(int=milliseconds << 80 | rest)),
        "event_time": text,
        "event_type": "order_created",
        "producer": "test",
        "schema_version": "1.0.0",
        "payload": order | (payload or {}),
        **changes,
    }


def lines(numbers: Iterable[int], minutes: int = 7) -> list[bytes]:
    """The lines of good orders, `minutes` apart, so that they lie on many days."""
    return [json.dumps(envelope(number, number * minutes), ensure_ascii=False).encode() for number in numbers]


def bad(number: int) -> bytes:
    """The line of an order that its contract refuses."""
    return json.dumps(envelope(number, payload={"quantity": -1})).encode()


def ids(all_lines: Iterable[bytes]) -> list[str]:
    """The ids in these lines, sorted, each once."""
    return sorted({json.loads(line)["event_id"] for line in all_lines})


def in_batches(all_lines: Sequence[bytes], size: int) -> list[bytes]:
    """Message bodies of up to `size` lines."""
    return [b"\n".join(all_lines[start : start + size]) for start in range(0, len(all_lines), size)]


def send(state: State, mesh: Mesh, bodies: Iterable[bytes]) -> list[bytes]:
    """Publish these bodies as messages; the lines of those that were confirmed."""
    queue = queue_of(mesh.contract(PRODUCT))
    messages = [Message(body, sha256(body).hexdigest()) for body in bodies]
    confirmed: list[Message] = []
    with connect(state.settings.broker) as broker:
        broker.declare([queue])
        broker.publish(queue, messages, confirmed.append)
    return [line for message in confirmed for line in message.body.split(b"\n")]


def ingest_orders(state: State, mesh: Mesh, limits: Limits | None = None) -> Ingested:
    """Ingest them in this process until the queue is empty. Raises MeshError."""
    with connect(state.settings.broker) as broker:
        contracts = [mesh.contract(PRODUCT)]
        (result,) = ingest(
            open_catalog(state.settings),
            broker,
            contracts,
            lambda: datetime.now(UTC),
            until_empty=True,
            limits=limits,
        )
    return result


def waiting(state: State, dead: bool = False) -> int:
    """Messages in the product's queue, or in its dead-letter queue."""
    with connect(state.settings.broker) as broker:
        return broker.depth(f"{PRODUCT}.dlq" if dead else PRODUCT)


def emptied(state: State, patience: float = 10.0) -> bool:
    """Whether nothing waits any more, in the queue and in its dead letters; RabbitMQ's counts are seconds old."""
    deadline = time.monotonic() + patience
    while waiting(state) or waiting(state, dead=True):
        if state.settings.broker.startswith("sqlite") or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def inject(state: State, body: bytes) -> None:
    """Put a message into the queue past the platform, as a foreign sender does; it is confirmed on return."""
    url = state.settings.broker
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(state.folder / "broker.db", timeout=60)) as connection, connection:
            number = connection.execute("INSERT INTO message (queue) VALUES (?)", (PRODUCT,)).lastrowid
            connection.execute("INSERT INTO body VALUES (?, ?)", (number, body))
        return
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", PRODUCT, body)
