"""Compaction merges small files unnoticed by readers, incremental readers and concurrent writers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log2
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.engine.duckdb import connect
from mesh_platform.errors import AttentionError, ConflictError
from mesh_platform.iceberg import compaction
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.compaction import compact, plan
from mesh_platform.iceberg.replace import MANIFESTS, replace_same_rows
from mesh_platform.iceberg.snapshot_diff import all_files, changed_files, read_files
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table

from ..maintained import ARROW, PARTITIONS, evolve, files_of, in_order, make_table, open_lake, put, rows_of


@pytest.fixture
def lake(tmp_path: Path) -> Catalog:
    return open_lake(tmp_path)


def operations(table: Table) -> list[str]:
    return [snapshot.summary.operation.value for snapshot in table.snapshots() if snapshot.summary]


@pytest.mark.parametrize("changed", [False, True], ids=["as it was", "evolved"])
@pytest.mark.parametrize("partition", PARTITIONS)
def test_a_table_of_any_kind_has_the_same_rows_in_fewer_files(lake: Catalog, partition: str, changed: bool) -> None:
    load = make_table(lake, partition)
    for first in range(0, 24, 8):
        put(load(), first, 8)
    if changed:
        evolve(load())
    before, old = rows_of(load()), load().current_snapshot()
    places = {repr(task.file.partition) for task in all_files(load())}
    done = compact(load)
    table = load()
    assert (done.files, done.reason) == (3 * len(places), "")
    assert len(files_of(table)) == len(places)
    assert rows_of(table) == before
    assert operations(table)[-1] == "replace"
    summary = table.current_snapshot().summary
    assert (summary["total-records"], summary["total-data-files"]) == ("24", str(len(places)))
    if not changed:
        assert rows_of(table, old.snapshot_id) == before
    with connect(lake.properties) as session:
        columns = ", ".join(f'"{field.name}"' for field in table.schema().fields)
        found = session.execute(f"SELECT {columns} FROM iceberg_scan('{table.metadata_location}')").to_arrow_table()
    assert [row[0] for row in in_order(found)] == [row[0] for row in before]
    # The second run has nothing to do.
    assert compact(load).files == 0
    assert load().metadata_location == table.metadata_location


def test_an_incremental_reader_sees_each_row_once(lake: Catalog) -> None:
    load = make_table(lake, "day")
    first = put(load(), 0)
    put(load(), 4)
    compact(load)
    put(load(), 8)
    compact(load)
    put(load(), 12)
    table = load()
    scan = table.incremental_append_scan(from_snapshot_id_exclusive=first)
    assert sorted(scan.to_arrow()["number"].to_pylist()) == list(range(4, 16))
    left, came = changed_files(table, first)
    assert left == []
    assert sorted(read_files(table, came, ["number"])["number"].to_pylist()) == list(range(4, 16))
    compact(load)
    assert changed_files(load(), table.current_snapshot().snapshot_id) == ([], [])


def test_what_changed_is_right_also_where_a_merged_file_was_rewritten(lake: Catalog) -> None:
    load = make_table(lake)
    since = put(load(), 0)
    put(load(), 4)
    compact(load)
    (merged,) = all_files(load())
    rows = read_files(load(), [merged], ARROW.names)
    replace_files(load(), [merged.file], rows.slice(1).cast(ARROW))
    left, came = changed_files(load(), since)
    numbers = [sorted(read_files(load(), tasks, ["number"])["number"].to_pylist()) for tasks in (left, came)]
    # All old rows were removed and added again, except the one row.
    gone = rows["number"][0].as_py()
    assert numbers == [[0, 1, 2, 3], [n for n in range(8) if n != gone]]


class Interrupted:
    """Loads a table, and calls an action before the load with a given number."""

    def __init__(self, load: Callable[[], Table], at: int, act: Callable[[Table], object]) -> None:
        self.load, self.at, self.act = load, at, act

    def __call__(self) -> Table:
        self.at -= 1
        if self.at <= 0:
            self.act(self.load())
            self.at = 10**6
        return self.load()


def test_rows_that_come_while_files_are_written_are_there_besides(lake: Catalog) -> None:
    load = make_table(lake, "day")
    put(load(), 0)
    put(load(), 4)
    done = compact(Interrupted(load, 2, lambda table: put(table, 8)))
    assert done.files > 0
    assert sorted(row[0] for row in rows_of(load())) == list(range(12))
    assert operations(load()) == ["append", "append", "append", "replace"]


def set_back(table: Table) -> None:
    with table.manage_snapshots() as manage:
        manage.set_current_snapshot(snapshot_id=table.snapshots()[0].snapshot_id)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (
            lambda table: replace_files(table, [all_files(table)[0].file], ARROW.empty_table()),
            "rewrote the same files",
        ),
        (lambda table: compact(lambda: table), "another maintainer was at work"),
        (lambda table: replace_same_rows(table), "another maintainer was at work"),
        (set_back, "the table was set back"),
    ],
)
def test_it_gives_way_to_who_did_something_else_to_the_files(
    lake: Catalog, act: Callable[[Table], object], words: str
) -> None:
    load = make_table(lake)
    put(load(), 0)
    put(load(), 4)
    done = compact(Interrupted(load, 2, act))
    assert (done.files, words in done.reason) == (0, True)
    assert sorted(row[0] for row in rows_of(load())) in (list(range(8)), list(range(4)))


def test_it_gives_way_to_those_who_always_commit_first(lake: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    load = make_table(lake)
    put(load(), 0)
    put(load(), 4)
    real, more = compaction.replace_same_rows, iter(range(8, 1000, 4))

    def late(table: Table, *files: Any) -> None:
        put(load(), next(more))
        real(table, *files)

    monkeypatch.setattr(compaction, "replace_same_rows", late)
    done = compact(load)
    assert (done.files, "others committed first" in done.reason) == (0, True)
    assert sorted(row[0] for row in rows_of(load())) == list(range(next(more)))


def test_another_attempt_reads_the_manifests_that_are_new(lake: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    load = make_table(lake)
    for first in range(0, 20, 4):
        put(load(), first)
    read: list[int] = []
    real, commit, more = ManifestFile.fetch_manifest_entry, compaction.replace_same_rows, iter([20, 24])

    def count(manifest: ManifestFile, *words: Any, **options: Any) -> Any:
        read[-1] += 1
        return real(manifest, *words, **options)

    def beaten_twice(table: Table, *files: Any) -> None:
        read.append(0)
        for first in more:
            put(load(), first)
            break
        commit(table, *files)

    monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", count)
    monkeypatch.setattr(compaction, "replace_same_rows", beaten_twice)
    read.append(0)
    assert compact(load).files == 5
    first, *later = read[1:]
    # The five, two for `_in_the_way`, one that the attempt itself wrote; later attempts read only new ones.
    assert first > 5
    assert max(later) <= 4


def test_a_refusal_that_is_wrong_loses_nothing(lake: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    load = make_table(lake)
    put(load(), 0)
    put(load(), 4)
    real = compaction.replace_same_rows

    def refused_though_done(table: Table, *files: Any) -> None:
        real(table, *files)
        put(load(), 8)
        raise ConflictError("the first answer was lost")

    monkeypatch.setattr(compaction, "replace_same_rows", refused_though_done)
    assert compact(load).files == 2
    assert sorted(row[0] for row in rows_of(load())) == list(range(12))


def test_an_answer_that_is_lost_loses_nothing_else(lake: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    load = make_table(lake)
    put(load(), 0)
    put(load(), 4)
    real = lake.commit_table

    def answer_lost(*arguments: Any) -> None:
        real(*arguments)
        raise CommitStateUnknownException("504")

    monkeypatch.setattr(lake, "commit_table", answer_lost)
    with pytest.raises(CommitStateUnknownException):
        compact(load)
    assert sorted(row[0] for row in rows_of(load())) == list(range(8))
    assert len(files_of(load())) == 1


def test_manifests_are_merged_where_there_are_many(lake: Catalog) -> None:
    # The writer of such a table does not merge them itself.
    load = make_table(lake, **{"write.target-file-size-bytes": "1", "commit.manifest.min-count-to-merge": "100"})
    for first in range(0, 4 * (MANIFESTS + 1), 4):
        put(load(), first)
    before = rows_of(load())
    assert plan(load()) == []
    compact(load)
    table = load()
    assert len(table.current_snapshot().manifests(table.io)) == 1
    assert rows_of(table) == before
    assert operations(table)[-1] == "replace"
    since = table.snapshots()[2].snapshot_id
    assert changed_files(table, since)[0] == []
    assert table.incremental_append_scan(from_snapshot_id_exclusive=since).to_arrow().num_rows == 4 * (MANIFESTS - 2)


def test_files_are_of_the_size_that_the_table_asks_for(lake: Catalog) -> None:
    load = make_table(lake)
    for first in range(0, 20, 4):
        put(load(), first)
    size = max(task.file.file_size_in_bytes for task in all_files(load()))
    with load().transaction() as transaction:
        transaction.set_properties({"write.target-file-size-bytes": str(2 * size)})
    compact(load)
    assert sorted(task.file.record_count for task in all_files(load())) == [4, 8, 8]
    with load().transaction() as transaction:
        transaction.set_properties({"write.target-file-size-bytes": str(size)})
    # Files that are big enough stay.
    assert plan(load()) == []


def tasks_of(rows: list[int], size: int) -> list[Any]:
    return [SimpleNamespace(file=SimpleNamespace(record_count=n, file_size_in_bytes=n * size)) for n in rows]


def merged(rows: list[int], target: int) -> Iterator[list[int]]:
    for full in compaction._filled(tasks_of(rows, 1), target):
        yield [task.file.record_count for task in compaction._worthwhile(full)]


@given(st.lists(st.lists(st.integers(1, 50), max_size=5), max_size=60))
def test_no_row_is_rewritten_more_often_than_its_file_can_double(arrivals: list[list[int]]) -> None:
    target, files = 1000, []  # Each file is (rows, rewrites, rows of the smallest file that its rows were first in).
    for arrival in arrivals:
        files += [(rows, 0, rows) for rows in arrival]
        small = sorted(file for file in files if file[0] < target * 3 // 4)
        for bin_ in merged([rows for rows, *_ in small], target):
            if bin_:
                taken = []
                for rows in bin_:
                    taken.append(next(file for file in small if file[0] == rows))
                    small.remove(taken[-1])
                    files.remove(taken[-1])
                files.append((sum(bin_), max(f[1] for f in taken) + 1, min(f[2] for f in taken)))
        assert all(rewrites <= log2(rows / first) for rows, rewrites, first in files)
        rest = sorted(rows for rows, *_ in files if rows < target * 3 // 4)
        assert len(rest) <= log2(target) + 2


def test_a_missing_row_stops_it(lake: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    load = make_table(lake)
    put(load(), 0)
    put(load(), 4)
    monkeypatch.setattr(compaction, "read_files", lambda *arguments: read_files(*arguments).slice(1))
    with pytest.raises(AttentionError, match=r"2 files should have 8 rows, and 7 can be read"):
        compact(load)
    assert operations(load()) == ["append", "append"]
