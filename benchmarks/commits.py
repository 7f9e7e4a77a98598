"""Whether a commit stays as cheap, and its table as quick, as commits pile up with maintenance on."""

from __future__ import annotations

import statistics
import time

from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.lake.catalog import ensure_table
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.maintenance_turns import MAINTAIN_EVERY
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.query.session import open_session
from pyiceberg.table import Table

from benchmarks.events import draw
from benchmarks.figures import Bench, show
from benchmarks.place import Place

ROWS = 1000
# The CPU of a commit is the median of so many up to it, and up to those that were as far from the maintenance before:
# a busy moment of the machine is no cost. Commits 100, 1000 and 10,000 are the last before maintenance.
_UP_TO, _RUNS = 9, 5
_QUERY = "select currency, count(*), sum(amount), min(event_time), count(distinct product_id) from {} group by all"
_TIMES = 7
_PROMISES = {1000: 1.25, 10_000: 1.5}


def measure(bench: Bench) -> None:
    """Append a thousand times, ten thousand with `long`; then query."""
    last = bench.size(10_000 if bench.long else 1000, 30)
    with bench.scratch() as folder:
        place = Place(folder / "many")
        spent, maintenance = _append(place, last)
        looked = {number: _commit_cost(spent, number) for number in (10, 100, 1000, 10_000) if number <= last}
        show("CPU of a commit", [{"commit": number, "ms": 1000 * cost} for number, cost in looked.items()])
        for number, cost in looked.items():
            bench.add(f"CPU of commit {number}", 1000 * cost, "ms")
        bench.add("CPU of maintenance, for each commit", 1000 * maintenance / last, "ms")
        for number, most in _PROMISES.items():
            if number in looked:
                bench.ratio(f"CPU of commit {number} by 10", looked[number] / looked[10], "commit 10", at_most=most)
        fresh = Place(folder / "fresh")
        _compacted(place, fresh)
        # In turns: what else the machine does then slows both down.
        took = [{"maintained": _query(place), "fresh": _query(fresh)} for _ in range(_TIMES)]
        seconds = {name: statistics.median(turn[name] for turn in took) for name in ("maintained", "fresh")}
        for name, each in seconds.items():
            bench.add(f"query after {last} commits: {name}", 1000 * each, "ms")
        against = "the same rows freshly compacted"
        bench.ratio(f"query after {last} commits", seconds["maintained"] / seconds["fresh"], against, at_most=1.5)


def _append(place: Place, count: int) -> tuple[list[float], float]:
    """Seconds of CPU of each commit, and of all maintenance."""
    contract, known, spent, maintenance = place.contract, IdIndex(), [], 0.0
    name = landing_name(contract)

    def load() -> Table:
        return ensure_table(place.catalog, name, landing_schema(contract))

    # A hundred commits a day: as ingest would make them on a quiet table.
    rows = draw(contract, count * ROWS, 1, per_day=100 * ROWS, late=0)
    for number in range(count):
        some = rows.slice(number * ROWS, ROWS)
        begin = time.process_time()
        append_new(load, some, "event_id", "event_time", known=known)
        spent.append(time.process_time() - begin)
        if number % MAINTAIN_EVERY == MAINTAIN_EVERY - 1:
            begin = time.process_time()
            maintain(place.mesh, place.catalog, [name])
            maintenance += time.process_time() - begin
    return spent, maintenance


def _commit_cost(spent: list[float], number: int) -> float:
    ends = range(number, max(0, number - _RUNS * MAINTAIN_EVERY), -MAINTAIN_EVERY)
    return statistics.median(cost for end in ends for cost in spent[max(0, end - _UP_TO) : end])


def _compacted(place: Place, fresh: Place) -> None:
    """Write what is in the table into a new one, in one commit."""
    name = landing_name(place.contract)
    table = ensure_table(fresh.catalog, name, landing_schema(place.contract))
    append_rows(table, place.catalog.load_table(name).scan().to_arrow())


def _query(place: Place) -> float:
    """Seconds that a query through the view takes in a session of its own."""
    view = landing_name(place.contract)
    with open_session(place.mesh, place.catalog, only=[view]) as session:
        begin = time.perf_counter()
        session.execute(_QUERY.format(view)).fetchall()
        return time.perf_counter() - begin
