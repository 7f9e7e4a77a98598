"""A key is unique in the whole table, however its rows were written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from mesh_platform.build.build import build, stale_tables
from mesh_platform.contract.schema_change import Change
from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.key_index import KEY_INDEX
from mesh_platform.lake.evolution import evolve
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.unique_keys import determines_partition
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import EqualTo

from conftest import draws

from ..small_mesh import SALES_SQL, START, Place, Sale, small_mesh

ALPHA, FACT = "alpha.sales_alpha", "core.fact_sales"
# Hours from START to a time in the month that many months after October.
MONTH = (0, 24 * 40, 24 * 70)
SAID = (
    "the primary key (event_id) repeats, as in (event_id=alpha-0001, times=2 in month(sold_at)=2025-10 and "
    "month(sold_at)=2025-11). Nothing was committed, the table is as it was."
)


@dataclass(frozen=True)
class Indexed(Place):
    """The mesh with an index of keys in its state folder, as `open_catalog` sets it up."""

    @property
    def catalog(self) -> Catalog:
        catalog = super().catalog
        catalog.properties[KEY_INDEX] = str(self.root / "keys")
        return catalog

    def entries(self) -> list[Path]:
        return sorted(path for path in (self.root / "keys").rglob("*") if path.is_file())


@pytest.fixture(params=["read", "indexed"])
def place(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = small_mesh(tmp_path)
    if request.param == "read":
        return place
    index_all(monkeypatch)
    return Indexed(tmp_path)


def index_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the index also for files so small that reading them is faster."""
    monkeypatch.setattr("mesh_platform.iceberg.key_index._ROWS", 0)
    monkeypatch.setattr("mesh_platform.iceberg.key_index._FILES", 0)


def as_older_builds(patch: pytest.MonkeyPatch) -> None:
    """Look for keys only in the partitions that are written."""
    patch.setattr("mesh_platform.sql.unique_keys.determines_partition", lambda shape: True)
    patch.setattr("mesh_platform.build.jobs.determines_partition", lambda shape: True)


def refused(place: Place, said: str = SAID, table: str = ALPHA, full: bool = False) -> None:
    before = place.snapshots(table)
    with pytest.raises(AttentionError) as error:
        place.build(table, full=full)
    assert f"{table}: {said}" in str(error.value)
    assert place.snapshots(table) == before


def take_away(place: Place, number: int) -> None:
    """Delete the events with a given number from the landing table."""
    place.catalog.load_table(f"{ALPHA}__raw").delete(EqualTo("event_id", f"alpha-{number:04}"))


def test_a_key_that_is_in_another_month_is_refused_as_a_full_build_refuses_it(place: Place) -> None:
    place.land("alpha", [Sale(1, MONTH[0]), Sale(2, MONTH[2])])
    place.build(ALPHA)
    place.land("alpha", [Sale(1, MONTH[1]), Sale(3, MONTH[1])])
    refused(place)
    refused(place, full=True)
    refused(place)
    take_away(place, 1)
    assert place.build(ALPHA)[ALPHA].mode == "rebuild"
    assert place.rows(ALPHA, "event_id") == [("alpha-0002",), ("alpha-0003",)]


def test_a_key_that_comes_twice_at_once_in_two_months_is_refused(place: Place) -> None:
    place.build(ALPHA)
    place.land("alpha", [Sale(1, hours) for hours in MONTH])
    refused(
        place,
        "the primary key (event_id) repeats, as in (event_id=alpha-0001, times=3 in month(sold_at)=2025-10 and "
        "month(sold_at)=2025-11 and month(sold_at)=2025-12)",
    )


def test_partitions_that_are_redone_may_not_have_a_key_of_the_others(place: Place) -> None:
    place.land("alpha", [Sale(1, MONTH[0])])
    place.land("alpha", [Sale(2, MONTH[1])])
    place.build(ALPHA)
    # November loses a sale, so it is rebuilt, and gets one of October's keys.
    take_away(place, 2)
    place.land("alpha", [Sale(1, MONTH[1])])
    refused(place)
    refused(place, full=True)


