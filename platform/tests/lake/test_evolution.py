"""Evolution of real tables: compatible changes keep all rows and snapshots, breaking ones change nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from mesh_platform.engine.duckdb import connect
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake import evolution
from mesh_platform.lake.catalog import arrow_schema, present_schema
from mesh_platform.lake.evolution import evolve
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session

from ..changed_contract import PRODUCT, RAW, evolve_alpha, land, plan_alpha, say
from ..small_mesh import EVENT, SALE, SALES_SQL, START, Place, add_contract, small_mesh

MANY = EVENT | {"units": "int required", "label": "string pii"}
MANY_SOLD = SALE | {"units": "int required", "label": "string pii"}
# The contract of MANY after one change of each compatible kind.
NEW = EVENT | {"units": "long required", "tag": "string pii <-label", "note": "string", "amount": "decimal(20,2)"}
NEW_SOLD = SALE | {"units": "long required", "tag": "string pii <-label", "note": "string"}
SQL = """select r.event_id, r.item_id, r.buyer, s.warehouse_id as site_id, r.sold_at,
    cast(r.amount as decimal(12, 2)) as amount, {columns}
from alpha.sales_alpha__raw as r
inner join mesh.sites as s on s.domain = 'alpha'
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def say_many(place: Place) -> None:
    say(place, MANY, MANY_SOLD)
    place.write("alpha/models/sales_alpha.sql", SQL.format(columns="r.units, r.label"))


def say_new(place: Place) -> None:
    say(place, NEW, NEW_SOLD)
    place.write("alpha/models/sales_alpha.sql", SQL.format(columns="r.units, r.tag, r.note"))


def ask(place: Place, sql: str, **options: object) -> list[tuple[object, ...]]:
    with open_session(place.mesh, place.catalog, **options) as session:  # type: ignore[arg-type]
        return [tuple(row.values()) for row in run_query(session, sql).to_pylist()]


def snapshots(place: Place) -> dict[str, list[int]]:
    names = [".".join(name) for space in place.catalog.list_namespaces() for name in place.catalog.list_tables(space)]
    return {name: place.snapshots(name) for name in names}


def described(place: Place, table: str, **options: object) -> dict[object, object]:
    return dict(ask(place, f"select column_name, column_type from (describe {table})", **options))  # type: ignore[arg-type]


def test_old_rows_read_in_the_new_shape_and_no_snapshot_moves(place: Place):
    say_many(place)
    land(place, 1, units=2, label="red")
    place.build()
    before, files = snapshots(place), place.files(PRODUCT)
    say_new(place)
    changes = {(change.table, change.change, change.field) for change in evolve_alpha(place)}
    assert changes == {
        *(
            (table, *rest)
            for table in (RAW, PRODUCT)
            for rest in [("widen", "units"), ("rename", "tag"), ("add", "note")]
        ),
        *((RAW, kind, "amount") for kind in ("widen", "relax_required")),
    }
    assert snapshots(place) == before
    # Nor does a build change one: the query differs, but returns the same rows.
    assert {built.mode for built in place.build().values()} == {"noop"}
    assert {built.mode for built in place.build().values()} == {"noop"}
    assert snapshots(place) == before
    assert place.files(PRODUCT) == files
    land(place, 2, units=2**40, tag="blue", note="gift", amount=Decimal("123456789.00"))
    built = place.build()
    assert (built[PRODUCT].mode, built["core.fact_sales"].mode) == ("incremental", "incremental")
    rows = [("alpha-0001", 2, "red", None), ("alpha-0002", 2**40, "blue", "gift")]
    columns = ("event_id", "units", "tag", "note")
    assert ask(place, f"select {', '.join(columns)} from {PRODUCT} order by 1") == rows
    # Outside readers: pyiceberg, and DuckDB's own extension.
    assert [tuple(row) for row in place.rows(PRODUCT, *columns)] == sorted(
        tuple(dict(zip(columns, row, strict=True))[name] for name in found_order(place, columns)) for row in rows
    )
    scan = f"iceberg_scan('{place.catalog.load_table(PRODUCT).metadata_location}')"
    with connect({}) as outside:
        query = f"select event_id, units, tag, note from {scan} order by 1"
        assert outside.execute(query).fetchall() == rows
        # Bounds in old manifests have the narrow type.
        assert outside.execute(f"select event_id from {scan} where units < 3").fetchall() == [("alpha-0001",)]
    by_hand = place.rows(PRODUCT), place.rows("core.fact_sales")
    place.build(full=True)
    assert (place.rows(PRODUCT), place.rows("core.fact_sales")) == by_hand


