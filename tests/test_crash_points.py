"""kill -9 at each named point: what was confirmed is there once afterwards; what a dead commit left does no harm."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chaos import NAMES, broker_of
from fault_record import record
from ingest_workers import Work, Workers
from invariants import landed_ids, quarantine, violations
from mesh_platform.faults import POINTS
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, bad, emptied, ids, in_batches, lines, send
from pyiceberg.table import Table

from conftest import SLOW_ON_RABBITMQ, State

INGEST_POINTS = [name for name in POINTS if name.startswith(("ingest.", "append.", "commit."))]
# A flush commits to the landing table and then to the quarantine: these passings are of the second commit.
QUARANTINE = [
    *(f"{point}:2" for point in INGEST_POINTS if point.startswith("append.")),
    *(f"{point}:2" for point in INGEST_POINTS if point.startswith("commit.") and point != "commit.listed"),
    "commit.listed:2",
    "commit.listed:3",
    "commit.listed:4",
]
WORK = Work(PRODUCT, until_empty=True)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with Workers(tmp_path / "workers") as workers:
        yield workers


def die(workers: Workers, state: State, passing: str) -> None:
    """Ingest until the process is killed at a passing of a point."""
    point, _, number = passing.partition(":")
    worker = workers.start(WORK, {**state.environment, "MESH_FAULT": f"{point}:kill:{number or 1}"})
    assert workers.wait(worker) == -signal.SIGKILL, f"{passing}: {workers.said(worker)}"
    assert workers.place(worker) == point


@SLOW_ON_RABBITMQ
def test_a_kill_at_every_point_of_ingest(any_state: State, mesh: Mesh, workers: Workers) -> None:
    on_file = any_state.settings.broker.startswith("sqlite")
    confirmed: list[bytes] = []
    # In an empty lake metadata.json is first that of two new tables.
    passings = ["commit.described", "commit.described:2", *INGEST_POINTS, *QUARANTINE]
    for number, passing in enumerate(passings):
        orders = lines(range(number * 30, number * 30 + 30), minutes=1)
        refused = [bad(number * 30 + 10_000), bad(number * 30 + 10_001)]
        confirmed += send(any_state, mesh, [*in_batches(orders, 5), orders[3], *refused])
        die(workers, any_state, passing)
        # What RabbitMQ holds cannot be looked at without taking it; the end will tell.
        assert violations(any_state.folder, PRODUCT, confirmed if on_file else [], sent=confirmed) == [], passing
        if number % 4 == 3 or passing == passings[-1]:
            # Not after each: a broker gives up on what is delivered 20 times.
            last = workers.start(WORK, any_state.environment)
            assert workers.wait(last) == 0, workers.said(last)
            assert violations(any_state.folder, PRODUCT, confirmed, runs=[workers.report(last)]) == [], passing
    assert emptied(any_state)
    assert landed_ids(any_state.folder, PRODUCT) == ids(line for line in confirmed if b'"quantity": 2' in line)
    assert len(quarantine(any_state.folder, PRODUCT)) == 2 * len(passings)
    record(
        "kill -9 at a named point of ingest",
        f"{NAMES[broker_of(any_state)]}; each point, and those of a commit in both tables",
        len(passings),
    )


def test_what_a_killed_commit_left_behind_is_harmless(state: State, mesh: Mesh, workers: Workers) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(20)), 5))
    assert workers.wait(workers.start(WORK, state.environment)) == 0
    before = set(files(state))
    points = [name for name in POINTS if name.startswith("commit.")]
    confirmed += send(state, mesh, in_batches(lines(range(20, 40)), 5))
    for point in points:
        die(workers, state, point)
        assert landed_ids(state.folder, PRODUCT) == ids(confirmed[:20])
    left = set(files(state)) - before
    assert {path.suffix for path in left} == {".parquet", ".avro", ".json"}
    torn = [path for path in left if path.suffix == ".parquet" and not is_whole(path)]
    assert torn, "no file was half written"

    worker = workers.start(WORK, state.environment)
    assert workers.wait(worker) == 0
    assert violations(state.folder, PRODUCT, confirmed, runs=[workers.report(worker)]) == []
    assert landed_ids(state.folder, PRODUCT) == ids(confirmed)
    named = {Path(task.file.file_path) for task in landing(state).scan().plan_files()}
    assert named <= set(files(state))
    assert not named & left
    assert all(is_whole(path) for path in named)
    # Nor do they stand in the way of what reads the table next.
    state.mesh("build", PRODUCT)
    assert state.json("query", f"SELECT count(*) AS n FROM {PRODUCT}") == [{"n": 40}]
    record(
        "kill -9 within a commit, and the files that it leaves",
        "the embedded broker; each point of a commit, then ingest, build and query over what was left",
        len(points),
        "tables read as if nothing had been left",
    )


def files(state: State) -> list[Path]:
    return [path for path in (state.folder / "warehouse").rglob("*") if path.is_file()]


def landing(state: State) -> Table:
    return open_catalog(state.settings).load_table(f"{PRODUCT}__raw")


def is_whole(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True
