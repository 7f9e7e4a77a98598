"""What the platform knows about DuckDB's functions, compared with DuckDB's own catalog."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import duckdb
import pytest
import sqlglot
from mesh_platform.sql.model import read_query
from mesh_platform.sql.syntax import unstable_calls, works_row_by_row
from mesh_platform.sql.type_check import check_types
from sqlglot import exp

from ..small_mesh import Place, Sale, small_mesh

# DuckDB calls these CONSISTENT, though their values depend on the clock, the session, or how rows lie in memory.
WRONGLY_CONSISTENT = {"current_localtime", "current_localtimestamp", "current_setting", "getvariable", "vector_type"}
# A column for each type of parameter; macros do not say theirs.
ARGUMENTS = {
    "ANY": "s", "ANY[]": "l", "BIGINT": "n", "BOOLEAN": "b", "DATE": "day", "DECIMAL": "m", "DOUBLE": "d",
    "DOUBLE[]": "ds", "INTEGER": "i", "T": "s", "T[]": "l", "TIMESTAMP": "ts", "TIMESTAMP WITH TIME ZONE": "tz",
    "VARCHAR": "s", "VARCHAR[]": "l", None: "n",
}  # fmt: skip
ROWS = """
    SELECT i::BIGINT AS n, i::INTEGER AS i, i / 2::DOUBLE AS d, i % 2 = 0 AS b, 'x' || i AS s, [i::DOUBLE, 1.5] AS ds,
        DATE '2025-01-01' + i::INTEGER AS day, TIMESTAMP '2025-01-01' + INTERVAL 1 DAY * i AS ts,
        TIMESTAMPTZ '2025-01-01 00:00:00+00' + INTERVAL 1 DAY * i AS tz, (i / 4)::DECIMAL(9, 2) AS m, ['a' || i] AS l
    FROM range(1, 4) AS r (i)