def found_order(place: Place, columns: tuple[str, ...]) -> list[str]:
    return [field.name for field in place.catalog.load_table(PRODUCT).schema().fields if field.name in columns]


def test_rows_that_change_after_an_evolution_are_carried_over_like_any(place: Place):
    say_many(place)
    for number in (1, 2):
        land(place, number, units=number, label="red")
    place.build()
    say_new(place)
    evolve_alpha(place)
    land(place, 3, 1000, units=3, tag="blue")
    place.build()
    place.catalog.load_table(RAW).delete("event_id = 'alpha-0001'")
    built = place.build()
    assert (built[PRODUCT].mode, built[PRODUCT].partitions) == ("rebuild", 1)
    assert ask(place, f"select event_id, units, tag, note from {PRODUCT} order by 1") == [
        ("alpha-0002", 2, "red", None),
        ("alpha-0003", 3, "blue", None),
    ]
    rows = place.rows(PRODUCT), place.rows("core.fact_sales")
    place.build(full=True)
    assert (place.rows(PRODUCT), place.rows("core.fact_sales")) == rows


def test_a_past_state_has_the_columns_and_types_of_its_time_by_todays_names(place: Place):
    say_many(place)
    land(place, 1, units=2, label="red")
    place.build()
    old = {table: f"{table}@{place.snapshots(table)[-1]}" for table in (RAW, PRODUCT)}
    then = datetime.now(UTC)
    say_new(place)
    evolve_alpha(place)
    now = described(place, PRODUCT)
    assert list(now) == list(NEW_SOLD)
    assert now["units"] == "BIGINT"
    # The state that was the current one during the change has the old schema, too.
    for moment in ("evolved", "and later"):
        for as_of in (old[PRODUCT], then):
            past = described(place, PRODUCT, as_of=as_of)
            assert past == {**{name: kind for name, kind in now.items() if name != "note"}, "units": "INTEGER"}, (
                moment
            )
        assert described(place, RAW, as_of=old[RAW])["amount"] == "DECIMAL(12,2)"
        assert ask(place, f"select tag, units from {PRODUCT}", as_of=old[PRODUCT]) == [("red", 2)]
        (hidden,) = ask(place, f"select tag from {PRODUCT}", as_of=old[PRODUCT], role="boss")
        assert hidden != ("red",)
        with pytest.raises(UsageError, match="note"):
            ask(place, f"select note from {PRODUCT}", as_of=old[PRODUCT])
        land(place, 2 + len(moment), units=1)
        place.build()
    # Downstream tables can still read it.
    assert ask(place, "select count(*) from core.sale_v1", as_of=old[PRODUCT]) == [(1,)]
    assert ask(place, "select count(*) from core.fact_sales__resolved", as_of=then) == [(1,)]


def test_a_union_reads_null_where_a_past_state_lacks_the_column(place: Place):
    land(place, 1)
    place.build()
    old = f"{PRODUCT}@{place.snapshots(PRODUCT)[-1]}"
    for shop in ("alpha", "beta"):
        shapes = {"sale_made": EVENT | {"note": "string"}, f"sales_{shop}": SALE | {"note": "string pii"}}
        add_contract(
            place, shop, f"sales_{shop}", shapes, partition="month(sold_at)", implements="sale.v1", roles=[shop]
        )
        sql = SALES_SQL.format(domain=shop).replace("r.amount", "r.amount, r.note")
        place.write(f"{shop}/models/sales_{shop}.sql", sql)
    add_contract(place, "core", "sale.v1", {"sale": SALE | {"note": "string"}}, folder="interfaces")
    for shop in ("alpha", "beta"):
        evolve(place.catalog, place.mesh.contract(f"{shop}.sales_{shop}"))
    land(place, 2, note="gift")
    place.build()
    assert ask(place, "select event_id, note from core.sale_v1 order by 1") == [
        ("alpha-0001", None),
        ("alpha-0002", "gift"),
    ]
    for role in (None, "boss"):
        assert ask(place, "select event_id, note from core.sale_v1", as_of=old, role=role) == [("alpha-0001", None)]


