"""Appends are exactly once, even if rows come twice, late or concurrently, or a commit has an unknown outcome."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.types import parse_type
from mesh_platform.errors import AttentionError, UnavailableError
from mesh_platform.iceberg import append
from mesh_platform.iceberg.append import Appended, append_new, days_filter
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

NAME = "shop.sales"
DAY = datetime(2025, 10, 1, tzinfo=UTC)
FIELDS = (("event_id", "string"), ("event_time", "timestamptz"), ("writer", "string"))
SCHEMA = TableSchema(
    "sales",
    "Sales.",
    tuple(
        Field(name=name, type=parse_type(type_), description=name, required=True, key=0, line=1)
        for name, type_ in FIELDS
    ),
    (("day", "event_time"),),
    "event_time",
    1,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path, state=Path("state"))


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return open_catalog(settings)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append.time, "sleep", lambda seconds: None)


def rows(ids: dict[str, datetime] | list[str], writer: str = "w") -> pa.Table:
    times = ids if isinstance(ids, dict) else dict.fromkeys(ids, DAY)
    sequence = list(ids)
    return pa.table(
        [sequence, [times[id_] for id_ in sequence], [writer] * len(sequence)], schema=arrow_schema(SCHEMA)
    )


def load(catalog: Catalog) -> Table:
    return ensure_table(catalog, NAME, SCHEMA)


def put(
    catalog: Catalog, new: pa.Table, refused: Callable[[pa.Table], pa.Array] | None = None, key: str = "event_id"
) -> Appended:
    return append_new(lambda: load(catalog), new, key, "event_time", refused)


def stored(catalog: Catalog) -> list[str]:
    return sorted(catalog.load_table(NAME).scan().to_arrow()["event_id"].to_pylist())


def snapshots(catalog: Catalog) -> int:
    return len(catalog.load_table(NAME).snapshots())


def once(action: Callable[[], object]) -> Callable[[pa.Table], pa.Array]:
    """Return a `refused` that refuses nothing and calls `action` once, between loading the table and the commit."""
    left = [action]

    def refused(new: pa.Table) -> pa.Array:
        if left:
            left.pop()()
        return pa.array([], pa.large_string())

    return refused


def failing(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, outcomes: Iterator[str]) -> None:
    """Let commits end as `outcomes` says: 'lost' does nothing, 'unknown' commits and fails, 'fine' succeeds."""
    real = catalog.commit_table

    def commit_table(*arguments: Any) -> Any:
        outcome = next(outcomes, "fine")
        if outcome == "lost":
            raise OSError("the line is dead")
        done = real(*arguments)
        if outcome == "unknown":
            raise TimeoutError("no answer")
        return done

    monkeypatch.setattr(catalog, "commit_table", commit_table)


def test_what_comes_twice_in_one_batch_is_appended_once(catalog: Catalog) -> None:
    done = put(catalog, rows(["a", "b", "a", "a", "c", "b"]))
    assert (done.appended, done.duplicates) == (3, 3)
    assert stored(catalog) == ["a", "b", "c"]


def test_the_first_of_equal_ids_is_kept_in_order(catalog: Catalog) -> None:
    put(catalog, pa.concat_tables([rows(["b", "a"], "first"), rows(["a", "c"], "second")]))
    kept = catalog.load_table(NAME).scan().to_arrow()
    assert list(zip(kept["event_id"].to_pylist(), kept["writer"].to_pylist(), strict=True)) == [
        ("b", "first"),
        ("a", "first"),
        ("c", "second"),
    ]


def test_what_came_before_is_a_duplicate_and_makes_no_snapshot(catalog: Catalog) -> None:
    first = put(catalog, rows(["a", "b"]))
    again = put(catalog, rows(["b", "a"]))
    assert (again.appended, again.duplicates, again.snapshot_id) == (0, 2, first.snapshot_id)
    assert put(catalog, rows(["b", "c"])).appended == 1
    assert (stored(catalog), snapshots(catalog)) == (["a", "b", "c"], 2)


def test_nothing_is_no_commit(catalog: Catalog) -> None:
    assert put(catalog, rows([])) == Appended(0, 0, None)
    assert snapshots(catalog) == 0


def test_late_ids_meet_their_copies_in_old_days(catalog: Catalog) -> None:
    for day in (0, 40, 20):
        put(catalog, rows({f"{day}-{number}": DAY + timedelta(days=day, hours=number) for number in range(3)}))
    late = {"0-1": DAY + timedelta(hours=1), "20-2": DAY + timedelta(days=20, hours=2), "0-new": DAY, "41": DAY}
    done = put(catalog, rows(late))
    assert (done.appended, done.duplicates) == (2, 2)
    assert max(Counter(stored(catalog)).values()) == 1


@pytest.mark.parametrize("offset", [-1, 0, 1, 86_399_999, 86_400_000])
def test_copies_meet_at_the_edges_of_a_day(catalog: Catalog, offset: int) -> None:
    id_time = {"x": DAY + timedelta(milliseconds=offset)}
    assert put(catalog, rows(id_time)).appended == 1
    assert put(catalog, rows({**id_time, "y": DAY})).duplicates == 1


def test_only_the_days_of_the_rows_are_read(catalog: Catalog) -> None:
    put(catalog, rows({str(day): DAY + timedelta(days=day, milliseconds=-1) for day in range(6)}))
    times = rows({"a": DAY - timedelta(milliseconds=1), "b": DAY + timedelta(days=2)})["event_time"]
    tasks = load(catalog).scan(row_filter=days_filter("event_time", times)).plan_files()
    assert len(list(tasks)) == 2


def test_events_of_hundreds_of_scattered_days_are_one_append(catalog: Catalog) -> None:
    put(catalog, rows({"0": DAY}))
    scattered = rows({str(day): DAY - timedelta(days=2 * day) for day in range(1_200)})
    found = load(catalog).scan(row_filter=days_filter("event_time", scattered["event_time"])).to_arrow()
    assert found["event_id"].to_pylist() == ["0"]


def test_two_writers_racing_double_and_lose_nothing(settings: Settings) -> None:
    load(open_catalog(settings))
    loads, done, errors = Counter[str](), list[Appended](), list[BaseException]()

    def write(writer: str) -> None:
        try:
            catalog = open_catalog(settings)

            def counted() -> Table:
                loads[writer] += 1
                return load(catalog)

            for number in range(20):
                shared = [f"shared-{number}-{part}" for part in range(5)]
                batch = rows([f"{writer}-{number}", *shared], writer)
                done.append(append_new(counted, batch, "event_id", "event_time"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    catalog = open_catalog(settings)
    assert snapshots(catalog) == 40
    assert sum(loads.values()) > 40, "the writers never met: this run has shown nothing"
    ids = stored(catalog)
    assert len(ids) == len(set(ids)) == 20 * 7 == sum(each.appended for each in done)
    assert sum(each.duplicates for each in done) == 20 * 5


@pytest.mark.parametrize("before", [[], ["old"]], ids=["first commit", "later commit"])
def test_a_commit_in_between_is_looked_at_anew(settings: Settings, catalog: Catalog, before: list[str]) -> None:
    load(catalog)
    put(catalog, rows(before))
    other = open_catalog(settings)
    done = put(catalog, rows(["a", "b"]), once(lambda: put(other, rows(["b", "c"]))))
    assert (done.appended, done.duplicates) == (1, 1)
    assert stored(catalog) == sorted([*before, "a", "b", "c"])


def test_endless_conflicts_end_as_unavailable(
    settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "_CONFLICTS", 2)
    other, numbers = open_catalog(settings), iter(range(10))

    def refused(new: pa.Table) -> pa.Array:
        put(other, rows([f"other-{next(numbers)}"]))
        return pa.array([], pa.large_string())

    with pytest.raises(UnavailableError, match=r"somebody else committed first\. It went so 3 times"):
        put(catalog, rows(["a"]), refused)
    assert "a" not in stored(catalog)


def test_a_commit_that_landed_unheard_is_neither_doubled_nor_miscounted(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(catalog, rows(["a"]))
    failing(catalog, monkeypatch, iter(["unknown"]))
    done = put(catalog, rows(["a", "b", "c"]))
    assert (done.appended, done.duplicates) == (2, 1)
    assert stored(catalog) == ["a", "b", "c"]
    assert done.snapshot_id == catalog.load_table(NAME).metadata.current_snapshot_id


def test_a_commit_lost_unheard_is_made_again(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    load(catalog)
    failing(catalog, monkeypatch, iter(["lost", "lost", "unknown"]))
    done = put(catalog, rows(["a", "b", "b"]))
    assert (done.appended, done.duplicates) == (2, 1)
    assert stored(catalog) == ["a", "b"]


def test_a_lost_commit_that_another_writer_made_up_for_counts_as_his(
    settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(catalog)
    failing(catalog, monkeypatch, iter(["lost"]))
    other = open_catalog(settings)
    seen: list[int] = []

    def refused(new: pa.Table) -> pa.Array:
        seen.append(1)
        if len(seen) == 2:
            put(other, rows(["a", "b"]))
        return pa.array([], pa.large_string())

    done = put(catalog, rows(["a", "b", "c"]), refused)
    assert (done.appended, done.duplicates) == (1, 2)
    assert stored(catalog) == ["a", "b", "c"]


def test_storage_that_stays_away_is_unavailable(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    put(catalog, rows(["a"]))
    failing(catalog, monkeypatch, iter(["lost"] * 100))
    with pytest.raises(UnavailableError, match=r"the line is dead.*Nothing was acknowledged; mend the storage"):
        put(catalog, rows(["b"]))
    monkeypatch.undo()
    assert stored(catalog) == ["a"]
    assert put(catalog, rows(["b"])).appended == 1


def test_a_catalog_that_is_away_for_a_moment_is_asked_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(catalog, rows(["a"]))
    real, failures = catalog.load_table, iter([1, 1])

    def load_table(identifier: Any) -> Table:
        if next(failures, None):
            raise OSError("no route")
        return real(identifier)

    monkeypatch.setattr(catalog, "load_table", load_table)
    assert put(catalog, rows(["a", "b"])).appended == 1


def test_rows_are_refused_where_pyiceberg_would_rebase_them(catalog: Catalog) -> None:
    put(catalog, rows(["a"]))
    with catalog.load_table(NAME).transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "4"})
    with pytest.raises(AttentionError, match=r"commit\.retry.num-retries is not 0"):
        put(catalog, rows(["b"]))
    assert stored(catalog) == ["a"]


def test_new_tables_have_no_retry_of_their_own(catalog: Catalog) -> None:
    assert load(catalog).properties["commit.retry.num-retries"] == "0"


def test_refused_keys_stay_out_and_count_as_duplicates(catalog: Catalog) -> None:
    done = put(catalog, rows(["a", "b", "c"]), lambda new: pa.array(["b", "z"], pa.large_string()))
    assert (done.appended, done.duplicates) == (2, 1)
    assert stored(catalog) == ["a", "c"]
