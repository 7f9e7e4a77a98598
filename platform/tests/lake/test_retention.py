"""Retention: rows past the promise of their contract go, everything else stays, whatever happens meanwhile."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.orphan_files import find_orphans
from mesh_platform.iceberg.retention import kept_from
from mesh_platform.lake import maintain as module
from mesh_platform.lake import retention
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.lake.ledger import write_ledger
from mesh_platform.lake.maintain import Maintained, maintain
from mesh_platform.lake.releases import read_releases
from mesh_platform.lake.retention import Removal, clear_past, past_states, read_removals
from mesh_platform.lake.rollback import roll_back
from mesh_platform.lake.tables import quarantine_schema, table_named

from ..kills import kills
from ..small_mesh import START, Place, Sale, add_contract, small_mesh
from ..sql.test_audit import CHEAP, HOLD, rule

RAW, SALES, OTHER = "alpha.sales_alpha__raw", "alpha.sales_alpha", "beta.sales_beta"
FACT, BUYER = "core.fact_sales", "core.dim_buyer"
DAYS = 60
# The time of the data; rows from before the midnight of thirty days ago go.
NOW = START + timedelta(days=DAYS, hours=5)
UNTIL = START + timedelta(days=30)


def promise(place: Place, path: str, days: int | None, time: str | None = "sold_at") -> None:
    """Let a contract promise `days` of retention, counted from its column `time`."""
    file = place.root / "domains" / path
    contract = yaml.safe_load(file.read_text())
    table = contract["schema"][-1]["name"]
    kept = [{"property": "retention", "value": days, "unit": "d"}] if days else []
    fresh = {"property": "freshness", "value": 24, "unit": "h", "element": f"{table}.{time}"}
    contract["slaProperties"] = [*([fresh] if time else []), *kept]
    file.write_text(yaml.safe_dump(contract, sort_keys=False))


def sales(numbers: range) -> list[Sale]:
    """A sale each day, by two buyers in turn; one of them stops after half the time."""
    return [Sale(n, hours=24 * n + 3, buyer="bob" if n % 2 and n < 29 else "ann") for n in numbers]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a filled lake, `lake`, and a copy of it, `kept`.

    Two shops have a sale each day. Alpha promises thirty days of retention, the facts more than there are.
    """
    folder = tmp_path_factory.mktemp("retention")
    place = small_mesh(folder / "lake")
    promise(place, "alpha/contracts/sales_alpha.odcs.yaml", 30)
    promise(place, "core/contracts/fact_sales.odcs.yaml", 300)
    for numbers in (range(20), range(20, 60)):
        for shop in ("alpha", "beta"):
            place.land(shop, sales(numbers))
        place.build(release=True)
    place.close()
    shutil.copytree(folder / "lake", folder / "kept")
    return folder


@pytest.fixture
def place(filled: Path) -> Place:
    """The filled lake, as it was; files name each other by path, so it is always in one place."""
    Place(filled / "lake").close()
    shutil.rmtree(filled / "lake")
    shutil.copytree(filled / "kept", filled / "lake")
    return Place(filled / "lake")


def run(place: Place, *tables: str, **changes: Any) -> dict[str, Maintained]:
    done = maintain(place.mesh, place.catalog, tables, now=NOW, **changes)
    assert not [each for each in done if each.failed or "stay" in (each.skipped or "")]
    return {each.table: each for each in done}


def ids(place: Place, table: str) -> list[object]:
    return [row[0] for row in place.rows(table, "event_id")]


def named(shop: str, numbers: range) -> list[str]:
    return [f"{shop}-{n:04}" for n in numbers]


def test_rows_past_their_retention_go_and_all_others_stay(place: Place) -> None:
    before = {name: place.rows(name) for name in (OTHER, FACT, BUYER)}
    heads = {name: place.snapshots(name)[-1] for name in (FACT, BUYER)}
    planned = run(place, dry_run=True)
    assert (planned[RAW].removed, planned[SALES].removed) == (30, 30)
    assert ids(place, RAW) == named("alpha", range(60))
    done = run(place)
    assert {name: each.removed for name, each in done.items() if each.removed} == {RAW: 30, SALES: 30}
    assert ids(place, RAW) == ids(place, SALES) == named("alpha", range(30, 60))
    assert {name: place.rows(name) for name in before} == before
    # By partitions of days nothing was written; October has the last of the rows that stay, too.
    noted = {each.table: each for each in read_removals(place.catalog)}
    assert (noted[RAW].rows, noted[RAW].rewritten, noted[SALES].rewritten) == (30, 0, 1)
    assert noted[RAW].until == f"event_time {UNTIL.isoformat()}"
    assert {name: each.removed for name, each in run(place).items() if each.removed} == {}
    assert len(read_removals(place.catalog)) == 2
    # No build takes it for a change.
    assert {built.mode for built in place.build().values()} == {"noop"}
    assert {name: place.snapshots(name)[-1] for name in heads} == heads


