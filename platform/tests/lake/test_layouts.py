"""What a filter finds does not depend on how rows lie in files: every reader finds the same rows in each layout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.contract.types import parse_type
from mesh_platform.engine.duckdb import connect
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal
from mesh_platform.iceberg.commit import append_rows, replace_files
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.snapshot_diff import all_files, count_rows
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.evolution import evolve
from mesh_platform.lake.tables import MeshTable
from mesh_platform.query.as_of import State
from pyiceberg.expressions import (
    BooleanExpression,
    EqualTo,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    IsNull,
    LessThan,
    LessThanOrEqual,
    NotNull,
)

from conftest import draws

from ..position_deletes import delete_positions
from ..small_mesh import Place

_TICK = timedelta(microseconds=1)
_EDGES = [
    datetime.min + _TICK,
    datetime(1582, 10, 15),
    datetime(1969, 12, 31, 23, 59, 59, 999_999),
    datetime(1970, 1, 1),
    datetime(2024, 2, 29, 12),
    datetime(2025, 1, 1) - _TICK,
    datetime(2025, 1, 1),
    datetime.max - _TICK,
]
_MODERN = _EDGES[3:]
_TEXTS = ["", " ", "A", "a", "é", "x" * 20 + "1", "x" * 20 + "2", "p" * 15 + "\ud7ffa", "\U0010ffff" * 20, "null"]
_DECIMALS = {
    "decimal(9,2)": ["-9999999.99", "-0.01", "0.00", "0.10", "9999999.99"],
    "decimal(18,3)": ["-999999999999999.999", "0.000", "1.500", "999999999999999.999"],
    "decimal(38,10)": ["-9999999999999999999999999999.9999999999", "0.0000000001", "12345678901234567890.0123456789"],
}
VALUES: dict[str, Sequence[Any]] = {
    "string": _TEXTS,
    "int": [-(2**31), -1, 0, 1, 2**31 - 1],
    "long": [-(2**63), -1, 0, 2**53, 2**53 + 1, 2**63 - 1],
    "double": [0.0, -0.0, 5e-324, 1.5, -1.5, sys.float_info.max, -sys.float_info.max],
    "boolean": [True, False],
    "date": [edge.date() for edge in _EDGES],
    "timestamp": _EDGES,
    "timestamptz": [edge.replace(tzinfo=UTC) for edge in _EDGES],
    **{name: [Decimal(text) for text in texts] for name, texts in _DECIMALS.items()},
}
WIDER = {"int": "long", "decimal(9,2)": "decimal(20,2)"}
COMPARED = {"=": EqualTo, "<": LessThan, "<=": LessThanOrEqual, ">": GreaterThan, ">=": GreaterThanOrEqual}


@dataclass(frozen=True)
class Layout:
    """Columns of these types, a partition as (transform, number of its column), and the rows of each commit."""

    types: Sequence[str]
    partition: tuple[str, int] | None
    commits: Sequence[Sequence[Sequence[Any]]]


def values_of(layout_type: str, transform: str | None) -> Sequence[Any]:
    """The values of a column that a contract and its build accept."""
    if layout_type in ("timestamp", "timestamptz") and transform in ("day", "month"):
        return [value for value in VALUES[layout_type] if value.year >= 1970]
    return VALUES[layout_type]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    types = draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=3))
    choices: list[tuple[str, int] | None] = [None]
    for number, name in enumerate(types):
        if name in ("date", "timestamp", "timestamptz"):
            choices += [(transform, number) for transform in ("day", "month", "year")]
        elif name != "double":
            choices.append(("identity", number))
    partition = draw(st.sampled_from(choices))
    by_column = [
        st.none() | st.sampled_from(values_of(name, partition[0] if partition and partition[1] == number else None))
        for number, name in enumerate(types)
    ]
    row = st.tuples(*by_column)
    return Layout(types, partition, draw(st.lists(st.lists(row, min_size=1, max_size=5), min_size=1, max_size=3)))


def contract_of(layout: Layout, evolved: bool = False) -> Contract:
    """The contract of such a table; after evolution its first column has another name, and types are wider."""
    fields = [Field("id", parse_type("long"), "An id.", True, 1, 1)]
    for number, name in enumerate(layout.types):
        renamed = {"name": "first", "renamed_from": ("c0",)} if evolved and number == 0 else {"name": f"c{number}"}
        kind = parse_type(WIDER.get(name, name) if evolved else name)
        fields.append(Field(type=kind, description="A.", required=False, key=0, line=1, **renamed))
    if evolved:
        fields.append(Field("added", parse_type("string"), "A.", False, 0, 1))
    partition = ()
    if layout.partition:
        transform, number = layout.partition
        partition = ((transform, fields[number + 1].name),)
    table = TableSchema("rows", "A row.", tuple(fields), partition, None, 1)
    year = timedelta(days=365)
    return Contract("rows.odcs.yaml", "core", "rows", "1.0.0", "A.", table, None, None, None, year, None, ())


@dataclass
class Readers:
    """The same rows in a lake and in a plain table."""

    place: Place
    duckdb: Connection
    contract: Contract
    rows: list[dict[str, Any]]

    def check(self, layout: str, snapshot: int | None = None, rows: list[dict[str, Any]] | None = None) -> None:
        """Compare what each reader finds by each filter on each column."""
        table = self.place.catalog.load_table("core.rows")
        expected = self.rows if rows is None else rows
        now = snapshot or table.metadata.current_snapshot_id
        assert now is not None
        assert count_rows(table, now) == len(expected), layout
        state = State(MeshTable(self.contract, "product"), table, now, past=snapshot is not None)
        self.duckdb.execute(f"CREATE OR REPLACE VIEW shown AS {state.select({})}")
        schema = arrow_schema(self.contract.table)
        self.duckdb.register("given", pa.Table.from_pylist(expected, schema=schema))
        self.duckdb.execute("CREATE OR REPLACE TABLE plain AS SELECT * FROM given")
        for field in self.contract.table.fields:
            for condition, expression in filters(field, expected):
                query = f"SELECT id FROM {{}} WHERE {condition} ORDER BY id"
                wanted = self.duckdb.execute(query.format("plain")).fetchall()
                assert self.duckdb.execute(query.format("shown")).fetchall() == wanted, (layout, condition)
                if snapshot is None:
                    found = table.scan(row_filter=expression, selected_fields=("id",)).to_arrow()["id"].to_pylist()
                    assert sorted(found) == [row[0] for row in wanted], (layout, condition)


def filters(field: Field, rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, BooleanExpression]]:
    """Filters on a column by some of its values, in SQL and as pyiceberg writes them."""
    name = field.name
    yield f"{name} IS NULL", IsNull(name)
    yield f"{name} IS NOT NULL", NotNull(name)
    values = list(dict.fromkeys(row[name] for row in rows if row[name] is not None))[:3]
    for value in values:
        for sign, compared in COMPARED.items():
            yield f"{name} {sign} {in_sql(field, value)}", compared(name, plain(value))
    # Arrow's is_in, with which pyiceberg evaluates In, tells 0.0 from -0.0; no code of the platform asks so.
    if len(values) > 1 and field.type.name != "double":
        listed = ", ".join(in_sql(field, value) for value in values[:2])
        yield f"{name} IN ({listed})", In(name, [plain(value) for value in values[:2]])


def in_sql(field: Field, value: Any) -> str:
    return f"CAST({literal(str(value))} AS {field.type.duckdb})"


def plain(value: Any) -> Any:
    """The value as pyiceberg takes it in a filter."""
    return value.isoformat() if isinstance(value, date) else value


@pytest.mark.slow
@settings(max_examples=draws(4, 60), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(layouts())
@example(Layout(["double"], None, [[(0.0,), (-0.0,), (1.5,)], [(None,)]]))
@example(Layout(["string", "boolean"], ("identity", 0), [[(text, True) for text in _TEXTS], [("", None)]]))
@example(Layout(["timestamptz"], ("month", 0), [[(edge.replace(tzinfo=UTC),) for edge in _MODERN], [(None,)]]))
@example(Layout(["decimal(9,2)"], ("identity", 0), [[(Decimal(each),)] for each in _DECIMALS["decimal(9,2)"]]))
def test_every_reader_finds_the_same_rows_in_every_layout(
    tmp_path_factory: pytest.TempPathFactory, layout: Layout
) -> None:
    contract = contract_of(layout)
    columns = [field.name for field in contract.table.fields]
    numbers = count(1)
    commits = [
        [dict(zip(columns, (next(numbers), *row), strict=True)) for row in commit] for commit in layout.commits
    ]
    rows = [row for commit in commits for row in commit]
    place = Place(tmp_path_factory.mktemp("mesh"))

    def load() -> Any:
        return place.catalog.load_table("core.rows")

    with connect({}) as duckdb:
        readers = Readers(place, duckdb, contract, rows)
        ensure_table(place.catalog, "core.rows", contract.table)
        for commit in commits:
            append_rows(load(), pa.Table.from_pylist(commit, schema=arrow_schema(contract.table)))
        readers.check("many files")
        readers.check("time travel", place.snapshots("core.rows")[0], commits[0])
        compact(load)
        readers.check("merged files")
        table = load()
        replaced = [task.file for task in all_files(table)]
        replace_files(table, replaced, pa.Table.from_pylist(rows, schema=arrow_schema(contract.table)))
        readers.check("rebuilt")
        evolved = contract_of(layout, evolved=True)
        evolve(place.catalog, evolved)
        renamed = {"c0": "first"}
        was = [{renamed.get(name, name): value for name, value in row.items()} | {"added": None} for row in rows]
        readers = Readers(place, duckdb, evolved, was)
        readers.check("evolved")
        more = [row | {"id": row["id"] + len(rows), "added": "x"} for row in was]
        append_rows(load(), pa.Table.from_pylist(more, schema=arrow_schema(evolved.table)))
        readers.rows = was + more
        readers.check("evolved and appended")
        compact(load)
        readers.check("evolved and merged")
        file = all_files(load())[0].file
        lost = pq.read_table(file.file_path, columns=["id"])["id"][0].as_py()
        delete_positions(load(), {file.file_path: [0]})
        readers.rows = [row for row in was + more if row["id"] != lost]
        readers.check("with a deleted row")
        bare = replace(evolved, table=replace(evolved.table, partition=()))
        evolve(place.catalog, bare)
        append_rows(load(), pa.Table.from_pylist([{**was[0], "id": 0}], schema=arrow_schema(bare.table)))
        readers.rows.append({**was[0], "id": 0})
        readers.check("partitioned anew")
