"""What a consumer holds in memory is bounded, whatever lies in the queue; it knows an empty queue, and can stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mesh_platform.broker import Broker, Consumer, Delivery, Message, Queue, connect

from conftest import require_amqp

from .broker_rig import PATIENCE, delete, ids, numbered, send, take, unique_queue

BIG = 1024 * 1024


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'broker.db'}" if request.param == "embedded" else require_amqp()


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    with connect(url) as broker:
        yield broker


@pytest.fixture
def queue(url: str, broker: Broker) -> Iterator[Queue]:
    queue = unique_queue()
    broker.declare([queue])
    yield queue
    if url.startswith("amqp"):
        delete(url, queue)


def rest_of(consumer: Consumer) -> list[Delivery]:
    """All that comes until nothing more does."""
    found: list[Delivery] = []
    while came := consumer.receive(1000, timeout=PATIENCE):
        found += came
    return found


def test_large_messages_are_given_in_portions(broker: Broker, queue: Queue) -> None:
    send(broker, queue, [Message(bytes([number]) * BIG, f"id-{number}") for number in range(30)])
    with broker.consume(queue.name, prefetch=1000, max_bytes=4 * BIG) as consumer:
        received: list[Delivery] = []
        while len(received) < 30:
            portion = consumer.receive(1000, timeout=PATIENCE)
            assert 0 < sum(len(delivery.body) for delivery in portion) <= 5 * BIG
            time.sleep(0.05)
            received += portion
            consumer.ack(portion)
        assert ids(received) == [f"id-{number}" for number in range(30)]
        assert [delivery.body[0] for delivery in received] == list(range(30))
        assert consumer.is_empty()
    assert broker.depth(queue.name) == 0


def test_small_messages_come_in_large_numbers(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(3000))
    with broker.consume(queue.name, prefetch=10_000, max_bytes=4 * BIG) as consumer:
        # None is acknowledged: it is the size, not a small number, that bounds what may be in flight.
        assert ids(take(consumer, 3000)) == [f"id-{number}" for number in range(3000)]


def test_sizes_that_change_are_followed(broker: Broker, queue: Queue) -> None:
    messages = [*numbered(500), *(Message(bytes(BIG), f"big-{n}") for n in range(20)), *numbered(500)]
    send(broker, queue, messages)
    with broker.consume(queue.name, prefetch=10_000, max_bytes=2 * BIG) as consumer:
        received: list[Delivery] = []
        while len(received) < len(messages):
            portion = consumer.receive(100, timeout=PATIENCE)
            assert portion
            received += portion
            consumer.ack(portion)
    assert ids(received) == [message.message_id for message in messages]


def test_an_empty_queue_is_known_at_once(broker: Broker, queue: Queue) -> None:
    with broker.consume(queue.name, prefetch=1000) as consumer:
        assert consumer.is_empty()
        send(broker, queue, numbered(100))
        assert not consumer.is_empty() or consumer.receive(1, timeout=0)
        received = take(consumer, 100 - len(consumer.receive(0, timeout=0)))
        consumer.ack(received)
        assert consumer.is_empty()


def test_a_queue_with_more_than_may_be_in_flight_is_not_empty(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(40))
    with broker.consume(queue.name, prefetch=5) as consumer:
        received = take(consumer, 5)
        for _ in range(3):
            assert not consumer.is_empty()
        while len(received) < 40:
            assert not consumer.is_empty()
            consumer.ack(received)
            received += consumer.receive(40, timeout=PATIENCE)
        consumer.ack(received)
        assert consumer.is_empty()
    assert ids(received) == [f"id-{number}" for number in range(40)]


def test_after_a_stop_comes_what_was_delivered_and_nothing_else(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(50))
    with broker.consume(queue.name, prefetch=20) as consumer:
        received = take(consumer, 10)
        consumer.stop()
        received += rest_of(consumer)
        send(broker, queue, numbered(1))
        assert rest_of(consumer) == []
        consumer.ack(received)
    with broker.consume(queue.name, prefetch=100) as consumer:
        others = take(consumer, 51 - len(received))
        # Nothing was given back, so that no message has spent one of its deliveries on the stop.
        assert not any(delivery.redelivered for delivery in others)


def test_a_stop_while_the_buffer_is_full_ends(broker: Broker, queue: Queue) -> None:
    send(broker, queue, [Message(bytes(BIG), f"id-{number}") for number in range(12)])
    with broker.consume(queue.name, prefetch=100, max_bytes=BIG) as consumer:
        first = take(consumer, 1)
        time.sleep(0.3)
        consumer.stop()
        consumer.ack([*first, *rest_of(consumer)])
    with broker.consume(queue.name, prefetch=100, max_bytes=BIG):
        # A consumer that closes with a full buffer gives it back.
        time.sleep(0.3)
