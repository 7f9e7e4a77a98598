"""A plan says what a build will do to each table and why, and writes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from mesh_platform.build.build import plan_build
from mesh_platform.errors import ContractError
from mesh_platform.iceberg.compaction import compact

from ..small_mesh import BUYER_SQL, FACT_SQL, ITEM_SQL, SALES_SQL, Place, Sale, add_contract, small_mesh

SALES, FACT, ITEM, BUYER = "alpha.sales_alpha", "core.fact_sales", "core.dim_item", "core.dim_buyer"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2, 24 * 40)])
    place.land("beta", [Sale(3)])
    return place


def plans(place: Place, *tables: str, full: bool = False) -> dict[str, tuple[str, str]]:
    """Plan all tables, and check that no file changes."""
    before = contents(place)
    found = {plan.table: (plan.mode, plan.reason) for plan in plan_build(place.mesh, place.catalog, tables, full)}
    assert contents(place) == before
    return found


def contents(place: Place) -> dict[Path, str]:
    files = (path for path in (place.root / ".mesh").rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def news(place: Place) -> dict[str, tuple[str, str]]:
    """Return the plans of tables that change; check that the build follows them, unless rows turn out the same.

    For an incremental plan the build may append rows or rebuild partitions.
    """
    planned = plans(place)
    built = {table: done.mode for table, done in place.build().items()}
    assert built.keys() == planned.keys()
    for table, (mode, _reason) in planned.items():
        allowed = {
            "noop": {"noop"},
            "incremental": {"noop", "incremental", "rebuild"},
            "rebuild": {"noop", "rebuild"},
        }
        assert built[table] in allowed[mode], table
    assert {mode for mode, _ in plans(place).values()} == {"noop"}
    return {table: plan for table, plan in planned.items() if plan[0] != "noop"}


def test_nothing_is_made_by_a_plan_of_a_new_lake(place: Place) -> None:
    assert {mode for mode, _ in plans(place).values()} == {"rebuild"}
    assert {reason for _, reason in plans(place).values()} == {"it is not built yet"}
    assert len(news(place)) == len(place.mesh.contracts)


@pytest.mark.parametrize("by_key", [True, False])
def test_new_events_are_carried_to_what_works_by_row_or_by_key_and_the_rest_is_built_whole(
    place: Place, by_key: bool
) -> None:
    if not by_key:
        share = BUYER_SQL.replace("sum(amount)", "sum(sum(amount)) over ()")
        place.write("core/models/dim_buyer.sql", share)
    place.build()
    place.land("alpha", [Sale(4)])
    whole = "and its query looks at more than one row at a time"
    planned = plans(place)
    assert {table: plan for table, plan in planned.items() if plan[0] != "noop"} == {
        SALES: ("incremental", f"{SALES}__raw changed"),
        FACT: ("incremental", f"{SALES} changed"),
        BUYER: ("incremental", f"{FACT} changed; it is computed by buyer")
        if by_key
        else ("rebuild", f"{FACT} changed, {whole}"),
    }
    assert {table: done.mode for table, done in place.build().items()} == {
        table: mode for table, (mode, _reason) in planned.items()
    }


def test_an_input_that_is_not_there_yet_is_not_made_by_a_plan(place: Place) -> None:
    place.build()
    add_contract(place, "core", "tags", {"tags": {"item_id": "string key"}})
    place.write("core/reference/tags.csv", "item_id\ni1\n")
    place.write(
        "core/models/dim_item.sql",
        f"{ITEM_SQL.strip()}\nunion all\nselect item_id, 'tag' from core.tags where false\n",
    )
    planned = plans(place, ITEM)
    assert planned["core.tags"] == ("rebuild", "it is not built yet")
    assert planned[ITEM] == ("rebuild", "its query, its columns or a rule that holds rows back has changed")


def test_a_state_that_is_gone_and_changed_rules_are_named(place: Place) -> None:
    place.build()
    path = place.root / "domains/core/contracts/fact_sales.odcs.yaml"
    rule = {"metric": "rowCount", "mustBeGreaterThan": 0}
    contract = yaml.safe_load(path.read_text())
    contract["schema"][-1]["quality"] = [rule]
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    assert news(place)[FACT] == ("incremental", "its rules have changed")
    place.land("alpha", [Sale(9)])
    raw = place.catalog.load_table(f"{SALES}__raw")
    with raw.maintenance.expire_snapshots() as expire:
        expire.by_ids([snapshot.snapshot_id for snapshot in raw.snapshots()[:-1]])
    assert news(place)[SALES] == ("rebuild", f"the state of {SALES}__raw that it was built from is gone")


def test_a_changed_query_names_itself(place: Place) -> None:
    place.build()
    place.write(
        "alpha/models/sales_alpha.sql", SALES_SQL.format(domain="alpha").replace("r.buyer", "upper(r.buyer) as buyer")
    )
    planned = news(place)
    assert planned[SALES] == ("rebuild", "its query, its columns or a rule that holds rows back has changed")
    assert planned[FACT] == ("incremental", f"{SALES} changed")


def test_a_changed_file_of_reference_data_reaches_what_reads_it(place: Place) -> None:
    place.build()
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\ni2,Desk\n")
    planned = news(place)
    assert planned["core.items"] == ("rebuild", "its file, columns or rules have changed")
    assert planned.keys() == {"core.items", ITEM}


def test_a_lookup_that_changed_is_named(place: Place) -> None:
    place.write(
        "core/models/fact_sales.sql", FACT_SQL.strip() + " where item_id in (select item_id from core.items)\n"
    )
    place.build()
    place.write("core/reference/items.csv", "item_id,label\ni1,Lamp\ni2,Desk\n")
    assert news(place)[FACT] == ("rebuild", "core.items changed, where its query looks rows up")


def test_compacted_inputs_need_nothing(place: Place) -> None:
    for number in range(10, 16):
        place.land("alpha", [Sale(number)])
    place.build()
    compact(lambda: place.catalog.load_table(f"{SALES}__raw"))
    assert plans(place)[SALES] == ("noop", f"{SALES}__raw moved on with the same rows")
    assert place.build()[SALES].mode == "noop"
    assert plans(place)[SALES] == ("noop", "nothing that it is built from has changed")


def test_a_table_that_does_not_fit_its_contract_blocks_what_reads_it(place: Place) -> None:
    place.build()
    path = place.root / "domains/core/contracts/fact_sales.odcs.yaml"
    path.write_text(path.read_text().replace("decimal(12,2)", "decimal(14,2)"))
    place.write("core/models/fact_sales.sql", FACT_SQL.replace("amount", "cast(amount as decimal(14, 2)) as amount"))
    planned = plans(place, BUYER)
    assert planned[FACT][0] == "blocked"
    assert "mesh evolve" in planned[FACT][1]
    assert planned[BUYER] == ("blocked", f"{FACT} cannot be built")


def test_full_is_planned_as_asked_for_and_faulty_sql_is_told(place: Place) -> None:
    place.build()
    assert plans(place, BUYER, full=True)[BUYER] == ("rebuild", "it was asked for")
    place.write("core/models/dim_buyer.sql", BUYER_SQL.replace("buyer,", "byer,"))
    with pytest.raises(ContractError, match="byer"):
        plans(place)


def test_the_command_prints_it(place: Place) -> None:
    assert {each["mode"] for each in place.state.json("build", "--plan")} == {"rebuild"}
    assert "it is not built yet" in place.state.mesh("build", "--plan").out
    assert "Leave --plan out" in place.state.mesh("build", FACT, "--plan", "--from", "2025-10-01", check=2).err
