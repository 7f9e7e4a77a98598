"""Key search returns all rows with a key, and opens no more files than needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.iceberg import key_search
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.key_index import KeyIndex
from mesh_platform.iceberg.key_search import find_candidates
from mesh_platform.iceberg.snapshot_diff import all_files, read_files
from mesh_platform.sql.unique_keys import _hash
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import (
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from conftest import draws

from ..small_mesh import Place, Sale, small_mesh

NAME = "alpha.sales_alpha__raw"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def load(place: Place) -> Table:
    return place.catalog.load_table(NAME)


@contextmanager
def catalog() -> Iterator[Catalog]:
    """Yield a catalog with the namespace `t`, in a folder that is removed after the block."""
    with TemporaryDirectory() as folder:
        lake = SqlCatalog("t", uri=f"sqlite:///{folder}/c.db", warehouse=folder)
        lake.create_namespace("t")
        yield lake
        lake.close()


def create(lake: Catalog, *fields: NestedField) -> Table:
    """Create an empty table with the properties that commits of the platform require."""
    return lake.create_table("t.t", Schema(*fields), properties={"commit.retry.num-retries": "0"})


def ids(table: pa.Table) -> list[str]:
    return sorted(table.column("event_id").to_pylist())


def test_keys_are_read_from_where_they_can_be(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.land("alpha", [Sale(number) for number in range(1, 4)])
    place.land("alpha", [Sale(number) for number in range(7, 10)])
    table = load(place)
    opened: list[int] = []

    def counted(table: Table, tasks: list[Any], *more: Any) -> pa.Table:
        opened.append(len(tasks))
        return read_files(table, tasks, *more)

    monkeypatch.setattr(key_search, "read_files", counted)

    def found(*numbers: int) -> list[str]:
        keys = pa.table({"event_id": pa.array([f"alpha-{number:04}" for number in numbers], pa.string())})
        return ids(find_candidates(table, all_files(table), keys))

    assert found(2) == ["alpha-0002"]
    assert found(3, 7) == ["alpha-0003", "alpha-0007"]
    assert found(1, 9) == ["alpha-0001", "alpha-0009"]
    assert (found(5), found(0, 4, 6, 10, *range(20, 40))) == ([], [])
    assert opened == [1, 2, 2]


def test_each_column_rules_rows_out(place: Place):
    place.land("alpha", [Sale(1), Sale(2)])
    table = load(place)
    rows = read_files(table, all_files(table), ["amount", "event_id"])
    assert ids(find_candidates(table, all_files(table), rows.slice(0, 1))) == ids(rows.slice(0, 1))
    nothing = pa.table({"event_id": pa.nulls(1, pa.string())})
    assert find_candidates(table, all_files(table), nothing).num_rows == 0


def test_files_from_before_a_column_was_widened_are_searched_by_its_values_of_now():
    with catalog() as lake:
        table = create(lake, NestedField(1, "k", IntegerType(), required=False))
        append_rows(table, pa.table({"k": pa.array([1, 5], pa.int32())}))
        with table.update_schema() as update:
            update.update_column("k", field_type=LongType())
        wanted = pa.table({"k": pa.array([5, 2**40], pa.int64())})
        assert find_candidates(table, all_files(table), wanted)["k"].to_pylist() == [5]


LONG = st.text(st.sampled_from("ab\x7f\u00ff\ud7ff\uffff\U0010ffff"), min_size=0, max_size=3)
START = datetime(2025, 1, 1, tzinfo=UTC)
TYPES: dict[str, tuple[Any, pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (StringType(), pa.string(), LONG.map(lambda end: "p" * 15 + end) | LONG),
    "whole": (LongType(), pa.int64(), st.integers(-4, 4)),
    "day": (DateType(), pa.date32(), st.integers(-4, 4).map(lambda n: START.date() + timedelta(days=n))),
    "number": (DecimalType(9, 2), pa.decimal128(9, 2), st.integers(-4, 4).map(lambda n: Decimal(n) / 4)),
    "time": (
        TimestamptzType(),
        pa.timestamp("us", "UTC"),
        st.integers(-3, 3).map(lambda n: START + timedelta(hours=n)),
    ),
    "double": (DoubleType(), pa.float64(), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")])),
}


@pytest.mark.parametrize("indexed", [False, True])
@settings(max_examples=draws(25), deadline=None, derandomize=True)
@given(st.data())
def test_no_row_with_a_key_that_is_wanted_is_left_out(indexed: bool, data: st.DataObject):
    names = data.draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=2, unique=True))
    key = st.tuples(*(TYPES[name][2] for name in names))
    files = data.draw(st.lists(st.lists(key, min_size=1, max_size=3), min_size=1, max_size=4))
    present = [row for file in files for row in file]
    wanted = as_rows(names, data.draw(st.lists(key | st.sampled_from(present), min_size=1, max_size=20)))
    with catalog() as lake, duckdb.connect() as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh_platform.iceberg.key_index._ROWS", 0)
        patch.setattr("mesh_platform.iceberg.key_index._FILES", 0)
        fields = [NestedField(n, name, TYPES[name][0], required=False) for n, name in enumerate(names, 1)]
        table = create(lake, *fields)
        for file in files:
            append_rows(table, as_rows(names, file))
        folder = Path(lake.properties["warehouse"]) / "keys" if indexed else None
        index = KeyIndex(folder, lambda keys: _hash(connection, keys), "test")
        for _ in range(2):
            found = find_candidates(table, all_files(table), wanted, index)
            assert same(connection, found, wanted) == same(connection, as_rows(names, present), wanted)
            assert found.num_rows <= len(present)


def same(connection: duckdb.DuckDBPyConnection, rows: pa.Table, wanted: pa.Table) -> int:
    """Return how many of `rows` have one of the wanted keys, compared as in SQL."""
    connection.register("mesh_rows", rows)
    connection.register("mesh_wanted", wanted)
    on = " AND ".join(f"r.{name} IS NOT DISTINCT FROM w.{name}" for name in wanted.column_names)
    found = connection.execute(f"SELECT count(*) FROM mesh_rows AS r SEMI JOIN mesh_wanted AS w ON {on}").fetchone()
    assert found is not None
    return int(found[0])


def as_rows(names: list[str], keys: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(names, zip(*keys, strict=True), strict=True)
    return pa.table({name: pa.array(values, TYPES[name][1]) for name, values in columns})
