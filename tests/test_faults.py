"""Processes that die, stop or race, and services that go and come back: each event stays in the lake exactly once."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos import NAMES, broker_of
from fault_record import record
from invariants import landed_ids, violations
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, emptied, ids, in_batches, lines, send, waiting
from pyiceberg.catalog import load_catalog
from rabbit_node import Node, rabbit_node

from conftest import HANG, State

INGEST = ("ingest", PRODUCT)
DRAIN = (*INGEST, "--until-empty", "--format", "json")


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def drain(state: State) -> list[dict[str, Any]]:
    """Ingest until the queue is empty; its reports."""
    reports: list[dict[str, Any]] = state.mesh(*DRAIN).json
    assert emptied(state)
    return reports


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=HANG)
    finally:
        process.kill()
    return process.returncode, out, err


def test_two_that_start_together_share_the_work(any_state: State, mesh: Mesh) -> None:
    confirmed = send(any_state, mesh, in_batches([*lines(range(400)), *lines(range(100))], 2))
    both = [any_state.start(*DRAIN) for _ in range(2)]
    reports = []
    for process in both:
        code, out, err = finish(process)
        assert code == 0, err
        reports.append(json.loads(out))
    # RabbitMQ does not count what the other one holds, so that either may be told that the queue is empty.
    reports.append(drain(any_state))
    assert sum(run[0]["appended"] for run in reports) == 400
    assert violations(any_state.folder, PRODUCT, confirmed, runs=reports) == []
    assert landed_ids(any_state.folder, PRODUCT) == ids(confirmed)
    record("two ingest processes race for one queue", NAMES[broker_of(any_state)], 1)


def test_one_that_slept_longer_than_its_lease_wakes_to_do_no_harm(state: State, mesh: Mesh) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(60)), 5))
    sleeper = state.start(*DRAIN, MESH_FAULT="append.deduplicated:stop")
    try:
        wait_until(lambda: Path(f"/proc/{sleeper.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
        with sqlite3.connect(state.folder / "broker.db") as connection:
            connection.execute("UPDATE consumer SET lease_until = 0")
        (other,) = drain(state)
        assert other["appended"] == 60
    finally:
        sleeper.send_signal(signal.SIGCONT)
        code, out, err = finish(sleeper)
    assert code == 0, err
    (woken,) = json.loads(out)
    assert (woken["appended"], woken["duplicates"]) == (0, 60)
    assert violations(state.folder, PRODUCT, confirmed, runs=[[other], [woken]]) == []
    record(
        "a process is frozen for longer than its lease, another does its work, then it wakes", NAMES["embedded"], 1
    )


def test_a_kill_at_every_point_of_build(state: State, mesh: Mesh) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(60)), 10))
    drain(state)
    for fault in ("build.computed:kill:2", "build.committed:kill:3"):
        state.mesh("build", check=-signal.SIGKILL, MESH_FAULT=fault)
    confirmed += send(state, mesh, in_batches(lines(range(60, 90)), 10))
    drain(state)
    for fault in ("build.computed:kill", "build.committed:kill"):
        state.mesh("build", PRODUCT, check=-signal.SIGKILL, MESH_FAULT=fault)
    assert {built["mode"] for built in state.json("build", PRODUCT)} == {"noop"}
    state.mesh("build")
    assert product_ids(state) == landed_ids(state.folder, PRODUCT) == ids(confirmed)
    how = "before and after the commit of a product and of what is built on it"
    record("kill -9 at a named point of build", how, 4, "each event is in the product once")


def product_ids(state: State) -> list[str]:
    """The ids in the product's table, sorted, as often as they are there."""
    folder = state.folder
    catalog = load_catalog("mesh", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"{folder}/warehouse")
    return sorted(catalog.load_table(PRODUCT).scan(selected_fields=("event_id",)).to_arrow()["event_id"].to_pylist())


def fails_with_3(state: State, words: str, *commands: tuple[str, ...]) -> None:
    for command in commands:
        failed = state.mesh(*command, check=3)
        assert words in failed.err
        assert "Traceback" not in failed.err


