"""Queue triggers fire when messages wait, never end, and do not fire too often."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

# Airflow creates its home folder when it is imported.
os.environ.setdefault("AIRFLOW_HOME", mkdtemp(prefix="airflow-"))

from mesh_platform.broker import Message, Queue, connect
from mesh_platform.dags import queue_trigger
from mesh_platform.dags.queue_trigger import QueueTrigger
from mesh_platform.errors import UnavailableError
from mesh_platform.settings import Settings

QUEUE = Queue("alpha", "sale", "alpha.sales_alpha")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_trigger, "LOOK_EVERY", 0.02)


@pytest.fixture
def broker_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MESH_BROKER_URL", f"sqlite:///{tmp_path / 'broker.db'}")
    monkeypatch.setenv("MESH_ROOT", str(tmp_path))
    return Settings().broker


def publish(url: str, count: int) -> None:
    with connect(url) as broker:
        broker.declare([QUEUE])
        broker.publish(QUEUE, [Message(b"{}", str(number)) for number in range(count)], lambda _message: None)


async def collect(trigger: QueueTrigger, seconds: float) -> list[Any]:
    """The events that the trigger fires within `seconds`."""
    found: list[Any] = []
    events = trigger.run()

    async def listen() -> None:
        while True:
            found.append((await anext(events)).payload)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listen(), seconds)
    return found


def test_it_fires_with_what_waits(broker_url: str) -> None:
    publish(broker_url, 3)
    found = asyncio.run(collect(QueueTrigger(QUEUE.name), 0.5))
    assert found[0] == {"queue": QUEUE.name, "waiting": 3}


def test_it_fires_again_only_after_a_while_where_messages_still_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(queue_trigger, "AGAIN_AFTER", 30.0)
    monkeypatch.setattr(queue_trigger.time, "monotonic", lambda: float(next(clock)))
    depths = [{QUEUE.name: waiting} for waiting in (7, 6, 5, 4, 3, 2)]
    found = asyncio.run(fed(QueueTrigger(QUEUE.name), depths))
    assert [event.payload["waiting"] for event in found] == [7, 4]


def test_an_empty_queue_and_one_that_nobody_declared_wake_nobody(broker_url: str) -> None:
    publish(broker_url, 0)
    assert asyncio.run(collect(QueueTrigger(QUEUE.name), 0.3)) == []
    assert asyncio.run(collect(QueueTrigger("alpha.not_there"), 0.3)) == []


def test_it_fires_at_once_when_messages_come_after_the_queue_was_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    depths = [{QUEUE.name: depth} for depth in (0, 2, 2, 0, 5)]
    found = asyncio.run(fed(QueueTrigger(QUEUE.name), depths))
    assert [event.payload["waiting"] for event in found] == [2, 5]


def test_a_broker_that_is_away_ends_nothing(monkeypatch: pytest.MonkeyPatch, broker_url: str) -> None:
    looks = iter([UnavailableError("gone"), UnavailableError("gone"), {QUEUE.name: 1}])
    monkeypatch.setattr(queue_trigger, "AWAY_FOR", 0.02)

    def look(_queues: list[str]) -> dict[str, int]:
        answer = next(looks, {})
        if isinstance(answer, UnavailableError):
            raise answer
        return answer

    monkeypatch.setattr(queue_trigger, "_look", look)
    assert asyncio.run(collect(QueueTrigger(QUEUE.name), 0.5)) == [{"queue": QUEUE.name, "waiting": 1}]


def test_all_triggers_share_one_look_for_the_queues_of_those_that_listen(
    monkeypatch: pytest.MonkeyPatch, broker_url: str
) -> None:
    one, other = QueueTrigger("alpha.one"), QueueTrigger("alpha.other")
    assert one.shared_stream_key() == other.shared_stream_key()
    looks: list[list[str]] = []

    def look(queues: list[str]) -> dict[str, int]:
        looks.append(queues)
        return dict.fromkeys(queues, 1)

    monkeypatch.setattr(queue_trigger, "_look", look)

    async def listen_to_both() -> None:
        first, second = one.run(), other.run()
        await anext(first)
        await anext(second)
        await first.aclose()
        await asyncio.sleep(0.1)
        await second.aclose()

    asyncio.run(listen_to_both())
    assert ["alpha.one"] in looks
    assert ["alpha.one", "alpha.other"] in looks
    assert asyncio.run(collect(QueueTrigger("alpha.third"), 0.2)) == [{"queue": "alpha.third", "waiting": 1}]
    assert looks[-1] == ["alpha.third"]


def test_it_is_made_again_from_what_airflow_keeps() -> None:
    path, arguments = QueueTrigger("alpha.one").serialize()
    assert path == "mesh_platform.dags.queue_trigger.QueueTrigger"
    assert QueueTrigger(**arguments).queue == "alpha.one"


async def fed(trigger: QueueTrigger, depths: list[dict[str, int]]) -> list[Any]:
    """The events that the trigger fires for these depths."""

    async def stream() -> AsyncIterator[dict[str, int]]:
        for each in depths:
            yield each

    return [event async for event in trigger.filter_shared_stream(stream())]
