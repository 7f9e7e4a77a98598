"""Reports of runs to OpenLineage, which never fail nor delay the runs.

OpenLineage's own settings (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, OPENLINEAGE__*, openlineage.yml; see
https://openlineage.io/docs/client/python) say where the events are sent.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import Contract
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings
from mesh_platform.text import counted

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunEvent

    from mesh_platform.ingest.ingest import Ingested
    from mesh_platform.metadata.openlineage import AirflowTask, Kind, Outcome

Report = Callable[["Kind", str, "Outcome"], None]

# Seconds that the end of a process waits for the events that are not sent yet.
PATIENCE = 5.0
_THREAD = "openlineage"
# An event of a wide table takes some 30 kB.
_MOST_WAITING = 1000


def is_configured() -> bool:
    """Whether OpenLineage's own settings say where events are sent."""
    names = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT")
    files = (Path("openlineage.yml"), Path.home() / ".openlineage" / "openlineage.yml")
    return any(name.startswith(names) for name in os.environ) or any(file.exists() for file in files)


@contextmanager
def run_reports(
    settings: Settings,
    mesh: Mesh,
    say: Callable[[str], object],
    parent: AirflowTask | None = None,
    into_file: bool = False,
) -> Iterator[Report]:
    """Yield a function that reports the start (None) and the end of a run for a table.

    Runs that have not ended when the block ends by an exception are reported as failed by it. Without a transport
    nothing is reported, or, with `into_file`, the events are appended to lineage.jsonl in the state folder. `say`
    receives the first fault only; there is no other effect of a fault, and the block ends at most `PATIENCE` seconds
    later than its work.
    """
    configured = is_configured()
    if not (configured or into_file):
        yield lambda kind, table, outcome: None
        return
    once = _Once(say)
    try:
        from openlineage.client import OpenLineageClient

        from mesh_platform.metadata.openlineage import Events
    except ModuleNotFoundError as error:
        once.say(f"{error}. Install openlineage-python, or unset the OPENLINEAGE variables")
        yield lambda kind, table, outcome: None
        return
    file = {"type": "file", "log_file_path": str(settings.state_dir / "lineage.jsonl"), "append": True}

    def client() -> OpenLineageClient:
        return OpenLineageClient() if configured else OpenLineageClient(config={"transport": file})

    events = Events(settings, mesh, parent)
    sender = _Sender(client, once)

    def report(kind: Kind, table: str, outcome: Outcome) -> None:
        try:
            sender.send(events.event(kind, table, outcome))
        except Exception as error:
            once.say(f"no event of {table}: {type(error).__name__}: {error}")

    try:
        yield report
    except BaseException as error:
        for kind, table in events.unfinished:
            report(kind, table, error)
        raise
    finally:
        sender.close()


def reported_ingest(
    report: Report, contracts: Sequence[Contract], ingest: Callable[[], list[Ingested]]
) -> list[Ingested]:
    """Call `ingest`, which ingests these products, and report a run for each of them; return its results."""
    for contract in contracts:
        report("ingest", landing_name(contract), None)
    results = ingest()
    for result in results:
        report("ingest", result.table, result)
    return results


class _Once:
    """Says the first fault, and no other."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say, self._lock = say, threading.Lock()

    def say(self, fault: str) -> None:
        if self._lock.acquire(blocking=False):
            self._say(f"OpenLineage: {fault}. Rows and tables are not affected.")


class _Sender:
    """Sends events in their order, by one client on a thread of its own."""

    def __init__(self, make_client: Callable[[], OpenLineageClient], once: _Once) -> None:
        self._make_client, self._once = make_client, once
        self._waiting: Queue[RunEvent | None] = Queue(_MOST_WAITING)
        # A transport that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)
        self._until: float | None = None
        # They log each attempt of a transport; OPENLINEAGE_CLIENT_LOGGING sets the first to another level.
        logging.getLogger("openlineage").setLevel(logging.CRITICAL)
        logging.getLogger("urllib3.connectionpool").addFilter(_not_of_sender)
        self._thread.start()

    def send(self, event: RunEvent) -> None:
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._once.say(f"{_MOST_WAITING} events wait to be sent; later ones are dropped")

    def close(self) -> None:
        self._until = time.monotonic() + PATIENCE
        with suppress(Full):
            self._waiting.put(None, timeout=PATIENCE)
        self._thread.join(max(0.0, self._until - time.monotonic()))
        if self._thread.is_alive():
            number = counted(self._waiting.qsize() or 1, "event was", "events were")
            self._once.say(f"{number} not sent within {PATIENCE:g} s")

    def _run(self) -> None:
        try:
            client = self._make_client()
        except Exception as error:
            self._once.say(f"no client: {type(error).__name__}: {error}")
            while self._waiting.get() is not None:
                pass
            return
        while (event := self._waiting.get()) is not None:
            try:
                client.emit(event)
            except Exception as error:
                self._once.say(f"events are not sent: {type(error).__name__}: {error}")
        try:
            if not client.close(max(0.1, (self._until or 0.0) - time.monotonic())):
                self._once.say(f"some events were not sent within {PATIENCE:g} s")
        except Exception as error:
            self._once.say(f"events are not sent: {type(error).__name__}: {error}")


def _not_of_sender(record: logging.LogRecord) -> bool:
    return record.threadName != _THREAD