def test_a_table_downstream_keeps_its_rows_in_every_kind_of_build(place: Place) -> None:
    facts = place.rows(FACT)
    run(place)
    place.land("alpha", [Sale(70, hours=24 * 59, buyer="bob")])
    assert place.build()[FACT].mode == "incremental"
    bob = [row for row in place.rows(BUYER) if row[0] == "bob"]
    assert bob == [("bob", 29, Decimal("29.00"))]
    place.build(full=True)
    assert [row for row in place.rows(FACT) if row[0] != "alpha-0070"] == facts
    assert [row for row in place.rows(BUYER) if row[0] == "bob"] == bob
    # A changed query; then a rollback, which rewrites the month of the boundary.
    sql = (place.root / "domains/core/models/fact_sales.sql").read_text()
    place.write(
        "core/models/fact_sales.sql", sql.replace("amount from", "cast(amount + 1 as decimal(12, 2)) as amount from")
    )
    assert place.build()[FACT].mode == "rebuild"
    assert len(ids(place, FACT)) == 121
    now = {row[0]: row[-1] for row in place.rows(FACT, "event_id", "amount")}
    assert (now["alpha-0003"], now["alpha-0031"]) == (Decimal("1.00"), Decimal("2.00"))
    first = next(number for number in reversed(place.snapshots(RAW)[:-1]) if number)
    table = place.catalog.load_table(RAW)
    with table.manage_snapshots() as manage:
        manage.set_current_snapshot(snapshot_id=first)
    place.build()
    assert ids(place, FACT) == named("alpha", range(60)) + named("beta", range(60))


def test_keys_that_are_computed_again_keep_their_time_before(place: Place) -> None:
    """A table of days by buyer, computed by key from facts whose own retention is short."""
    columns = {"buyer": "string key", "sold_at": "timestamptz key", "total": "decimal(18,2) required"}
    add_contract(place, "core", "kpi_day", {"kpi_day": columns}, partition="month(sold_at)")
    promise(place, "core/contracts/kpi_day.odcs.yaml", 300)
    query = "select buyer, sold_at, cast(sum(amount) as decimal(18, 2)) as total from core.fact_sales group by all\n"
    place.write("core/models/kpi_day.sql", query)
    # And a total of all of them.
    add_contract(place, "core", "kpi_all", {"kpi_all": {"name": "string key", "sales": "long required"}})
    place.write("core/models/kpi_all.sql", "select 'all' as name, count(*) as sales from core.fact_sales\n")
    place.build()
    days, totals = place.rows("core.kpi_day"), {row[0]: row for row in place.rows(BUYER)}
    promise(place, "core/contracts/fact_sales.odcs.yaml", 30)
    assert run(place)[FACT].removed == 60
    assert {built.mode for name, built in place.build().items() if name != FACT} == {"noop"}
    assert place.rows("core.kpi_day") == days
    assert {row[0]: row for row in place.rows(BUYER)} == totals
    assert place.rows("core.kpi_all") == [("all", 120)]
    place.land("beta", [Sale(80, hours=24 * 59 + 7, buyer="bob")])
    place.build()
    assert [row for row in place.rows("core.kpi_day") if row[1] != START + timedelta(hours=24 * 59 + 7)] == days
    place.build(full=True)
    assert len(place.rows("core.kpi_day")) == len(days) + 1
    # A table without a time is what its query makes of what is left.
    assert [row[:2] for row in place.rows(BUYER)] == [("ann", 60), ("bob", 1)]


def replay(place: Place, *numbers: int) -> int:
    """Ingest sales of alpha again, as a replay does; the number that was appended."""
    table = place.catalog.load_table(RAW)
    values = [
        {
            "event_id": f"{n:08x}-0000-0000-0000-000000000000",
            "event_time": START + timedelta(days=n),
            "item_id": "i1",
            "buyer": "ann",
            "amount": Decimal("1.00"),
            "sold_at": START + timedelta(days=n),
            "producer": "test",
            "schema_version": "1.0.0",
            "ingested_at": START,
        }
        for n in numbers
    ]
    rows = pa.Table.from_pylist(values, schema=table.schema().as_arrow())
    return append_new(lambda: place.catalog.load_table(RAW), rows, "event_id", "event_time").appended