"""
WITHOUT_PARENTHESES = {"current_catalog", "current_date", "current_schema", "current_time", "current_timestamp"} | {
    "localtime",
    "localtimestamp",
}


@cache
def functions() -> list[tuple[str, str, str, int]]:
    """Return the name, kind, stability and number of parameters of each built-in function of DuckDB."""
    query = """
        SELECT DISTINCT function_name, function_type, coalesce(stability, ''), len(parameters)
        FROM duckdb_functions() WHERE function_name SIMILAR TO '[a-z][a-z0-9_]*' ORDER BY ALL
    """
    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


def calls(name: str, count: int) -> list[str]:
    """Return ways to write a call of a function with `count` arguments."""
    arguments = ["a", "b", "c", "d", "e", "f", "g"][:count]
    chained = [f"t.a.{name}({', '.join(arguments[1:])})"] if count else []
    return [f"{name}({', '.join(arguments)})", f"main.{name}({', '.join(arguments)})", *chained]


def parsed(call: str) -> exp.Expr | None:
    """Parse the query of one call; None for a form that sqlglot refuses, because such a model cannot be built."""
    try:
        return sqlglot.parse_one(f"select {call} as x from n.t", dialect="duckdb")
    except sqlglot.ParseError:
        return None


def is_unstable(call: str) -> bool:
    tree = parsed(call)
    return tree is None or bool(list(unstable_calls(tree)))


def test_every_aggregate_of_duckdb_looks_at_more_than_one_row():
    names = sorted({(name, count) for name, kind, _, count in functions() if kind == "aggregate"})
    assert len(names) > 80
    trees = {call: parsed(call) for name, count in names for call in calls(name, count)}
    assert [call for call, tree in trees.items() if tree is not None and works_row_by_row(tree)] == []


@pytest.mark.parametrize("name", ["weighted_avg", "wavg", "geomean", "geometric_mean", "json_group_array"])
def test_a_macro_that_has_an_aggregate_looks_at_more_than_one_row(name: str):
    assert not any(works_row_by_row(sqlglot.parse_one(f"select {call}", dialect="duckdb")) for call in calls(name, 2))


def test_a_macro_is_taken_as_an_aggregate_wherever_duckdb_takes_it_so():
    macros = sorted({(name, count) for name, kind, _, count in functions() if kind == "macro"})
    wrong = []
    with duckdb.connect() as connection:
        for name, count in macros:
            connection.execute("CREATE OR REPLACE TABLE t (a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE)")
            call = f"{name}({', '.join('abcd'[:count])})"
            tree = parsed(call)
            try:
                connection.execute(f"DESCRIBE SELECT {call}, t.d AS plain FROM t")
            except duckdb.BinderException as error:
                if "GROUP BY" in str(error) and tree is not None and works_row_by_row(tree):
                    wrong.append(call)
            except duckdb.Error:
                continue
    assert wrong == []


@pytest.mark.parametrize(
    "call",
    [
        "abs(a)", "timezone('UTC', a)", "list_sum(l)", "l.list_sum()", "nullif(a, b)", "split_part(s, ',', 1)",
        "regexp_extract(s, '[0-9]+')", "unnest(l)", "isoyear(a)", "hash(a)", "list_transform(l, x -> x + 1)",
        "round_even(a, 2)", "md5_number_lower(s)", "case when a > 1 then error('no') end",
    ],
)  # fmt: skip
def test_functions_of_one_row_still_work_row_by_row(call: str):
    tree = parsed(call)
    assert tree is not None
    assert works_row_by_row(tree)


def test_what_is_taken_to_look_at_one_row_gives_rows_apart_and_together_the_same_values():
    query = """
        SELECT DISTINCT function_name, parameter_types FROM duckdb_functions()
        WHERE function_name SIMILAR TO '[a-z][a-z0-9_]*' AND function_type IN ('scalar', 'aggregate', 'macro')
    """
    tried, wrong = set(), []
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = 1; CREATE TABLE t AS {ROWS}")
        for name, types in connection.execute(query).fetchall():
            call = f"{name}({', '.join(ARGUMENTS.get(kind, '?') for kind in types)})"
            tree = None if "?" in call or call in tried else parsed(call)
            if tree is None or not works_row_by_row(tree) or list(unstable_calls(tree)):
                continue
            values = f"SELECT CAST({call} AS VARCHAR) AS value FROM t"
            parts = " UNION ALL ".join(f"({values} WHERE n = {number})" for number in (1, 2, 3))
            try:
                together, apart = (connection.execute(f"{each} ORDER BY 1").fetchall() for each in (values, parts))
            except duckdb.Error:
                continue
            tried.add(call)
            if together != apart:
                wrong.append((call, together, apart))
    assert wrong == []
    assert len(tried) > 500


@pytest.mark.parametrize("call", ["my_macro(a)", "a.my_macro()", "not_yet_known(a, b)", "format_type(a, b)"])
def test_a_function_that_nobody_knows_is_taken_to_look_at_more_than_one_row(call: str):
    tree = parsed(call)
    assert tree is not None
    assert not works_row_by_row(tree)


def test_every_function_that_duckdb_calls_unstable_is_found():
    unstable = {name for name, _, stability, _ in functions() if stability in ("VOLATILE", "CONSISTENT_WITHIN_QUERY")}
    unstable |= WRONGLY_CONSISTENT
    assert {"now", "random", "txid_current", "uuidv7"} <= unstable
    by_name = {name: count for name, _, _, count in functions()}
    missed = [call for name in unstable for call in calls(name, by_name[name]) if not is_unstable(call)]
    missed += [call for call in sorted(WITHOUT_PARENTHESES) if not is_unstable(call)]
    # It stops the query, so no published row has its value.
    assert sorted(missed) == ["error(a)", "main.error(a)", "t.a.error()"]


def test_every_macro_that_calls_the_clock_or_the_session_is_found():
    query = "SELECT function_name, len(parameters), macro_definition FROM duckdb_functions()"
    with duckdb.connect() as connection:
        macros = connection.execute(f"{query} WHERE function_type = 'macro'").fetchall()
    wrong = []
    for name, count, definition in macros:
        # A macro that calls its own name calls DuckDB's function of that name.
        called = sqlglot.parse_one(definition, dialect="duckdb")
        if list(unstable_calls(called)) and not is_unstable(calls(name, count)[0]):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select localtimestamp as x from n.a", True),
        ("select current_localtimestamp() as x from n.a", True),
        ("select current_localtime() as x from n.a", True),
        ("select age(ts) as x from n.a", True),
        ("select ts.age() as x from n.a", True),
        ("select main.age(ts) as x from n.a", True),
        ("select age(timestamp '2025-01-01', ts) as x from n.a", False),
        ("select ts.age(other) as x from n.a", False),
        ("select txid_current() as x from n.a", True),
        ("select ago(interval 1 day) as x from n.a", True),
        ("select x from n.a using sample 10", True),
        ("select x from n.a tablesample reservoir(10) repeatable (3)", False),
        ("select error('no') as x from n.a", False),
        ('select "current_schema" as x from n.a', False),
        ("select a.current_schema as x from n.a", False),
    ],
)
def test_what_answers_otherwise_at_each_build_is_told(sql: str, told: bool):
    faults = [message for _, message, _ in read_query(sql).faults]
    assert bool(faults) == told, faults
    assert all("answers otherwise at each build" in message for message in faults)


def test_an_aggregate_that_is_a_macro_gives_the_same_numbers_incrementally_and_in_full(tmp_path: Path):
    place = small_mesh(tmp_path)
    place.write(
        "core/models/dim_buyer.sql",
        "select 'all' as buyer, cast(1 as bigint) as sales, "
        "cast(weighted_avg(amount, amount) as decimal(18, 2)) as total from core.fact_sales",
    )
    assert check_types(place.mesh) == []
    place.land("alpha", [Sale(1)])
    place.build()
    place.land("alpha", [Sale(2)])
    place.build()
    incremental = place.rows("core.dim_buyer")
    place.build(full=True)
    assert place.rows("core.dim_buyer") == incremental
    assert len(incremental) == 1


def test_the_check_tells_of_a_model_that_reads_the_clock(tmp_path: Path):
    place: Place = small_mesh(tmp_path)
    place.write(
        "core/models/dim_item.sql", "select item_id,\n  cast(localtimestamp as varchar) as label from core.items"
    )
    (problem,) = check_types(place.mesh)
    assert problem.line == 2
    assert "answers otherwise at each build" in problem.message