def test_days_that_are_redone_may_not_have_a_key_of_the_others(place: Place) -> None:
    place.land("alpha", [Sale(1, MONTH[1]), Sale(2, MONTH[0])])
    place.build(ALPHA)
    # Another engine wrote November's key into October.
    table = place.catalog.load_table(ALPHA)
    only = EqualTo("event_id", "alpha-0002")
    rows = table.scan(row_filter=only).to_arrow()
    wrong = pa.Table.from_pylist([{**rows.to_pylist()[0], "event_id": "alpha-0001"}], schema=rows.schema)
    table.overwrite(wrong, overwrite_filter=only)
    before = place.snapshots(ALPHA)

    def redo(days: int) -> None:
        day = (START + timedelta(days=days)).date()
        build(place.mesh, place.catalog, [ALPHA], between=(day, day))

    with pytest.raises(AttentionError) as error:
        redo(40)
    assert SAID in str(error.value)
    assert place.snapshots(ALPHA) == before
    redo(0)
    redo(40)
    assert place.rows(ALPHA, "event_id") == [("alpha-0001",), ("alpha-0002",)]


def test_two_shops_with_one_key_pass_by_themselves_and_not_into_the_fact_of_both(place: Place) -> None:
    same = SALES_SQL.format(domain="beta").replace("r.event_id", "replace(r.event_id, 'beta', 'alpha') as event_id")
    place.write("beta/models/sales_beta.sql", same)
    place.land("alpha", [Sale(1, MONTH[0])])
    place.build(FACT)
    place.land("beta", [Sale(1, MONTH[1])])
    refused(place, table=FACT)
    assert place.rows("beta.sales_beta", "event_id") == [("alpha-0001",)]
    refused(place, table=FACT, full=True)


def test_a_key_is_found_after_compaction_and_in_what_was_held_back_it_is_none(place: Place) -> None:
    for number in range(1, 4):
        place.land("alpha", [Sale(number, MONTH[0])])
        place.build(ALPHA)
    assert compact(lambda: place.catalog.load_table(ALPHA)).files
    place.land("alpha", [Sale(1, MONTH[1])])
    refused(place)
    rule = {
        "metric": "invalidValues",
        "arguments": {"validValues": ["ann"]},
        "mustBe": 0,
        "customProperties": [{"property": "mesh.onFailure", "value": "quarantine"}],
    }
    with_rule(place, rule)
    take_away(place, 1)
    place.land("alpha", [Sale(1, MONTH[0], buyer="bob")])
    place.build(ALPHA)
    # A held row is not in the table: its key is free, also in a full build.
    place.land("alpha", [Sale(1, MONTH[1])])
    assert place.build(ALPHA)[ALPHA].mode == "incremental"
    place.build(ALPHA, full=True)
    place.land("alpha", [Sale(1, MONTH[0])])
    refused(place)


def with_rule(place: Place, rule: dict[str, object]) -> None:
    import yaml

    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    (buyer,) = [each for each in contract["schema"][-1]["properties"] if each["name"] == "buyer"]
    buyer["quality"] = [rule]
    path.write_text(yaml.safe_dump(contract, sort_keys=False))


def test_a_key_is_found_across_partitions_of_another_kind(place: Place) -> None:
    place.land("alpha", [Sale(1, MONTH[0])])
    place.build(ALPHA)
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    path.write_text(path.read_text().replace("month(sold_at)", "identity(item_id)"))
    changed: list[Change] = evolve(place.catalog, load_mesh(place.root).contracts[ALPHA])
    assert [change.change for change in changed] == ["repartition"]
    place.land("alpha", [Sale(1, MONTH[0], item="i2")])
    said = "the primary key (event_id) repeats, as in (event_id=alpha-0001, times=2 in item_id=i1 and item_id=i2)"
    refused(place, said)
    take_away(place, 1)
    place.land("alpha", [Sale(1, MONTH[0])])
    place.build(ALPHA)
    place.land("alpha", [Sale(1, MONTH[0], item="i2")])
    refused(place, said)


