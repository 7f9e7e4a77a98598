"""The checker itself: it names each promise that is broken, whoever broke it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from invariants import PARTS, violations
from mesh_platform.broker import connect
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.ingest.ingest import ingest
from mesh_platform.lake.catalog import find_table, open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, in_batches, lines, send
from pyiceberg.table import Table

from conftest import State

ORDERS = lines(range(30))


@pytest.fixture
def landing(state: State, mesh: Mesh) -> Table:
    """The landing table of a state into which thirty orders came, in two snapshots."""
    for part in (ORDERS[:20], ORDERS[20:]):
        send(state, mesh, in_batches(part, 5))
        with connect(state.settings.broker) as broker:
            now = state.settings.now
            ingest(open_catalog(state.settings), broker, [mesh.contract(PRODUCT)], now, until_empty=True)
    assert violations(state.folder, PRODUCT, ORDERS) == []
    table = find_table(open_catalog(state.settings), f"{PRODUCT}__raw")
    assert table is not None
    return table


def again(table: Table) -> None:
    append_rows(table, table.scan(limit=3).to_arrow())


def lose_one(table: Table) -> None:
    first = table.scan().to_arrow()["event_id"][0].as_py()
    table.delete(f"event_id = '{first}'")


def come_and_go(table: Table) -> None:
    rows = table.scan().to_arrow()
    again(table)
    table.refresh()
    table.overwrite(rows)


@pytest.mark.parametrize(
    ("harm", "promises"), [(again, {"I1"}), (lose_one, {"I2/I4", "I3"}), (come_and_go, {"I1", "I3"})]
)
def test_what_harms_the_landing_table_is_named(
    state: State, landing: Table, harm: Callable[[Table], None], promises: set[str]
) -> None:
    harm(landing)
    found = violations(state.folder, PRODUCT, ORDERS)
    assert {each.split(":")[0] for each in found} == promises


def test_what_was_lost_came_unasked_or_was_miscounted_is_named(state: State, landing: Table) -> None:
    (unknown,) = lines([99])
    (found,) = violations(state.folder, PRODUCT, [*ORDERS, unknown])
    assert found.startswith("I2/I4: confirmed and nowhere to be found: ")
    (found,) = violations(state.folder, PRODUCT, ORDERS[1:])
    assert found.startswith("I4: ")
    assert "nobody published it" in found
    run: dict[str, Any] = dict.fromkeys(PARTS, 1) | {"deliveries": 3}
    (found,) = violations(state.folder, PRODUCT, ORDERS, runs=[[run]])
    assert found.startswith("I5: deliveries are not the sum")


def test_rows_of_a_snapshot_between_count_too(state: State, landing: Table) -> None:
    before = landing.metadata.current_snapshot_id
    again(landing)
    landing.refresh()
    landing.manage_snapshots().rollback_to_snapshot(before).commit()
    found = violations(state.folder, PRODUCT, ORDERS)
    assert [each.split(":")[0] for each in found] == ["I1"]
