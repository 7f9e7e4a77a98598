"""`visible after` of `mesh status` is the time from the receipt of events to the commit that brought them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from mesh_platform.iceberg import expiry
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.expiry import expire
from mesh_platform.lake.rollback import roll_back
from mesh_platform.query.status import read_status

from ..small_mesh import START, Place, Sale, small_mesh

SALES, RAW, FACT, ITEM = "alpha.sales_alpha", "alpha.sales_alpha__raw", "core.fact_sales", "core.dim_item"
# A year after the events.
BEGIN = (START + timedelta(days=400)).timestamp()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of commits to so many seconds after `BEGIN`."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: BEGIN + seconds)

    set_clock(0)
    return set_clock


def visible_after(place: Place) -> dict[str, float | None]:
    return {each.table: each.visible_after_s for each in read_status(place.mesh, place.catalog, START)}


def test_a_build_counts_with_the_sale_that_waited_longest(place: Place, at: Callable[[float], None]) -> None:
    place.land("alpha", [Sale(1)])
    at(50)
    place.build()
    assert visible_after(place)[FACT] is None
    at(100)
    place.land("alpha", [Sale(2)])
    at(105)
    # A late event, and one of the future.
    place.land("alpha", [Sale(3, -24 * 60), Sale(4, 24 * 3650)])
    at(130)
    place.build()
    found = visible_after(place)
    assert (found[SALES], found[FACT]) == (30, 30)
    at(200)
    place.land("beta", [Sale(5)])
    at(202)
    place.build(SALES, "beta.sales_beta")
    at(210)
    place.build()
    found = visible_after(place)
    # The beta shop sold nothing before, so its product has only a first state without sales.
    assert (found[SALES], found["beta.sales_beta"]) == (30, 2)
    # The 95th percentile of 10 and 30.
    assert found[FACT] == pytest.approx(29)


def test_the_wait_begins_when_ingest_received_the_events(place: Place, at: Callable[[float], None]) -> None:
    place.build()
    at(100)
    place.land("alpha", [Sale(1)], received=BEGIN + 95)
    at(112)
    place.build()
    found = visible_after(place)
    assert (found[RAW], found[SALES], found[FACT]) == (5, 17, 17)


def test_what_brings_no_events_does_not_count(place: Place, at: Callable[[float], None]) -> None:
    assert visible_after(place) == {}
    place.build()
    assert set(visible_after(place).values()) == {None}
    for number in range(1, 10):
        at(100 * number)
        place.land("alpha", [Sale(number)])
        at(100 * number + 1)
        place.build()
    before = visible_after(place)
    assert (before[FACT], before[ITEM]) == (1, None)
    at(5000)
    for name in (RAW, SALES, FACT):
        assert compact(partial(place.catalog.load_table, name)).files > 1
    at(6000)
    place.build()
    place.build(full=True)
    roll_back(place.mesh, place.catalog, RAW, place.snapshots(RAW)[3])
    at(7000)
    place.build()
    assert before.items() <= visible_after(place).items()
    # The next commit to the landing table has the same parent as one that was rolled back.
    at(8000)
    place.land("alpha", [Sale(20)])
    at(8001)
    place.build()
    assert before.items() <= visible_after(place).items()


def test_where_landed_states_have_expired_it_counts_from_the_last_build(
    place: Place, at: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.land("alpha", [Sale(1)])
    at(50)
    place.build()
    for number in range(2, 6):
        at(100 * number)
        place.land("alpha", [Sale(number)])
    monkeypatch.setattr(expiry, "NEWEST", 1)
    now = datetime.fromtimestamp(BEGIN, UTC) + timedelta(days=1)
    assert expire(lambda: place.catalog.load_table(RAW), timedelta(0), lambda: (), now)[0] == 4
    at(510)
    place.build()
    assert visible_after(place)[SALES] == 510 - 50
