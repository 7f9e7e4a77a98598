"""How long an event takes from its publishing until a query of its landing table's view finds it.

Three processes: one publishes, one event a message at a steady rate; `mesh ingest` runs as it does for ever; this one
asks the view again and again. Event times are the times of publishing.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.lake.catalog import ensure_table
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.query.session import open_session

from benchmarks.events import draw, write_messages
from benchmarks.figures import Bench
from benchmarks.place import Place, rabbitmq

RATE = 1000
_PAUSE = 0.25
# What is published while `mesh ingest` starts is not counted.
_START = 5.0


def measure(bench: Bench) -> None:
    """Publish for a minute, and look for each event."""
    seconds = bench.size(60, 5)
    with bench.scratch() as folder, rabbitmq(folder) as url:
        place = Place(folder / "state", url)
        with connect(url) as broker:
            broker.declare([queue_of(place.contract)])
        ensure_table(place.catalog, landing_name(place.contract), landing_schema(place.contract))
        ingest = place.start(["ingest", place.contract.identifier])
        arguments = (place.state, url, _START + seconds)
        publisher = multiprocessing.get_context("spawn").Process(target=_publish, args=arguments)
        publisher.start()
        try:
            waits = _look(place, round(RATE * (_START + seconds)), 3 * seconds + 60)
            publisher.join()
        finally:
            publisher.kill()
            ingest.terminate()
            ingest.wait()
    waits = waits[round(RATE * _START) :]
    cuts = statistics.quantiles(waits, n=100)
    bench.add("published to queryable, median", cuts[49], "s")
    bench.add("published to queryable, p95", cuts[94], "s", at_most=5)
    bench.add("published to queryable, worst", max(waits), "s")


def _publish(state: Path, url: str, seconds: float) -> None:
    """RATE events a second, each when its time has come; its event time is when it is given to the broker."""
    place, count = Place(state, url), round(RATE * seconds)
    begin = datetime.now(UTC) + timedelta(seconds=1)
    due = time.time() + 1
    rows = draw(place.contract, count, 1, per_day=RATE * 86_400, late=0, start=begin)
    messages = write_messages(place.contract, rows, lines=1)

    def in_time() -> Iterator[Message]:
        for number, message in enumerate(messages):
            if (left := due + number / RATE - time.time()) > 0:
                time.sleep(left)
            yield message

    with connect(place.broker) as broker:
        broker.publish(queue_of(place.contract), in_time(), _ignore)


def _ignore(_message: Message) -> None:
    pass


def _look(place: Place, count: int, patience: float) -> list[float]:
    """Seconds that each event waited, in the order of event times, by new sessions until all are there."""
    found: dict[str, tuple[float, float]] = {}
    newest, end = 0.0, time.time() + patience
    view = landing_name(place.contract)
    while len(found) < count and time.time() < end:
        with open_session(place.mesh, place.catalog, only=[view]) as session:
            # What came late lies at most so far back.
            since = datetime.fromtimestamp(newest, UTC) - timedelta(seconds=20)
            rows = session.execute(
                f"select event_id, epoch_ms(event_time) / 1000 from {view} where event_time >= ?", [since]
            ).fetchall()
        now = time.time()
        for event_id, published in rows:
            found.setdefault(event_id, (published, now - published))
        newest = max([newest, *(published for _, published in rows)])
        time.sleep(_PAUSE)
    assert len(found) == count, f"{len(found)} of {count} events were found after {patience:g} s"
    return [wait for _, wait in sorted(found.values())]