def test_the_embedded_broker_goes_away_and_comes_back(state: State, mesh: Mesh) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(30)), 5))
    path, aside = state.folder / "broker.db", state.folder / "aside.db"
    path.rename(aside)
    path.mkdir()
    fails_with_3(state, f"{path}: the broker's file cannot be used", INGEST, ("produce", PRODUCT, "burst"))
    path.rmdir()
    aside.rename(path)
    reports = drain(state)
    assert violations(state.folder, PRODUCT, confirmed, runs=[reports]) == []
    assert landed_ids(state.folder, PRODUCT) == ids(confirmed)
    record("the broker goes away and comes back", NAMES["embedded"], 1)


def test_the_lake_goes_away_and_comes_back(state: State, mesh: Mesh) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(30)), 5))
    drain(state)
    confirmed += send(state, mesh, in_batches(lines(range(60)), 5))
    path, aside = state.folder / "catalog.db", state.folder / "aside.db"
    path.rename(aside)
    fails_with_3(state, "warehouse/ has tables, but catalog.db, which names them, is gone", INGEST)
    path.write_bytes(b"this was a database " * 100)
    damaged = state.mesh(*INGEST, check=1)
    assert "catalog.db: a file that is needed is missing or damaged" in damaged.err
    assert "file is not a database" in damaged.err
    assert "Traceback" not in damaged.err
    path.unlink()
    path.mkdir()
    fails_with_3(state, "unable to open database file", INGEST)
    path.rmdir()
    assert waiting(state) == 12
    aside.rename(path)
    reports = drain(state)
    assert violations(state.folder, PRODUCT, confirmed, runs=[reports]) == []
    assert landed_ids(state.folder, PRODUCT) == ids(confirmed)
    record("the catalog goes away, is damaged, and comes back", "SQLite; gone, overwritten, replaced by a folder", 3)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with rabbit_node(tmp_path / "node") as node:
        yield node


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_rabbitmq_goes_away_and_comes_back(
    node: Node, tmp_path: Path, make_state: Callable[..., State], mesh: Mesh
) -> None:
    state = make_state(tmp_path / "state", broker_url=node.start())
    confirmed = send(state, mesh, in_batches(lines(range(30)), 5))
    node.stop()
    fails_with_3(state, "127.0.0.1", INGEST, ("produce", PRODUCT, "burst"))
    node.start()
    live = state.start(*INGEST, "--format", "json")
    try:
        wait_until(lambda: len(landed_ids(state.folder, PRODUCT)) == 30)
        # It tries for half a minute to come back, in which a busy machine does little more than this.
        node.stop()
        node.start()
        confirmed += send(state, mesh, in_batches(lines(range(60)), 5))
        wait_until(lambda: len(landed_ids(state.folder, PRODUCT)) == 60)
    finally:
        live.send_signal(signal.SIGINT)
        code, out, err = finish(live)
    assert code == 0, err
    reports = [json.loads(out), drain(state)]
    assert violations(state.folder, PRODUCT, confirmed, runs=reports) == []
    assert landed_ids(state.folder, PRODUCT) == ids(confirmed)
    record("the broker goes away and comes back", NAMES["rabbitmq"], 1)


def test_ctrl_c_ends_a_producer_and_ingest_with_clean_counts(any_state: State) -> None:
    producer = any_state.start("produce", PRODUCT, "live", "--interval", "0.02", "--format", "json")
    live = any_state.start(*INGEST, "--format", "json")
    try:
        wait_until(lambda: len(landed_ids(any_state.folder, PRODUCT)) >= 5)
    finally:
        results = []
        for process in (producer, live):
            process.send_signal(signal.SIGINT)
            results.append(finish(process))
    for code, _out, err in results:
        assert code == 0, err
        assert "Traceback" not in err
    sent, reports = (json.loads(out) for _code, out, _err in results)
    last = drain(any_state)
    landed = landed_ids(any_state.folder, PRODUCT)
    assert len(landed) == len(set(landed)) == sent["confirmed"]
    assert reports[0]["appended"] + last[0]["appended"] == sent["confirmed"]
    none_confirmed_by_name = [json.dumps({"event_id": each}).encode() for each in landed]
    assert violations(any_state.folder, PRODUCT, [], sent=none_confirmed_by_name, runs=[reports, last]) == []
    record("Ctrl-C while events flow", NAMES[broker_of(any_state)], 1)
