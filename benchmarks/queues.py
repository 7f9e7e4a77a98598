"""What it costs that events wait in many queues: as many in one queue, and in the queues of all products together."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence

from mesh_platform.broker import connect
from mesh_platform.contract.contract import Contract
from mesh_platform.ingest.ingest import ensure_tables, ingest

from benchmarks.figures import Bench
from benchmarks.memory import batches, fill
from benchmarks.place import Place, rabbitmq

EVENTS = 5_000_000


def measure(bench: Bench) -> None:
    """Drain both backlogs in one process, each into a lake of its own."""
    count = bench.size(EVENTS, 30_000)
    with bench.scratch() as folder, rabbitmq(folder) as url:
        one, many = Place(folder / "one", url), Place(folder / "many", url)
        alone = _rate(one, [one.contract], count)
        together = _rate(many, many.mesh.ingested(), count)
    bench.add("one queue", alone, "events/s")
    bench.add("the queues of all products", together, "events/s")
    bench.ratio("all queues by one", together / alone, "as many events in one queue", at_least=0.5)


def _rate(place: Place, contracts: Sequence[Contract], count: int) -> float:
    each = count // len(contracts)
    for number, contract in enumerate(contracts):
        fill(place, contract, batches(contract, each, number))
        ensure_tables(place.catalog, contract)
    gc.collect()
    with connect(place.broker) as broker:
        begin = time.perf_counter()
        results = ingest(place.catalog, broker, contracts, place.settings.now, until_empty=True)
        seconds = time.perf_counter() - begin
    assert sum(result.appended for result in results) == each * len(contracts), results
    return each * len(contracts) / seconds
