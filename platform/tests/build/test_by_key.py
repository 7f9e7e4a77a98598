"""Tables that group, or order, rows by key: a build computes the keys of changed rows, and rewrites what differs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.snapshot_diff import all_files
from pyiceberg.expressions import EqualTo

from conftest import draws

from ..small_mesh import Place, Sale, add_contract, small_mesh
from ..sql.test_audit import HOLD, rule

FACT, BUYER, PRICE, MONTH = "core.fact_sales", "core.dim_buyer", "core.dim_price", "core.kpi_month"
ALPHA, RAW = "alpha.sales_alpha", "alpha.sales_alpha__raw"
# The versions of an item's price: each sale at another price than the one before begins one.
PRICE_SQL = """
with seen as (
    select item_id, amount, sold_at, row_number() over (partition by item_id, sold_at order by event_id) as place
    from core.fact_sales
), compared as (
    select item_id, amount, sold_at, lag(amount) over (partition by item_id order by sold_at) as before
    from seen where place = 1
)
select
    c.item_id, cast(row_number() over w as integer) as version, i.label, c.amount,
    c.sold_at as valid_from, lead(c.sold_at) over w as valid_to
from compared as c left join core.items as i on i.item_id = c.item_id
where c.amount is distinct from c.before
window w as (partition by c.item_id order by c.sold_at)
"""
# The running total of each month depends on all months before it.
MONTH_SQL = """
select item_id, month, cast(sum(amount) over (order by month, item_id) as decimal(18, 2)) as running
from (select item_id, date_trunc('month', sold_at) as month, sum(amount) as amount from core.fact_sales group by all)
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return prices(tmp_path)


def prices(root: Path) -> Place:
    """The small mesh, with versions of prices and a running total by month."""
    place = small_mesh(root)
    price = {"item_id": "string key", "version": "int key", "label": "string", "amount": "decimal(12,2) required"}
    price |= {"valid_from": "timestamptz required", "valid_to": "timestamptz"}
    add_contract(place, "core", "dim_price", {"dim_price": price})
    place.write("core/models/dim_price.sql", PRICE_SQL)
    month = {"item_id": "string key", "month": "timestamptz key", "running": "decimal(18,2) required"}
    add_contract(place, "core", "kpi_month", {"kpi_month": month}, partition="month(month)")
    place.write("core/models/kpi_month.sql", MONTH_SQL)
    return place


def damage(place: Place, table: str, **wrong: object) -> None:
    """Change a value in each row of a table, as no build does; its files stay the newest ones."""
    opened = place.catalog.load_table(table)
    rows = opened.scan().to_arrow()
    changed = pa.Table.from_pylist([row | wrong for row in rows.to_pylist()], schema=rows.schema)
    replace_files(opened, [task.file for task in all_files(opened)], changed)


def test_only_the_keys_of_changed_rows_are_computed(place: Place) -> None:
    place.land("alpha", [Sale(1, buyer="ann"), Sale(2, buyer="bob")])
    place.build()
    damage(place, BUYER, total=Decimal("77.00"))
    place.land("alpha", [Sale(3, buyer="bob"), Sale(4, buyer="eve")])
    built = place.build()[BUYER]
    assert (built.mode, built.partitions, built.rows) == ("incremental", 1, 3)
    ann, bob, eve = ("ann", 1, Decimal("77.00")), ("bob", 2, Decimal("2.00")), ("eve", 1, Decimal("1.00"))
    assert place.rows(BUYER) == [ann, bob, eve]
    place.build(full=True)
    assert place.rows(BUYER) == [("ann", 1, Decimal("1.00")), bob, eve]


def test_rows_that_are_gone_leave_their_keys(place: Place) -> None:
    place.land("alpha", [Sale(1, buyer="ann"), Sale(2, buyer="bob")])
    place.land("beta", [Sale(3, buyer="bob", item="i2")])
    place.build()
    place.catalog.load_table(RAW).delete(EqualTo("event_id", "alpha-0001"))
    assert place.build()[BUYER].mode == "incremental"
    assert [row[:2] for row in place.rows(BUYER)] == [("bob", 2)]
    place.catalog.load_table(RAW).delete(EqualTo("event_id", "alpha-0002"))
    place.catalog.load_table("beta.sales_beta__raw").delete(EqualTo("event_id", "beta-0003"))
    place.build()
    assert place.rows(BUYER) == place.rows(PRICE) == place.rows(MONTH) == []


def test_a_late_sale_moves_the_versions_after_it(place: Place) -> None:
    place.land("alpha", [Sale(1, 10), Sale(2, 30, amount=Decimal(3)), Sale(3, 10, item="i2")])
    place.build()
    damage(place, PRICE, label="old")
    place.land("beta", [Sale(4, 20, amount=Decimal(2))])
    assert place.build()[PRICE].mode == "incremental"
    found = [(item, version, label, amount) for item, version, label, amount, *_ in place.rows(PRICE)]
    assert found == [("i1", n, "Lamp", Decimal(n)) for n in (1, 2, 3)] + [("i2", 1, "old", Decimal(1))]


