"""Ingest processes that begin at once: a parent that has imported everything forks them, before any thread.

`python -m ingest_workers` is that parent. It reads one command a line, JSON, and answers each with one line. Killing
its child is as real as killing `mesh ingest`, and costs 50 ms instead of over a second of imports.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mesh_platform import faults
from mesh_platform.broker import connect
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.errors import MeshError
from mesh_platform.ingest import ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.settings import Settings
from mesh_server import become_child
from mutations import mutate

ROOT = Path(__file__).resolve().parent.parent
START = "start"
# Where a worker can be when it is killed: it has passed none, or this point last.
PLACES = (START, *faults.POINTS)


@dataclass(frozen=True)
class Work:
    """What one worker does: the product and the options of `ingest`, of which `limits` are those of `Limits`.

    `lease` is in seconds and that of the embedded broker.
    """

    product: str
    until_empty: bool = False
    dead_letters: bool = False
    max_seconds: float | None = None
    lease: float = 60.0
    limits: Mapping[str, Any] = field(default_factory=dict)


class Workers:
    """The parent and its workers, each with a number. Closing ends them all."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes what workers leave: their reports, what they said, and where they were."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._count = 0
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MESH_", "PYICEBERG_"))}
        paths = os.pathsep.join([str(ROOT / "tests"), *filter(None, sys.path)])
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "ingest_workers", str(folder)],
            env={**kept, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, work: Work, environment: Mapping[str, str]) -> int:
        """Begin a worker; its number."""
        self._count += 1
        self._ask(start=self._count, work=asdict(work), environment=dict(environment))
        return self._count

    def ended(self, number: int) -> int | None:
        """None while it runs, then its exit code, negative for a signal."""
        return self._ask(look=number)

    def signal(self, number: int, name: str) -> int | None:
        """Send SIGKILL, SIGSTOP or SIGCONT, unless it has ended; what `ended` gave just before."""
        return self._ask(look=number, signal=name)

    def wait(self, number: int, patience: float = 60.0) -> int:
        """Its exit code, when it has ended. Raises TimeoutError."""
        deadline = time.monotonic() + patience
        while (code := self.ended(number)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"worker {number} runs for over {patience:g} s: {self.said(number)}")
            time.sleep(0.01)
        return code

    def report(self, number: int) -> list[dict[str, Any]]:
        """What its ingest reported, where it came to its end; else []."""
        path = self._folder / f"{number}.json"
        reports: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return reports

    def said(self, number: int) -> str:
        """What it wrote on stderr."""
        return (self._folder / f"{number}.err").read_text()

    def place(self, number: int) -> str:
        """The point that it passed last, or `START`."""
        path = self._folder / f"{number}.place"
        noted = path.read_bytes() if path.exists() else b""
        return PLACES[noted[0] if noted else 0]

    def close(self) -> None:
        """End all workers and their parent."""
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(timeout=60)

    def _ask(self, **command: Any) -> Any:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(command) + "\n")
        self._parent.stdin.flush()
        answer = self._parent.stdout.readline()
        if not answer:
            raise RuntimeError(f"the parent of the workers ended with {self._parent.wait()}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()


def serve(folder: Path) -> None:
    """Fork, signal and look after workers as commands on stdin say, until it ends; then kill what is left."""
    mesh = load_mesh(ROOT)
    # Workers neither look for garbage in what they share, nor copy it by doing so.
    gc.freeze()
    running: dict[int, int] = {}
    ended: dict[int, int] = {}
    try:
        for line in sys.stdin:
            command = json.loads(line)
            if "start" in command:
                number = command["start"]
                pid = os.fork()
                if not pid:
                    _be_worker(mesh, folder, number, Work(**command["work"]), command["environment"])
                running[number], answer = pid, None
            else:
                number = command["look"]
                # A process that is not waited for keeps its pid, so that no other can be hit by a signal.
                if number in running and (status := os.waitpid(running[number], os.WNOHANG))[0]:
                    ended[number] = os.waitstatus_to_exitcode(status[1])
                    del running[number]
                answer = ended.get(number)
                if answer is None and "signal" in command:
                    os.kill(running[number], signal.Signals[command["signal"]])
            print(json.dumps(answer), flush=True)
    finally:
        for pid in running.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _be_worker(mesh: Mesh, folder: Path, number: int, work: Work, environment: Mapping[str, str]) -> None:
    code = 1
    try:
        become_child(environment, os.devnull, folder / f"{number}.err")
        _note_places(folder / f"{number}.place")
        try:
            reports = [asdict(each) for each in _ingest(mesh, work)]
            (folder / f"{number}.part").write_text(json.dumps(reports))
            (folder / f"{number}.part").rename(folder / f"{number}.json")
            code = 0
        except MeshError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
        except BaseException:
            import traceback

            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _ingest(mesh: Mesh, work: Work) -> list[ingest.Ingested]:
    EmbeddedConsumer.LEASE_SECONDS = work.lease
    settings = Settings()
    with connect(settings.broker) as broker:
        return ingest.ingest(
            open_catalog(settings),
            broker,
            [mesh.contract(work.product)],
            settings.now,
            until_empty=work.until_empty,
            max_seconds=work.max_seconds,
            dead_letters=work.dead_letters,
            limits=ingest.Limits(**work.limits),
        )


def _note_places(path: Path) -> None:
    """Keep the point that was passed last in a file, which outlives a kill; files of a commit pass theirs always."""
    path.write_bytes(b"\0")
    file = os.open(path, os.O_RDWR)
    place = mmap.mmap(file, 1)
    numbers = {name: number for number, name in enumerate(PLACES)}
    real = faults.point

    def note(name: str) -> None:
        place[0] = numbers[name]
        real(name)

    faults.point = note
    faults.armed = lambda prefix: True


def _warm_up() -> None:
    """Import what a run imports late."""
    import pika
    import pyiceberg.catalog.sql
    import pyiceberg.io.pyarrow
    from mesh_platform.broker import embedded, rabbitmq
    from mesh_platform.iceberg import durable_io

    assert all((pika, pyiceberg.catalog.sql, pyiceberg.io.pyarrow, embedded, rabbitmq, durable_io))


if __name__ == "__main__":
    _warm_up()
    if "MUTATION" in os.environ:
        mutate(os.environ["MUTATION"])
    serve(Path(sys.argv[1]))
