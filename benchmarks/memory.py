"""The most memory that `mesh ingest` ever takes, whatever waits in the queues.

It is the process's own high-water mark (VmHWM), which the kernel keeps; broker and disk cache do not count.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mesh_platform.broker import MAX_MESSAGE_BYTES, Message, connect, queue_of
from mesh_platform.contract.contract import Contract

from benchmarks.events import draw, repeat_some, write_messages
from benchmarks.figures import Bench, console
from benchmarks.place import Place, rabbitmq

MOST = 750
QUEUES = 20
# Drawn at a time; the whole backlog need not fit in this process.
_PART = 200_000


def measure(bench: Bench) -> None:
    """One backlog after the other, each drained by a process of its own."""
    with bench.scratch() as folder, rabbitmq(folder) as url:
        place = Place(folder / "any", url)
        contract = place.contract
        backlogs: dict[str, Iterator[Message]] = {
            "batches": batches(contract, bench.size(1_000_000, 5_000)),
            "batches, 1 % bad lines": batches(contract, bench.size(500_000, 5_000), bad=0.01),
            "single events": batches(contract, bench.size(200_000, 2_000), lines=1),
            "messages of 8 MiB": _large(contract, bench.size(60, 2)),
        }
        for name, messages in backlogs.items():
            there = Place(folder / name, url)
            fill(there, contract, messages)
            peak = _peak(there.start(["ingest", contract.identifier, "--until-empty"]))
            bench.add(f"memory of ingest: {name}", peak, "MB", at_most=MOST)
        # Onto what the first left: whoever begins has to read which ids are there.
        there = Place(folder / "batches", url)
        fill(there, contract, batches(contract, bench.size(1_000_000, 5_000), seed=1))
        peak = _peak(there.start(["ingest", contract.identifier, "--until-empty"]))
        bench.add("memory of ingest: batches, onto a full table", peak, "MB", at_most=MOST)
        there = Place(folder / "many", url)
        contracts = there.mesh.ingested()[:QUEUES]
        for number, each in enumerate(contracts):
            fill(there, each, batches(each, bench.size(50_000, 1_000), number))
        # All queues at once: one after the other is what --until-empty does.
        words = ["ingest", *(each.identifier for each in contracts), "--max-seconds", str(bench.size(20, 3))]
        bench.add(f"memory of ingest: {QUEUES} queues at once", _peak(there.start(words)), "MB", at_most=MOST)


def batches(contract: Contract, count: int, seed: int = 0, lines: int = 500, bad: float = 0.0) -> Iterator[Message]:
    """Yield `count` events as messages, drawn some at a time; a hundredth of them come twice."""
    for first in range(0, count, _PART):
        rows = draw(contract, min(_PART, count - first), seed + first, first_day=first // 100_000)
        yield from write_messages(contract, repeat_some(rows, seed), lines, bad)


def _large(contract: Contract, count: int) -> Iterator[Message]:
    """Messages that are as large as may be."""
    line = len(write_messages(contract, draw(contract, 100, 0), 100)[0].body) / 100
    # Lines are not all of one length.
    lines = int(0.99 * MAX_MESSAGE_BYTES / line)
    for number in range(0, count, 10):
        rows = draw(contract, min(10, count - number) * lines, number, first_day=number // 5)
        yield from write_messages(contract, rows, lines)


def fill(place: Place, contract: Contract, messages: Iterable[Message]) -> None:
    """Put the messages into the product's queue, which is empty before."""
    with connect(place.broker) as broker:
        broker.declare([queue_of(contract)])
        if came_back := broker.purge(queue_of(contract).name):
            console.print(f"{came_back} messages came back after their acknowledgement, and are dropped.")
        broker.publish(queue_of(contract), messages, lambda _message: None)


def _peak(process: subprocess.Popen[bytes]) -> float:
    """MB, when the process has ended well."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, *_high_water(Path(f"/proc/{process.pid}/status")))
        time.sleep(0.02)
    assert process.returncode == 0, f"mesh ingest ended with {process.returncode}"
    return peak / 1000


def _high_water(status: Path) -> Sequence[int]:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return [0]
    # In KiB. A process that is ending has none any more.
    return [round(int(line.split()[1]) * 1.024) for line in lines if line.startswith("VmHWM")] or [0]
