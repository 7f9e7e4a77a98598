"""Lineage by DuckDB's bound plan: the cases of lineage.sql, what changed values show, and random queries."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.engine.duckdb import Connection, bound_plans, connect_in_memory
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.bound_plan import Source, Traced, UnknownOperatorError, trace
from mesh_platform.sql.lineage import Lineage, Query, Tracer, lineage
from mesh_platform.sql.model import read_models

from conftest import draws

from ..small_mesh import Place, small_mesh

REPOSITORY = Path(__file__).parents[3]
TABLES = {
    "t": {
        "id": "INTEGER",
        "x": "INTEGER",
        "label": "VARCHAR",
        "ts": "TIMESTAMP",
        "s": "STRUCT(p INTEGER, q VARCHAR)",
        "l": "INTEGER[]",
    },
    "u": {"id": "INTEGER", "y": "INTEGER", "ts": "TIMESTAMP", "note": "VARCHAR"},
}
ROWS = "rows"


@dataclass(frozen=True)
class Case:
    """A query of lineage.sql, and its sources by output column; those of the set of rows as `rows`."""

    title: str
    sql: str
    expected: dict[str, set[str]]


def _cases() -> Iterator[Case]:
    for block in (Path(__file__).parent / "lineage.sql").read_text(encoding="utf-8").strip().split("\n\n"):
        title, sql, *lines = block.split("\n")
        parts = (line.removeprefix("-- ").partition(":") for line in lines)
        expected = {name: {*filter(None, sources.strip().split(", "))} for name, _, sources in parts}
        yield Case(title.removeprefix("-- "), sql.rstrip(";"), expected)


CASES = [*_cases()]


@pytest.fixture(scope="module")
def tables() -> Iterator[Connection]:
    with connect_in_memory() as connection:
        connection.execute("SET threads = 1")
        connection.execute("CREATE SCHEMA n")
        for table, columns in TABLES.items():
            connection.execute(
                f"CREATE TABLE n.{table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
            )
        yield connection


def bound_plan(connection: Connection, sql: str) -> dict[str, Any]:
    """The plan of one query, which is valid."""
    (plan,) = bound_plans(connection, [sql])
    assert not plan.get("error"), plan
    return plan


def _sources(traced: Traced, names: Collection[str]) -> dict[str, set[str]]:
    found = dict(zip(names, (value.sources for value in traced.columns), strict=True))
    if traced.rows:
        found[ROWS] = traced.rows
    return {name: {f"{s.relation[2:]}.{s.column} {s.how}" for s in sources} for name, sources in found.items()}


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_every_edge_is_found_and_none_is_wrong(case: Case, tables: Connection):
    names = [column[0] for column in tables.execute(case.sql).description or ()]
    assert _sources(trace(bound_plan(tables, case.sql)), names) == case.expected


class World:
    """Random rows for the tables, of which one column at a time gets other values."""

    def __init__(self, connection: Connection, sql: str) -> None:
        self.connection, self.sql = connection, sql
        self.traced = trace(bound_plan(connection, sql))
        self.missing: set[tuple[str, str]] = set()
        self.seen: set[tuple[str, str, int | str]] = set()

    def run(self, seed: int) -> None:
        """Fill the tables, change each column in turn, and note what that changes in the query's result."""
        draw = random.Random(seed)
        rows = {
            table: [[_value(draw, kind) for kind in columns.values()] for _ in range(5)]
            for table, columns in TABLES.items()
        }
        for table in TABLES:
            self._fill(table, rows[table])
        before = self._result()
        for table, columns in TABLES.items():
            for place, (column, kind) in enumerate(columns.items()):
                changed = [
                    [*row[:place], _value(draw, kind), *row[place + 1 :]] if draw.random() < 0.5 else row
                    for row in rows[table]
                ]
                self._fill(table, changed)
                self._compare(table, column, before, self._result())
            self._fill(table, rows[table])

    def unseen(self) -> set[tuple[str, str, int | str]]:
        """The declared dependencies of which no change has shown an effect."""
        declared: dict[int | str, frozenset[Source]] = {ROWS: self.traced.rows}
        declared |= {place: value.sources for place, value in enumerate(self.traced.columns)}
        return {(s.relation[2:], s.column, on) for on, sources in declared.items() for s in sources} - self.seen

    def _compare(self, table: str, column: str, before: list[tuple[str, ...]], after: list[tuple[str, ...]]) -> None:
        free = [
            place for place, value in enumerate(self.traced.columns) if not _depends(value.sources, table, column)
        ]
        if _depends(self.traced.rows, table, column):
            if before != after:
                self.seen.add((table, column, ROWS))
        elif _chosen(before, free) != _chosen(after, free):
            self.missing.add((table, column))
        for place in {*range(len(self.traced.columns))} - {*free}:
            if _chosen(before, [*free, place]) != _chosen(after, [*free, place]):
                self.seen.add((table, column, place))

    def _fill(self, table: str, rows: list[list[str]]) -> None:
        self.connection.execute(f"DELETE FROM n.{table}")
        values = ", ".join(f"({', '.join(row)})" for row in rows)
        self.connection.execute(f"INSERT INTO n.{table} VALUES {values}")

    def _result(self) -> list[tuple[str, ...]]:
        return [tuple(map(repr, row)) for row in self.connection.execute(self.sql).fetchall()]


