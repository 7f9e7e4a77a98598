"""What is special about RabbitMQ: a server that refuses, restarts, stays away or blocks."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pika
import pytest
from mesh_platform.broker import (
    Message,
    connect,
)
from mesh_platform.broker.rabbit_consumer import RabbitConsumer
from mesh_platform.broker.rabbit_publisher import Publisher
from mesh_platform.errors import AttentionError, UnavailableError

from conftest import missing, require_amqp

from ..broker_rig import PATIENCE, SCRIPT, delete, ids, is_free, numbered, send, take, unique_queue


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Runs commands of scripts/rabbitmq for a node of this module only."""
    ports = [port for port in range(6000, 12000) if all(map(is_free, (port, port + 15000, port + 20000)))]
    environment = {
        **os.environ,
        "MESH_STATE": str(tmp_path_factory.mktemp("node")),
        "MESH_RABBITMQ_PORT": str(random.choice(ports)),
    }

    def run(*command: str) -> str:
        done = subprocess.run([SCRIPT, *command], env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode == 3:
            missing(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield run
    run("stop")


@pytest.fixture
def own_url(node: Callable[..., str]) -> str:
    return node("start")


def test_no_server_is_unavailable() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(
        UnavailableError, match=rf"127\.0\.0\.1:{port}: RabbitMQ does not answer .*refused.*scripts/rabbitmq start"
    ):
        connect(f"amqp://guest:secret@127.0.0.1:{port}/")


@pytest.mark.rabbitmq
def test_a_refused_user_needs_attention() -> None:
    with pytest.raises(AttentionError, match="refuses user 'nobody'") as raised:
        connect(require_amqp().replace("guest:guest", "nobody:secret"))
    assert "secret" not in str(raised.value)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("arguments", [{}, {"x-message-ttl": 86_400_000}, {"x-queue-type": "quorum"}])
def test_what_waits_in_a_queue_with_other_arguments_can_be_taken(arguments: dict[str, object]) -> None:
    url, queue = require_amqp(), unique_queue()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(queue.name, durable=True, arguments=arguments)
    for message in numbered(3):
        channel.basic_publish("", queue.name, message.body, pika.BasicProperties(message_id=message.message_id))
    try:
        with connect(url) as broker:
            # Publishing is refused, and the message says how to continue without a loss.
            with pytest.raises(AttentionError, match=rf"queue '{queue.name}' exists with other") as error:
                broker.declare([queue])
            assert f"'mesh ingest {queue.name} --until-empty' does so all the same" in str(error.value)
            assert f"rabbitmqctl delete_queue {queue.name}" in str(error.value)
            assert broker.declare_to_consume([queue]) == [str(error.value)]
            with broker.consume(queue.name, prefetch=10) as consumer:
                deliveries = take(consumer, 3)
                assert sorted(ids(deliveries)) == ["id-0", "id-1", "id-2"]
                consumer.ack(deliveries)
            channel.queue_delete(queue.name)
            assert broker.declare_to_consume([queue]) == []
            send(broker, queue, numbered(2))
    finally:
        connection.close()
        delete(url, queue)


@pytest.mark.rabbitmq
def test_an_exchange_and_a_dead_letter_queue_of_another_kind_are_told_together() -> None:
    url, queue = require_amqp(), unique_queue()
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare(queue.exchange, "direct", durable=True)
    channel.queue_declare(queue.dead_letter, durable=True)
    connection.close()
    try:
        with connect(url) as broker:
            exchange, dead_letter = broker.declare_to_consume([queue])
            assert f"rabbitmqadmin delete exchange name={queue.exchange}" in exchange
            assert f"'mesh ingest {queue.name} --until-empty --dead-letters'" in dead_letter
            with pytest.raises(AttentionError, match="exists with other arguments"):
                broker.declare([queue])
    finally:
        delete(url, queue)


@pytest.mark.rabbitmq
def test_refused_messages_are_tried_again_then_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    url, queue = require_amqp(), unique_queue()
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
            with pytest.raises(UnavailableError, match="a queue is full"):
                broker.publish(queue, numbered(12), confirmed.append)
            assert 0 < len(confirmed) < 12

            # The publisher can be used again.
            monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", PATIENCE)
            channel.queue_delete(small)
            send(broker, queue, numbered(3))
        finally:
            channel.queue_delete(small)
            connection.close()
            delete(url, queue)


@pytest.mark.rabbitmq
@pytest.mark.slow
def test_restarts_of_the_broker_lose_nothing(
    node: Callable[..., str], own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine a node starts slowly.
    monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", 180.0)
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
                        with suppress(ProcessLookupError):
                            while True:
                                os.kill(int(pid), 0)
                                time.sleep(0.05)
                        node("start")
                    yield Message(b"second", f"second-{number}")

            broker.publish(queue, restart_in_the_middle(), confirmed.append)
            assert sorted(m.message_id for m in confirmed) == sorted(f"second-{number}" for number in range(3000))

            # The tags of `before` died with the connection: they must not hit new deliveries of equal number.
            again = take(consumer, 10)
            consumer.ack(before)
            assert ids(again[:5]) == ids(before)
        with broker.consume(queue.name, prefetch=5000) as consumer:
            seen: set[str | None] = set()
            while len(seen) < 3020:
                deliveries = consumer.receive(1000, timeout=PATIENCE)
                assert deliveries
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
                with pytest.raises(UnavailableError, match="does not answer"):
                    take(consumer, 2)
                with pytest.raises(UnavailableError, match="does not answer"):
                    broker.publish(queue, numbered(1), lambda _: None)
            finally:
                node("start")
            assert ids(take(consumer, 1)) == ["id-0"]
        send(broker, queue, numbered(1))


@pytest.mark.rabbitmq
@pytest.mark.slow
def test_a_broker_that_blocks_publishers_is_unavailable(
    node: Callable[..., str], own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publisher, "PATIENCE_SECONDS", 2.0)
    queue = unique_queue()
    with connect(own_url) as broker:
        broker.declare([queue])
        node("ctl", "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            with pytest.raises(UnavailableError, match="alarm: free memory or disk"):
                broker.publish(queue, numbered(5), lambda _: None)
        finally:
            node("ctl", "set_vm_memory_high_watermark", "0.4")
        send(broker, queue, numbered(5))
