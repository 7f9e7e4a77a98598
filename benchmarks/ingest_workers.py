"""Several `mesh ingest` of the same queue, and of all queues: what it gains, and what conflicts cost.

Workers start while the queues are empty; seconds count from the first message to the last row. CPU is that of all
workers without their imports, so that it can be compared where the machine has fewer cores than workers. A flush is
of few records, so that workers of one queue do meet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec
from unittest.mock import patch

from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.contract.contract import Contract
from mesh_platform.ingest.ingest import ensure_tables
from mesh_platform.lake.catalog import existing_table
from mesh_platform.lake.tables import landing_name

from benchmarks.events import draw, write_messages
from benchmarks.figures import Bench
from benchmarks.place import ROOT, Place, rabbitmq

WORKERS = (1, 2, 4)
_Given = ParamSpec("_Given")
_FLUSH = {"MESH_FLUSH_LINES": "5000"}
_PATIENCE = 600.0


def measure(bench: Bench) -> None:
    """One queue and all queues, drained by one, two and four workers each."""
    with bench.scratch() as folder, rabbitmq(folder) as url:
        every = [each for each in Place(folder / "any", url).mesh.contracts.values() if each.event]
        one = next(each for each in every if each.identifier == Place(folder / "any", url).contract.identifier)
        for what, contracts, count in (
            ("one queue", [one], bench.size(400_000, 4_000)),
            (f"{len(every)} queues", every, bench.size(240_000, 3_000)),
        ):
            messages = {each.identifier: _messages(each, count // len(contracts)) for each in contracts}
            for workers in WORKERS:
                place = Place(folder / f"{len(contracts)}-{workers}", url)
                _drain(bench, f"{what}, {workers} ingest", place, contracts, messages, workers)


def _messages(contract: Contract, count: int) -> tuple[int, Sequence[Message]]:
    rows = draw(contract, count, 1)
    return rows.num_rows, write_messages(contract, rows)


def _drain(
    bench: Bench,
    name: str,
    place: Place,
    contracts: Sequence[Contract],
    messages: dict[str, tuple[int, Sequence[Message]]],
    workers: int,
) -> None:
    wanted = sum(count for count, _ in messages.values())
    with connect(place.broker) as broker:
        broker.declare([queue_of(each) for each in contracts])
        ensure_tables(place.catalog, *contracts)
        started = [_start(place, [each.identifier for each in contracts], number) for number in range(workers)]
        try:
            _await(place.state, workers)
            begin = time.perf_counter()
            for each in contracts:
                broker.publish(queue_of(each), messages[each.identifier][1], lambda _message: None)
            while _rows(place, contracts) < wanted:
                assert time.perf_counter() - begin < _PATIENCE, f"{name}: rows are missing"
                time.sleep(0.2)
            seconds = time.perf_counter() - begin
        finally:
            for process in started:
                process.terminate()
            codes = [process.wait() for process in started]
    assert not any(codes), f"{name}: ingest ended with {codes}"
    assert _rows(place, contracts) == wanted, f"{name}: {_rows(place, contracts)} rows of {wanted}"
    found = [json.loads((place.state / f"{number}.json").read_text()) for number in range(workers)]
    commits, conflicts = (sum(each[what] for each in found) for what in ("commits", "conflicts"))
    bench.add(f"{name}: rate", wanted / seconds, "events/s")
    bench.add(f"{name}: CPU of a million", 1e6 * sum(each["cpu"] for each in found) / wanted, "s")
    bench.add(f"{name}: commits", commits, "")
    bench.add(f"{name}: conflicts", conflicts, "")


def _rows(place: Place, contracts: Sequence[Contract]) -> int:
    total = 0
    for each in contracts:
        snapshot = existing_table(place.catalog, landing_name(each)).current_snapshot()
        total += int(snapshot.summary["total-records"] or 0) if snapshot and snapshot.summary else 0
    return total


def _start(place: Place, names: Sequence[str], number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.ingest_workers", str(place.state / str(number)), *names]
    with (place.state / f"{number}.err").open("wb") as said:
        return subprocess.Popen(command, env={**place.environment, **_FLUSH}, cwd=ROOT, stdout=said, stderr=said)


def _await(state: Path, workers: int) -> None:
    end = time.monotonic() + _PATIENCE
    while not all((state / f"{number}.ready").exists() for number in range(workers)):
        assert time.monotonic() < end, f"{state}: not all workers have started"
        time.sleep(0.1)


def _work(file: str, names: Sequence[str]) -> None:
    """Be a worker: `mesh ingest`, whose commits and conflicts are counted."""
    import mesh_platform.lake.catalog
    import pika
    import pyiceberg.io.pyarrow
    from mesh_platform.cli import main
    from mesh_platform.errors import ConflictError
    from mesh_platform.iceberg import append

    assert all((mesh_platform.lake.catalog, pika, pyiceberg.io.pyarrow))

    counted = {"commits": 0, "conflicts": 0}

    def counting(commit: Callable[_Given, int]) -> Callable[_Given, int]:
        def count(*given: _Given.args, **more: _Given.kwargs) -> int:
            try:
                result = commit(*given, **more)
            except ConflictError:
                counted["conflicts"] += 1
                raise
            counted["commits"] += 1
            return result

        return count

    before = sum(os.times()[:2])
    Path(f"{file}.ready").touch()
    sys.argv = ["mesh", "ingest", *names]
    try:
        with patch.object(append, "commit_files", counting(append.commit_files)):
            main()
    finally:
        Path(f"{file}.json").write_text(json.dumps({**counted, "cpu": sum(os.times()[:2]) - before}))


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2:])
