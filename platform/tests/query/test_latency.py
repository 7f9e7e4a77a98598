"""A table that promises latency is late if a change of its inputs has waited longer than promised."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.history import changed_since
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.query import freshness
from mesh_platform.query.status import TableStatus, read_status

from ..small_mesh import START, Place, Sale, small_mesh

FACT, DIM = "core.fact_sales", "core.dim_buyer"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A mesh whose `dim_buyer` promises that a sale appears within two hours, built with one sale."""
    place = small_mesh(tmp_path)
    path = tmp_path / "domains/core/contracts/dim_buyer.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["slaProperties"].append({"property": "latency", "value": 2, "unit": "h"})
    path.write_text(yaml.safe_dump(contract))
    place.land("alpha", [Sale(1)])
    place.build()
    return place


def look(place: Place) -> TableStatus:
    (found,) = (each for each in read_status(place.mesh, place.catalog, START) if each.table == DIM)
    return found


def in_three_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(hours=3)

    monkeypatch.setattr(freshness, "datetime", Later)


def test_what_is_built_of_all_there_is_waits_for_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    in_three_hours(monkeypatch)
    found = look(place)
    assert (found.lag_s, found.promise_s, found.fresh, found.max_event_time) == (0, 7200, True, None)


def test_a_change_that_waits_too_long_makes_it_late(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.land("alpha", [Sale(2)])
    place.build(FACT)
    assert look(place).fresh is True
    in_three_hours(monkeypatch)
    late = look(place)
    assert late.fresh is False
    assert late.lag_s is not None
    assert 3 * 3600 <= late.lag_s < 3 * 3600 + 600
    place.build()
    assert (look(place).lag_s, look(place).fresh) == (0, True)


@pytest.mark.slow
def test_it_counts_from_the_first_change_and_not_from_a_compaction(place: Place) -> None:
    seen = place.snapshots(FACT)
    for number in range(2, 10):
        place.land("alpha", [Sale(number)])
        place.build(FACT)
    table = place.catalog.load_table(FACT)
    first = table.snapshot_by_id(place.snapshots(FACT)[len(seen)])
    assert first is not None
    assert changed_since(table, seen[-1]) == datetime.fromtimestamp(first.timestamp_ms / 1000, UTC)
    newest = current_snapshot_id(table)
    assert newest is not None
    assert compact(lambda: place.catalog.load_table(FACT)).files > 1
    table = place.catalog.load_table(FACT)
    assert current_snapshot_id(table) != newest
    assert changed_since(table, newest) is None