def test_a_contract_that_is_not_applied_yet_is_read_already(place: Place):
    say_many(place)
    land(place, 1, units=2, label="red")
    place.build()
    say_new(place)
    assert ask(place, f"select units, tag, note from {PRODUCT}") == [(2, "red", None)]


def test_a_dropped_column_is_kept_and_comes_back_with_its_values(place: Place):
    say_many(place)
    land(place, 1, units=2, label="red")
    place.build()
    old = f"{PRODUCT}@{place.snapshots(PRODUCT)[-1]}"
    say(place, EVENT | {"units": "int required"}, SALE | {"units": "int required"})
    place.write("alpha/models/sales_alpha.sql", SQL.format(columns="r.units"))
    assert {change.change for change in evolve_alpha(place)} == {"drop_optional"}
    assert plan_alpha(place) == []
    dropped = place.catalog.load_table(PRODUCT).schema().find_field("label")
    assert dropped.doc == "No longer in the contract. A."
    land(place, 2, units=3)
    place.build()
    for as_of in (None, old):
        # The contract no longer says who may read it.
        assert "label" not in described(place, PRODUCT, as_of=as_of)
    say(place, MANY | {"label": "int"}, SALE | {"units": "int required"})
    assert [(change.change, change.breaking) for change in plan_alpha(place)] == [
        ("retype", True),
        ("describe", False),
    ]
    say_many(place)
    assert {change.change for change in evolve_alpha(place)} == {"describe"}
    assert ask(place, f"select event_id, label from {RAW} order by 1") == [
        ("alpha-0001", "red"),
        ("alpha-0002", None),
    ]


def test_a_rename_may_skip_a_name_that_this_table_never_had(place: Place):
    say(place, EVENT | {"first": "string"}, SALE)
    land(place, 1, first="x")
    say(place, EVENT | {"third": "string <-second <-first"}, SALE)
    assert [(change.change, change.was, change.field) for change in evolve_alpha(place)] == [
        ("rename", "first", "third")
    ]
    assert ask(place, f"select third from {RAW}") == [("x",)]
    # The name may be used for another column once the contract no longer mentions the old one.
    say(place, EVENT | {"third": "string", "first": "string"}, SALE)
    assert [(change.change, change.field) for change in evolve_alpha(place)] == [("add", "first")]
    assert ask(place, f"select third, first from {RAW}") == [("x", None)]


