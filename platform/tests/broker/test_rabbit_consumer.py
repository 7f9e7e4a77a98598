"""The requests of a RabbitMQ consumer to its channel while its prefetch grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
import pytest
from mesh_platform.broker import rabbit_consumer
from mesh_platform.broker.rabbit_consumer import RabbitConsumer
from mesh_platform.broker.rabbit_frames import Arrived

CancelOk = pika.spec.Basic.CancelOk


class Channel:
    """A fake channel, connection and link, which records requests and answers them on demand."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connection = self
        self.on_messages: Any = None
        self._answers: list[tuple[str, Callable[[Any], None]]] = []
        self._number = 0

    def add_callback(self, answer: Callable[[Any], None], replies: list[Any], one_shot: bool = True) -> None:
        if replies == [CancelOk]:
            self._answers.append(("cancel", answer))

    def add_on_cancel_callback(self, _told: Any) -> None: ...

    def basic_qos(self, prefetch_count: int, callback: Callable[[Any], None]) -> None:
        self.asked.append(f"qos {prefetch_count}")
        self._answers.append(("qos", callback))

    def basic_consume(self, _queue: str, _told: Any, callback: Callable[[Any], None]) -> str:
        self._number += 1
        self.asked.append(f"consume {self._number}")
        self._answers.append(("consume", callback))
        return str(self._number)

    def _send_method(self, method: Any) -> None:
        self.asked.append(f"cancel {method.consumer_tag}")

    def _cleanup_consumer_ref(self, _tag: str) -> None: ...

    def answer(self, *kinds: str) -> None:
        """Answer requests as the broker does, oldest first; they must be of these kinds."""
        for kind in kinds:
            (was, callback), *self._answers = self._answers
            assert was == kind
            callback(None)

    def call(self, function: Callable[[], None]) -> None:
        function()

    def close(self) -> None: ...


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def consumer(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> RabbitConsumer:
    def link(_parameters: Any, prepare: Callable[[Any, Any], None], _lost: Any) -> Channel:
        prepare(channel, lambda: None)
        channel.answer("qos", "consume")
        return channel

    monkeypatch.setattr(rabbit_consumer, "Link", link)
    made = RabbitConsumer(pika.URLParameters("amqp://localhost"), "queue", 1000, 48 * 1024 * 1024)
    channel.asked.clear()
    return made


def send(channel: Channel, count: int, first: int = 1) -> None:
    channel.on_messages([Arrived(tag, False, None, b"x") for tag in range(first, first + count)])


def test_it_grows_step_by_step(channel: Channel, consumer: RabbitConsumer) -> None:
    send(channel, 18)
    channel.answer("cancel", "qos", "consume")
    send(channel, 64, 100)
    channel.answer("cancel", "qos", "consume")
    send(channel, 64, 200)
    channel.answer("cancel", "qos", "consume")
    send(channel, 900, 300)
    assert [words for words in channel.asked if words.startswith("qos")] == ["qos 72", "qos 288", "qos 1000"]
    assert len(consumer.receive(2000, 0.0)) == 18 + 64 + 64 + 900


def test_no_step_begins_before_the_last_has_ended(channel: Channel, consumer: RabbitConsumer) -> None:
    send(channel, 18)
    channel.answer("cancel")
    send(channel, 200, 100)
    channel.answer("qos")
    send(channel, 200, 400)
    channel.answer("consume")
    assert channel.asked == ["cancel 1", "qos 72", "consume 2"]


@pytest.mark.parametrize("answered", [(), ("cancel",), ("cancel", "qos")])
def test_whoever_stops_within_a_step_is_sent_nothing_after(
    channel: Channel, consumer: RabbitConsumer, answered: tuple[str, ...]
) -> None:
    send(channel, 18)
    channel.answer(*answered)
    consumer.stop()
    while channel._answers:
        channel.answer(channel._answers[0][0])
    begun = {words.split()[1] for words in channel.asked if words.startswith("consume")}
    assert begun <= {words.split()[1] for words in channel.asked if words.startswith("cancel")}
    assert len(consumer.receive(100, 0.0)) == 18
    assert consumer.receive(100, 10.0) == []


def test_whoever_closes_within_a_step_asks_for_nothing_more(channel: Channel, consumer: RabbitConsumer) -> None:
    send(channel, 18)
    consumer.close()
    channel.answer("cancel")
    assert channel.asked == ["cancel 1"]


def test_one_delivery_twice_is_acknowledged_once(
    channel: Channel, consumer: RabbitConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged = []
    monkeypatch.setattr(
        channel, "basic_ack", lambda tag, multiple=False: acknowledged.append((tag, multiple)), raising=False
    )
    send(channel, 2)
    first, second = consumer.receive(2, 0.0)
    consumer.ack([first, first])
    consumer.ack([second])
    assert acknowledged == [(1, True), (2, True)]
