"""An id with two contents is told apart from a copy, wherever the first content is and however its table changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.types import parse_type
from mesh_platform.iceberg import append
from mesh_platform.iceberg.append import Appended, append_new
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.iceberg.reused_ids import Reused
from mesh_platform.iceberg.snapshot_diff import all_files, read_files
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.types import DecimalType, LongType

from conftest import draws

NAME = "shop.sales"
DAY = datetime(2025, 10, 1, tzinfo=UTC)
TYPES = {
    "event_id": "string", "event_time": "timestamptz", "price": "decimal(6,2)", "units": "int", "ratio": "double",
    "note": "string", "wall": "timestamp", "born": "date", "flag": "boolean", "sender": "string",
}  # fmt: skip
CONTENT = tuple(TYPES)[1:-1]
Row = dict[str, Any]


def shape(**types: str) -> TableSchema:
    fields = tuple(
        Field(name=name, type=parse_type(type_), description=name, required=name in ("event_id", "event_time"), key=0,
              line=1)
        for name, type_ in {**TYPES, **types}.items()
    )  # fmt: skip
    return TableSchema("sales", "Sales.", fields, (("day", "event_time"),), "event_time", 1)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(Settings(root=tmp_path, state=Path("state")))


def row(id_: str, **values: Any) -> Row:
    return {"event_id": id_, "event_time": DAY, "price": Decimal("5.00"), "units": 1, "sender": "w"} | values


def table_of(rows: list[Row], like: TableSchema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(like))


def put(
    catalog: Catalog,
    *rows: Row,
    like: TableSchema | None = None,
    known: IdIndex | None = None,
    refused: Callable[[pa.Table], pa.Array] | None = None,
    content: tuple[str, ...] = CONTENT,
) -> Appended:
    like = like or shape()
    new = table_of([*rows], like)
    return append_new(
        lambda: ensure_table(catalog, NAME, like), new, "event_id", "event_time", refused, known, content, "sender"
    )


def figures(done: Appended) -> tuple[int, int, list[int]]:
    return done.appended, done.duplicates, [each.row for each in done.reused]


def stored(catalog: Catalog, column: str = "price") -> dict[str, Any]:
    found = catalog.load_table(NAME).scan().to_arrow()
    return dict(zip(found["event_id"].to_pylist(), found[column].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("price", Decimal("5.01")), ("price", None), ("units", 2), ("ratio", 0.25), ("note", ""),
        ("wall", datetime(2025, 10, 1)), ("born", DAY.date()), ("flag", False),
        ("event_time", DAY + timedelta(hours=1)), ("event_time", DAY + timedelta(milliseconds=1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["table", "flush"])
def test_another_content_is_no_duplicate_and_is_not_appended(
    catalog: Catalog, where: str, column: str, value: Any
) -> None:
    first, second = row("a"), row("a", **{column: value})
    if where == "table":
        put(catalog, first)
        done = put(catalog, row("b"), second, row("a", sender="other"), row("c"))
        assert figures(done) == (2, 1, [1])
    else:
        done = put(catalog, row("b"), first, row("c"), second, first)
        assert figures(done) == (3, 1, [3])
    (reused,) = done.reused
    assert reused.columns == (column,)
    assert reused.known != reused.new
    assert {len(reused.known), len(reused.new)} == {64}
    assert stored(catalog) == dict.fromkeys("abc", Decimal("5.00"))


def test_each_content_has_its_hash_and_keeps_it(catalog: Catalog) -> None:
    put(catalog, row("a"))
    (five, seven) = put(catalog, row("a", price=Decimal(6)), row("a", price=Decimal(7)), row("a")).reused
    assert five.known == seven.known
    assert len({five.known, five.new, seven.new}) == 3
    assert put(catalog, row("a", price=Decimal(7), sender="z")).reused == [Reused(0, *_hashes(seven), ("price",))]
    # If the other content comes first, the hashes are swapped.
    (turned,) = put(catalog, row("b", price=Decimal(7)), row("b")).reused
    assert (turned.known, turned.new) == (seven.new, seven.known)


def _hashes(reused: Reused) -> tuple[str, str]:
    return reused.known, reused.new


def test_who_sent_it_and_when_it_came_are_no_content(catalog: Catalog) -> None:
    put(catalog, row("a", sender="one"))
    assert figures(put(catalog, row("a", sender="two"), row("b"), row("b", sender="three"))) == (1, 2, [])


@pytest.mark.parametrize("column", ["event_time", "wall"])
def test_what_was_cut_to_milliseconds_before_is_the_same_event(catalog: Catalog, column: str) -> None:
    exact = datetime(1969, 12, 31, 23, 59, 59, 123_456, tzinfo=UTC)
    values = [exact.replace(microsecond=micro) for micro in (123_000, 123_456, 124_000)]
    if column == "wall":
        values = [value.replace(tzinfo=None) for value in values]
    cut, whole, other = (row("a", **{column: value}) for value in values)
    put(catalog, cut)
    assert figures(put(catalog, whole)) == (0, 1, [])
    assert figures(put(catalog, other)) == (0, 0, [0])


def test_a_table_that_evolved_knows_its_old_rows(catalog: Catalog) -> None:
    put(catalog, row("a", note="n"), row("b"))
    (before,) = put(catalog, row("a", note="other")).reused
    with catalog.load_table(NAME).update_schema() as update:
        update.update_column("units", LongType())
        update.update_column("price", DecimalType(12, 2))
        update.rename_column("note", "remark")
        update.add_column(("colour",), parse_type("string").iceberg)
    types = {name.replace("note", "remark"): type_ for name, type_ in TYPES.items()}
    types |= {"units": "long", "price": "decimal(12,2)", "colour": "string"}
    now = TableSchema(
        "sales", "Sales.",
        tuple(Field(name=name, type=parse_type(type_), description=name, required=name in ("event_id", "event_time"),
                    key=0, line=1) for name, type_ in types.items()),
        (("day", "event_time"),), "event_time", 1,
    )  # fmt: skip
    content = (*(name.replace("note", "remark") for name in CONTENT), "colour")
    same, other = row("a", remark="n"), row("a", remark="other")
    done = put(catalog, same, row("b", colour=None), other, row("b", colour="red"), like=now, content=content)
    assert figures(done) == (0, 2, [2, 3])
    # The same second content has the same hash.
    assert (done.reused[0].known, done.reused[0].new) == (before.known, before.new)
    # A column that the contract dropped is no longer compared.
    less = tuple(name for name in content if name != "remark")
    assert figures(put(catalog, same, other, like=now, content=less)) == (0, 2, [])


def test_files_that_were_merged_and_deletes_are_read(catalog: Catalog) -> None:
    for number in range(4):
        put(catalog, row(f"a{number}"), row(f"b{number}", event_time=DAY + timedelta(days=1)))
    table = catalog.load_table(NAME)
    tasks = all_files(table)
    rows = read_files(table, tasks, TYPES)
    replace_files(table, [task.file for task in tasks], rows.cast(arrow_schema(shape())))
    again = [row(f"a{number}", units=number) for number in range(4)]
    known = IdIndex()
    for _ in range(2):
        assert figures(put(catalog, *again, known=known)) == (0, 1, [0, 2, 3])


def test_an_id_that_was_removed_stays_refused_whatever_its_content(catalog: Catalog) -> None:
    done = put(catalog, row("a"), row("a", units=9), row("b"), refused=lambda rows: pa.array(["a"]))
    assert figures(done) == (1, 2, [])
    put(catalog, row("c"))
    # An event that is in the table nevertheless has content there.
    done = put(catalog, row("c", units=9), row("c"), refused=lambda rows: pa.array(["c"]))
    assert figures(done) == (0, 1, [0])


def test_a_race_for_one_id_leaves_the_loser_as_reused(catalog: Catalog) -> None:
    ensure_table(catalog, NAME, shape())
    left = [row("a", units=2)]

    def refused(rows: pa.Table) -> pa.Array:
        # Between loading the table and the commit.
        if left:
            put(catalog, left.pop())
        return pa.array([], pa.large_string())

    done = put(catalog, row("a", units=1), row("b"), refused=refused)
    assert figures(done) == (1, 0, [0])
    assert stored(catalog, "units") == {"a": 2, "b": 1}


def test_an_outcome_that_nobody_knows_keeps_what_was_found(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append.time, "sleep", lambda seconds: None)
    put(catalog, row("a"))
    real: Any = catalog.commit_table
    outcomes = iter(["unknown"])

    def commit_table(*given: Any) -> Any:
        done = real(*given)
        if next(outcomes, ""):
            raise TimeoutError("no answer")
        return done

    monkeypatch.setattr(catalog, "commit_table", commit_table)
    done = put(catalog, row("a", units=2), row("b"), row("b", units=3), row("b"))
    assert figures(done) == (1, 1, [0, 2])


def test_copies_of_another_sender_are_counted(catalog: Catalog) -> None:
    put(catalog, row("a"), row("b"), row("c", sender=None))
    # A copy from elsewhere, a copy, another content, two in one flush of which the second is from elsewhere.
    flush = [row("a", sender="x"), row("b"), row("c", sender="x", units=9), row("d"), row("d", sender="x"), row("d")]
    done = put(catalog, *flush)
    assert (figures(done), done.of_others) == ((1, 4, [2]), 2)
    assert put(catalog, row("c", sender=None)).of_others == 0
    assert put(catalog, row("c", sender="x")).of_others == 1


def test_without_copies_no_content_is_read(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    put(catalog, row("a"))
    monkeypatch.setattr(append, "compare_copies", lambda *given: pytest.fail("nothing is to be compared"))
    assert figures(put(catalog, row("b"), row("c"))) == (2, 0, [])
    assert figures(put(catalog, row("b"), content=())) == (0, 1, [])


_ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 1, 2]), st.sampled_from([None, "x", "é"])), max_size=8
)


@settings(deadline=None, max_examples=draws(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flushes=st.lists(_ROWS, min_size=1, max_size=4), warm=st.booleans())
def test_every_row_is_new_or_a_copy_or_reused(
    tmp_path_factory: pytest.TempPathFactory, flushes: list[Any], warm: bool
) -> None:
    catalog = open_catalog(Settings(root=tmp_path_factory.mktemp("lake"), state=Path("state")))
    known = IdIndex()
    first: dict[str, tuple[Any, Any]] = {}
    for flush in flushes:
        new, copies, others = 0, 0, []
        for number, (id_, units, note) in enumerate(flush):
            new += id_ not in first
            had = first.setdefault(id_, (units, note))
            if had != (units, note):
                others.append(number)
        copies = len(flush) - new - len(others)
        rows = [row(id_, units=units, note=note) for id_, units, note in flush]
        done = put(catalog, *rows, known=known if warm else None)
        assert figures(done) == (new, copies, others)
        for each in done.reused:
            assert set(each.columns) <= {"units", "note"}


def test_the_table_is_read_as_the_snapshot_has_it(catalog: Catalog) -> None:
    put(catalog, row("a", units=1))
    known = IdIndex()
    table: Table = catalog.load_table(NAME)
    replace_files(table, [task.file for task in all_files(table)], table_of([row("a", units=2)], shape()))
    assert figures(put(catalog, row("a", units=2), known=known)) == (0, 1, [])
    assert figures(put(catalog, row("a", units=1), known=known)) == (0, 0, [0])
