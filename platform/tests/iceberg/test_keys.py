"""Known keys are found, whoever wrote them, and no file is read twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.types import parse_type
from mesh_platform.iceberg.append import append_new
from mesh_platform.iceberg.commit import append_rows, replace_files
from mesh_platform.iceberg.durable_io import DurableFileIO
from mesh_platform.iceberg.keys import IdIndex, Ids, _look_up, to_ids
from mesh_platform.iceberg.snapshot_diff import all_files
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog
from pyiceberg.io import InputFile
from pyiceberg.table import Table

NAME = "shop.sales"
DAY = datetime(2025, 10, 1, tzinfo=UTC)
SCHEMA = TableSchema(
    "sales",
    "Sales.",
    tuple(
        Field(name=name, type=parse_type(type_), description=name, required=True, key=0, line=1)
        for name, type_ in (("event_id", "string"), ("event_time", "timestamptz"))
    ),
    (("day", "event_time"),),
    "event_time",
    1,
)
# Few values, so that halves are often equal.
SMALL = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(Settings(root=tmp_path, state=Path("state")))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each data file was opened for reading."""
    counts: Counter[str] = Counter()
    real = DurableFileIO.new_input

    def new_input(io: DurableFileIO, location: str) -> InputFile:
        if location.endswith(".parquet"):
            counts[location] += 1
        return real(io, location)

    monkeypatch.setattr(DurableFileIO, "new_input", new_input)
    return counts


def id_of(number: int, day: int = 0) -> str:
    milliseconds = int((DAY + timedelta(days=day)).timestamp() * 1000) + number
    return str(UUID(int=milliseconds << 80 | number))


def rows(*numbers: int, day: int = 0) -> pa.Table:
    times = [DAY + timedelta(days=day, milliseconds=number) for number in numbers]
    return pa.table([[id_of(number, day) for number in numbers], times], schema=arrow_schema(SCHEMA))


def load(catalog: Catalog) -> Table:
    return ensure_table(catalog, NAME, SCHEMA)


def held(known: IdIndex, catalog: Catalog, wanted: pa.Table) -> list[bool]:
    found: list[bool] = known.held(load(catalog), to_ids(wanted["event_id"]), "event_id").tolist()
    return found


def keys_of(pairs: list[tuple[int, int]]) -> Ids:
    array = np.array(pairs, dtype=np.uint64).reshape(-1, 2)
    return Ids(array[:, 0], array[:, 1])


@given(there=SMALL, wanted=SMALL)
def test_a_key_is_found_by_both_its_halves(there: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    ascending = sorted(wanted, key=lambda pair: pair[0])
    found = np.zeros(len(wanted), dtype=bool)
    _look_up(keys_of(ascending), keys_of(there).sort(), found)
    assert found.tolist() == [pair in there for pair in ascending]


@given(pairs=SMALL)
def test_the_first_of_each_kind_is_marked(pairs: list[tuple[int, int]]) -> None:
    assert keys_of(pairs).firsts().tolist() == [pair not in pairs[:place] for place, pair in enumerate(pairs)]


@given(texts=st.lists(st.one_of(st.uuids().map(str), st.text(max_size=40)), max_size=20))
def test_equal_strings_are_equal_keys_and_others_are_not(texts: list[str]) -> None:
    keys = to_ids(pa.chunked_array([texts], pa.large_string()))
    pairs = list(zip(keys.high.tolist(), keys.low.tolist(), strict=True))
    assert len(set(pairs)) == len(set(texts))
    assert all((pairs[a] == pairs[b]) == (texts[a] == texts[b]) for a in range(len(texts)) for b in range(a))


def test_what_is_read_or_written_once_is_not_read_again(catalog: Catalog, opened: Counter[str]) -> None:
    append_rows(load(catalog), pa.concat_tables([rows(1, 2), rows(3, day=5)]))
    known = IdIndex()
    for _ in range(3):
        assert held(known, catalog, pa.concat_tables([rows(2, 7), rows(3, day=5)])) == [True, False, True]
    assert sorted(opened.values()) == [1, 1]
    new = pa.concat_tables([rows(7, 8), rows(9, day=5), rows(2)])
    done = append_new(lambda: load(catalog), new, "event_id", "event_time", known=known)
    assert (done.appended, done.duplicates) == (3, 1)
    assert held(known, catalog, pa.concat_tables([rows(8, 9), rows(9, 8, day=5)])) == [True, False, True, False]
    assert sorted(opened.values()) == [1, 1]


def test_only_the_snapshot_says_which_files_count(catalog: Catalog) -> None:
    known = IdIndex()
    first = append_rows(load(catalog), rows(1))
    append_rows(load(catalog), rows(2))
    assert held(known, catalog, rows(1, 2)) == [True, True]
    table = load(catalog)
    replace_files(table, [task.file for task in all_files(table)], rows(2, 3))
    assert held(known, catalog, rows(1, 2, 3)) == [False, True, True]
    with load(catalog).manage_snapshots() as manage:
        manage.set_current_snapshot(snapshot_id=first)
    assert held(known, catalog, rows(1, 2, 3)) == [True, False, False]


def test_memory_is_bounded_and_what_was_dropped_is_read_again(catalog: Catalog, opened: Counter[str]) -> None:
    for number in range(4):
        append_rows(load(catalog), rows(number, day=number))
    known = IdIndex(max_bytes=2 * 16)
    for _ in range(2):
        for number in range(4):
            assert held(known, catalog, rows(number, day=number)) == [True]
    assert sum(opened.values()) > 4
    assert known._bytes <= 2 * 16
    assert len(known._of_file) == 2