def test_no_replay_brings_rows_back_even_if_the_retention_becomes_longer(place: Place) -> None:
    assert replay(place, 3, 40) == 2
    run(place)
    promise(place, "alpha/contracts/sales_alpha.odcs.yaml", 900)
    assert replay(place, 3, 29, 30, 40) == 1
    assert min(row[0] for row in place.rows(RAW, "event_time")) == UNTIL
    run(place)
    place.build()
    facts = ids(place, FACT)
    assert len(facts) == len({*facts})


def test_rows_that_come_back_by_themselves_are_not_built_twice(place: Place) -> None:
    before = place.snapshots(SALES)[-1]
    run(place)
    place.build()
    place.land("alpha", sales(range(3)))
    place.build()
    assert ids(place, SALES) == named("alpha", range(30, 60))
    assert run(place)[RAW].removed == 3
    roll_back(place.mesh, place.catalog, SALES, before)
    place.build()
    assert ids(place, FACT) == named("alpha", range(60)) + named("beta", range(60))
    assert run(place)[SALES].removed == 30


def test_the_time_at_which_a_table_begins_never_moves_back(place: Place) -> None:
    before = place.snapshots(SALES)[-1]
    run(place)
    place.build()
    promise(place, "alpha/contracts/sales_alpha.odcs.yaml", 45)
    roll_back(place.mesh, place.catalog, SALES, before)
    assert run(place)[SALES].removed == 15
    assert kept_from(place.catalog.load_table(SALES)) == ("sold_at", UNTIL)
    place.build()
    assert ids(place, FACT) == named("alpha", range(60)) + named("beta", range(60))


def test_a_contract_without_retention_or_a_row_without_time_keeps_for_ever(place: Place) -> None:
    promise(place, "alpha/contracts/sales_alpha.odcs.yaml", None)
    promise(place, "core/contracts/dim_buyer.odcs.yaml", 1, None)
    far = START + timedelta(days=365 * 900)
    done = {each.table: each.removed for each in maintain(place.mesh, place.catalog, now=far)}
    assert {name for name, removed in done.items() if removed} == {FACT}
    assert ids(place, RAW) == ids(place, SALES) == named("alpha", range(60))


