"""What the tests of the brokers share: a server if there is one, queues of their own, consumers in processes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pika
from mesh_platform.broker import (
    Broker,
    Consumer,
    Delivery,
    Message,
    Queue,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "rabbitmq"
# How long a test waits for what must come; no test waits that long for what must not.
PATIENCE = 120.0


def is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def unique_queue() -> Queue:
    name = f"test_{uuid4().hex[:12]}"
    return Queue(name, "order_placed", f"{name}.orders")


def delete(url: str, queue: Queue) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_delete(queue.name)
    channel.queue_delete(queue.dead_letter)
    channel.exchange_delete(queue.exchange)
    connection.close()


def numbered(count: int) -> list[Message]:
    return [Message(b"body %d" % number, f"id-{number}") for number in range(count)]


def send(broker: Broker, queue: Queue, messages: list[Message]) -> None:
    confirmed: list[Message] = []
    broker.publish(queue, messages, confirmed.append)
    assert sorted(m.message_id for m in confirmed) == sorted(m.message_id for m in messages)


def take(consumer: Consumer, count: int) -> list[Delivery]:
    """Exactly `count` deliveries, however many calls it takes."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count and time.monotonic() < deadline:
        taken += consumer.receive(count - len(taken), timeout=1)
    assert len(taken) == count
    return taken


def ids(deliveries: list[Delivery]) -> list[str | None]:
    return [delivery.message_id for delivery in deliveries]


def wait_for_depth(broker: Broker, queue_name: str, wanted: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while broker.depth(queue_name) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert broker.depth(queue_name) == wanted


def start_consumer(url: str, queue: Queue, count: int, prefetch: int, then: str) -> subprocess.Popen[str]:
    """A process that receives `count` messages, prints their ids, and goes on as `then` says."""
    program = f"""
import sys, time
from mesh_platform.broker import connect
with connect({url!r}) as broker, broker.consume({queue.name!r}, prefetch={prefetch}) as consumer:
    got = 0
    while got < {count}:
        deliveries = consumer.receive(10, timeout=1)
        got += len(deliveries)
        for delivery in deliveries:
            print(delivery.message_id, flush=True)
        {then}
    time.sleep(600)
"""
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


# Both brokers
