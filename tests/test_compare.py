"""The comparison with the answer key reads new rows alone, and finds any row that was changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from acme_world.companion import compute_keys
from acme_world.key import readings as module
from acme_world.key.key_check import Difference, compare
from acme_world.key.readings import Reading
from acme_world.progress_file import read_progress
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.snapshot_diff import all_files, read_files
from mesh_platform.lake.catalog import existing_table, open_catalog
from mesh_platform.mesh.mesh import Mesh

from conftest import State

ORDERS = "logistics_core.fact_orders"
pytestmark = pytest.mark.slow


@dataclass
class Lake:
    """The lake after some days, its key, and what was read of it."""

    state: State
    mesh: Mesh
    readings: dict[str, Reading]

    def __post_init__(self) -> None:
        self.catalog = open_catalog(self.state.settings)

    def compare(self) -> list[Difference]:
        settings = self.state.settings
        (key,) = compute_keys(settings.root, self.mesh, read_progress(settings, None, None, None))
        figures, differences = compare(self.mesh, self.catalog, key, self.readings)
        assert figures > 200
        return differences

    def change(self, name: str, changed: Callable[[pa.Table], pa.Table]) -> None:
        """Replace all files of a table, its rows changed."""
        table = existing_table(self.catalog, name)
        files = all_files(table)
        rows = read_files(table, files, [field.name for field in table.schema().fields])
        replace_files(table, [task.file for task in files], changed(rows))


@pytest.fixture
def lake(state: State, mesh: Mesh) -> Lake:
    assert state.json("run", "--days", 2, "--start", "2025-10-30")["key_ok"] is True
    return Lake(state, mesh, {})


def test_what_was_read_is_not_read_again_and_what_was_changed_is_found(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    reading = module.read_files

    def counted(*arguments: Any) -> pa.Table:
        rows = reading(*arguments)
        read[".".join(arguments[0].name())] += len(rows)
        return rows

    monkeypatch.setattr(module, "read_files", counted)
    assert lake.compare() == []
    first = dict(lake.readings)
    read.clear()
    assert lake.compare() == []
    assert (read, lake.readings) == (Counter(), first)
    # Of a table that only grew, the rows of the next day are read.
    assert lake.state.json("run")["key_ok"] is True
    assert lake.compare() == []
    for name in (ORDERS, "south_warehouse.inventory_south", "ml_insights.fact_sla_risk"):
        grew = lake.readings[name].totals[None][0] - first[name].totals[None][0]
        assert read[name] == grew > 0
    assert not any(name.endswith("__raw") for name in read)

    def one_cent_more(rows: pa.Table) -> pa.Table:
        amounts = rows["amount_usd"].to_pylist()
        amounts[0] += Decimal("0.01")
        place = rows.column_names.index("amount_usd")
        return rows.set_column(place, rows.schema.field(place), pa.array(amounts, rows["amount_usd"].type))

    lake.change(ORDERS, one_cent_more)
    found = lake.compare()
    assert {each.table for each in found} == {ORDERS}
    assert [each.figure.split()[0] for each in found] == ["amount_usd"] * 2
    assert all(Decimal(each.found) - Decimal(each.expected) == Decimal("0.01") for each in found)
    # It is found as long as it is there.
    assert lake.compare() == found


def test_a_reference_is_lost_with_the_key_that_it_points_to(lake: Lake) -> None:
    assert lake.compare() == []

    def renamed(rows: pa.Table) -> pa.Table:
        """One product has another id, so that the dimension has as many rows as before."""
        place = rows.column_names.index("product_id")
        ids = pc.replace_substring_regex(rows["product_id"], "^P-0001$", "P-0000")
        return rows.set_column(place, rows.schema.field(place), ids)

    lake.change("logistics_core.dim_product", renamed)
    found = lake.compare()
    assert {each.figure for each in found} == {"dangling"}
    assert ORDERS in {each.table for each in found}
    assert all(int(each.found) > int(each.expected) for each in found)


def test_references_of_a_changed_contract_are_looked_at(lake: Lake) -> None:
    after, orders = lake.mesh, lake.mesh.contracts[ORDERS]
    fields = (f if f.name == "product_id" else replace(f, references=None) for f in orders.table.fields)
    before = replace(orders, table=replace(orders.table, fields=tuple(fields)))
    domain = after.domain(orders.domain)
    changed = replace(domain, contracts={**domain.contracts, orders.table.name: before})
    lake.mesh = replace(after, domains={**after.domains, domain.name: changed})
    lake.compare()
    assert lake.readings[ORDERS].lost
    lake.mesh = after
    assert lake.compare() == []


def test_days_one_by_one_end_as_days_at_once(state: State, tmp_path: Path, make_state: Callable[..., State]) -> None:
    """With a kill, and without the files of what was remembered."""
    start = ("--start", "2025-10-30")
    together = make_state(tmp_path / "together")
    together.json("run", "--days", 4, *start)
    state.json("run", "--days", 1, *start)
    assert state.mesh("run", check=None, MESH_FAULT="ingest.received:kill:9").code == -9
    assert state.json("run")["key_ok"] is True
    for path in state.folder.glob("*.state"):
        path.write_bytes(path.read_bytes()[:-100])
    assert state.json("run")["key_ok"] is True
    for path in state.folder.glob("*.state"):
        path.unlink()
    assert state.json("run")["key_ok"] is True
    for table in (ORDERS, "ml_insights.sla_risk", "logistics_core.kpi_inventory_available"):
        sql = f"select count(*)::int as n, bit_xor(hash(t))::varchar as hash from {table} t"
        as_owner = ("query", "--role", "owner", sql)
        assert state.json(*as_owner) == together.json(*as_owner)
