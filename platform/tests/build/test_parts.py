"""Partial builds: rebuild some days of a table, build one table, find stale tables, release the current state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from mesh_platform.build.build import build, release_current, stale_tables
from mesh_platform.build.job import Built
from mesh_platform.cli import main
from mesh_platform.errors import UsageError
from mesh_platform.lake.releases import read_releases
from pyiceberg.expressions import AlwaysTrue, EqualTo

from ..small_mesh import START, Place, Sale, small_mesh
from .test_build import check, expected

FACT, BUYERS, ALPHA = "core.fact_sales", "core.dim_buyer", "alpha.sales_alpha"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.fixture
def daily(place: Place) -> Place:
    """The small mesh with facts partitioned by day."""
    contract = place.root / "domains/core/contracts/fact_sales.odcs.yaml"
    contract.write_text(contract.read_text().replace("month(sold_at)", "day(sold_at)"))
    return place


def day(number: int) -> date:
    """Return the day that is `number` days after START."""
    return START.date() + timedelta(days=number)


def land_days(place: Place, days: Iterable[int]) -> list[tuple[str, Sale]]:
    """Land a sale in the last hour of each day, numbered after the day."""
    sales = [Sale(number, 24 * number + 23) for number in days]
    place.land("alpha", sales)
    return [("alpha", sale) for sale in sales]


def delete(place: Place, number: int, table: str = FACT) -> None:
    place.catalog.load_table(table).delete(EqualTo("event_id", f"alpha-{number:04}"))


def change(place: Place, number: int, column: str, value: object) -> None:
    """Overwrite a value in a row of the facts."""
    only = EqualTo("event_id", f"alpha-{number:04}")
    table = place.catalog.load_table(FACT)
    rows = table.scan(row_filter=only).to_arrow()
    wrong = pa.Table.from_pylist([row | {column: value} for row in rows.to_pylist()], schema=rows.schema)
    table.overwrite(wrong, overwrite_filter=only)


def redo(place: Place, first: int, last: int, alone: bool = False) -> dict[str, Built]:
    """Rebuild these days of the facts."""
    done = build(place.mesh, place.catalog, [FACT], between=(day(first), day(last)), alone=alone)
    return {built.table: built for built in done}


def files_by_day(place: Place) -> dict[date, set[str]]:
    found: dict[date, set[str]] = {}
    for task in place.catalog.load_table(FACT).scan().plan_files():
        found.setdefault(date(1970, 1, 1) + timedelta(days=task.file.partition[0]), set()).add(task.file.file_path)
    return found


def test_damaged_rows_are_mended_on_the_days_asked_for_and_on_no_others(daily: Place) -> None:
    landed = land_days(daily, range(7))
    daily.build()
    for number in (1, 4):
        delete(daily, number)
    for number in (2, 5):
        change(daily, number, "amount", Decimal("9.00"))
    change(daily, 3, "event_id", "nobody's")
    change(daily, 6, "sold_at", START + timedelta(days=8))
    damaged, before = daily.rows(FACT), files_by_day(daily)
    assert daily.build(FACT)[FACT].mode == "noop"
    done = redo(daily, 1, 3)
    assert (done[ALPHA].mode, done[FACT].mode, done[FACT].partitions, done[FACT].rows) == ("noop", "rebuild", 3, 3)
    asked = [row for row in expected(landed) if day(1) <= row[4].date() <= day(3)]  # type: ignore[attr-defined]
    others = [row for row in damaged if not day(1) <= row[4].date() <= day(3)]  # type: ignore[attr-defined]
    assert daily.rows(FACT) == sorted(asked + others)
    assert {at: files for at, files in files_by_day(daily).items() if not day(1) <= at <= day(3)} == {
        at: files for at, files in before.items() if not day(1) <= at <= day(3)
    }
    redo(daily, 4, 8)
    # Downstream tables follow.
    daily.build()
    check(daily, landed)


@pytest.mark.parametrize(("first", "last", "months"), [(4, 4, {10}), (30, 31, {10, 11}), (61, 99, {12})])
def test_a_month_is_taken_whole_and_comes_back_though_all_its_rows_are_gone(
    place: Place, first: int, last: int, months: set[int]
) -> None:
    landed = land_days(place, [0, 30, 31, 60, 61])
    place.build(FACT)
    place.catalog.load_table(FACT).delete(AlwaysTrue())
    assert redo(place, first, last)[FACT].partitions == len(months)
    assert place.rows(FACT) == expected((shop, sale) for shop, sale in landed if sale.time.month in months)


def test_days_on_which_nothing_is_and_nothing_was_leave_all_as_it_is(daily: Place) -> None:
    landed = land_days(daily, [0, 5])
    daily.build()
    assert redo(daily, 1, 4)[FACT].partitions == 0
    assert {built.mode for name, built in daily.build().items() if name != BUYERS} == {"noop"}
    check(daily, landed)


def test_inputs_that_moved_meanwhile_are_carried_over_first(daily: Place) -> None:
    landed = land_days(daily, [0, 1, 2])
    daily.build()
    delete(daily, 1)
    delete(daily, 2)
    landed += land_days(daily, [8])
    done = redo(daily, 1, 1)
    assert (done[ALPHA].mode, done[FACT].mode, done[FACT].partitions) == ("incremental", "rebuild", 1)
    assert daily.rows(FACT) == expected((shop, sale) for shop, sale in landed if sale.number != 2)
    assert daily.build(FACT)[FACT].mode == "noop"


def test_days_of_one_table_alone_are_built_from_its_inputs_as_they_are(daily: Place) -> None:
    landed = land_days(daily, [0, 1])
    daily.build()
    delete(daily, 0)
    land_days(daily, [2])
    assert set(redo(daily, 0, 2, alone=True)) == {FACT}
    assert daily.rows(FACT) == expected(landed)


@pytest.mark.parametrize(
    ("tables", "between", "words"),
    [
        (["core.fact_sale"], (day(0), day(1)), r"core.fact_sale: no such table. Did you mean core.fact_sales\?"),
        (["core.items"], (day(0), day(1)), "core.items: no table with partitions by time, which alone has days. "),
        ([FACT, BUYERS], (day(0), day(1)), "core.dim_buyer: no table with partitions by time"),
        (["alpha"], (day(0), day(1)), r"alpha: no table with partitions by time.* alpha.sales_alpha"),
        ([FACT], (day(1), day(0)), "2025-10-02 to 2025-10-01: the first day comes after the last. Turn them round."),
    ],
)
def test_days_that_no_table_has_are_wrong_use(
    place: Place, tables: list[str], between: tuple[date, date], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        build(place.mesh, place.catalog, tables, between=between)
    assert not place.catalog.namespace_exists("core")


def test_days_by_command(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MESH_ROOT", str(place.root))
    monkeypatch.delenv("MESH_STATE", raising=False)
    landed = land_days(place, [0, 61])
    place.build()
    delete(place, 0)
    delete(place, 61)
    main(["build", FACT, "--from", f"{day(9)}", "--format", "json"])
    (built,) = [each for each in json.loads(capsys.readouterr().out) if each["table"] == FACT]
    assert (built["mode"], built["partitions"]) == ("rebuild", 1)
    assert place.rows(FACT) == expected(landed[:1])
    main(["build", FACT, "--from", f"{day(9)}", "--to", f"{day(70)}"])
    assert place.rows(FACT) == expected(landed)
    for words, said in (
        ([FACT, "--to", f"{day(1)}"], "--to 2025-10-02: from which day on? Give --from too."),
        ([FACT, "--full", "--from", f"{day(1)}"], "--full rebuilds everything, --from rebuilds some days"),
        (["--from", f"{day(0)}"], "2025-10-01 to 2025-10-01: of which table? Name it. There is"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["build", *words])
        assert (ended.value.code, said in capsys.readouterr().err) == (2, True)


def test_one_table_alone_is_built_from_its_inputs_as_they_are(place: Place) -> None:
    landed = land_days(place, [0])
    place.build()
    landed += land_days(place, [1])
    place.build(ALPHA)
    land_days(place, [2])
    stale = place.snapshots(ALPHA)
    (built,) = build(place.mesh, place.catalog, [FACT], alone=True)
    assert (built.table, built.mode, built.inputs[ALPHA]) == (FACT, "incremental", stale[-1])
    assert place.snapshots(ALPHA) == stale
    assert place.rows(FACT) == expected(landed)


def test_what_is_stale_is_what_a_build_would_change(place: Place) -> None:
    everything = list(place.mesh.contracts)

    def stale(*tables: str) -> list[str]:
        return stale_tables(place.mesh, place.catalog, tables or everything)

    assert sorted(stale()) == sorted(everything)
    place.build()
    assert stale() == []
    place.land("alpha", [Sale(1)])
    # Downstream tables are stale too, though their input does not exist yet, and come after it.
    assert stale() == [ALPHA, FACT, BUYERS]
    assert stale(BUYERS, ALPHA, "core.items") == [ALPHA]
    place.build(ALPHA)
    assert stale() == [FACT, BUYERS]
    assert stale(BUYERS) == []
    place.build()
    assert stale() == []
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\n")
    assert stale() == ["core.items", "core.dim_item"]


def test_what_stands_is_a_release_once_all_tables_are_up_to_date(place: Place) -> None:
    for tables in ([ALPHA, "beta.sales_beta", FACT], ["core.items", "core.dim_item"]):
        place.build(*tables)
        assert release_current(place.mesh, place.catalog) is None
    place.build(BUYERS)
    assert read_releases(place.catalog) == []
    release = release_current(place.mesh, place.catalog)
    assert release
    assert release.tables == {name: place.snapshots(name)[-1] for name in place.mesh.contracts}
    assert release_current(place.mesh, place.catalog) is None
    assert read_releases(place.catalog) == [release]
    place.land("alpha", [Sale(1)])
    assert release_current(place.mesh, place.catalog) is None
    place.build(BUYERS)
    second = release_current(place.mesh, place.catalog)
    assert second
    assert (release.name, second.name) == ("r1", "r2")
