"""What is read of a table to take changes in: no less than what matters, and no more files than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.lake import delta
from mesh_platform.lake.delta import all_files, changed_files, head, read_files, read_keys
from pyiceberg.table import ManifestGroupPlanner, Table

from .small_mesh import Place, Sale, small_mesh

NAME = "alpha.sales_alpha__raw"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def load(place: Place) -> Table:
    return place.catalog.load_table(NAME)


def ids(table: pa.Table) -> list[str]:
    return sorted(table.column("event_id").to_pylist())


def test_of_many_commits_only_what_came_since_is_looked_at(place: Place, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        place.land("alpha", [Sale(number)])
    then = head(load(place))
    place.land("alpha", [Sale(8)])
    read: list[int] = []

    class Counted(ManifestGroupPlanner):
        def plan_files(self, manifests: list[Any], *more: Any) -> Any:
            read.append(len(manifests))
            return super().plan_files(manifests, *more)

    monkeypatch.setattr(delta, "ManifestGroupPlanner", Counted)
    table = load(place)
    left, came = changed_files(table, then)
    assert (left, ids(read_files(table, came, ["event_id"]))) == ([], ["alpha-0008"])
    assert read == [0, 1]
    assert ids(read_files(table, changed_files(table, None)[1], ["event_id"]))[-1] == "alpha-0008"


def test_what_a_table_was_set_back_from_left_and_nothing_came(place: Place):
    first = place.land("alpha", [Sale(1)])
    then = place.land("alpha", [Sale(2)])
    table = load(place)
    table.manage_snapshots().set_current_snapshot(snapshot_id=first).commit()
    left, came = changed_files(load(place), then)
    assert (ids(read_files(load(place), left, ["event_id"])), came) == (["alpha-0002"], [])


def test_keys_are_read_from_where_they_can_be(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.land("alpha", [Sale(number) for number in range(1, 4)])
    place.land("alpha", [Sale(number) for number in range(7, 10)])
    table = load(place)
    opened: list[int] = []

    def counted(table: Table, tasks: list[Any], *more: Any) -> pa.Table:
        opened.append(len(tasks))
        return read_files(table, tasks, *more)

    monkeypatch.setattr(delta, "read_files", counted)

    def found(*numbers: int) -> list[str]:
        keys = pa.table({"event_id": pa.array([f"alpha-{number:04}" for number in numbers], pa.string())})
        return ids(read_keys(table, all_files(table), keys))

    assert found(2) == ["alpha-0002"]
    assert found(3, 7) == ["alpha-0003", "alpha-0007"]
    assert found(1, 9) == [f"alpha-{number:04}" for number in (1, 2, 3, 7, 8, 9)]
    assert found(5) == []
    assert opened[:4] == [1, 2, 2, 0]


def test_keys_of_no_order_are_all_read(place: Place):
    place.land("alpha", [Sale(1), Sale(2)])
    table = load(place)
    rows = read_files(table, all_files(table), ["amount", "event_id"])
    assert read_keys(table, all_files(table), rows.slice(0, 1)).num_rows == 2
    nothing = pa.table({"event_id": pa.nulls(1, pa.string())})
    assert read_keys(table, all_files(table), nothing).num_rows == 2