def test_what_an_older_build_let_through_is_refused_by_the_next_one_that_has_nothing_else_to_do(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.land("alpha", [Sale(1, MONTH[0])])
    with monkeypatch.context() as patch:
        as_older_builds(patch)
        place.build(ALPHA)
        place.land("alpha", [Sale(1, MONTH[1])])
        assert place.build(ALPHA)[ALPHA].mode == "incremental"
        assert place.build(ALPHA)[ALPHA].mode == "noop"
    assert stale_tables(place.mesh, place.catalog, [ALPHA]) == [ALPHA]
    refused(place)
    place.land("alpha", [Sale(2, MONTH[2])])
    refused(place)
    take_away(place, 1)
    place.build(ALPHA)
    assert place.rows(ALPHA, "event_id") == [("alpha-0002",)]


def test_what_an_older_build_made_well_is_looked_at_once_and_does_not_move(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.land("alpha", [Sale(1, MONTH[0]), Sale(2, MONTH[1])])
    with monkeypatch.context() as patch:
        as_older_builds(patch)
        place.build(ALPHA)
    before = place.snapshots(ALPHA)
    assert place.build(ALPHA)[ALPHA].mode == "noop"
    assert stale_tables(place.mesh, place.catalog, [ALPHA]) == []
    assert place.snapshots(ALPHA) == before


def test_where_the_key_determines_the_partition(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)

    def determined(table: str) -> bool:
        return determines_partition(place.mesh.contracts[table].table)

    assert (determined(ALPHA), determined("core.dim_buyer")) == (False, True)
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    path.write_text(path.read_text().replace("month(sold_at)", "identity(event_id)"))
    assert determined(ALPHA)


def test_an_index_that_is_damaged_lost_or_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_mesh(tmp_path)
    place = Indexed(tmp_path)
    index_all(monkeypatch)
    place.land("alpha", [Sale(1, MONTH[0]), Sale(5, MONTH[0])])
    place.build(ALPHA)
    place.land("alpha", [Sale(0, MONTH[0]), Sale(2, MONTH[0])])
    place.build(ALPHA)
    place.land("alpha", [Sale(1, MONTH[1])])
    refused(place)
    assert len(place.entries()) == 2
    whole = [path.read_bytes() for path in place.entries()]
    for damage in (lambda _: b"", lambda old: old[:-8], lambda old: bytes(len(old)), lambda old: old[:-1] + b"\7"):
        for path, content in zip(place.entries(), whole, strict=True):
            path.write_bytes(damage(content))
        refused(place)
        assert [path.read_bytes() for path in place.entries()] == whole
    for path in place.entries():
        path.unlink()
    folder = next((tmp_path / "keys").iterdir())
    folder.rmdir()
    folder.write_text("no folder")
    refused(place)


def test_entries_of_files_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_mesh(tmp_path)
    place = Indexed(tmp_path)
    index_all(monkeypatch)
    for number in range(4):
        place.land("alpha", [Sale(number, MONTH[0]), Sale(100 + number, MONTH[0])])
        place.build(ALPHA)
    assert len(place.entries()) == 3
    place.build(ALPHA, full=True)
    place.land("alpha", [Sale(9, MONTH[0])])
    place.build(ALPHA)
    assert len(place.entries()) == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["land", "land", "land", "take away"]),
        st.lists(st.tuples(st.integers(1, 2), st.sampled_from(MONTH)), min_size=1, max_size=2),
        st.sampled_from(["incremental", "incremental", "full", "between"]),
    ),
    min_size=2,
    max_size=5,
)


# Shrinking a failing example would take minutes of builds.
@pytest.mark.parametrize("indexed", [False, True])
@settings(max_examples=draws(4), deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(STEPS)
@example([("land", [(1, MONTH[0])], "incremental"), ("land", [(1, MONTH[1])], "incremental")])
def test_any_order_of_builds_accepts_what_one_full_build_accepts(
    indexed: bool, steps: list[tuple[str, list[tuple[int, int]], str]]
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place: Place = small_mesh(Path(folder))
        if indexed:
            index_all(patch)
            place = Indexed(Path(folder))
        place.build(ALPHA)
        landed: list[tuple[int, int]] = []
        for what, sales, how in [*steps, ("land", [], "incremental"), ("land", [], "full")]:
            if what == "land":
                place.land("alpha", [Sale(number, hours) for number, hours in sales])
                landed += sales
            else:
                for number, _ in sales:
                    take_away(place, number)
                landed = [sale for sale in landed if sale[0] not in {number for number, _ in sales}]
            build_and_check(place, how, landed)


def build_and_check(place: Place, how: str, landed: list[tuple[int, int]]) -> None:
    day = (START + timedelta(hours=MONTH[1])).date()
    between = (day, day) if how == "between" else None
    repeated = [number for number, times in Counter(number for number, _ in landed).items() if times > 1]
    if not repeated:
        build(place.mesh, place.catalog, [ALPHA], how == "full", between)
        assert place.rows(ALPHA, "event_id") == sorted((f"alpha-{number:04}",) for number, _ in landed)
        return
    with pytest.raises(AttentionError) as error:
        build(place.mesh, place.catalog, [ALPHA], how == "full", between)
    assert all(f"(event_id=alpha-{number:04}, times=" in str(error.value) for number in repeated)
