"""What is special about the embedded broker: leases, a file, processes that die."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from mesh_platform.broker import (
    MAX_MESSAGE_BYTES,
    Message,
    connect,
)
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.broker.embedded_file import BrokerFile
from mesh_platform.broker.process import identify, is_gone
from mesh_platform.errors import AttentionError, UnavailableError

from ..broker_rig import ids, lines_of, numbered, send, take, unique_queue


@pytest.fixture
def embedded_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'broker.db'}"


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
            # The slow consumer is not lost: it receives again.
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
            with pytest.raises(UnavailableError, match=r"broker\.db"):
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
        with pytest.raises(UnavailableError, match="the disk is full"):
            broker.publish(queue, (Message(bytes(10_000), str(n)) for n in range(1000)), lambda _: None)


def test_a_foreign_file_needs_attention(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(AttentionError, match=r"broker\.db"):
        connect(f"sqlite:///{path}")


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"file/broker\.db"):
        connect(f"sqlite:///{tmp_path / 'file' / 'broker.db'}")


# RabbitMQ
