"""From the queue to a committed snapshot, as NDJSON batches and one event a message.

Each round fills the queue anew for every way that is measured, and compares what was measured in that round: the
machine is not as fast in one minute as in another. The median of the rounds is what is kept.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.ingest.ingest import ensure_tables, ingest

from benchmarks import floors, rivals
from benchmarks.events import LINES_IN_MESSAGE, draw, repeat_some, write_messages
from benchmarks.figures import Bench, console, show
from benchmarks.place import Place, rabbitmq

ROUNDS = 5
# The broker is still writing what was confirmed.
_SETTLE = 1.0
# Four times as many are in flight, and AMQP counts those in 16 bits.
_SINGLES_IN_FLUSH = 16_000


@dataclass
class _Rounds:
    """What each round measured, by name, in events a second."""

    rates: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, events: int, seconds: float) -> None:
        self.rates.setdefault(name, []).append(events / seconds)

    def rate(self, name: str) -> float:
        return statistics.median(self.rates[name])

    def ratio(self, name: str, other: Callable[[int], float]) -> float:
        """The median of a round's rate by `other` of that round."""
        return statistics.median(rate / other(number) for number, rate in enumerate(self.rates[name]))

    def of(self, name: str) -> Callable[[int], float]:
        return lambda number: self.rates[name][number]


def measure_batches(bench: Bench) -> None:
    """NDJSON batches, beside the three floors, the row-by-row way and dlt."""
    rounds = _Rounds()
    count, few = bench.size(1_000_000, 5_000), bench.size(200_000, 2_000)
    with bench.scratch() as folder, rabbitmq(folder) as url:
        contract = Place(folder / "any", url).contract
        for number in range(ROUNDS):
            rows = draw(contract, count, number)
            sent = repeat_some(rows, number)
            messages = write_messages(contract, sent)
            in_flush = floors.FLUSH // LINES_IN_MESSAGE
            place = Place(folder / f"batches-{number}", url)
            rounds.add("consume only", sent.num_rows, _consume(place, messages, in_flush))
            for name, seconds in floors.parse(contract, messages, in_flush).items():
                rounds.add(f"parse only, {name}", sent.num_rows, seconds)
            rounds.add("append only", count, floors.append(Place(folder / f"append-{number}"), rows))
            rounds.add("ingest", sent.num_rows, _ingest(place, messages, count))
            some = write_messages(contract, rows.slice(0, few))
            rounds.add("row by row", few, _row_by_row(Place(folder / f"rows-{number}", url), some, in_flush))
            tables = [pa.table(rows.slice(start, floors.FLUSH)) for start in range(0, count, floors.FLUSH)]
            rounds.add(
                "dlt, a load a flush", count, rivals.dlt(folder / f"dlt-{number}", [[table] for table in tables])
            )
            rounds.add("dlt, one load", count, rivals.dlt(folder / f"dlt-one-{number}", [tables]))
            worst = write_messages(contract, rows.slice(0, few), bad=0.01)
            rounds.add("ingest, 1 % bad lines", few, _ingest(Place(folder / f"bad-{number}", url), worst))
    show("Events a second, round by round", [{"way": name, **_numbered(of)} for name, of in rounds.rates.items()])
    parse = max((name for name in rounds.rates if name.startswith("parse")), key=rounds.rate)
    parts = {"consume only": "consume only", "parse only": parse, "append only": "append only"}
    for name, key in parts.items():
        bench.add(f"batches: {name}", rounds.rate(key), "events/s")
    for name in ("ingest", "ingest, 1 % bad lines", "row by row"):
        bench.add(f"batches: {name}", rounds.rate(name), "events/s")
    for name in ("dlt, a load a flush", "dlt, one load"):
        bench.add(f"Arrow tables: {name}", rounds.rate(name), "events/s")

    def allowed(number: int) -> float:
        return 1 / sum(1 / rounds.rates[key][number] for key in parts.values())

    bench.ratio("batches by floors", rounds.ratio("ingest", allowed), "1 / (sum of 1/floor)", at_least=0.85)
    bench.ratio("batches by rows", rounds.ratio("ingest", rounds.of("row by row")), "row by row", at_least=5)
    # As often as ingest commits; as one load of a million rows it commits once.
    by_dlt = rounds.ratio("ingest", rounds.of("dlt, a load a flush"))
    bench.ratio("batches by dlt", by_dlt, "dlt from Arrow to Iceberg, a load a flush", at_least=1.7)


def measure_singles(bench: Bench) -> None:
    """One event a message, beside the floor of consuming such messages and the row-by-row way."""
    rounds = _Rounds()
    count = bench.size(100_000, 2_000)
    with bench.scratch() as folder, rabbitmq(folder) as url:
        contract = Place(folder / "any", url).contract
        for number in range(ROUNDS):
            messages = write_messages(contract, draw(contract, count, number), lines=1)
            place = Place(folder / f"singles-{number}", url)
            rounds.add("consume only", count, _consume(place, messages, _SINGLES_IN_FLUSH))
            rounds.add("ingest", count, _ingest(place, messages, count))
            rounds.add(
                "row by row", count, _row_by_row(Place(folder / f"rows-{number}", url), messages, _SINGLES_IN_FLUSH)
            )
    show("Events a second, round by round", [{"way": name, **_numbered(of)} for name, of in rounds.rates.items()])
    for name in rounds.rates:
        bench.add(f"singles: {name}", rounds.rate(name), "events/s")
    bench.ratio("singles by floor", rounds.ratio("ingest", rounds.of("consume only")), "consume only", at_least=0.75)
    bench.ratio("singles by rows", rounds.ratio("ingest", rounds.of("row by row")), "row by row", at_least=1.5)


def _numbered(rates: Sequence[float]) -> dict[str, float]:
    return {f"round {number}": rate for number, rate in enumerate(rates, start=1)}


def publish(place: Place, messages: Sequence[Message]) -> None:
    """Put the messages into the product's queue, and wait until the broker is at rest."""
    queue = queue_of(place.contract)
    with connect(place.broker) as broker:
        broker.declare([queue])
        if came_back := broker.purge(queue.name):
            console.print(f"{came_back} messages came back after their acknowledgement, and are dropped.")
        broker.publish(queue, messages, lambda _message: None)
    gc.collect()
    time.sleep(_SETTLE)


def _consume(place: Place, messages: Sequence[Message], in_flush: int) -> float:
    publish(place, messages)
    return floors.consume(place.broker, queue_of(place.contract).name, len(messages), in_flush)


def _row_by_row(place: Place, messages: Sequence[Message], in_flush: int) -> float:
    publish(place, messages)
    return rivals.row_by_row(place, queue_of(place.contract).name, len(messages), in_flush)


def _ingest(place: Place, messages: Sequence[Message], rows: int | None = None) -> float:
    """Seconds of the platform's own way; `rows` is how many must be in the table afterwards."""
    publish(place, messages)
    catalog, contract, now = place.catalog, place.contract, place.settings.now
    # Those it is held against find their tables, too.
    ensure_tables(catalog, contract)
    with connect(place.broker) as broker:
        begin = time.perf_counter()
        (result,) = ingest(catalog, broker, [contract], now, until_empty=True)
        seconds = time.perf_counter() - begin
    assert rows is None or result.appended == rows, result
    return seconds
