"""What can be told of a query from its syntax alone: a tree of sqlglot arrives, names, lines and kinds leave."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from sqlglot import exp

# What gives another answer for the same rows: a model with it would not be rebuilt to what it was.
_UNSTABLE = (
    "CurrentDate",
    "CurrentTime",
    "CurrentTimestamp",
    "CurrentDatetime",
    "Rand",
    "Randn",
    "Uuid",
    "Localtime",
)
_UNSTABLE_NAMES = {"now", "today", "random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "nextval", "setseed"} | {
    "get_current_time",
    "get_current_timestamp",
    "transaction_timestamp",
}
# What a row of the output needs more than one row of the input for.
_NOT_ROW_WISE = (
    exp.AggFunc,
    exp.Window,
    exp.Group,
    exp.Having,
    exp.Qualify,
    exp.Distinct,
    exp.Limit,
    exp.Fetch,
    exp.Offset,
    exp.SetOperation,
    exp.With,
    exp.TableSample,
    exp.Pivot,
)


def works_row_by_row(tree: exp.Expr) -> bool:
    """Whether nothing in `tree` looks at more than one row at a time, joins and subqueries aside."""
    if any(tree.find(kind) for kind in _NOT_ROW_WISE):
        return False
    return not any(call.name.lower() in _duckdb_aggregates() for call in tree.find_all(exp.Anonymous))


def unstable_calls(tree: exp.Expr) -> Iterable[exp.Func]:
    """The calls that answer otherwise at each build, such as now()."""
    for call in tree.find_all(exp.Func):
        name = call.name.lower() if isinstance(call, exp.Anonymous) else type(call).__name__
        if name in _UNSTABLE_NAMES or name in _UNSTABLE:
            yield call


def relations(tree: exp.Expr) -> list[tuple[str, int]]:
    """Each mention of a relation, with its line; names of the query's own CTEs are not among them."""
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    return [
        (name, line_of(table))
        for table in tree.find_all(exp.Table)
        if isinstance(table.this, exp.Identifier) and (name := name_of(table)) not in own
    ]


def name_of(table: exp.Table) -> str:
    """The dotted name of a table as written, in small letters."""
    return ".".join(part.name.lower() for part in table.parts)


def line_of(node: exp.Expr) -> int:
    """The line of the first part of `node` that sqlglot knows a place for."""
    return min((part.meta["line"] for part in node.walk() if "line" in part.meta), default=1)


@cache
def _duckdb_aggregates() -> frozenset[str]:
    # Not at the top: who only wants inputs and an order, such as the parser of DAGs, does without.
    import duckdb

    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
    with duckdb.connect() as connection:
        return frozenset(name for (name,) in connection.execute(query).fetchall())
