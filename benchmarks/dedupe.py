"""What it costs to find out which rows are known, against ten million ids over a hundred days.

A batch of new rows is appended by the platform's own way to a table that is empty and to one that is full; the
ratio of the two is what knowing ten million ids costs. Cold is the first batch of a process, warm one of the later.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import pyarrow as pa
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.commit import commit_files, write_files
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.lake.catalog import ensure_table
from mesh_platform.lake.ledger import removed_keys
from mesh_platform.lake.tables import landing_name, landing_schema, ledger_name

from benchmarks.events import draw
from benchmarks.figures import Bench
from benchmarks.place import Place

DAYS = 100
OLD_DAYS = 10
ROUNDS = 5


def measure(bench: Bench) -> None:
    """Fill a table, then append to it and to an empty one in turn."""
    per_day, batch = bench.size(100_000), bench.size(100_000)
    with bench.scratch() as folder:
        full = Place(folder / "full")
        _fill(full, per_day)
        kinds: dict[str, Callable[[int], pa.Table]] = {
            "newest day": lambda seed: draw(full.contract, batch, seed, batch, DAYS - 1, late=0),
            "ten old days": lambda seed: draw(full.contract, batch, seed, batch // OLD_DAYS, 20, late=0),
        }
        promises = {"newest day": 1.3, "ten old days": 2.0}
        for kind, make in kinds.items():
            times = _measure(full, [Place(folder / f"{kind}-{number}") for number in range(ROUNDS)], kind, make)
            for state in ("cold", "warm"):
                spent = {name: statistics.median(each) for name, each in times[state].items()}
                for name, seconds in spent.items():
                    bench.add(f"dedupe: {kind}, {state}, {name}", 1000 * seconds, "ms")
                ratios = [a / b for a, b in zip(times[state]["full"], times[state]["empty"], strict=True)]
                against = "the same batch into an empty table"
                bench.ratio(f"dedupe: {kind}, {state}", statistics.median(ratios), against, at_most=promises[kind])


def _measure(
    full: Place, empties: list[Place], kind: str, make: Callable[[int], pa.Table]
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each round: `{"cold" | "warm": {"full" | "empty": [...]}}`."""
    times: dict[str, dict[str, list[float]]] = {state: {"full": [], "empty": []} for state in ("cold", "warm")}
    for number, empty in enumerate(empties):
        known = {"full": IdIndex(), "empty": IdIndex()}
        # What the first batch brought is taken back, so that the second meets the same table.
        for state in ("cold", "warm"):
            rows = make(1000 + 10 * number + (state == "warm") + 500 * (kind == "newest day"))
            for name, place in (("full", full), ("empty", empty)):
                ensure_table(place.catalog, landing_name(place.contract), landing_schema(place.contract))
                before = place.catalog.load_table(landing_name(place.contract)).current_snapshot()
                times[state][name].append(_append(place, rows, known[name]))
                if state == "cold" or name == "full":
                    _take_back(place, before.snapshot_id if before else None)
    return times


def _append(place: Place, rows: pa.Table, known: IdIndex) -> float:
    name = landing_name(place.contract)
    schema = landing_schema(place.contract)
    load = partial(ensure_table, place.catalog, name, schema)
    refused = removed_keys(place.catalog, ledger_name(place.contract), known)
    begin = time.perf_counter()
    appended = append_new(load, rows, "event_id", "event_time", refused, known)
    seconds = time.perf_counter() - begin
    assert appended.appended == rows.num_rows, appended
    return seconds


def _take_back(place: Place, snapshot_id: int | None) -> None:
    table = place.catalog.load_table(landing_name(place.contract))
    if snapshot_id is None:
        place.catalog.drop_table(landing_name(place.contract))
    else:
        with table.manage_snapshots() as snapshots:
            snapshots.rollback_to_snapshot(snapshot_id)


def _fill(place: Place, per_day: int) -> None:
    schema = landing_schema(place.contract)
    table = ensure_table(place.catalog, landing_name(place.contract), schema)
    for first in range(0, DAYS, OLD_DAYS):
        rows = draw(place.contract, OLD_DAYS * per_day, first, per_day, first)
        commit_files(table, (), write_files(table, rows))