def test_what_a_build_or_time_travel_needs_is_kept_and_the_rest_is_void(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    assert [each.name for each in read_releases(place.catalog)] == ["r2", "r1"]
    tags = {*place.catalog.load_table(SALES).refs()}
    assert tags == {"main", "r1", "r2"}
    later = datetime.now(UTC) + timedelta(days=8)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return later

    monkeypatch.setattr(module, "datetime", Later)
    run(place)
    # The facts were built from the second.
    assert {*place.catalog.load_table(SALES).refs()} == {"main", "r2"}
    place.build()
    run(place)
    assert {*place.catalog.load_table(SALES).refs()} == {"main"}
    assert {*place.catalog.load_table(FACT).refs()} == {"main", "r1", "r2"}
    cleared = [each.voided for each in read_removals(place.catalog) if (each.table, each.step) == (SALES, "cleared")]
    assert sorted(cleared) == [("r1",), ("r2",)]
    assert ids(place, FACT) == named("alpha", range(60)) + named("beta", range(60))
    run(place, orphan_age=timedelta(0))
    run(place, orphan_age=timedelta(0))
    for name in (RAW, SALES):
        table = place.catalog.load_table(name)
        shown = {each.snapshot_id for each in table.snapshots() if _oldest(table, each.snapshot_id) < UNTIL}
        assert shown == set()
        assert not [path for path in find_orphans(table, later) if path.endswith(".parquet")]


def test_what_a_killed_call_cleared_is_recorded_before_more_is_cleared(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    table = table_named(place.mesh, SALES)
    assert table is not None
    later = datetime.now(UTC) + timedelta(days=8)
    first, *others = past_states(place.catalog, table, NOW, later, ())
    with monkeypatch.context() as killed:
        killed.setattr(retention, "_record", lambda *_: None)
        assert clear_past(place.catalog, table, NOW, later, lambda: others) == 1
    assert clear_past(place.catalog, table, NOW, later, lambda: ()) == len(others) > 0
    cleared = [each.snapshots for each in read_removals(place.catalog) if each.step == "cleared"]
    assert cleared == [len(others), 1]
    assert first not in place.snapshots(SALES)


def _oldest(table: Any, snapshot: int) -> datetime:
    name = "event_time" if "event_time" in table.schema().column_names else "sold_at"
    times = table.scan(snapshot_id=snapshot, selected_fields=(name,)).to_arrow()[name].to_pylist()
    return min(times, default=UNTIL)


def test_held_rows_quarantine_and_ledger(place: Place) -> None:
    rule(place, {**CHEAP, "customProperties": HOLD})
    promise(place, "core/contracts/fact_sales.odcs.yaml", 30)
    place.land("beta", [Sale(n, hours=24 * n, amount=Decimal("0.10")) for n in (101, 131)])
    held = [Sale(200 + n, hours=24 * n, amount=Decimal("0.10")) for n in (1, 45)]
    place.land("beta", held)
    place.build()
    assert ids(place, f"{FACT}__held") == ["beta-0101", "beta-0131", "beta-0201", "beta-0245"]
    contract = place.mesh.contracts[SALES]
    shape = quarantine_schema(contract)
    times = {
        "old": (START, NOW - timedelta(days=8)),
        "new": (START, NOW - timedelta(days=1)),
        "unknown": (None, NOW - timedelta(days=31)),
        "kept": (None, NOW - timedelta(days=20)),
    }
    fixed = {"position": 0, "reason": "beyond_retention", "detail": "", "raw": b"", "raw_sha256": "", "raw_bytes": 0}
    rows = [{"rejection_key": key, "event_time": at, "rejected_at": r, **fixed} for key, (at, r) in times.items()]
    refused = ensure_table(place.catalog, f"{SALES}__rejected", shape)
    append_new(lambda: refused, pa.Table.from_pylist(rows, schema=arrow_schema(shape)), "rejection_key", None)
    table = place.catalog.load_table(RAW)
    write_ledger(place.catalog, table, contract, place.snapshots(RAW)[0])
    done = run(place)
    assert done[f"{FACT}__held"].removed == 1
    assert ids(place, f"{FACT}__held") == ["beta-0101", "beta-0131", "beta-0245"]
    assert [row[0] for row in place.rows(f"{SALES}__rejected", "rejection_key")] == ["kept", "new"]
    assert ids(place, f"{SALES}__removed") == named("alpha", range(30, 60))
    assert place.build()[FACT].mode == "noop"
    place.land("beta", [Sale(246, hours=24 * 46, amount=Decimal("0.10"))])
    place.build()
    assert ids(place, f"{FACT}__held") == ["beta-0101", "beta-0131", "beta-0245", "beta-0246"]


@kills(
    "retain",
    ("written", "held", "removed", "cleared"),
    (1, 2, 3, 5),
    of_commits=(1, 3),
    often=1,
    others=pytest.mark.slow,
)
def test_what_was_killed_is_finished_by_the_next_call(place: Place, point: str, number: int) -> None:
    rule(place, {**CHEAP, "customProperties": HOLD})
    promise(place, "core/contracts/fact_sales.odcs.yaml", 30)
    place.land("beta", [Sale(200 + n, hours=24 * n, amount=Decimal("0.10")) for n in (1, 45)])
    place.build()
    compact(lambda: place.catalog.load_table(SALES))
    clock = {"MESH_CLOCK": NOW.isoformat()}
    killed = place.state.mesh("maintain", check=None, MESH_FAULT=f"{point}:kill:{number}", **clock)
    assert killed.code in (0, -9, 137), killed.err
    place.state.mesh("maintain", **clock)
    assert ids(place, RAW) == ids(place, SALES) == named("alpha", range(30, 60))
    assert ids(place, FACT) == named("alpha", range(30, 60)) + named("beta", range(30, 60))
    assert ids(place, f"{FACT}__held") == ["beta-0245"]
    place.close()
    catalog = open_catalog(place.state.settings)
    removed = {each.table: each.rows for each in read_removals(catalog) if each.step == "removed"}
    assert removed == {RAW: 30, SALES: 30, FACT: 60, f"{FACT}__held": 1}
    assert len([each for each in read_removals(catalog) if each.step == "removed"]) == 4
    assert kept_from(catalog.load_table(RAW)) == ("event_time", UNTIL)
    listed = [Removal(**each) for each in place.state.json("retention")]
    assert len(listed) == len(read_removals(catalog))
    assert {built.mode for built in place.build().values()} == {"noop"}
