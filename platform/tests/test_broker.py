"""Both brokers under one set of tests; then what only one of them has."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pika
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
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.broker.embedded_file import BrokerFile
from mesh_platform.broker.process import identify, is_gone
from mesh_platform.broker.rabbit_consumer import RabbitConsumer
from mesh_platform.broker.rabbit_publisher import Publisher
from mesh_platform.errors import MeshError, NeedsAttention, Unavailable, UsageError
from mesh_platform.settings import Settings

SCRIPT = Path(__file__).parents[2] / "scripts" / "rabbitmq"
AMQP_URL = os.environ.get("MESH_TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
# How long a test waits for what must come; no test waits that long for what must not.
PATIENCE = 20.0


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'broker.db'}" if request.param == "embedded" else rabbitmq_url()


@pytest.fixture
def embedded_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'broker.db'}"


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


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Commands of scripts/rabbitmq for a node that belongs to this module alone."""
    ports = [port for port in range(6000, 12000) if all(map(is_free, (port, port + 15000, port + 20000)))]
    environment = {
        **os.environ,
        "MESH_STATE": str(tmp_path_factory.mktemp("node")),
        "MESH_RABBITMQ_PORT": str(random.choice(ports)),
    }

    def run(*command: str) -> str:
        done = subprocess.run([SCRIPT, *command], env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode == 3 and not Settings().require_services:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield run
    run("stop")


@pytest.fixture
def own_url(node: Callable[..., str]) -> str:
    return node("start")


def rabbitmq_url() -> str:
    try:
        connect(AMQP_URL).__exit__()
    except Unavailable as error:
        problem = f"{error} Or set MESH_TEST_AMQP_URL."
        pytest.fail(problem) if Settings().require_services else pytest.skip(problem)
    return AMQP_URL


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
        # Its exit code is not asked for yet: it lies there as a zombie.
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
    # RabbitMQ counts returns and gives one delivery more than its limit.
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
    # The same ids to a queue that exists: nothing is remembered against them.
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


def test_after_the_lease_another_gets_it_and_a_late_ack_harms_nothing(
    embedded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmbeddedConsumer, "LEASE_SECONDS", 0.3)
    queue = unique_queue()
    with connect(embedded_url) as broker:
        broker.declare([queue])
        send(broker, queue, numbered(3))
        with broker.consume(queue.name, prefetch=10) as slow, broker.consume(queue.name, prefetch=10) as quick:
            held = take(slow, 3)
            monkeypatch.setattr(EmbeddedConsumer, "LEASE_SECONDS", 60.0)
            again = take(quick, 3)
            assert ids(again) == ids(held)
            slow.ack(held)
            slow.dead_letter(held)
            assert broker.depth(queue.name) == 3
            assert broker.depth(queue.dead_letter) == 0
            quick.ack(again)
            assert broker.depth(queue.name) == 0
            # The slow one is not lost: it takes part again.
            send(broker, queue, numbered(1))
            slow.ack(take(slow, 1))
            assert broker.depth(queue.name) == 0


def test_receiving_and_acknowledging_renew_the_lease(embedded_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedConsumer, "LEASE_SECONDS", 1.0)
    queue = unique_queue()
    with connect(embedded_url) as broker:
        broker.declare([queue])
        send(broker, queue, numbered(2))
        with broker.consume(queue.name, prefetch=2) as first, broker.consume(queue.name, prefetch=2) as second:
            held = take(first, 2)
            for _ in range(8):
                assert first.receive(1, timeout=0.1) == []
                assert second.receive(1, timeout=0.1) == []
            first.ack(held)
        assert broker.depth(queue.name) == 0


def test_only_a_process_that_is_provably_gone_is_gone() -> None:
    place, pid, started = identify()
    assert not is_gone(place, pid, started)
    assert is_gone(place, pid, "1")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(place, ended.pid, "")
    assert not is_gone("another machine", ended.pid, "")


def test_an_oversize_message_in_the_file_is_delivered_all_the_same(embedded_url: str) -> None:
    queue = unique_queue()
    with connect(embedded_url) as broker:
        broker.declare([queue])
        file = BrokerFile(Path(embedded_url.removeprefix("sqlite:///")), "FULL")
        with file.write() as connection:
            connection.execute("INSERT INTO message (id, queue) VALUES (1, ?)", (queue.name,))
            connection.execute("INSERT INTO body VALUES (1, zeroblob(?))", (MAX_MESSAGE_BYTES + 5,))
        file.close()
        with broker.consume(queue.name, prefetch=1) as consumer:
            delivery = take(consumer, 1)[0]
            assert (len(delivery.body), delivery.message_id) == (MAX_MESSAGE_BYTES + 5, None)


def test_a_confirmed_message_is_in_the_file_when_the_publisher_is_killed(embedded_url: str) -> None:
    queue = unique_queue()
    with connect(embedded_url) as broker:
        broker.declare([queue])
        program = f"""
import itertools
from mesh_platform.broker import Message, Queue, connect
messages = (Message(b"x" * 300, str(number)) for number in itertools.count())
connect({embedded_url!r}).publish({queue!r}, messages, lambda message: print(message.message_id, flush=True))
"""
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        confirmed = lines_of(process, 2000)
        process.kill()
        assert process.stdout is not None
        confirmed += process.stdout.read().split()
        process.wait()
        with broker.consume(queue.name, prefetch=10**9) as consumer:
            stored = ids(consumer.receive(10**9, timeout=1))
    assert stored[: len(confirmed)] == confirmed
    assert stored == [str(number) for number in range(len(stored))]


def test_a_file_that_cannot_grow_is_unavailable_and_keeps_what_it_confirmed(embedded_url: str) -> None:
    queue = unique_queue()
    with connect(embedded_url) as broker:
        broker.declare([queue])
        confirmed: list[Message] = []
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
        try:
            with pytest.raises(Unavailable, match=r"broker\.db"):
                broker.publish(queue, (Message(bytes(100_000), str(n)) for n in range(1000)), confirmed.append)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert broker.depth(queue.name) == len(confirmed)
        send(broker, queue, numbered(1))


def test_a_full_disk_is_named(embedded_url: str) -> None:
    queue = unique_queue()
    with connect(embedded_url) as broker:
        broker.declare([queue])
        with broker._file.read() as connection:  # type: ignore[attr-defined]
            connection.execute("PRAGMA max_page_count = 60")
        with pytest.raises(Unavailable, match="the disk is full"):
            broker.publish(queue, (Message(bytes(10_000), str(n)) for n in range(1000)), lambda _: None)


def test_a_foreign_file_needs_attention(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(NeedsAttention, match=r"broker\.db"):
        connect(f"sqlite:///{path}")


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"file/broker\.db"):
        connect(f"sqlite:///{tmp_path / 'file' / 'broker.db'}")


# RabbitMQ


def test_no_server_is_unavailable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(
        Unavailable, match=rf"127\.0\.0\.1:{port}: RabbitMQ does not answer .*refused.*scripts/rabbitmq start"
    ):
        connect(f"amqp://guest:secret@127.0.0.1:{port}/")


@pytest.mark.rabbitmq
def test_a_refused_user_needs_attention() -> None:
    with pytest.raises(NeedsAttention, match="refuses user 'nobody'") as raised:
        connect(rabbitmq_url().replace("guest:guest", "nobody:secret"))
    assert "secret" not in str(raised.value)


@pytest.mark.rabbitmq
def test_a_queue_with_other_arguments_needs_attention() -> None:
    url, queue = rabbitmq_url(), unique_queue()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare(queue.name, durable=True)
    connection.close()
    try:
        with (
            connect(url) as broker,
            pytest.raises(NeedsAttention, match=rf"queue '{queue.name}' exists with other.*delete_queue"),
        ):
            broker.declare([queue])
    finally:
        delete(url, queue)


@pytest.mark.rabbitmq
def test_refused_messages_are_tried_again_then_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    url, queue = rabbitmq_url(), unique_queue()
    with connect(url) as broker:
        broker.declare([queue])
        connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = connection.channel()
        small = f"{queue.name}_small"
        channel.queue_declare(small, durable=True, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
        channel.queue_bind(small, queue.exchange, queue.routing_key)
        try:
            confirmed: list[Message] = []

            def confirm(message: Message) -> None:
                confirmed.append(message)
                channel.queue_purge(small)

            broker.publish(queue, numbered(12), confirm)
            assert sorted(m.message_id for m in confirmed) == sorted(m.message_id for m in numbered(12))

            confirmed.clear()
            monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", 1.0)
            with pytest.raises(Unavailable, match="a queue is full"):
                broker.publish(queue, numbered(12), confirmed.append)
            assert 0 < len(confirmed) < 12

            # The publisher is of use again.
            monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", PATIENCE)
            channel.queue_delete(small)
            send(broker, queue, numbered(3))
        finally:
            channel.queue_delete(small)
            connection.close()
            delete(url, queue)


@pytest.mark.rabbitmq
def test_restarts_of_the_broker_lose_nothing(node: Callable[..., str], own_url: str) -> None:
    queue = unique_queue()
    with connect(own_url) as broker:
        broker.declare([queue])
        send(broker, queue, numbered(20))
        with broker.consume(queue.name, prefetch=10) as consumer:
            before = take(consumer, 5)
            confirmed: list[Message] = []

            def restart_in_the_middle() -> Iterator[Message]:
                for number in range(3000):
                    if number == 1000:
                        node("stop")
                        node("start")
                    if number == 2000:
                        pid = node("status").split("pid ")[1].split(",")[0]
                        os.kill(int(pid), signal.SIGKILL)
                        node("start")
                    yield Message(b"second", f"second-{number}")

            broker.publish(queue, restart_in_the_middle(), confirmed.append)
            assert sorted(m.message_id for m in confirmed) == sorted(f"second-{number}" for number in range(3000))

            # The tags of `before` died with the connection: this must not hit the new deliveries of equal number.
            again = take(consumer, 10)
            consumer.ack(before)
            assert ids(again[:5]) == ids(before)
        with broker.consume(queue.name, prefetch=5000) as consumer:
            seen: set[str | None] = set()
            while deliveries := consumer.receive(1000, timeout=1):
                seen.update(ids(deliveries))
                consumer.ack(deliveries)
        assert seen == {message.message_id for message in [*numbered(20), *confirmed]}


@pytest.mark.rabbitmq
def test_a_server_that_stays_away_is_unavailable(
    node: Callable[..., str], own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(RabbitConsumer, "RECONNECT_SECONDS", 1.0)
    queue = unique_queue()
    with connect(own_url) as broker:
        broker.declare([queue])
        send(broker, queue, numbered(1))
        with broker.consume(queue.name, prefetch=10) as consumer:
            node("stop")
            try:
                with pytest.raises(Unavailable, match="does not answer"):
                    take(consumer, 2)
                with pytest.raises(Unavailable, match="does not answer"):
                    broker.publish(queue, numbered(1), lambda _: None)
            finally:
                node("start")
            assert ids(take(consumer, 1)) == ["id-0"]
        send(broker, queue, numbered(1))


@pytest.mark.rabbitmq
def test_a_broker_that_blocks_publishers_is_unavailable(
    node: Callable[..., str], own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", 2.0)
    queue = unique_queue()
    with connect(own_url) as broker:
        broker.declare([queue])
        node("ctl", "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            with pytest.raises(Unavailable, match="alarm: free memory or disk"):
                broker.publish(queue, numbered(5), lambda _: None)
        finally:
            node("ctl", "set_vm_memory_high_watermark", "0.4")
        send(broker, queue, numbered(5))