def _value(draw: random.Random, kind: str) -> str:
    if draw.random() < 0.1:
        return "NULL"
    match kind:
        case "INTEGER":
            return str(draw.randint(0, 3))
        case "VARCHAR":
            return f"'{draw.choice('abc')}'"
        case "TIMESTAMP":
            return f"TIMESTAMP '2025-01-0{draw.randint(1, 6)}'"
        case "INTEGER[]":
            return str([draw.randint(0, 3) for _ in range(draw.randint(0, 2))])
        case _:
            return f"{{'p': {draw.randint(0, 3)}, 'q': '{draw.choice('abc')}'}}"


def _depends(sources: Collection[Source], table: str, column: str) -> bool:
    return any((s.relation, s.column) == (f"n.{table}", column) for s in sources)


def _chosen(rows: list[tuple[str, ...]], places: list[int]) -> list[tuple[str, ...]]:
    """The rows without the other columns, in an order of their own: a table is a set."""
    return sorted(tuple(row[place] for place in places) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_changed_values_show_every_edge_and_no_other(case: Case, tables: Connection):
    """Where a column changes what the query returns, there is an edge; and each edge can be seen in that way."""
    world = World(tables, case.sql)
    for seed in range(120):
        world.run(seed)
        if not world.unseen():
            break
    assert not world.missing
    # A condition that is always false hides the column whose value it would return.
    assert not world.unseen() or "where false" in case.sql


@st.composite
def queries(draw: st.DrawFn, depth: int = 3) -> str:
    """A query with the columns a and b, both integers, over n.t and n.u."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(["SELECT id AS a, x AS b FROM n.t", "SELECT y AS a, id AS b FROM n.u"]))
    inner = draw(queries(depth=depth - 1))
    one = f"({inner}) AS i"
    other = f"({draw(queries(depth=depth - 1))}) AS j"
    return draw(
        st.sampled_from(
            [
                f"SELECT b AS a, a AS b FROM {one}",
                f"SELECT a, a + b AS b FROM {one} WHERE b > 0",
                f"SELECT a, count(*) AS b FROM {one} GROUP BY a",
                f"SELECT a, sum(b)::INTEGER AS b FROM {one} GROUP BY a HAVING count(*) > 1",
                f"SELECT max(a) AS a, min(b) AS b FROM {one} WHERE a < 3",
                f"SELECT a, rank() OVER (PARTITION BY b ORDER BY a)::INTEGER AS b FROM {one}",
                f"SELECT a, b FROM {one} QUALIFY rank() OVER (ORDER BY a) < 3",
                f"SELECT i.a, j.b FROM {one} JOIN {other} ON i.a = j.a",
                f"SELECT i.a, j.b FROM {one} LEFT JOIN {other} ON i.b < j.b",
                f"SELECT a, b FROM {one} UNION ALL BY NAME SELECT id AS b, x AS a FROM n.t",
                f"SELECT DISTINCT ON (a) a, b FROM (SELECT a, b FROM {one} ORDER BY b, a) AS o",
                f"SELECT list(a)[1] AS a, max(b) AS b FROM (SELECT a, b FROM {one} ORDER BY b, a) AS o",
                f"SELECT i.a, k.y AS b FROM {one} LEFT JOIN LATERAL (SELECT y FROM n.u AS v WHERE v.id = i.a) AS k "
                "ON k.y IS NOT DISTINCT FROM i.b",
                f"SELECT a, b FROM {one} GROUP BY a, b HAVING count(*) > 1",
                f"SELECT a, b FROM {one} EXCEPT SELECT id, y FROM n.u",
                f"SELECT DISTINCT a, b FROM {one}",
                f"SELECT a, (SELECT max(y) FROM n.u AS v WHERE v.id = i.a AND v.y <> i.b) AS b FROM {one}",
                f"SELECT a, b FROM {one} WHERE EXISTS (SELECT 1 FROM n.u AS v WHERE v.id = i.b)",
                f"SELECT a, b FROM {one} WHERE a IN (SELECT x FROM n.t AS w WHERE w.id > i.b)",
                f"WITH c AS MATERIALIZED ({inner}) SELECT c.a, d.b FROM c JOIN c AS d ON c.a = d.b",
                f"SELECT r.part.a AS a, b FROM (SELECT {{'a': a, 'c': b}} AS part, b FROM {one}) AS r",
                f"SELECT i.a, g::INTEGER AS b FROM {one}, generate_series(1, i.b) AS s (g)",
            ]
        )
    )


@settings(max_examples=draws(60), deadline=None)
@given(sql=queries(), seed=st.integers(0, 2**32))
def test_of_a_random_query_no_change_shows_an_edge_that_is_missing(sql: str, seed: int, tables: Connection):
    _check_random(sql, seed, tables)


@pytest.mark.thorough
@settings(max_examples=draws(200, 600), deadline=None)
@given(sql=queries(), seed=st.integers(0, 2**32))
def test_of_many_random_queries_no_change_shows_an_edge_that_is_missing(sql: str, seed: int, tables: Connection):
    _check_random(sql, seed, tables)


def _check_random(sql: str, seed: int, tables: Connection) -> None:
    world = World(tables, sql)
    for number in range(3):
        world.run(seed + number)
    assert not world.missing


def test_every_model_of_this_repository_is_traced():
    mesh = load_mesh(REPOSITORY)
    traced = Tracer(mesh).models([*read_models(mesh).values()])
    assert [found for found in traced if isinstance(found, Problem)] == []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def test_lineage_of_a_model_is_by_the_columns_of_its_contract(place: Place):
    models = read_models(place.mesh)
    buyer = lineage(place.mesh, models["core.dim_buyer"])
    assert {name: buyer.values(name) for name in buyer.columns} == {
        "buyer": [("core.fact_sales", "buyer")],
        "sales": [],
        "total": [("core.fact_sales", "amount")],
    }
    assert buyer.rows == {Source("core.fact_sales", "buyer", "grouped")}
    assert lineage(place.mesh, models["alpha.sales_alpha"]).values("site_id") == [("mesh.sites", "warehouse_id")]
    assert lineage(place.mesh, models["core.fact_sales"]).values("amount") == [("core.sale_v1", "amount")]


def test_a_model_that_does_not_fit_its_inputs_is_a_problem_with_its_line(place: Place):
    place.write("core/models/dim_item.sql", "select\n    item_id,\n    lable as label\nfrom core.items")
    models = read_models(place.mesh)
    problem, other = Tracer(place.mesh).models([models["core.dim_item"], models["core.dim_buyer"]])
    assert str(problem).startswith("domains/core/models/dim_item.sql:3: DuckDB says: ")
    assert isinstance(other, Lineage)
    with pytest.raises(ContractError, match="lable"):
        lineage(place.mesh, models["core.dim_item"])


def test_every_operator_that_is_known_occurs_in_a_case(tables: Connection):
    def kinds(node: dict[str, Any]) -> set[str]:
        return {node["type"]}.union(*(kinds(child) for child in node.get("children", ())))

    seen = set().union(*(kinds(bound_plan(tables, case.sql)) for case in CASES))
    assert len(seen) == 26
    # None of them is unknown: `test_every_edge_is_found_and_none_is_wrong` traces each case.


def test_an_operator_that_is_not_known_is_an_error():
    plan: dict[str, Any] = {"type": "LOGICAL_NEW_KIND", "children": []}
    with pytest.raises(UnknownOperatorError, match="NEW_KIND"):
        trace(plan)


def test_a_query_that_duckdb_refuses_does_not_spoil_the_plans_of_others(tables: Connection):
    plans = bound_plans(tables, ["SELECT id FROM n.t", "SELECT nothing FROM n.t", "SELECT", "SELECT y FROM n.u"])
    assert [bool(plan.get("error")) for plan in plans] == [False, True, True, False]
    assert trace(plans[3]).columns[0].sources == {Source("n.u", "y", "copied")}


@pytest.mark.parametrize(("depth", "traced"), [(80, True), (200, True), (600, False)])
def test_a_query_that_is_nested_deeply_is_traced_or_is_a_problem(place: Place, depth: int, traced: bool):
    sql = "select item_id, label from core.items"
    for _ in range(depth):
        sql = f"select item_id, label from ({sql})"
    model = replace(read_models(place.mesh)["core.dim_item"], sql=sql)
    found, other = Tracer(place.mesh).models([model, read_models(place.mesh)["core.dim_buyer"]])
    assert isinstance(found, Lineage) == traced, found
    assert isinstance(other, Lineage)


def test_a_view_that_does_not_fit_has_no_lineage(place: Place):
    wrong = Query("SELECT nothing FROM core.items", ("core.items",), ("nothing",))
    assert Tracer(place.mesh).trace([wrong]) == [Lineage({})]


@pytest.mark.parametrize("sql", ["select 1 as other from core.items", "select item_id as Item_ID from core.items"])
def test_columns_that_are_not_selected_have_no_sources(place: Place, sql: str):
    model = replace(read_models(place.mesh)["core.dim_item"], sql=sql)
    (found,) = Tracer(place.mesh).models([model])
    assert isinstance(found, Lineage)
    assert {name for name, sources in found.columns.items() if sources} == (
        {"item_id"} if "item_id" in sql else set()
    )
