"""Brokers that stop, are killed, block or deliver again and again, and clocks that jump: each event is there once."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fault_record import record
from ingest_workers import Work, Workers
from invariants import landed_ids, quarantine, violations
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.errors import MeshError
from mesh_platform.ingest.ingest import Limits, ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, START, ids, in_batches, lines, send, waiting
from rabbit_node import Node, rabbit_node

from conftest import HANG, SLOW_ON_RABBITMQ, State

DRAIN = ("ingest", PRODUCT, "--until-empty", "--format", "json")
TIMES = 26


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with rabbit_node(tmp_path / "node") as node:
        yield node


class Publisher:
    """Publishes on a thread of its own, and goes on after an error; keeps what was sent and what was confirmed."""

    def __init__(self, state: State, mesh: Mesh) -> None:
        self.sent: list[bytes] = []
        self.confirmed: list[bytes] = []
        self._url, self._queue = state.settings.broker, queue_of(mesh.contract(PRODUCT))
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def _publish(self) -> None:
        for number in count(0, 20):
            if self._enough.is_set():
                return
            bodies = in_batches(lines(range(number, number + 20), minutes=3), 5)
            self.sent += [line for body in bodies for line in body.split(b"\n")]
            with suppress(MeshError), connect(self._url) as broker:
                messages = [Message(body, sha256(body).hexdigest()) for body in bodies]
                broker.publish(
                    self._queue, messages, lambda message: self.confirmed.extend(message.body.split(b"\n"))
                )
            self._enough.wait(0.1)

    def _note(self, message: Message) -> None:
        self.confirmed += message.body.split(b"\n")

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._enough.set()
        self._thread.join()


class LiveIngest:
    """`mesh ingest`, begun again where it gave up on its broker, as whoever runs it would."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._process = self._start()
        self.reports: list[list[dict[str, Any]]] = []

    def _start(self) -> Any:
        return self._state.start("ingest", PRODUCT, "--format", "json")

    def look(self) -> None:
        """Begin again where it ended, which only an absent broker may be the cause of."""
        if self._process.poll() is not None:
            _, err = self._process.communicate()
            assert self._process.returncode == 3, err
            self._process = self._start()

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=HANG)
        assert self._process.returncode in (0, 3), err
        if self._process.returncode == 0:
            self.reports.append(json.loads(out))


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_rabbitmq_is_stopped_killed_and_blocked_while_both_sides_run(
    node: Node, tmp_path: Path, make_state: Callable[..., State], mesh: Mesh
) -> None:
    state = make_state(tmp_path / "state", broker_url=node.start())
    send(state, mesh, [])
    live = LiveIngest(state)

    def goes_on(publisher: Publisher) -> None:
        """More is confirmed and more has landed than now."""
        before, deadline = len(publisher.confirmed), time.monotonic() + HANG
        while not set(ids(publisher.confirmed[before : before + 1])) & set(landed_ids(state.folder, PRODUCT)):
            assert time.monotonic() < deadline, "nothing goes on"
            live.look()
            time.sleep(0.2)

    def block(publisher: Publisher, *alarm: str) -> None:
        node.ctl(*alarm)
        time.sleep(1)
        before = len(publisher.confirmed)
        time.sleep(2)
        assert len(publisher.confirmed) == before, "the alarm blocked nobody"

    with Publisher(state, mesh) as publisher:
        try:
            goes_on(publisher)
            node.kill()
            time.sleep(1)
            node.start()
            goes_on(publisher)
            node.stop()
            node.start()
            goes_on(publisher)
            block(publisher, "set_vm_memory_high_watermark", "0.0000001")
            node.ctl("set_vm_memory_high_watermark", "0.4")
            goes_on(publisher)
            block(publisher, "set_disk_free_limit", "1000000GB")
            node.ctl("set_disk_free_limit", "50MB")
            goes_on(publisher)
            live.end()
        finally:
            live.kill()
    reports = [*live.reports, state.mesh(*DRAIN).json]
    assert (waiting(state), waiting(state, dead=True)) == (0, 0)
    broken = violations(state.folder, PRODUCT, publisher.confirmed, sent=publisher.sent, runs=reports)
    assert broken == []
    assert quarantine(state.folder, PRODUCT) == []
    how = "RabbitMQ, while a publisher and an ingest run: {}"
    record("the broker is killed", how.format("kill -9, started again"), 1)
    record("the broker is stopped", how.format("stopped, started again"), 1)
    record("the broker is blocked by an alarm", how.format("memory, disk"), 2)


def give_back(state: State, queue: str) -> int:
    """Take all messages of a queue and acknowledge none; how many."""
    with connect(state.settings.broker) as broker, broker.consume(queue, 100) as consumer:
        return len(consumer.receive(100, 0.3))


