"""Each row is either published or held back, exactly once, whatever happens to a build."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.snapshot_diff import all_files
from mesh_platform.lake.evolution import evolve
from mesh_platform.query.session import open_session
from mesh_platform.query.status import read_status

from conftest import draws

from ..small_mesh import BUYER_SQL, START, Place, Sale, small_mesh
from ..sql.test_audit import CHEAP, FACT, FACT_WITHOUT, HOLD, refused, rule, sale

HELD = f"{FACT}__held"
BOB = {
    "metric": "invalidValues",
    "arguments": {"pattern": "^[^b]"},
    "mustBe": 0,
    "name": "no b",
    "customProperties": HOLD,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def ids(place: Place, table: str) -> list[object]:
    """Return the ids in a view of a session, sorted, with repeats."""
    (found,) = all_ids(place, table)
    return found


def all_ids(place: Place, *tables: str) -> tuple[list[object], ...]:
    """Return what `ids` does, for several tables in one session."""
    with open_session(place.mesh, place.catalog) as session:
        rows = [session.execute(f"SELECT event_id FROM {table} ORDER BY 1").fetchall() for table in tables]
    return tuple([row[0] for row in found] for found in rows)


def test_rows_held_back_are_beside_the_table_with_what_is_wrong(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    rule(place, BOB, column="buyer")
    place.land("alpha", [sale(1, "0.50"), sale(2, "5.00"), sale(3, "0.50", buyer="bob")])
    built = place.build()[FACT]
    assert (built.rows, built.held) == (1, 2)
    assert ids(place, FACT) == ["alpha-0002"]
    with open_session(place.mesh, place.catalog) as session:
        found = session.execute(f"SELECT event_id, buyer, held_rule, held_reason FROM {HELD} ORDER BY 1").fetchall()
    cheap = "the rule 'A sale is worth a dollar' is broken"
    assert found == [
        ("alpha-0001", "ann", "cheap", cheap),
        ("alpha-0003", "bob", "cheap; no b", f"{cheap}; buyer does not match ^[^b]"),
    ]
    with open_session(place.mesh, place.catalog, role="alpha") as session:
        assert "bob" not in str(session.execute(f"SELECT * FROM {HELD}").fetchall())
    assert {(each.table, each.kind, each.rows) for each in read_status(place.mesh, place.catalog, START)} >= {
        (HELD, "held", 2),
        (FACT, "product", 1),
    }
    assert {each.mode for each in place.build().values()} == {"noop"}
    assert place.build(full=True)[FACT].held == 2
    assert ids(place, HELD) == ["alpha-0001", "alpha-0003"]


def test_what_is_required_may_be_missing_where_a_rule_holds_it_back(place: Place):
    place.write(
        "core/models/fact_sales.sql",
        FACT_WITHOUT.format("true").replace("sold_at", "nullif(sold_at, sold_at) as sold_at"),
    )
    place.land("alpha", [sale(1, "1.00")])
    assert "sold_at is required and missing" in refused(place)
    rule(place, {"metric": "nullValues", "mustBe": 0, "customProperties": HOLD}, column="sold_at")
    place.build(FACT)
    assert all_ids(place, FACT, HELD) == ([], ["alpha-0001"])
    place.land("alpha", [sale(2, "1.00")])
    assert place.build(FACT)[FACT].mode == "incremental"
    assert all_ids(place, FACT, HELD) == ([], ["alpha-0001", "alpha-0002"])


def test_without_the_rule_the_rows_come_back(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.land("alpha", [sale(1, "0.50")])
    place.build(FACT)
    assert all_ids(place, FACT, HELD) == ([], ["alpha-0001"])
    rule(place)
    place.build(FACT)
    assert all_ids(place, FACT, HELD) == (["alpha-0001"], [])


def check(place: Place, landed: Sequence[Sale]) -> None:
    kept = sorted(f"alpha-{each.number:04}" for each in landed if each.amount >= 1)
    held = sorted(f"alpha-{each.number:04}" for each in landed if each.amount < 1)
    assert all_ids(place, FACT, HELD) == (kept, held)


SALES = st.lists(
    st.tuples(st.integers(0, 24 * 70), st.decimals("0.01", "2.00", places=2), st.booleans(), st.booleans()),
    min_size=3,
    max_size=7,
)


@settings(max_examples=draws(4), deadline=None, derandomize=True)
@given(SALES)
def test_builds_after_any_split_and_rollback_hold_back_what_one_build_of_all_does(
    drawn: list[tuple[int, Decimal, bool, bool]],
):
    with TemporaryDirectory() as folder:
        place = small_mesh(Path(folder))
        rule(place, {**CHEAP, "customProperties": HOLD})
        landed = [sale(100, "0.50"), sale(101, "1.50")]
        snapshot = place.land("alpha", landed)
        place.build(FACT)
        kept = list(landed)
        for number, (hours, amount, build_now, back) in enumerate(drawn):
            if back:
                landed = list(kept)
                table = place.catalog.load_table("alpha.sales_alpha__raw")
                table.manage_snapshots().set_current_snapshot(snapshot_id=snapshot).commit()
            landed.append(Sale(number, hours, amount=amount))
            place.land("alpha", landed[-1:])
            if build_now:
                place.build(FACT)
                check(place, landed)
        place.build(FACT)
        check(place, landed)
        place.build(FACT, full=True)
        check(place, landed)


@pytest.mark.parametrize("fault", ["build.held:kill", "build.computed:kill:2"])
@pytest.mark.parametrize("back", [False, True])
def test_a_build_killed_before_it_publishes_holds_back_nothing_twice(place: Place, fault: str, back: bool):
    rule(place, {**CHEAP, "customProperties": HOLD})
    landed = [sale(1, "0.50"), sale(2, "1.00")]
    snapshot = place.land("alpha", landed)
    place.build(FACT)
    if back:
        place.land("alpha", [sale(3, "0.40"), sale(4, "1.00", 1000)])
        place.build(FACT)
        place.catalog.load_table("alpha.sales_alpha__raw").manage_snapshots().rollback_to_snapshot(snapshot).commit()
    else:
        landed.append(sale(5, "0.60"))
        place.land("alpha", landed[-1:])
    before = all_ids(place, FACT, HELD)
    place.state.mesh("build", FACT, check=-9, MESH_FAULT=fault)
    # Only what belongs to the published state is seen, whatever is in the table of what is held back.
    assert all_ids(place, FACT, HELD) == before
    landed.append(sale(6, "0.70"))
    place.land("alpha", landed[-1:])
    place.build(FACT)
    check(place, landed)
    assert len(place.rows(HELD)) == len(ids(place, HELD))


def test_a_killed_first_build_leaves_nothing_that_counts(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.land("alpha", [sale(1, "0.50")])
    place.state.mesh("build", check=-9, MESH_FAULT="build.held:kill")
    assert len(place.rows(HELD)) == 1
    assert ids(place, HELD) == []
    place.write("core/models/fact_sales.sql", FACT_WITHOUT.format("amount > 9"))
    place.build()
    assert ids(place, HELD) == []
    place.land("alpha", [sale(2, "0.50")])
    place.write("core/models/fact_sales.sql", FACT_WITHOUT.format("event_id = 'alpha-0002'"))
    place.build()
    assert ids(place, HELD) == ["alpha-0002"]
    assert len(place.rows(HELD)) == 1


@pytest.mark.slow
def test_builds_at_once_hold_back_no_row_twice(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.build()
    landed = []
    for turn in range(3):
        landed += [sale(2 * turn, "0.50", turn * 300), sale(2 * turn + 1, "1.50", turn * 300)]
        place.land("alpha", landed[-2:])
        processes = [place.state.start("build") for _ in range(2)]
        assert [process.wait() for process in processes] == [0, 0]
        check(place, landed)


def test_a_rollback_of_the_table_takes_what_is_held_back_along(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.land("alpha", [sale(1, "0.50")])
    snapshot = place.build()[FACT].snapshot_id
    place.land("alpha", [sale(2, "0.50"), sale(3, "1.00")])
    place.build()
    assert snapshot is not None
    with open_session(place.mesh, place.catalog, as_of=f"{FACT}@{snapshot}") as session:
        assert session.execute(f"SELECT count(*) FROM {HELD}").fetchall() == [(1,)]
    place.catalog.load_table(FACT).manage_snapshots().rollback_to_snapshot(snapshot).commit()
    check(place, [sale(1, "0.50")])
    place.build()
    check(place, [sale(1, "0.50"), sale(2, "0.50"), sale(3, "1.00")])


def test_what_is_held_back_in_other_partitions_stays_where_some_are_redone(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    kept = [sale(1, "0.50"), sale(2, "0.50", 1000)]
    snapshot = place.land("alpha", kept)
    place.land("alpha", [sale(3, "0.50", 1100)])
    place.build(FACT)
    place.catalog.load_table("alpha.sales_alpha__raw").manage_snapshots().rollback_to_snapshot(snapshot).commit()
    built = place.build(FACT)[FACT]
    assert (built.mode, built.partitions, built.held) == ("rebuild", 1, 1)
    check(place, kept)


def test_what_is_held_back_survives_the_expiry_of_its_recorded_state(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.land("alpha", [sale(1, "0.50")])
    place.build(FACT)
    table = place.catalog.load_table(HELD)
    replace_files(table, [task.file for task in all_files(table)], table.scan().to_arrow())
    first = place.snapshots(HELD)[0]
    place.catalog.load_table(HELD).maintenance.expire_snapshots().by_id(first).commit()
    place.land("alpha", [sale(2, "0.50")])
    assert place.build(FACT)[FACT].mode == "rebuild"
    check(place, [sale(1, "0.50"), sale(2, "0.50")])


def test_what_is_held_back_follows_a_changed_contract(place: Place):
    rule(place, BOB, column="buyer")
    place.land("alpha", [sale(1, "1.00"), sale(2, "2.00", buyer="bob")])
    place.build()
    before = place.snapshots(FACT), place.snapshots(HELD)
    old = f"{FACT}@{before[0][-1]}"
    path = place.root / "domains/core/contracts/fact_sales.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    columns = contract["schema"][0]["properties"]
    (amount,) = (column for column in columns if column["name"] == "amount")
    amount |= {"name": "total", "customProperties": [{"property": "mesh.renamedFrom", "value": ["amount"]}]}
    columns.append({"name": "note", "logicalType": "string", "physicalType": "string", "description": "A."})
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    select = FACT_WITHOUT.format("true").replace("amount", "amount as total, cast(null as varchar) as note")
    place.write("core/models/fact_sales.sql", select)
    place.write("core/models/dim_buyer.sql", BUYER_SQL.replace("sum(amount)", "sum(total)"))
    changes = {(change.table, change.change) for change in evolve(place.catalog, place.mesh.contract(FACT))}
    assert changes == {(table, kind) for table in (FACT, HELD) for kind in ("rename", "add")}
    assert {built.mode for built in place.build().values()} == {"noop"}
    assert (place.snapshots(FACT), place.snapshots(HELD)) == before
    place.land("alpha", [sale(3, "3.00", buyer="bert")])
    assert place.build()[FACT].held == 1
    rows = "SELECT event_id, total, note FROM {} ORDER BY 1"
    held = [("alpha-0002", Decimal("2.00"), None), ("alpha-0003", Decimal("3.00"), None)]
    with open_session(place.mesh, place.catalog) as session:
        assert session.execute(rows.format(HELD)).fetchall() == held
    with open_session(place.mesh, place.catalog, as_of=old) as session:
        assert session.execute(f"SELECT event_id, total FROM {HELD}").fetchall() == [("alpha-0002", Decimal("2.00"))]
    # Held rows in snapshots of both shapes, replaced by partition and completely.
    place.catalog.load_table("alpha.sales_alpha__raw").delete("event_id = 'alpha-0003'")
    place.build()
    assert ids(place, HELD) == ["alpha-0002"]
    place.build(full=True)
    with open_session(place.mesh, place.catalog) as session:
        assert session.execute(rows.format(HELD)).fetchall() == held[:1]


def test_a_release_older_than_the_first_row_held_back_has_none(place: Place):
    place.land("alpha", [sale(1, "0.50")])
    place.build(release=True)
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.build(release=True)
    with open_session(place.mesh, place.catalog, as_of="r1") as session:
        assert session.execute(f"SELECT count(*) FROM {FACT}").fetchall() == [(1,)]
        assert session.execute(f"SELECT count(*) FROM {HELD}").fetchall() == [(0,)]
    with open_session(place.mesh, place.catalog, as_of="r2") as session:
        assert session.execute(f"SELECT count(*) FROM {HELD}").fetchall() == [(1,)]


def test_a_time_shows_what_was_held_back_from_the_state_of_the_table_then(place: Place):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.land("alpha", [sale(1, "0.50")])
    place.build()
    then = datetime.now(UTC)
    snapshot = place.catalog.load_table(HELD).metadata.current_snapshot_id
    place.land("alpha", [sale(2, "0.50")])
    place.build()
    with open_session(place.mesh, place.catalog, as_of=then) as session:
        assert session.execute(f"SELECT count(*) FROM {HELD}").fetchall() == [(1,)]
    with open_session(place.mesh, place.catalog, as_of=f"{HELD}@{snapshot}") as session:
        assert session.execute(f"SELECT count(*) FROM {HELD}").fetchall() == [(1,)]
