"""How long an event takes from the broker's confirm until a query of a fact finds it, stage by stage.

Four processes work at once: one publishes at a steady rate; `mesh ingest` and `mesh build --follow` run as they do
for ever; this one opens sessions as `mesh query` does, again and again. Each event is a line of the landing table, a
row of the product and a row of the fact, and they keep their order: so the number of rows that a snapshot or a query
has says which events it has. The time of a commit is its snapshot's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.build.build import build
from mesh_platform.build.table import Builder
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.lake.catalog import ensure_table, find_tables
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.maintenance_turns import MaintenanceTurns
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from mesh_platform.sql.model import find_models
from numpy.typing import NDArray

from benchmarks.events import draw, write_messages
from benchmarks.figures import Bench
from benchmarks.place import PRODUCT, Place, rabbitmq

FACT = "logistics_core.fact_orders"
STAGES = ("confirm", "landing", "product", "fact", "query")
# Events a second, how many of them are in a message, and the seconds of publishing.
CASES = ((1, 1, 120), (100, 1, 60), (10_000, 100, 30))
_AT = 100
_PROMISES = {(_AT, "landing", "p95"): 5.0, (_AT, "query", "p95"): 30.0}
_PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}
# The first events are not counted: the processes start, and read the lake for the first time.
_WARM_UP = 5
_PAUSE = 0.25
_PATIENCE = 300.0
_TURNS = 2
# Rows of each commit of a history.
_ROWS = 20


@dataclass
class _Seen:
    """How many events each stage had at which times, in order."""

    at: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: {stage: [] for stage in STAGES})

    def add(self, stage: str, time_: float, events: int) -> None:
        before = self.at[stage][-1] if self.at[stage] else (0.0, 0)
        if time_ > before[0] and events > before[1]:
            self.at[stage].append((time_, events))

    def times(self, stage: str, events: int) -> NDArray[np.float64]:
        """The time at which the stage had each of the first `events`."""
        times, counts = (np.array(each) for each in zip(*self.at[stage], strict=True))
        return np.asarray(times[np.searchsorted(counts, np.arange(events), "right")])


def measure(bench: Bench) -> None:
    """Publish at each rate; then at one of them onto tables with 500 commits behind them, 10,000 with `long`."""
    with bench.scratch() as folder, rabbitmq(folder) as url:
        for rate, lines, whole in CASES:
            waits, _ = _probe(Place(folder / f"at-{rate}", url), rate, lines, bench.size(whole, 5))
            for stage in STAGES:
                begin = "published" if stage == "confirm" else "confirmed"
                for name, percentile in _PERCENTILES.items():
                    most = _PROMISES.get((rate, stage, name))
                    value = float(np.percentile(waits[stage], percentile))
                    bench.add(f"at {rate:,}/s: {begin} to {stage}, {name}", value, "s", at_most=most)
        commits = bench.size(10_000 if bench.long else 500, 30)
        old = Place(folder / "old", url)
        _age(old, commits)
        _compare(bench, Place(folder / "fresh", url), old, commits)


def _compare(bench: Bench, fresh: Place, old: Place, commits: int) -> None:
    """Hold tables with so many commits behind them against fresh ones, in turns: the machine may have other work."""
    seconds = bench.size(60, 5)
    turns = [[_probe(place, _AT, 1, seconds) for place in (fresh, old)] for _ in range(_TURNS)]
    against = f"at {_AT}/s: fresh tables"
    for stage in ("landing", "query"):
        p95 = [
            np.percentile(np.concatenate([waits[stage] for waits, _ in each]), 95)
            for each in zip(*turns, strict=True)
        ]
        name = f"at {_AT}/s: confirmed to {stage}, p95, after {commits:,} commits"
        bench.ratio(name, p95[1] / p95[0], against, at_most=1.5)
    cpu = [sum(cpu for _, cpu in each) for each in zip(*turns, strict=True)]
    bench.ratio(f"at {_AT}/s: CPU after {commits:,} commits", cpu[1] / cpu[0], against, at_most=1.5)


def _probe(place: Place, rate: int, lines: int, seconds: int) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Seconds that each event took to each stage, in the order of publishing, and the CPU of all other processes."""
    before = os.times()
    with connect(place.broker) as broker:
        broker.declare([queue_of(place.contract)])
        broker.purge(queue_of(place.contract).name)
    with _running(place):
        _publish_and_look(place, 1, 1, _WARM_UP)
        waits = _publish_and_look(place, rate, lines, seconds)
    after = os.times()
    return waits, after.children_user + after.children_system - before.children_user - before.children_system


@contextmanager
def _running(place: Place) -> Iterator[None]:
    """`mesh ingest` and `mesh build --follow` of the fact, while the block runs."""
    processes = [place.start(["ingest", PRODUCT]), place.start(["build", "--follow", FACT])]
    try:
        yield
        assert all(process.poll() is None for process in processes), "ingest or the build has ended"
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