def test_a_column_that_makes_partitions_can_be_renamed_and_widened(place: Place):
    sold = {name: words for name, words in SALE.items() if name != "sold_at"}
    say(place, EVENT, SALE | {"units": "int required"}, partition="identity(units)", implements=None)
    place.write("alpha/models/sales_alpha.sql", SQL.format(columns="2 as units"))
    land(place, 1)
    place.build()
    say(
        place,
        EVENT,
        sold | {"sold_at": SALE["sold_at"], "count": "long required <-units"},
        partition="identity(count)",
        implements=None,
    )
    place.write("alpha/models/sales_alpha.sql", SQL.format(columns="cast(2 as bigint) as count"))
    assert {change.change for change in evolve_alpha(place)} == {"rename", "widen"}
    before = place.files(PRODUCT)
    land(place, 2)
    # Landing changed before the changed query was built, so everything is rebuilt.
    assert place.build()[PRODUCT].mode == "rebuild"
    land(place, 3)
    built = place.build()[PRODUCT]
    assert (built.mode, built.partitions, built.rows) == ("incremental", 1, 1)
    assert before.isdisjoint(place.files(PRODUCT))
    assert ask(place, f"select event_id from {PRODUCT} where count = 2 order by 1") == [
        (f"alpha-000{number}",) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("partition", [None, "day(sold_at)"])
def test_a_column_cannot_have_the_name_of_an_earlier_partition(place: Place, partition: str | None):
    land(place, 1)
    place.build()
    say(place, EVENT, SALE, partition=partition)
    evolve_alpha(place)
    say(place, EVENT, SALE | {"sold_at_month": "int"}, partition=partition)
    with pytest.raises(ContractError, match="has a partition named sold_at_month, so no other column can have that"):
        evolve_alpha(place)


def test_a_column_cannot_have_the_name_that_a_renamed_column_left_to_its_partition(place: Place):
    units, count = {"units": "int required"}, {"count": "int required <-units"}
    say(place, EVENT, SALE | units, partition="identity(units)", implements=None)
    place.write("alpha/models/sales_alpha.sql", SQL.format(columns="2 as units"))
    land(place, 1)
    place.build()
    say(place, EVENT, SALE | count, partition="identity(count)", implements=None)
    evolve_alpha(place)
    say(place, EVENT, SALE | {"count": "int required", "units": "int"}, partition="identity(count)", implements=None)
    with pytest.raises(ContractError, match="has a partition named units, so no other column can have that name"):
        evolve_alpha(place)


def test_another_partition_of_a_product_writes_it_anew_once(place: Place):
    for number, hours in ((1, 0), (2, 30)):
        land(place, number, hours)
    place.build()
    rows = place.rows(PRODUCT)
    assert len(place.files(PRODUCT)) == 1
    say(place, EVENT, SALE, partition="day(sold_at)")
    assert [(change.change, change.was, change.field) for change in evolve_alpha(place)] == [
        ("repartition", "month(sold_at)", "day(sold_at)")
    ]
    assert plan_alpha(place) == []
    assert place.build()[PRODUCT].mode == "rebuild"
    assert len(place.files(PRODUCT)) == 2
    assert place.rows(PRODUCT) == rows
    land(place, 3, 31)
    built = place.build()[PRODUCT]
    assert (built.mode, built.partitions, built.rows) == ("incremental", 1, 1)
    say(place, EVENT, SALE, partition="month(sold_at)")
    evolve_alpha(place)
    place.build()
    assert len(place.files(PRODUCT)) == 1
    assert place.build()[PRODUCT].mode == "noop"


def test_who_commits_meanwhile_loses_nothing(place: Place, monkeypatch: pytest.MonkeyPatch):
    land(place, 1)
    say(place, EVENT | {"note": "string"}, SALE)
    apply, turns = evolution._apply, []

    def meanwhile(*arguments: object) -> None:
        turns.append(1)
        if len(turns) == 1:
            old = present_schema(place.catalog.load_table(RAW))
            row = {"event_id": "alpha-0002", "event_time": START, "item_id": "i1", "buyer": "ann", "sold_at": START}
            row |= {"amount": Decimal(1), "producer": "t", "schema_version": "1", "ingested_at": START}
            append_rows(place.catalog.load_table(RAW), pa.Table.from_pylist([row], schema=arrow_schema(old)))
            # Somebody else evolves the same table.
            evolve_alpha(place)
        apply(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(evolution, "_apply", meanwhile)
    assert evolve_alpha(place) == []
    assert len(turns) == 2
    assert [name for (name,) in place.rows(RAW, "event_id")] == ["alpha-0001", "alpha-0002"]
    assert plan_alpha(place) == []


def test_a_table_that_is_not_there_needs_no_evolution(place: Place):
    assert plan_alpha(place) == evolve_alpha(place) == []
    assert place.catalog.list_namespaces() == []


def test_of_a_retired_product_its_events_are_left_for_sql_to_read(place: Place):
    land(place, 1)
    place.build()
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    path.write_text(path.read_text().replace("status: active", "status: retired"))
    (place.root / "domains/alpha/models/sales_alpha.sql").unlink()
    shapes = {"sold": EVENT, "sales_two": SALE}
    add_contract(
        place, "alpha", "sales_two", shapes, partition="month(sold_at)", implements="sale.v1", roles=["alpha"]
    )
    place.write("alpha/models/sales_two.sql", SALES_SQL.format(domain="alpha"))
    built = place.build()
    assert PRODUCT not in built
    assert place.rows("alpha.sales_two") == place.rows("core.fact_sales")
    assert [contract.name for contract in place.mesh.ingested(("alpha",))] == ["sales_two"]
    assert ask(place, f"select event_id from {RAW}") == [("alpha-0001",)]
    ((hidden,),) = ask(place, f"select buyer from {RAW}", role="boss")
    assert hidden != "ann"
    with pytest.raises(UsageError, match="no such view"):
        ask(place, f"select * from {PRODUCT}")
    # The name is taken as long as the table exists.
    add_contract(place, "alpha", "sales_three", {"sold3": EVENT, "sales_alpha": SALE})
    with pytest.raises(ContractError, match="table 'sales_alpha' is that of"):
        load_mesh(place.root)
