"""Where the time of `make run` goes: by its stages, and in ingest by what each of its two threads does.

The stages are what `mesh run` itself tells. For ingest a process of its own runs the command with a clock around the
functions below; the platform knows nothing of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from functools import wraps
from importlib import import_module
from io import StringIO
from operator import attrgetter
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench, show
from benchmarks.place import ROOT, Place

# A part of ingest, and the function that does it. Of one that calls another of these, its own time counts.
_PARTS = {
    "receive": ("mesh_platform.ingest.ingest", "_Lane.receive"),
    "ask whether it is empty": ("mesh_platform.broker.embedded_consumer", "EmbeddedConsumer.is_empty"),
    "parse and check": ("mesh_platform.ingest.ingest", "validate"),
    "wait for the other thread": ("mesh_platform.ingest.ingest", "_Writer.wait"),
    "pause": ("time", "sleep"),
    "load and make tables": ("mesh_platform.ingest.ingest", "ensure_table"),
    "deduplicate": ("mesh_platform.iceberg.keys", "IdIndex.held"),
    "write files": ("mesh_platform.iceberg.append", "write_files"),
    "commit": ("mesh_platform.iceberg.append", "commit_files"),
    "acknowledge": ("mesh_platform.broker.embedded_consumer", "EmbeddedConsumer.ack"),
    "write, the rest": ("mesh_platform.ingest.ingest", "_Writer._write"),
}
_IDLE = ("wait for the other thread", "pause")


def measure(bench: Bench) -> None:
    """Run it in a new state folder, and print two tables."""
    with bench.scratch() as folder:
        place, report = Place(folder / "state"), folder / "report.json"
        days = str(bench.size(28))
        command = [sys.executable, "-m", "benchmarks.stages", str(report), "--days", days]
        begin = time.perf_counter()
        subprocess.run(command, env=dict(place.environment), cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        whole = time.perf_counter() - begin
        found = json.loads(report.read_text())
    stages, threads = found["seconds"], found["threads"]
    rows = [{"stage": name, "seconds": spent, "share": spent / whole} for name, spent in stages.items()]
    show(f"make run, {days} days: {whole:.1f} s in all", rows)
    wall = stages["ingest"]
    lines = []
    for thread, parts in threads.items():
        accounted = sum(parts.values())
        parts["nothing" if thread == "writes" else "the rest"] = wall - accounted
        lines += [
            {"thread that": thread, "does": part, "seconds": spent, "share": spent / wall}
            for part, spent in sorted(parts.items(), key=lambda item: -item[1])
        ]
    show("In ingest", lines)
    for name, seconds in stages.items():
        bench.add(f"make run: {name}", seconds, "s")
    waits = sum(seconds for name, seconds in stages.items() if name.startswith("wait"))
    bench.ratio("make run: the mesh waits for the company", waits / whole, "the whole run")
    for thread, parts in threads.items():
        idle = sum(parts.get(part, 0.0) for part in (*_IDLE, "nothing"))
        bench.ratio(f"make run: the thread that {thread} is idle", idle / wall, "ingest's part of it")


class _Clock:
    """Seconds spent in functions, by thread."""

    def __init__(self) -> None:
        self.spent: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.on = False
        self._inner = threading.local()

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            if not self.on:
                return function(*arguments, **named)
            outer, self._inner.seconds = getattr(self._inner, "seconds", 0.0), 0.0
            begin = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                took = time.perf_counter() - begin
                validates = threading.current_thread() is threading.main_thread()
                self.spent["validates" if validates else "writes"][name] += took - self._inner.seconds
                self._inner.seconds = outer + took

        return timed

    def only_in(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def switched(*arguments: Any, **named: Any) -> Any:
            self.on = True
            try:
                return function(*arguments, **named)
            finally:
                self.on = False

        return switched


def _run(report: Path, words: list[str]) -> None:
    from acme_world import commands

    clock = _Clock()
    for name, (module, attribute) in _PARTS.items():
        path, _, last = attribute.rpartition(".")
        owner: Any = import_module(module)
        owner = attrgetter(path)(owner) if path else owner
        setattr(owner, last, clock.wrap(name, getattr(owner, last)))
    ingesting: Any = import_module("mesh_platform.ingest.ingest")
    ingesting.ingest = clock.only_in(ingesting.ingest)
    out = StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        commands.run.main([*words, "--format", "json"], standalone_mode=False)
    seconds = json.loads(out.getvalue())["seconds"]
    report.write_text(json.dumps({"seconds": seconds, "threads": clock.spent}))


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2:])
