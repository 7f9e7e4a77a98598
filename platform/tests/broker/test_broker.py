"""Tests that both brokers must pass."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mesh_platform.broker import (
    DELIVERY_LIMIT,
    MAX_MESSAGE_BYTES,
    Broker,
    Consumer,
    Delivery,
    Message,
    Queue,
    connect,
)
from mesh_platform.errors import MeshError, UsageError

from conftest import require_amqp

from ..broker_rig import (
    PATIENCE,
    delete,
    end,
    ids,
    lines_of,
    numbered,
    send,
    start_consumer,
    take,
    unique_queue,
    wait_for_depth,
)

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


def test_messages_arrive_in_order_and_stay_away_once_acknowledged(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(10))
    with broker.consume(queue.name, prefetch=100) as consumer:
        deliveries = take(consumer, 10)
        assert [(d.message_id, d.body) for d in deliveries] == [(m.message_id, m.body) for m in numbered(10)]
        assert not any(delivery.redelivered for delivery in deliveries)
        consumer.ack(deliveries[3:])
        consumer.ack(deliveries[:3])
    assert broker.depth(queue.name) == 0
    with broker.consume(queue.name, prefetch=100) as consumer:
        assert consumer.receive(10, timeout=0.3) == []


def test_what_was_not_acknowledged_comes_again_in_order(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(10))
    with broker.consume(queue.name, prefetch=100) as consumer:
        deliveries = take(consumer, 10)
        consumer.ack([deliveries[1], deliveries[4], deliveries[5]])
    wait_for_depth(broker, queue.name, 7)
    with broker.consume(queue.name, prefetch=100) as consumer:
        again = take(consumer, 7)
        assert ids(again) == [f"id-{number}" for number in (0, 2, 3, 6, 7, 8, 9)]
        assert all(delivery.redelivered for delivery in again)


def test_a_gap_among_acknowledgements_stays_open(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(6))
    with broker.consume(queue.name, prefetch=100) as consumer:
        deliveries = take(consumer, 6)
        for part in ([0, 1], [4], [3], [5]):
            consumer.ack([deliveries[number] for number in part])
    wait_for_depth(broker, queue.name, 1)
    with broker.consume(queue.name, prefetch=100) as consumer:
        assert ids(take(consumer, 1)) == ["id-2"]


def test_messages_of_a_killed_consumer_go_to_another(url: str, broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(30))
    process = start_consumer(url, queue, count=30, prefetch=30, then="")
    try:
        assert lines_of(process, 30) == [message.message_id for message in numbered(30)]
        process.send_signal(signal.SIGKILL)
        # Its exit code is not read yet, so it is a zombie.
        with broker.consume(queue.name, prefetch=100) as consumer:
            again = take(consumer, 30)
            assert sorted(ids(again)) == sorted(message.message_id for message in numbered(30))
            assert all(delivery.redelivered for delivery in again)
            consumer.ack(again)
        assert broker.depth(queue.name) == 0
    finally:
        end(process)


def test_two_consumers_share_without_overlap(url: str, broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(200))
    then = "consumer.ack(deliveries); time.sleep(0.02)"
    processes = [start_consumer(url, queue, count=200, prefetch=20, then=then) for _ in range(2)]
    try:
        wait_for_depth(broker, queue.name, 0)
        time.sleep(0.5)
    finally:
        for process in processes:
            process.kill()
        shares = [process.communicate()[0].split() for process in processes]
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == sorted(message.message_id for message in numbered(200))


def test_the_prefetch_bounds_what_is_unacknowledged(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(10))
    with broker.consume(queue.name, prefetch=4) as first, broker.consume(queue.name, prefetch=100) as second:
        held = take(first, 3) + first.receive(10, timeout=PATIENCE)
        assert len(held) == 4
        assert first.receive(10, timeout=0.3) == []
        others = take(second, 6)
        assert sorted(ids(held + others)) == sorted(message.message_id for message in numbered(10))
        first.ack(held)
        second.ack(others)
        send(broker, queue, numbered(2))
        assert first.receive(10, timeout=PATIENCE) or second.receive(10, timeout=PATIENCE)


def test_a_message_that_nobody_acknowledges_becomes_a_dead_letter(broker: Broker, queue: Queue) -> None:
    send(broker, queue, [Message(b"poison", "poison")])
    deliveries = 0
    while broker.depth(queue.dead_letter) == 0 and deliveries <= DELIVERY_LIMIT + 1:
        with broker.consume(queue.name, prefetch=1) as consumer:
            deliveries += len(consumer.receive(1, timeout=1))
    # RabbitMQ counts returns, and delivers once more than its limit.
    assert DELIVERY_LIMIT <= deliveries <= DELIVERY_LIMIT + 1
    assert broker.depth(queue.name) == 0
    with broker.consume(queue.dead_letter, prefetch=1) as consumer:
        assert take(consumer, 1)[0].body == b"poison"


def test_dead_letters_move_by_call_and_never_get_lost(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(3))
    with broker.consume(queue.name, prefetch=10) as consumer:
        deliveries = take(consumer, 3)
        consumer.dead_letter(deliveries[1:2])
        consumer.ack([deliveries[0], deliveries[2]])
        wait_for_depth(broker, queue.dead_letter, 1)
    assert broker.depth(queue.name) == 0
    for _ in range(2):
        with broker.consume(queue.dead_letter, prefetch=10) as consumer:
            dead = take(consumer, 1)
            assert dead[0].body == b"body 1"
            consumer.dead_letter(dead)
            assert consumer.receive(1, timeout=0.3) == []
        wait_for_depth(broker, queue.dead_letter, 1)


def test_an_oversize_body_is_refused_and_what_came_before_is_published(broker: Broker, queue: Queue) -> None:
    confirmed: list[Message] = []
    huge = Message(bytes(MAX_MESSAGE_BYTES + 1), "huge")
    with pytest.raises(UsageError, match=f"huge has {MAX_MESSAGE_BYTES + 1} bytes"):
        broker.publish(queue, [*numbered(3), huge, Message(b"after", "after")], confirmed.append)
    assert confirmed == numbered(3)
    assert broker.depth(queue.name) == 3


def test_a_body_of_the_largest_size_passes(broker: Broker, queue: Queue) -> None:
    largest = Message(os.urandom(MAX_MESSAGE_BYTES), "largest")
    send(broker, queue, [largest, *numbered(2)])
    with broker.consume(queue.name, prefetch=10) as consumer:
        assert take(consumer, 3)[0].body == largest.body


def test_an_unroutable_message_is_an_error_that_names_it(broker: Broker, queue: Queue) -> None:
    confirmed: list[Message] = []
    lost = Queue(queue.exchange, "order_eaten", "nowhere.orders")
    with pytest.raises(MeshError, match=r"order_eaten.*Declare 'nowhere\.orders'"):
        broker.publish(lost, numbered(3), confirmed.append)
    assert confirmed == []
    # Sending the same ids again: the broker does not deduplicate.
    send(broker, queue, numbered(3))
    with pytest.raises(MeshError, match="no_exchange_here"):
        broker.publish(Queue("no_exchange_here", "k", "n"), numbered(3), confirmed.append)
    assert confirmed == []
    send(broker, queue, numbered(3))


def test_unknown_queues_are_named(broker: Broker) -> None:
    for use in (lambda: broker.depth("gone.orders"), lambda: broker.consume("gone.orders", prefetch=1)):
        with pytest.raises(MeshError, match=r"gone\.orders.*[Dd]eclare"):
            use()


def test_a_failing_source_leaves_what_it_gave_published(broker: Broker, queue: Queue) -> None:
    def source() -> Iterator[Message]:
        yield from numbered(7)
        raise RuntimeError("the source failed")

    confirmed: list[Message] = []
    with pytest.raises(RuntimeError, match="the source failed"):
        broker.publish(queue, source(), confirmed.append)
    assert len(confirmed) == broker.depth(queue.name) == 7


def test_bodies_are_bytes_of_any_kind(broker: Broker, queue: Queue) -> None:
    bodies = [b"", b"\x00\x00", "Grüße, 東京 🚚".encode(), b"\xff\xfe", bytes(range(256))]
    send(broker, queue, [Message(body, f"☃ {number}") for number, body in enumerate(bodies)])
    with broker.consume(queue.name, prefetch=10) as consumer:
        deliveries = take(consumer, len(bodies))
    assert [delivery.body for delivery in deliveries] == bodies
    assert ids(deliveries) == [f"☃ {number}" for number in range(len(bodies))]


def test_depth_and_purge(broker: Broker, queue: Queue) -> None:
    assert broker.depth(queue.name) == broker.depth(queue.dead_letter) == 0
    send(broker, queue, numbered(5))
    assert broker.depth(queue.name) == 5
    assert broker.purge(queue.name) == 5
    assert broker.depth(queue.name) == broker.purge(queue.name) == 0


def test_depths_of_many_queues_leave_out_those_that_are_not_there(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(4))
    gone = [f"gone.{number}" for number in range(3)]
    found = broker.depths([*gone, queue.name, *gone, queue.dead_letter, *gone])
    assert found == {queue.name: 4, queue.dead_letter: 0}
    assert broker.depths(gone) == broker.depths([]) == {}


def test_declaring_again_changes_nothing(broker: Broker, queue: Queue) -> None:
    send(broker, queue, numbered(2))
    broker.declare([queue, queue])
    assert broker.depth(queue.name) == 2


def test_every_queue_of_a_key_gets_the_message(url: str, broker: Broker, queue: Queue) -> None:
    second = Queue(queue.exchange, queue.routing_key, f"{queue.name}_copy")
    broker.declare([second])
    try:
        send(broker, queue, numbered(3))
        assert broker.depth(queue.name) == broker.depth(second.name) == 3
    finally:
        if url.startswith("amqp"):
            delete(url, second)


def test_twenty_thousand_messages(broker: Broker, queue: Queue) -> None:
    messages = [Message(b'{"n": %d}' % number, f"id-{number}") for number in range(20_000)]
    send(broker, queue, messages)
    assert broker.depth(queue.name) == 20_000
    received: list[Delivery] = []
    with broker.consume(queue.name, prefetch=3000) as consumer:
        while len(received) < 20_000:
            deliveries = consumer.receive(1000, timeout=PATIENCE)
            assert deliveries
            received += deliveries
            consumer.ack(deliveries)
    assert [(d.message_id, d.body) for d in received] == [(m.message_id, m.body) for m in messages]
    assert broker.depth(queue.name) == 0


def test_bad_urls_are_wrong_use() -> None:
    for url in ("kafka://x", "sqlite://", "sqlite:///", "amqp://user:secret@host:port/"):
        with pytest.raises(UsageError) as raised:
            connect(url)
        assert "MESH_BROKER_URL" in str(raised.value)
        assert "secret" not in str(raised.value)


# The embedded broker


def rest_of(consumer: Consumer) -> list[Delivery]:
    """All deliveries until no more arrive."""
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
        # None is acknowledged: the size, not a small number, limits the messages in flight.
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
        # No message was returned, so the stop did not count against the delivery limit.
        assert not any(delivery.redelivered for delivery in others)


def test_a_stop_while_the_buffer_is_full_ends(broker: Broker, queue: Queue) -> None:
    send(broker, queue, [Message(bytes(BIG), f"id-{number}") for number in range(12)])
    with broker.consume(queue.name, prefetch=100, max_bytes=BIG) as consumer:
        first = take(consumer, 1)
        time.sleep(0.3)
        consumer.stop()
        consumer.ack([*first, *rest_of(consumer)])
    with broker.consume(queue.name, prefetch=100, max_bytes=BIG):
        # A consumer that closes with a full buffer returns it.
        time.sleep(0.3)
