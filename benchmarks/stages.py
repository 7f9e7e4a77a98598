"""Where the time of `make run` goes: stage by stage, and in ingest by what each of its threads does.

A process of its own runs the command with a clock around the functions below; the platform knows nothing of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, show
from benchmarks.place import ROOT, Place

# What each stage is called, and the function that is all of it.
_STAGES = {
    "produce": ("acme_world.commands", "_publish"),
    "ingest": ("mesh_platform.ingest", "ingest"),
    "build": ("mesh_platform.build", "build"),
    "check": ("acme_world.commands", "_check"),
}
# What ingest does; the thread that validates, and the one that writes.
_PARTS = {
    "receive": ("mesh_platform.ingest", "_Lane.receive"),
    "parse and check": ("mesh_platform.ingest", "validate"),
    "wait for the writer": ("mesh_platform.ingest", "_Writer.wait"),
    "pause": ("time", "sleep"),
    "ask whether it is empty": ("BROKER", "is_empty"),
    "deduplicate": ("mesh_platform.lake.keys", "KnownKeys.held"),
    "write files": ("mesh_platform.lake.append", "write_files"),
    "commit": ("mesh_platform.lake.append", "commit_files"),
    "load tables": ("mesh_platform.ingest", "ensure_table"),
    "acknowledge": ("BROKER", "ack"),
    "all of it": ("mesh_platform.ingest", "_Writer._write"),
}


def measure(bench: Bench) -> None:
    """Run it in a new state folder, and print two tables."""
    with bench.scratch() as folder:
        place, report = Place(folder / "state"), folder / "report.json"
        days = str(bench.size(28))
        command = [sys.executable, "-m", "benchmarks.stages", str(report), "--days", days]
        environment = dict(place.environment)
        subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(report.read_text())
    stages, threads = found["stages"], found["threads"]
    whole = found["seconds"]
    rows = [
        {"stage": name, "seconds": spent[0], "share": spent[0] / whole, "cores busy": spent[1] / spent[0]}
        for name, spent in stages.items()
    ]
    rest = whole - sum(spent[0] for spent in stages.values())
    show(
        f"make run, {days} days",
        [*rows, {"stage": "rest", "seconds": rest, "share": rest / whole, "cores busy": 0.0}],
    )
    wall = stages["ingest"][0]
    lines = []
    for thread, parts in threads.items():
        lines += [
            {"thread": thread, "does": part, "seconds": spent, "share": spent / wall} for part, spent in parts.items()
        ]
    show("In ingest", lines)
    for name, (seconds, _) in stages.items():
        bench.add(f"make run: {name}", seconds, "s")
    for thread, parts in threads.items():
        bench.add(f"make run: ingest, idle share of the {thread}", parts["idle"] / wall, "share")


class _Clock:
    """Seconds spent in functions, by thread; of what one calls of the others only the inner counts."""

    def __init__(self) -> None:
        self.spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._inner = threading.local()
        self.on = False

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if not self.on:
                return function(*arguments, **named)
            outer = getattr(self._inner, "seconds", 0.0)
            self._inner.seconds = 0.0
            begin = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                took = time.perf_counter() - begin
                self.spent[threading.current_thread().name][name] += took - self._inner.seconds
                self._inner.seconds = outer + took

        return timed


def _run(report: Path, words: list[str]) -> None:
    from acme_world import commands
    from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
    from mesh_platform.broker.rabbit_consumer import RabbitConsumer

    stages: dict[str, tuple[float, float]] = {}
    clock = _Clock()

    def stage(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            clock.on = name == "ingest"
            begin, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                stages[name] = time.perf_counter() - begin, time.process_time() - cpu
                clock.on = False

        return timed

    for name, (module, attribute) in _PARTS.items():
        owners: list[Any] = [EmbeddedConsumer, RabbitConsumer]
        if module != "BROKER":
            owners = [__import__(module, fromlist=["_"])]
        *path, last = attribute.split(".")
        for owner in owners:
            for step in path:
                owner = getattr(owner, step)
            setattr(owner, last, clock.wrap(name, getattr(owner, last)))
    for name, (module, attribute) in _STAGES.items():
        owner = __import__(module, fromlist=["_"])
        setattr(owner, attribute, stage(name, getattr(owner, attribute)))
    begin = time.perf_counter()
    with suppress(SystemExit):
        commands.run.main(words, standalone_mode=False)
    seconds = time.perf_counter() - begin
    threads = {}
    for thread, parts in clock.spent.items():
        named = "thread that validates" if thread == "MainThread" else "thread that writes"
        whole = stages["ingest"][0]
        parts = dict(parts)
        if "all of it" in parts:
            parts["other"] = parts.pop("all of it")
        busy = sum(each for part, each in parts.items() if part not in ("pause", "wait for the writer"))
        threads[named] = (
            {**parts, "idle": whole - busy} if named == "thread that writes" else _with_rest(parts, whole)
        )
    report.write_text(json.dumps({"stages": stages, "threads": threads, "seconds": seconds}))


def _with_rest(parts: dict[str, float], whole: float) -> dict[str, float]:
    idle = sum(parts.get(part, 0.0) for part in ("pause", "wait for the writer"))
    return {**parts, "other": whole - sum(parts.values()), "idle": idle}


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2:])
