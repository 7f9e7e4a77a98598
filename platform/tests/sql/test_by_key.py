"""A query works key by key on a column: its rows of one key depend on no row of another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.engine.duckdb import Connection, connect_in_memory
from mesh_platform.sql.by_key import _SEVERAL_GROUPINGS, ByKey, by_key, pushed
from mesh_platform.sql.lineage import Tracer
from mesh_platform.sql.model import read_models

from conftest import draws

from ..small_mesh import BUYER_SQL, small_mesh
from .test_lineage import CASES, TABLES, Case, _value, bound_plan, queries

Row = tuple[str, ...]
CUSTOMERS = "select id, count(distinct x) as n, sum(x) as total, min_by(label, x) as first from n.t group by id"
VERSIONS = """
with reports as (
    select id, x, ts, row_number() over (partition by id, ts order by label desc) as place from n.t
), states as (
    select id, y as x, ts from n.u
    union all
    select r.id, r.x, r.ts from reports as r left join n.u as s on s.id = r.id where place = 1 and r.ts > s.ts
), compared as (
    select id, x, ts, lag(x) over (partition by id order by ts) as before from states
)
select id, x, ts, lead(ts) over w as until from compared where x is distinct from before
window w as (partition by id order by ts)
union all select -1, null, null, null
"""


@pytest.fixture(scope="module")
def tables() -> Iterator[Connection]:
    with connect_in_memory() as connection:
        connection.execute("SET threads = 1")
        connection.execute("PRAGMA disable_optimizer")
        connection.execute("CREATE SCHEMA n")
        for table, columns in TABLES.items():
            listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            connection.execute(f"CREATE TABLE n.{table} ({listed}); CREATE TABLE n.all_of_{table} ({listed})")
        yield connection


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (CUSTOMERS, {"n.t": "id"}),
        (VERSIONS, {"n.t": "id", "n.u": "id"}),
        ("select t.id, y from n.t join n.u on t.id = u.id", {"n.t": "id", "n.u": "id"}),
        ("select t.id, y from n.t left join n.u on t.id = u.id", {"n.t": "id", "n.u": "id"}),
        ("select t.id, y from n.t, n.u", {"n.t": "id"}),
        ("select id, (select max(y) from n.u) from n.t", {"n.t": "id"}),
        ("select distinct on (id) id, x from n.t order by id, x", {"n.t": "id"}),
        ("select id from n.t union select id from n.u", {"n.t": "id", "n.u": "id"}),
        ("select id from n.t union all select y from n.u union all select id from n.t", {"n.t": "id", "n.u": "y"}),
        ("select id from n.t except select id from n.u", {"n.t": "id", "n.u": "id"}),
        # A table that is also read whole is not read by key.
        ("select id, sum(x) / (select sum(x) from n.t) from n.t group by id", {}),
        ("select a.id, b.x from n.t as a join n.t as b on a.x = b.id", {}),
        ("select id from n.t union all select y from n.u union all select x from n.t", {"n.u": "y"}),
        ("select id, sum(x), max(max(ts)) over () from n.t group by id", {}),
        ("select id, x, rank() over (partition by x order by id) from n.t", {}),
        ("select id from n.t order by x limit 3", {}),
        ("select id + 0, sum(x) from n.t group by 1", {}),
        ("select u.id from n.t left join n.u on t.id = u.id", {}),
        ("select id from n.t where id not in (select id from n.u)", {"n.t": "id"}),
    ],
)  # fmt: skip
def test_a_condition_on_the_first_column_is_pushed_as_far_as_it_can(
    sql: str, expected: dict[str, str], tables: Connection
) -> None:
    found = pushed(bound_plan(tables, sql))
    assert (found[0] if found else {}) == expected
    check(sql, 7, tables)


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_rows_of_a_key_need_no_rows_of_another(case: Case, tables: Connection) -> None:
    check(case.sql, 1, tables)


@settings(max_examples=draws(60), deadline=None)
@given(sql=queries(), seed=st.integers(0, 2**32))
def test_rows_of_a_key_need_no_rows_of_another_in_random_queries(sql: str, seed: int, tables: Connection) -> None:
    check(sql, seed, tables)


@pytest.mark.slow
@settings(max_examples=draws(80, 2000), deadline=None)
@given(sql=queries(depth=5), seed=st.integers(0, 2**32))
def test_rows_of_a_key_need_no_rows_of_another_in_deep_queries(sql: str, seed: int, tables: Connection) -> None:
    check(sql, seed, tables)


@pytest.mark.parametrize("groups", ["buyer", "rollup (buyer)", "cube (buyer)", "grouping sets ((buyer), ())"])
def test_a_model_has_the_keys_of_its_primary_key(groups: str, tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.write("core/models/dim_buyer.sql", BUYER_SQL.replace("group by buyer", f"group by {groups}"))
    found = by_key(Tracer(place.mesh), read_models(place.mesh)["core.dim_buyer"])
    # The rows of all groups together depend on every row, whatever key they have.
    assert found == (ByKey(("buyer",), {"core.fact_sales": ("buyer",)}) if groups == "buyer" else None)


def check(sql: str, seed: int, tables: Connection) -> None:
    """Compare the rows of each key with those of the query over the rows that the key is said to need."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    if tree.find(*_SEVERAL_GROUPINGS) or "rowid" in sql:
        return
    columns = [(place, found) for place, found in enumerate(pushed(bound_plan(tables, sql))) if found]
    draw = random.Random(seed)
    for table, kinds in TABLES.items():
        rows = ", ".join(f"({', '.join(_value(draw, kind) for kind in kinds.values())})" for _ in range(8))
        tables.execute(f"DELETE FROM n.all_of_{table}; INSERT INTO n.all_of_{table} VALUES {rows}")
    fill(tables, {}, "")
    whole = [tuple(map(repr, row)) for row in tables.execute(sql).fetchall()]
    for place, found in columns:
        for key in {row[place] for row in tables.execute(sql).fetchall()} | {None, 1}:
            fill(tables, found, "NULL" if key is None else f"'{key}'")
            of_key = [tuple(map(repr, row)) for row in tables.execute(sql).fetchall()]
            assert of(of_key, place, key) == of(whole, place, key), (found, key)
        fill(tables, {}, "")


def fill(tables: Connection, found: dict[str, str], key: str) -> None:
    for table in TABLES:
        where = f"{found[f'n.{table}']} IS NOT DISTINCT FROM {key}" if f"n.{table}" in found else "true"
        tables.execute(f"DELETE FROM n.{table}; INSERT INTO n.{table} SELECT * FROM n.all_of_{table} WHERE {where}")


def of(rows: list[Row], place: int, key: object) -> list[Row]:
    return sorted(row for row in rows if row[place] == repr(key))
