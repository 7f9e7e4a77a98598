"""Builds with a real SQLite catalog: whatever happened before, the output matches its current inputs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.build.build import prepare, release_current, stale_tables
from mesh_platform.errors import AttentionError, ContractError, UsageError
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.snapshot_diff import all_files
from pyiceberg.expressions import EqualTo

from conftest import draws

from ..small_mesh import FACT_SQL, SALES_SQL, Place, Sale, add_shop, small_mesh

PRODUCTS = ("alpha.sales_alpha", "beta.sales_beta")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def expected(landed: Iterable[tuple[str, Sale]]) -> list[tuple[object, ...]]:
    """Return the expected rows of core.fact_sales, computed from these sales alone."""
    return sorted(
        (f"{shop}-{sale.number:04}", sale.item, sale.buyer, f"WH-{shop.upper()}", sale.time, sale.amount)
        for shop, sale in landed
    )


def buyers(landed: Iterable[tuple[str, Sale]]) -> list[tuple[object, ...]]:
    """Return the expected rows of core.dim_buyer, computed from these sales alone."""
    totals: dict[str, list[Decimal]] = {}
    for _, sale in landed:
        totals.setdefault(sale.buyer, []).append(sale.amount)
    return sorted((buyer, len(amounts), sum(amounts)) for buyer, amounts in totals.items())


def check(place: Place, landed: list[tuple[str, Sale]]) -> None:
    assert place.rows("core.fact_sales") == expected(landed)
    assert place.rows("core.dim_buyer") == buyers(landed)


def test_rows_pass_from_landing_to_fact_and_a_rerun_commits_nothing(place: Place):
    landed = [("alpha", Sale(1)), ("beta", Sale(1, 800, buyer="bob"))]
    for shop, sale in landed:
        place.land(shop, [sale])
    first = place.build()
    assert {table: built.mode for table, built in first.items()} == dict.fromkeys(place.mesh.contracts, "rebuild")
    assert (first["core.fact_sales"].partitions, first["core.fact_sales"].rows) == (2, 2)
    check(place, landed)
    before = {table: place.snapshots(table) for table in first}
    again = place.build()
    assert {built.mode for built in again.values()} == {"noop"}
    assert {table: place.snapshots(table) for table in first} == before
    assert again["core.fact_sales"].snapshot_id == first["core.fact_sales"].snapshot_id
    assert again["core.fact_sales"].inputs == {name: place.snapshots(name)[-1] for name in PRODUCTS}
    assert set(again["core.items"].inputs) == {"domains/core/reference/items.csv"}


def test_a_mesh_without_any_event_builds_empty_tables(place: Place):
    place.build()
    assert place.rows("core.fact_sales") == []
    assert {built.mode for built in place.build().values()} == {"noop"}


FACT = "core.fact_sales"
SALES = st.lists(
    st.tuples(
        st.sampled_from(["alpha", "beta"]),
        st.integers(0, 24 * 90),
        st.sampled_from(["ann", "bob"]),
        st.decimals("0.01", "999.99", places=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=draws(4), deadline=None, derandomize=True)
@given(SALES)
def test_builds_after_any_split_of_the_rows_equal_one_build_of_all(drawn: list[tuple[str, int, str, Decimal, bool]]):
    with TemporaryDirectory() as folder:
        place = small_mesh(Path(folder))
        place.build()
        landed: list[tuple[str, Sale]] = []
        for number, (shop, hours, buyer, amount, build_now) in enumerate(drawn):
            landed.append((shop, Sale(number, hours, buyer=buyer, amount=amount)))
            place.land(shop, [landed[-1][1]])
            if build_now:
                assert place.build()["core.fact_sales"].mode == "incremental"
                check(place, landed)
        place.build()
        check(place, landed)
        place.build(full=True)
        check(place, landed)


UNION_SQL = """select event_id, item_id, buyer, site_id, sold_at, amount from core.sale_v1
union all
select 'twice-' || s.event_id, s.item_id, s.buyer, s.site_id, s.sold_at, cast(2 * s.amount as decimal(12, 2))
from alpha.sales_alpha as s inner join core.items as i using (item_id)
where s.amount > 500
"""


@settings(max_examples=draws(4), deadline=None, derandomize=True)
@given(SALES)
def test_a_union_of_selects_that_map_rows_is_appended_to_as_one_of_them_is(
    drawn: list[tuple[str, int, str, Decimal, bool]],
):
    with TemporaryDirectory() as folder:
        place = small_mesh(Path(folder))
        place.write("core/models/fact_sales.sql", UNION_SQL)
        snapshot = place.land("alpha", [Sale(100, amount=Decimal(600))])
        place.build(FACT)
        landed = [("alpha", Sale(100, amount=Decimal(600)))]
        for number, (shop, hours, buyer, amount, build_now) in enumerate(drawn):
            landed.append((shop, Sale(number, hours, buyer=buyer, amount=amount)))
            place.land(shop, [landed[-1][1]])
            if build_now:
                assert place.build(FACT)[FACT].mode == "incremental"
                assert place.rows(FACT) == with_twice(landed)
        place.build(FACT)
        assert place.rows(FACT) == with_twice(landed)
        table = place.catalog.load_table("alpha.sales_alpha__raw")
        table.manage_snapshots().set_current_snapshot(snapshot_id=snapshot).commit()
        place.build(FACT)
        left = [(shop, sale) for shop, sale in landed if shop == "beta" or sale.number == 100]
        assert place.rows(FACT) == with_twice(left)
        place.build(FACT, full=True)
        assert place.rows(FACT) == with_twice(left)


def with_twice(landed: Iterable[tuple[str, Sale]]) -> list[tuple[object, ...]]:
    """Return the expected rows of UNION_SQL, computed from these sales alone."""
    rows = expected(landed)
    dear = [row for row in rows if row[3] == "WH-ALPHA" and Decimal(str(row[5])) > 500]
    return sorted([*rows, *((f"twice-{row[0]}", *row[1:5], 2 * Decimal(str(row[5]))) for row in dear)])


def test_a_late_row_is_appended_to_its_own_partition_and_touches_no_other_file(place: Place):
    landed = [("alpha", Sale(n, n * 400)) for n in range(4)]
    place.land("alpha", [sale for _, sale in landed])
    place.build()
    before = place.files("core.fact_sales")
    late = Sale(9, 1)
    place.land("alpha", [late])
    built = place.build()["core.fact_sales"]
    assert (built.mode, built.partitions, built.rows) == ("incremental", 1, 1)
    assert before < place.files("core.fact_sales")
    check(place, [*landed, ("alpha", late)])


def test_after_a_rollback_of_landing_only_the_touched_partitions_are_redone(place: Place):
    kept = [Sale(1, 0), Sale(2, 1000)]
    place.land("beta", [Sale(1, 5)])
    snapshot = place.land("alpha", kept)
    place.land("alpha", [Sale(3, 1100), Sale(4, 1200)])
    place.build()
    files = place.catalog.load_table("core.fact_sales").scan().plan_files()
    months_since_1970 = 55 * 12 + 9
    october = {task.file.file_path for task in files if task.file.partition[0] == months_since_1970}
    table = place.catalog.load_table("alpha.sales_alpha__raw")
    table.manage_snapshots().rollback_to_snapshot(snapshot).commit()
    late = Sale(5, 1150)
    place.land("alpha", [late])
    built = place.build()
    assert {built[name].mode for name in ("alpha.sales_alpha", "core.fact_sales")} == {"rebuild"}
    assert built["core.fact_sales"].partitions == 1
    assert built["beta.sales_beta"].mode == "noop"
    check(place, [("beta", Sale(1, 5)), *(("alpha", sale) for sale in [*kept, late])])
    assert october
    assert october <= place.files("core.fact_sales")


def test_rows_deleted_from_landing_leave_every_table_built_from_them(place: Place):
    place.land("alpha", [Sale(1), Sale(2, 1000)])
    place.build()
    place.catalog.load_table("alpha.sales_alpha__raw").delete(EqualTo("event_id", "alpha-0002"))
    place.build()
    check(place, [("alpha", Sale(1))])


def test_after_a_rollback_of_the_output_the_next_build_catches_up(place: Place):
    place.land("alpha", [Sale(1)])
    snapshot = place.build()["core.fact_sales"].snapshot_id
    place.land("alpha", [Sale(2)])
    place.build()
    assert snapshot is not None
    place.catalog.load_table("core.fact_sales").manage_snapshots().rollback_to_snapshot(snapshot).commit()
    assert len(place.rows("core.fact_sales")) == 1
    place.build()
    check(place, [("alpha", Sale(1)), ("alpha", Sale(2))])


def test_compacted_landing_files_change_nothing_downstream(place: Place):
    landed = [("alpha", Sale(n)) for n in range(3)]
    for _, sale in landed:
        place.land("alpha", [sale])
    place.build()
    files = place.files("alpha.sales_alpha")
    table = place.catalog.load_table("alpha.sales_alpha__raw")
    replace_files(table, [task.file for task in all_files(table)], table.scan().to_arrow())
    assert {built.mode for built in place.build().values()} == {"noop"}
    assert place.files("alpha.sales_alpha") == files
    before = place.snapshots("alpha.sales_alpha")
    place.build()
    assert place.snapshots("alpha.sales_alpha") == before
    check(place, landed)


def test_where_the_recorded_input_has_expired_all_is_recomputed(place: Place):
    place.land("alpha", [Sale(1)])
    place.build()
    recorded = place.snapshots("alpha.sales_alpha__raw")[-1]
    place.land("alpha", [Sale(2)])
    place.catalog.load_table("alpha.sales_alpha__raw").maintenance.expire_snapshots().by_id(recorded).commit()
    assert place.build()["alpha.sales_alpha"].mode == "rebuild"
    check(place, [("alpha", Sale(1)), ("alpha", Sale(2))])


def test_an_input_that_expires_before_its_turn_is_read_anew(place: Place):
    raw = "alpha.sales_alpha__raw"
    place.build()
    place.land("alpha", [Sale(1)])
    builder, chosen = prepare(place.mesh, place.catalog, ())
    builder.jobs.open_tables(chosen)
    opened = place.snapshots(raw)[-1]
    place.land("alpha", [Sale(2)])
    place.catalog.load_table(raw).maintenance.expire_snapshots().by_id(opened).commit()
    # Nothing is checked within a second, in which no snapshot expires.
    time.sleep(1)
    built = builder.build("alpha.sales_alpha", False)
    assert (built.mode, built.inputs[raw]) == ("incremental", place.snapshots(raw)[-1])
    assert len(place.rows("alpha.sales_alpha")) == 2


def test_a_changed_query_site_or_reference_file_is_recomputed_and_nothing_else_is(place: Place):
    place.land("alpha", [Sale(1, amount=Decimal("2.00"))])
    place.build()
    place.write(
        "alpha/models/sales_alpha.sql",
        SALES_SQL.format(domain="alpha").replace("r.amount", "cast(r.amount * 2 as decimal(12, 2)) as amount"),
    )
    built = place.build()
    assert {name for name, each in built.items() if each.mode == "rebuild"} >= {
        "alpha.sales_alpha",
        "core.fact_sales",
    }
    assert built["beta.sales_beta"].mode == "noop"
    check(place, [("alpha", Sale(1, amount=Decimal("4.00")))])
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\n")
    built = place.build()
    assert {name for name, each in built.items() if each.mode != "noop"} == {"core.items", "core.dim_item"}
    assert place.rows("core.dim_item") == [("i1", "Lamp"), ("unknown", "Unknown item")]
    site = place.root / "domains/alpha/domain.yaml"
    site.write_text(site.read_text().replace("WH-ALPHA", "WH-ELSE"))
    before = place.files("core.fact_sales")
    built = place.build()
    # beta's query reads mesh.sites too, but only its own row, which has not changed.
    assert (built["alpha.sales_alpha"].mode, built["beta.sales_beta"].mode) == ("rebuild", "noop")
    assert place.rows("core.fact_sales", "site_id") == [("WH-ELSE",)]
    assert place.files("core.fact_sales").isdisjoint(before)
    # The comparison is recorded, so that the next build need not compare again.
    noted = place.catalog.load_table("beta.sales_beta").current_snapshot().summary["mesh.inputs"]
    assert json.loads(noted) == built["beta.sales_beta"].inputs


def test_a_new_shop_joins_the_fact_without_an_edit_elsewhere(place: Place):
    place.land("alpha", [Sale(1)])
    place.build()
    add_shop(place, "gamma")
    place.land("gamma", [Sale(2)])
    place.build()
    check(place, [("alpha", Sale(1)), ("gamma", Sale(2))])


@pytest.mark.parametrize("fault", ["build.computed:kill", "build.committed:kill"])
@pytest.mark.parametrize("passing", [4, 5])
def test_a_killed_build_is_mended_by_the_next(place: Place, fault: str, passing: int):
    place.build()
    landed = [(shop, Sale(n, n * 300)) for shop in ("alpha", "beta") for n in range(3)]
    for shop in ("alpha", "beta"):
        place.land(shop, [sale for name, sale in landed if name == shop])
    # At each fault point some tables are committed and others are not; noops pass only the second point.
    place.state.mesh("build", check=-9, MESH_FAULT=f"{fault}:{passing if 'committed' in fault else passing - 3}")
    place.build()
    check(place, landed)
    assert {built.mode for built in place.build().values()} == {"noop"}


@pytest.mark.slow
def test_builds_at_once_double_no_row(place: Place):
    place.build()
    landed = []
    for turn in range(2):
        landed += [(shop, Sale(turn, turn * 300)) for shop in ("alpha", "beta")]
        for shop in ("alpha", "beta"):
            place.land(shop, [Sale(turn, turn * 300)])
        processes = [place.state.start("build") for _ in range(2)]
        assert [process.wait() for process in processes] == [0, 0]
        check(place, landed)


def test_who_loses_the_race_begins_again(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.build()
    place.land("alpha", [Sale(1)])
    won: list[bool] = []

    def other_build_first(name: str) -> None:
        if name == "build.computed" and not won:
            won.append(True)
            place.build()

    monkeypatch.setattr("mesh_platform.faults.point", other_build_first)
    assert {built.mode for built in place.build().values()} == {"noop"}
    assert won
    check(place, [("alpha", Sale(1))])


def test_a_repeated_key_is_not_published_and_what_does_not_depend_on_it_is(place: Place):
    place.land("alpha", [Sale(1)])
    place.build()
    place.land("alpha", [Sale(1), Sale(2)])
    place.land("beta", [Sale(3)])
    before = place.snapshots("alpha.sales_alpha")
    with pytest.raises(AttentionError) as error:
        place.build()
    message = str(error.value)
    assert "alpha.sales_alpha: the primary key (event_id) repeats, as in (event_id=alpha-0001, times=2)." in message
    assert "core.fact_sales: not built, because alpha.sales_alpha failed." in message
    assert place.snapshots("alpha.sales_alpha") == before
    assert place.rows("beta.sales_beta", "event_id") == [("beta-0003",)]
    assert place.rows("core.fact_sales", "event_id") == [("alpha-0001",)]


def test_a_missing_required_value_shows_up_to_five_rows(place: Place):
    query = FACT_SQL.replace("buyer", "nullif(buyer, 'ann') as buyer")
    place.write("core/models/fact_sales.sql", query)
    place.land("alpha", [Sale(n) for n in range(9)])
    with pytest.raises(AttentionError) as error:
        place.build()
    assert "core.fact_sales: buyer is required and missing, as in (event_id=alpha-0000, buyer=None)" in str(
        error.value
    )
    assert str(error.value).count("buyer=None") == 5
    assert place.rows("core.fact_sales") == []


def test_a_row_that_stops_the_query_is_told_with_the_file(place: Place):
    query = FACT_SQL.replace("amount from", "cast(cast(item_id as integer) as decimal(12, 2)) as amount from")
    place.write("core/models/fact_sales.sql", query)
    place.land("alpha", [Sale(1)])
    with pytest.raises(AttentionError, match=r"domains/core/models/fact_sales.sql: DuckDB stops .*'i1'"):
        place.build()


def test_faults_of_a_reference_file_are_told_together_with_their_lines(place: Place):
    place.build()
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\ni2\n,Chair\ni1,\n")
    with pytest.raises(AttentionError) as error:
        place.build()
    lines = [line.split(" ")[0] for line in str(error.value).splitlines()]
    path = "domains/core/reference/items.csv"
    assert lines == [f"{path}:3:", f"{path}:4:", f"{path}:5:", "core.dim_item:"]
    place.write("core/reference/items.csv", "item_id,lable\ni1,Lamp\n")
    with pytest.raises(AttentionError, match=r"items.csv:1: column 'lable' is not in .* Did you mean label\?"):
        place.build()
    assert len(place.rows("core.items")) == 2


def test_named_tables_are_built_with_what_they_need_and_unknown_ones_refused(place: Place):
    place.land("alpha", [Sale(1)])
    assert set(place.build("core.fact_sales")) == {*PRODUCTS, "core.fact_sales"}
    with pytest.raises(UsageError, match=r"core.fact_sale: no such table. Did you mean core.fact_sales"):
        place.build("core.fact_sale")


def test_faulty_sql_is_refused_before_anything_is_built(place: Place):
    place.write("core/models/dim_item.sql", "select 1 as item_id, 'x' as label")
    with pytest.raises(ContractError, match=r"dim_item.sql:1: column 'item_id' is INTEGER"):
        place.build()
    assert not place.catalog.namespace_exists("core")


@pytest.mark.parametrize("sql", ["select event_id, from from", "select * from nowhere.at_all", "select 1; select 2"])
def test_sql_that_cannot_be_read_stops_only_what_is_built_of_it(place: Place, sql: str) -> None:
    place.land("alpha", [Sale(1)])
    place.write("beta/models/sales_beta.sql", sql)
    assert place.build("alpha")["alpha.sales_alpha"].rows == 1
    assert stale_tables(place.mesh, place.catalog, ["alpha.sales_alpha"]) == []
    assert release_current(place.mesh, place.catalog) is None
    for tables in (("beta",), ("core.fact_sales",), ("alpha", "core.dim_buyer")):
        with pytest.raises(ContractError, match=r"domains/beta/models/sales_beta\.sql:1: ") as error:
            place.build(*tables)
        assert len(error.value.problems) == 1
    with pytest.raises(ContractError, match=r"sales_beta\.sql:1: "):
        stale_tables(place.mesh, place.catalog, ["beta.sales_beta"])
