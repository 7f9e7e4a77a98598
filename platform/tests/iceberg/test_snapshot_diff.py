"""Changed files between two states are all found, and no more files are read than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.iceberg import snapshot_diff
from mesh_platform.iceberg.snapshot_diff import changed_files, current_snapshot_id, names_then, read_files
from pyiceberg.table import ManifestGroupPlanner, Table
from pyiceberg.types import StringType

from ..small_mesh import Place, Sale, small_mesh

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
    then = current_snapshot_id(load(place))
    place.land("alpha", [Sale(8)])
    read: list[int] = []

    class Counted(ManifestGroupPlanner):
        def plan_files(self, manifests: list[Any], *more: Any) -> Any:
            read.append(len(manifests))
            return super().plan_files(manifests, *more)

    monkeypatch.setattr(snapshot_diff, "ManifestGroupPlanner", Counted)
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


def test_a_snapshot_has_the_columns_and_names_of_its_time(place: Place):
    place.land("alpha", [Sale(1)])
    before = load(place)
    with before.update_schema() as update:
        update.rename_column("buyer", "customer")
        update.add_column("note", StringType())
    now = load(place)
    then = names_then(now, current_snapshot_id(now) or 0)
    assert then["customer"] == "buyer"
    assert then["amount"] == "amount"
    assert not {"note", "buyer"} & then.keys()
