"""Changed files between two states are all found, and no more files are read than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.iceberg import snapshot_diff
from mesh_platform.iceberg.snapshot_diff import all_files, changed_files, current_snapshot_id, names_then, read_files
from pyiceberg.table import FileScanTask, ManifestGroupPlanner, Table
from pyiceberg.types import IntegerType, LongType, StringType

from ..moved_lake import add, make_table, open_lake
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


def test_files_are_read_as_pyiceberg_reads_them_whatever_the_table_was_when_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = make_table(open_lake(tmp_path / "state"), "shop.sales")
    with table.update_schema() as update:
        update.add_column("pieces", IntegerType())
    add(table, 0, 3)
    ways: list[bool] = []
    plain = snapshot_diff._read_as_written

    def noted(table: Table, task: FileScanTask, names: list[str]) -> pa.Table | None:
        found = plain(table, task, names)
        ways.append(found is not None)
        return found

    def check(names: list[str], expected: list[bool]) -> None:
        ways.clear()
        monkeypatch.setattr(snapshot_diff, "_read_as_written", noted)
        mine = read_files(table, all_files(table), names)
        monkeypatch.setattr(snapshot_diff, "_read_as_written", lambda *_: None)
        theirs = read_files(table, all_files(table), names)
        assert (mine.schema, mine.sort_by("id").to_pylist()) == (theirs.schema, theirs.sort_by("id").to_pylist())
        assert sorted(ways) == expected

    columns = [field.name for field in table.schema().fields]
    check(columns, [True])
    check(["pieces", "id"], [True])
    with table.update_schema() as update:
        update.update_column("pieces", LongType())
    check(["id"], [True])
    check(columns, [False])
    with table.update_schema() as update:
        update.rename_column("site", "place")
    with table.update_schema() as update:
        update.add_column("site", StringType())
    check(["id", "site"], [False])
    check(["id", "place"], [False])
    add(table, 3, 2)
    check(["id", "site", "place", "pieces"], [False, True])