def test_a_table_joined_by_key_and_one_looked_up_whole(place: Place) -> None:
    place.land("alpha", [Sale(1), Sale(2, item="i2")])
    place.build()
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\ni2,Desk\n")
    assert place.build()[PRICE].mode == "incremental"
    assert [row[2] for row in place.rows(PRICE)] == ["Lamp", "Desk"]
    place.write(
        "core/models/dim_price.sql",
        PRICE_SQL.replace("i.label", "(select max(label) from core.items) as label").replace(
            "left join core.items as i on i.item_id = c.item_id", ""
        ),
    )
    place.build()
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\ni2,Sofa\n")
    assert place.build()[PRICE].mode == "rebuild"
    assert [row[2] for row in place.rows(PRICE)] == ["Sofa", "Sofa"]


def test_merged_files_and_changed_columns_that_it_does_not_read_write_nothing(place: Place) -> None:
    for number in range(6):
        place.land("alpha", [Sale(number, buyer=f"b{number}")])
        place.build()
    files = place.files(BUYER)
    compact(lambda: place.catalog.load_table(FACT))
    assert place.build()[BUYER].mode == "noop"
    place.catalog.load_table(RAW).delete(EqualTo("event_id", "alpha-0003"))
    place.land("alpha", [Sale(9, hours=5, buyer="b3")])
    # Another sale of the same amount: the total of the buyer is what it was.
    assert place.build()[BUYER].mode == "noop"
    assert place.files(BUYER) == files
    assert {built.mode for built in place.build().values()} == {"noop"}


def test_rows_that_are_held_back_are_replaced_by_key(place: Place) -> None:
    few = {"type": "sql", "name": "few", "query": "SELECT COUNT(*) FROM ${object} WHERE sales > 2", "mustBe": 0}
    rule(place, {**few, "customProperties": HOLD}, table="core/contracts/dim_buyer")
    held = f"{BUYER}__held"
    place.land("alpha", [Sale(number, buyer="ann" if number < 3 else "bob") for number in range(6)])
    assert place.build()[BUYER].held == 2
    place.land("alpha", [Sale(7, buyer="eve")])
    assert place.build()[BUYER].mode == "incremental"
    assert (place.rows(BUYER, "buyer"), place.rows(held, "buyer")) == ([("eve",)], [("ann",), ("bob",)])
    place.catalog.load_table(RAW).delete(EqualTo("event_id", "alpha-0001"))
    place.build()
    assert (place.rows(BUYER, "buyer"), place.rows(held, "buyer")) == ([("ann",), ("eve",)], [("bob",)])


def test_of_a_table_that_is_computed_whole_only_partitions_that_differ_are_written(place: Place) -> None:
    place.land("alpha", [Sale(1, 0), Sale(2, 24 * 40), Sale(3, 24 * 70)])
    place.build()
    before = place.files(MONTH)
    place.land("alpha", [Sale(4, 24 * 41)])
    built = place.build()[MONTH]
    assert (built.mode, built.partitions, built.rows) == ("rebuild", 2, 2)
    assert len(before & place.files(MONTH)) == 1
    assert [row[2] for row in place.rows(MONTH)] == [Decimal(1), Decimal(3), Decimal(4)]
    # Asked for, all are written.
    assert place.build(MONTH, full=True)[MONTH].partitions == 3
    assert not before & place.files(MONTH)


SALES = st.lists(
    st.tuples(
        st.sampled_from(["alpha", "beta"]),
        st.integers(0, 24 * 60),
        st.sampled_from(["i1", "i2", "i3"]),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from([Decimal("1.00"), Decimal("2.00")]),
        st.sampled_from(["build", "delete", "", ""]),
    ),
    min_size=2,
    max_size=10,
)


@settings(max_examples=draws(4, 40), deadline=None, derandomize=True)
@given(SALES)
def test_any_split_of_any_order_gives_the_tables_of_one_full_build(
    drawn: list[tuple[str, int, str, str, Decimal, str]],
) -> None:
    with TemporaryDirectory() as folder:
        place = prices(Path(folder))
        place.build()
        for number, (shop, hours, item, buyer, amount, then) in enumerate(drawn):
            place.land(shop, [Sale(number, hours, item, buyer, amount)])
            if then == "delete":
                place.catalog.load_table(f"{shop}.sales_{shop}__raw").delete(EqualTo("item_id", item))
            if then:
                place.build()
        place.build()
        tables = (BUYER, PRICE, MONTH)
        found = [place.rows(table) for table in tables]
        place.build(full=True)
        assert found == [place.rows(table) for table in tables]
