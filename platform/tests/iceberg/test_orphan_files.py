"""Old files that nothing names are removed; all others stay, also those that a running commit needs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from mesh_platform.errors import ConflictError
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.expiry import expire
from mesh_platform.iceberg.orphan_files import find_orphans, remove_orphans, shared_with, table_folders
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from ..maintained import ARROW, make_table, on_disk, open_lake, put, rows_of

ODD = ["a b.parquet", "ä%20ö.parquet", "at_day=2025-10-01/x#y?z.parquet", "%2F;=+.avro", ".hidden", "no suffix"]


@pytest.fixture
def lake(tmp_path: Path) -> Catalog:
    return open_lake(tmp_path)


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def age(paths: Iterable[str], hours: float) -> None:
    for path in paths:
        os.utime(path, (hours_ago(hours).timestamp(),) * 2)


def plant(table: Table, hours: float, names: Iterable[str] = ODD, folder: str = "data") -> set[str]:
    planted = {str(Path(table.location(), folder, name)) for name in names}
    for path in planted:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("x")
    age(planted, hours)
    return planted


def remove(table: Table, before: datetime) -> int:
    removed: list[int] = []
    remove_orphans(lambda: table.catalog.load_table(table.name()), before, removed.append)
    return len(removed)


@pytest.mark.parametrize("partition", ["kind", "none"])
def test_old_files_that_nothing_names_go_and_no_other(lake: Catalog, partition: str) -> None:
    load = make_table(lake, partition)
    for first in range(0, 12, 4):
        put(load(), first)
    compact(load)
    live = on_disk(load())
    age(live, 100)
    before = {s.snapshot_id: rows_of(load(), s.snapshot_id) for s in load().snapshots()}
    old = plant(load(), 3) | plant(load(), 3, folder="metadata") | plant(load(), 3, ["x.parquet"], ".")
    young = plant(load(), 1, ["young " + name for name in ODD if "/" not in name])
    kept = plant(load(), 3, ["version-hint.text"], "metadata")
    assert set(find_orphans(load(), hours_ago(2))) == old
    assert remove(load(), hours_ago(2)) == len(old)
    assert on_disk(load()) >= live | young | kept
    assert not on_disk(load()) & old
    for snapshot, rows in before.items():
        assert rows_of(load(), snapshot) == rows
    assert remove(load(), hours_ago(2)) == 0


def test_what_expired_goes_when_no_reader_can_be_left(lake: Catalog) -> None:
    load = make_table(lake)
    for first in range(0, 12, 4):
        put(load(), first)
    rows, reader = rows_of(load()), load()
    age(on_disk(load()), 1)
    then = datetime.now(UTC)
    compact(load)
    expire(load, timedelta(0), lambda: (), datetime.now(UTC) + timedelta(hours=1))
    table = load()
    assert len(table.snapshots()) == 1
    # The files are old, but a state that names them was the current one at that time.
    assert find_orphans(table, then) == {}
    assert rows_of(reader) == rows
    removed = remove(table, datetime.now(UTC) + timedelta(seconds=5))
    assert removed > 3
    table = load()
    assert len([path for path in on_disk(table) if path.endswith(".parquet")]) == 1
    assert rows_of(table) == rows
    with pytest.raises(FileNotFoundError):
        rows_of(reader)


def test_a_commit_that_slept_for_longer_than_that_fails_instead_of_naming_what_is_gone(
    lake: Catalog, tmp_path: Path
) -> None:
    load = make_table(lake)
    put(load(), 0)
    sleeper = open_lake(tmp_path).load_table("lake.things")
    real = sleeper.catalog.commit_table

    def sleep_then_commit(*arguments: object) -> object:
        # Its files are written; it wakes after they were removed.
        age(on_disk(load()), 100)
        assert remove(load(), hours_ago(2)) == 3
        return real(*arguments)  # type: ignore[arg-type]

    sleeper.catalog.commit_table = sleep_then_commit  # type: ignore[assignment,method-assign]
    with pytest.raises(ConflictError):
        append_rows(sleeper, pa.Table.from_pylist([{"number": 9}], schema=ARROW))
    assert sorted(row[0] for row in rows_of(load())) == [0, 1, 2, 3]


def test_an_append_that_tries_again_after_that_writes_its_files_anew(lake: Catalog) -> None:
    load = make_table(lake)
    append_rows(load(), named(1))
    looks: list[Table] = []

    def load_late() -> Table:
        if looks:
            # Somebody else commits first; before the second attempt the orphans are removed, as if it had slept.
            age(on_disk(load()), 100)
            assert remove(load(), hours_ago(2)) >= 1
        looks.append(load())
        return looks[-1]

    def refused(new: pa.Table) -> pa.Array:
        if len(looks) == 1:
            append_rows(load(), named(2))
        return pa.array([], pa.large_string())

    assert append_new(load_late, named(3), "kind", None, refused).appended == 1
    assert len(looks) == 2
    assert [row[0] for row in rows_of(load())] == [1, 2, 3]


def named(number: int) -> pa.Table:
    return pa.Table.from_pylist([{"number": number, "kind": f"number {number}"}], schema=ARROW)


def test_the_first_commit_of_a_table_is_left_alone(lake: Catalog) -> None:
    load = make_table(lake)
    old = plant(load(), 100)
    assert remove(load(), hours_ago(2)) == 0
    assert on_disk(load()) >= old


def test_where_a_state_cannot_be_read_nothing_goes(lake: Catalog) -> None:
    load = make_table(lake)
    put(load(), 0)
    put(load(), 4)
    old = plant(load(), 100)
    os.remove(load().snapshots()[0].manifest_list)
    with pytest.raises(FileNotFoundError):
        remove(load(), hours_ago(2))
    assert on_disk(load()) >= old


def test_what_lies_outside_is_not_reached_by_a_link(lake: Catalog, tmp_path: Path) -> None:
    load = make_table(lake)
    put(load(), 0)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.parquet").write_text("x")
    age([str(outside / "mine.parquet")], 100)
    Path(load().location(), "data", "link").symlink_to(outside)
    remove(load(), hours_ago(2))
    assert (outside / "mine.parquet").exists()


def test_tables_that_share_a_folder_are_told(lake: Catalog) -> None:
    load = make_table(lake)
    lake.create_table("lake.inside", load().schema(), location=f"{load().location()}/data/inside")
    make_table(lake, name="lake.things2")
    folders = table_folders(lake)
    assert shared_with(load(), folders) == "lake.inside"
    assert shared_with(lake.load_table("lake.inside"), folders) == "lake.things"
    assert shared_with(lake.load_table("lake.things2"), folders) is None


def test_old_metadata_goes_but_for_what_the_log_names(lake: Catalog) -> None:
    load = make_table(lake, **{"write.metadata.previous-versions-max": "2"})
    for first in range(0, 20, 4):
        put(load(), first)
    metadata = {path for path in on_disk(load()) if path.endswith(".json")}
    assert len(metadata) == 6
    age(on_disk(load()), 100)
    # All of them were the current one within the last minutes.
    assert find_orphans(load(), hours_ago(1)).keys() <= metadata
    remove(load(), datetime.now(UTC))
    left = {path for path in on_disk(load()) if path.endswith(".json")}
    assert load().metadata_location in left
    assert {entry.metadata_file for entry in load().metadata.metadata_log} <= left
    assert len(left) < 6