def _publish_and_look(place: Place, rate: int, lines: int, seconds: int) -> dict[str, NDArray[np.float64]]:
    count = rate * seconds
    tables = {"landing": landing_name(place.contract), "product": PRODUCT, "fact": FACT}
    there = {stage: _rows(place, name) for stage, name in tables.items()}
    receiver, sender = multiprocessing.get_context("spawn").Pipe(False)
    arguments = (place.state, place.broker, rate, lines, count, sender)
    publisher = multiprocessing.get_context("spawn").Process(target=_publish, args=arguments)
    publisher.start()
    seen = _Seen()
    try:
        first = receiver.recv()
        _look(place, tables, there, count, first, seen)
        seen.at["confirm"] = receiver.recv()
        publisher.join()
    finally:
        publisher.kill()
    confirmed = seen.times("confirm", count)
    waits = {stage: seen.times(stage, count) - confirmed for stage in STAGES}
    waits["confirm"] = confirmed - (first + np.arange(count) // lines * lines / rate)
    return waits


def _publish(state: Path, url: str, rate: int, lines: int, count: int, sender: Connection) -> None:
    """Publish each message when its time has come.

    Sends the time of the first, and at the end when the broker had confirmed how many events.
    """
    place = Place(state, url)
    # Drawing them takes a while.
    first = float(int(time.time()) + 3 + count // 50_000)
    messages = write_messages(place.contract, _order_lines(place, count, rate * 86_400, first), lines)
    confirmed: list[tuple[float, int]] = []
    given, done = 0, 0

    def confirm(_message: Message) -> None:
        nonlocal done
        done += lines
        confirmed.append((time.time(), done))

    sender.send(first)
    with connect(url) as broker:
        while given < len(messages):
            due = min(len(messages), int((time.time() - first) * rate / lines) + 1) if time.time() >= first else 0
            if due > given:
                # What has come due while the broker confirmed goes together.
                broker.publish(queue_of(place.contract), messages[given:due], confirm)
                given = due
            else:
                time.sleep(0.001)
    sender.send(confirmed)


def _order_lines(place: Place, count: int, per_day: int, first: float) -> pa.Table:
    """Lines in US dollars that break no rule, from the time `first` on."""
    rows = draw(place.contract, count, int(first), per_day, late=0, start=datetime.fromtimestamp(first, UTC))
    quantity = pa.array(np.arange(count) % 4 + 1, pa.int32())
    changed = {
        "quantity": quantity,
        "amount": pc.multiply(rows["unit_price"], quantity.cast(pa.decimal128(10, 0))),
        "currency": pa.repeat("USD", count),
    }
    columns = {name: changed.get(name, rows[name]) for name in rows.column_names}
    return pa.table([columns[each.name].cast(each.type) for each in rows.schema], schema=rows.schema)


def _look(place: Place, tables: dict[str, str], there: dict[str, int], count: int, first: float, seen: _Seen) -> None:
    """Look at snapshots and ask the fact, until it has all events."""
    query = f"select count(*) from {FACT} where order_ts >= timestamptz '{datetime.fromtimestamp(first, UTC)}'"
    found, end = 0, time.time() + count / 100 + _PATIENCE
    while found < count:
        assert time.time() < end, f"{found} of {count} events were found"
        with open_session(place.mesh, place.catalog, only=[FACT]) as session:
            found = int(run_query(session, query).column(0)[0].as_py())
        seen.add("query", time.time(), found)
        for stage, name in tables.items():
            table = find_tables(place.catalog, [name]).get(name)
            snapshots = table.metadata.snapshots if table else []
            for snapshot in sorted(snapshots, key=lambda each: each.sequence_number or 0):
                assert snapshot.summary is not None
                total = int(snapshot.summary["total-records"] or 0)
                seen.add(stage, snapshot.timestamp_ms / 1000, total - there[stage])
        time.sleep(_PAUSE)


def _rows(place: Place, name: str) -> int:
    table = find_tables(place.catalog, [name]).get(name)
    snapshot = table.current_snapshot() if table else None
    return int((snapshot.summary or {})["total-records"] or 0) if snapshot else 0


def _age(place: Place, commits: int) -> None:
    """Give the landing table, the product and the fact so many commits each, maintained as ingest and builds do."""
    contract, known = place.contract, IdIndex()
    name, schema = landing_name(contract), landing_schema(contract)
    rows = _order_lines(place, commits * _ROWS, 100 * _ROWS, time.time() - 86_400 * (commits / 100 + 2))

    def start(tables: list[str]) -> bool:
        maintain(place.mesh, place.catalog, tables)
        return True

    turns = MaintenanceTurns(start)
    build(place.mesh, place.catalog, [FACT])
    builder = Builder(place.mesh, place.catalog, find_models(place.mesh)[0])
    for number in range(commits):
        some = rows.slice(number * _ROWS, _ROWS)
        append_new(lambda: ensure_table(place.catalog, name, schema), some, "event_id", "event_time", known=known)
        assert all(builder.build(each, False).mode == "incremental" for each in (PRODUCT, FACT))
        turns.committed([name, PRODUCT, FACT])