@SLOW_ON_RABBITMQ
def test_a_message_that_is_delivered_again_and_again(any_state: State, mesh: Mesh) -> None:
    confirmed = send(any_state, mesh, in_batches(lines(range(6)), 2))
    deadline = time.monotonic() + HANG
    # RabbitMQ moves dead letters in its own time.
    while waiting(any_state, dead=True) < 3:
        give_back(any_state, PRODUCT)
        assert time.monotonic() < deadline, "they were never given up on"
    for _ in range(TIMES):
        give_back(any_state, f"{PRODUCT}.dlq")
    (nothing,) = any_state.mesh(*DRAIN).json
    assert (nothing["deliveries"], waiting(any_state, dead=True)) == (0, 3)
    reports = any_state.mesh(*DRAIN, "--dead-letters").json
    assert reports[0]["appended"] == 6
    assert (waiting(any_state), waiting(any_state, dead=True)) == (0, 0)
    assert violations(any_state.folder, PRODUCT, confirmed, runs=[[nothing], reports]) == []
    assert landed_ids(any_state.folder, PRODUCT) == ids(confirmed)
    broker = any_state.settings.broker.split(":")[0]
    record("a message is delivered over 25 times", f"{broker}: to consumers that acknowledge nothing", 20 + TIMES)


@SLOW_ON_RABBITMQ
def test_ingest_dies_of_a_message_over_25_times(any_state: State, mesh: Mesh, tmp_path: Path) -> None:
    confirmed = send(any_state, mesh, in_batches(lines(range(6)), 2))
    deaths = 0
    deadline = time.monotonic() + HANG
    with Workers(tmp_path / "workers") as workers:
        for dead_letters in (False, True):
            work = Work(PRODUCT, until_empty=True, dead_letters=dead_letters)
            while deaths < TIMES if dead_letters else waiting(any_state, dead=True) < 3:
                fault = {"MESH_FAULT": "ingest.received:kill"}
                deaths += workers.wait(workers.start(work, {**any_state.environment, **fault})) == -signal.SIGKILL
                assert time.monotonic() < deadline, f"{deaths} deaths"
        assert violations(any_state.folder, PRODUCT, [], sent=confirmed) == []
        last = workers.start(Work(PRODUCT, until_empty=True, dead_letters=True), any_state.environment)
        assert workers.wait(last) == 0, workers.said(last)
        reports = workers.report(last)
    assert (waiting(any_state), waiting(any_state, dead=True)) == (0, 0)
    assert violations(any_state.folder, PRODUCT, confirmed, runs=[reports]) == []
    assert landed_ids(any_state.folder, PRODUCT) == ids(confirmed)
    broker = any_state.settings.broker.split(":")[0]
    record("a message is delivered over 25 times", f"{broker}: to an ingest that dies of it", deaths)


def run(state: State, mesh: Mesh, now: datetime, dead_letters: bool = False) -> list[dict[str, Any]]:
    """Ingest in this process until the queue is empty; its report."""
    with connect(state.settings.broker) as broker:
        done = ingest(
            open_catalog(state.settings),
            broker,
            [mesh.contract(PRODUCT)],
            lambda: now,
            until_empty=True,
            dead_letters=dead_letters,
            limits=Limits(lines=10),
        )
    return [asdict(each) for each in done]


def test_the_clock_of_ingest_jumps_a_day(state: State, mesh: Mesh) -> None:
    now = datetime.now(UTC)
    # Events about now, some of them in what is the future after a jump back.
    about_now = int((now - START).total_seconds()) // 60
    bodies = [line for hours in (-30, -20, -1, 1, 20) for line in lines([1], minutes=about_now + hours * 60)]
    confirmed: list[bytes] = []
    runs = []
    jumps = (0, 24, 0, -24, 24 * 366, -24)
    for hours in jumps:
        confirmed += send(state, mesh, bodies)
        runs.append(run(state, mesh, now + timedelta(hours=hours)))
        assert violations(state.folder, PRODUCT, confirmed, runs=runs) == [], hours
    # The last by the setting that people have.
    confirmed += send(state, mesh, bodies)
    runs.append(state.mesh(*DRAIN, MESH_CLOCK=(now + timedelta(hours=24)).isoformat()).json)
    assert violations(state.folder, PRODUCT, confirmed, runs=runs) == []
    assert landed_ids(state.folder, PRODUCT) == ids(confirmed)
    assert quarantine(state.folder, PRODUCT) == []
    record("the clock jumps a day", "that of ingest, between runs over the same messages", len(jumps))


def test_the_clock_of_the_leases_jumps_a_day(state: State, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20261123)
    real, jumps = time.time, 0

    def jumping() -> float:
        nonlocal jumps
        jumps += 1
        return real() + chance.choice((-86_400, 0, 86_400))

    confirmed = send(state, mesh, in_batches([*lines(range(200)), *lines(range(50))], 5))
    runs: list[list[dict[str, Any]]] = []

    def run_beside() -> None:
        runs.append(run(state, mesh, datetime.now(UTC)))

    with monkeypatch.context() as patch:
        # Leases go by this clock alone; each look at it is a jump, so that they are lost again and again.
        patch.setattr("mesh_platform.broker.embedded_consumer.time.time", jumping)
        both = [threading.Thread(target=run_beside) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    assert len(runs) == 2
    runs += [run(state, mesh, datetime.now(UTC), dead_letters) for dead_letters in (False, True)]
    assert (waiting(state), waiting(state, dead=True)) == (0, 0)
    assert violations(state.folder, PRODUCT, confirmed, runs=runs) == []
    assert landed_ids(state.folder, PRODUCT) == ids(confirmed)
    record("the clock jumps a day", "the system's, under the leases of two consumers, at each look", jumps)
