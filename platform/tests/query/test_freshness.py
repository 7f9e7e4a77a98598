"""The age of a table is the same for `mesh status` and Airflow, and future times do not count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.cli.tables import show_status
from mesh_platform.contract.contract import AHEAD
from mesh_platform.iceberg.bounds import newest
from mesh_platform.query import freshness
from mesh_platform.query.freshness import age_of
from mesh_platform.query.state_cache import StateCache
from mesh_platform.query.status import TableStatus, read_status
from mesh_platform.settings import Settings

from conftest import draws

from ..small_mesh import START, Place, Sale, small_mesh

SALES = "alpha.sales_alpha"
IN_2999 = 24 * 365 * 974


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def look(place: Place, now: datetime, cache: StateCache | None = None) -> TableStatus:
    return next(each for each in read_status(place.mesh, place.catalog, now, cache) if each.table == SALES)


def test_one_row_of_the_far_future_makes_no_dead_source_fresh(place: Place) -> None:
    place.land("alpha", [Sale(1, 1), Sale(2, IN_2999)])
    place.build()
    now = START + timedelta(days=400)
    found = look(place, now)
    assert found.max_event_time == START + timedelta(hours=1)
    assert (found.lag_s, found.promise_s, found.fresh) == (400 * 86400 - 3600, 86400, False)
    assert found.max_ahead_time == START + timedelta(hours=IN_2999)
    # Also in one file with current rows, and with a cache filled at another time.
    cache = StateCache()
    assert look(place, now, cache).fresh is False
    place.land("alpha", [Sale(3, 400 * 24 - 2), Sale(4, IN_2999 + 1)])
    place.build()
    assert (look(place, now, cache).lag_s, look(place, now, cache).fresh) == (7200, True)
    assert look(place, START + timedelta(hours=IN_2999), cache).lag_s == 0


def test_a_table_of_future_rows_alone_does_not_keep_its_promise(place: Place) -> None:
    place.build()
    assert look(place, START).fresh is None
    place.land("alpha", [Sale(2, IN_2999)])
    place.build()
    found = look(place, START)
    assert (found.max_event_time, found.lag_s, found.fresh) == (None, None, False)


def test_a_sender_may_be_a_day_ahead_of_the_clock(place: Place) -> None:
    place.land("alpha", [Sale(1, 24)])
    place.build()
    found = look(place, START)
    assert (found.lag_s, found.fresh, found.max_ahead_time) == (0, True, None)
    assert look(place, START - timedelta(seconds=1)).fresh is False


def test_status_names_the_times_that_do_not_count(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A narrower terminal does not show the newest event.
    monkeypatch.setenv("COLUMNS", "120")
    place.land("alpha", [Sale(1, 1), Sale(2, IN_2999)])
    place.build()
    now = START + timedelta(days=2)
    show_status(Settings(root=place.root, clock=now), place.mesh, place.catalog, [SALES])
    assert "2025-10-01 01:00" in capsys.readouterr().out
    show_status(Settings(root=place.root, clock=now), place.mesh, place.catalog, [SALES])
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(f"{SALES}: has rows of up to 2999-")
    assert "does not count as its newest event" in told


def test_airflow_says_what_status_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = pytest.importorskip("mesh_platform.dags.tasks")
    place.land("alpha", [Sale(1, 1), Sale(2, IN_2999)])
    place.build()
    for now in (START, START + timedelta(days=2), START + timedelta(hours=IN_2999)):
        monkeypatch.setenv("MESH_CLOCK", now.isoformat())
        (row,) = tasks.read_ages(place.mesh, [place.mesh.contracts[SALES]])
        found = look(place, now)
        assert (row["age_s"], row["fresh"], row["promise_s"]) == (found.lag_s, found.fresh, found.promise_s)


def test_a_weekend_ages_no_product_with_a_calendar_for_status_and_airflow(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = pytest.importorskip("mesh_platform.dags.tasks")
    # Noon of Friday, 3 October, in New York.
    place.land("alpha", [Sale(1, 2 * 24 + 16)])
    place.build()
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    week = {"workdays": ["mon", "tue", "wed", "thu", "fri"], "holidays": ["2025-10-13"]}
    contract["customProperties"].append({"property": "mesh.calendar", "value": week})
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    friday = START + timedelta(days=2, hours=16)
    for later, hours in ((47, 12), (72, 24), (73, 25), (10 * 24, 132), (11 * 24, 144)):
        now = friday + timedelta(hours=later)
        monkeypatch.setenv("MESH_CLOCK", now.isoformat())
        (row,) = tasks.read_ages(place.mesh, [place.mesh.contracts[SALES]])
        found = look(place, now)
        assert (found.lag_s, found.fresh) == (row["age_s"], row["fresh"]) == (hours * 3600, hours <= 24), later


def test_a_product_that_promises_both_has_its_newest_event_too(place: Place) -> None:
    place.land("alpha", [Sale(1, 1), Sale(2, IN_2999)])
    place.build()
    contract = replace(place.mesh.contracts[SALES], latency=timedelta(hours=2), freshness=timedelta(days=500))
    table = place.catalog.load_table(SALES)
    now = START + timedelta(days=400)
    age = age_of(contract, table, contract.freshness_column, now, lambda name: place.catalog.load_table(name))
    assert (age.fresh, age.promise_s) == (True, 7200)
    assert age.newest_event == START + timedelta(hours=1)
    assert age.ahead == START + timedelta(hours=IN_2999)


def test_owners_are_told_of_a_product_that_waits_longer_than_its_latency_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = pytest.importorskip("mesh_platform.dags.alert")
    path = place.root / "domains/core/contracts/dim_buyer.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["slaProperties"].append({"property": "latency", "value": 2, "unit": "h"})
    path.write_text(yaml.safe_dump(contract))
    place.land("alpha", [Sale(1)])
    place.build()
    told: list[str] = []
    monkeypatch.setattr(alert, "send", lambda sent, settings: told.append(sent.message))
    owners = dict.fromkeys(("team", "steward", "contact", "on_call"), "t")

    def look_at() -> bool | None:
        contracts = [place.mesh.contracts["core.dim_buyer"]]
        (row,) = alert.look_at_ages(place.mesh, contracts, owners)
        return row["fresh"]

    assert look_at() is True
    place.land("alpha", [Sale(2)])
    place.build("core.fact_sales")

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(hours=3)

    monkeypatch.setattr(freshness, "datetime", Later)
    assert (look_at(), look_at()) == (False, False)
    (message,) = told
    assert "dim_buyer: a change of what it is built from has waited for 3" in message
    assert "its contract promises 2 hours. Look at core__build." in message


@settings(max_examples=draws(15), deadline=None)
@given(
    files=st.lists(st.lists(st.integers(-50, 50), min_size=1, max_size=3), min_size=1, max_size=3),
    limit=st.integers(-60, 60),
)
def test_the_newest_until_a_limit_is_the_one_that_the_rows_have(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], limit: int
) -> None:
    place = small_mesh(tmp_path_factory.mktemp("mesh"))
    number = 0
    for hours in files:
        sales = [Sale(number := number + 1, hour) for hour in hours]
        place.land("alpha", sales)
    table = place.catalog.load_table(f"{SALES}__raw")
    until = START + timedelta(hours=limit)
    times = [START + timedelta(hours=hour) for hours in files for hour in hours]
    assert newest(table, "event_time", until) == max((time for time in times if time <= until), default=None)
    age = age_of(place.mesh.contracts[SALES], table, "event_time", until - AHEAD, lambda name: None)
    assert age.newest_event == newest(table, "event_time", until)
    assert (age.ahead is not None) == (max(times) > until)
