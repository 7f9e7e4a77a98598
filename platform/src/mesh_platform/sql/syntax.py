"""Analyse a query's syntax tree: its relations and their lines, unstable calls, and whether it works row by row."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# Functions that may return another value for the same rows, so that a rebuild of a model would not give the same
# table. These are the functions that `duckdb_functions()` calls VOLATILE or CONSISTENT_WITHIN_QUERY, the macros that
# call one of them, and five that it wrongly calls CONSISTENT; a test compares this list with it. Querying it here
# would make the parser of DAGs, which reads each model, import DuckDB. `error` is left out: it stops the query.
# fmt: off
_UNSTABLE = frozenset(
    (
        "ago", "current_catalog", "current_connection_id", "current_database", "current_date",
        "current_localtime", "current_localtimestamp", "current_query", "current_query_id", "current_schema",
        "current_schemas", "current_setting", "current_time", "current_timestamp", "current_transaction_id",
        "currval", "gen_random_uuid", "get_current_time", "get_current_timestamp", "getvariable",
        "in_search_path", "localtime", "localtimestamp", "nextval", "now", "pg_conf_load_time",
        "pg_postmaster_start_time", "pg_sleep", "random", "setseed", "sleep_ms", "stats", "today",
        "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7", "vector_type", "write_log",
    )
)
# fmt: on
# The classes that sqlglot has for some of these functions and for their names in other engines.
_UNSTABLE_KINDS = (
    exp.CurrentCatalog,
    exp.CurrentDatabase,
    exp.CurrentDate,
    exp.CurrentDatetime,
    exp.CurrentSchema,
    exp.CurrentSchemas,
    exp.CurrentTime,
    exp.CurrentTimestamp,
    exp.Localtime,
    exp.Localtimestamp,
    exp.Rand,
    exp.Randn,
    exp.Uuid,
)
# DuckDB takes a column of this name for a call if the table has no such column; sqlglot knows the others of the kind.
_CALLED_WITHOUT_PARENTHESES = "current_schema"
# Table functions that each row of the input expands on its own.
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "unnest"})
# Constructs in which a row of the output needs more than one row of the input.
_NOT_ROW_WISE = (
    exp.AggFunc,
    exp.Window,
    exp.RowNumber,
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
    """Whether nothing in `tree` looks at more than one row at a time, apart from joins and subqueries.

    A function that is not known to look at one row only is assumed to look at more: computing a whole query in vain
    costs time, but computing one row by row in error gives wrong numbers.
    """
    return _works_row_by_row(tree, frozenset())


def _works_row_by_row(tree: exp.Expr, within: frozenset[str]) -> bool:
    """Do what `works_row_by_row` does for a part of the definition of the macros `within`.

    A macro that calls its own name calls DuckDB's function of that name, all kinds of which are looked at already.
    """
    if any(tree.find(kind) for kind in _NOT_ROW_WISE):
        return False
    names = {call.name.lower() for call in tree.find_all(exp.Anonymous)}
    return all(_is_row_wise(name, within) for name in names - within)


def unstable_calls(tree: exp.Expr) -> Iterable[exp.Expr]:
    """Yield the calls that may give another result at each build, such as now(), or a sample without a seed."""
    for node in tree.find_all(exp.Func, exp.TableSample, exp.Column):
        if isinstance(node, exp.Anonymous):
            unstable = node.name.lower() in _UNSTABLE or (node.name.lower() == "age" and _arguments(node) < 2)
        elif isinstance(node, exp.Column):
            plain = not node.table and isinstance(node.this, exp.Identifier) and not node.this.quoted
            unstable = plain and node.name.lower() == _CALLED_WITHOUT_PARENTHESES
        elif isinstance(node, exp.TableSample):
            unstable = not node.args.get("seed")
        else:
            unstable = isinstance(node, _UNSTABLE_KINDS)
        if unstable:
            yield node


def _arguments(call: exp.Anonymous) -> int:
    """Return how many arguments a call has; `time.age()` has one, as `age(time)` and `main.age(time)` have."""
    parent = call.parent
    chained = isinstance(parent, exp.Dot) and parent.expression is call and parent.this.name.lower() != "main"
    return len(call.expressions) + chained


def relations(tree: exp.Expr) -> list[tuple[str, int]]:
    """Return each mention of a relation with its line, except for the query's own CTEs."""
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    return [
        (name, line_of(table))
        for table in tree.find_all(exp.Table)
        if isinstance(table.this, exp.Identifier) and (name := name_of(table)) not in own
    ]


def name_of(table: exp.Table) -> str:
    """Return the dotted name of a table as written, in lower case."""
    return ".".join(part.name.lower() for part in table.parts)


def line_of(node: exp.Expr) -> int:
    """Return the line of the first part of `node` whose place sqlglot knows, else that of its parent."""
    found = min((part.meta["line"] for part in node.walk() if "line" in part.meta), default=None)
    return found or (line_of(node.parent) if node.parent else 1)


@cache
def _is_row_wise(name: str, within: frozenset[str]) -> bool:
    """Whether DuckDB's function `name` computes its value from one row only, whatever its arguments are."""
    kinds = _duckdb_functions().get(name, ())
    return name in _TABLE_FUNCTIONS or (
        bool(kinds)
        and all(
            kind == "scalar" or (kind == "macro" and _is_row_wise_macro(definition, within | {name}))
            for kind, definition in kinds
        )
    )


def _is_row_wise_macro(definition: str, within: frozenset[str]) -> bool:
    try:
        tree = sqlglot.parse_one(definition, dialect="duckdb")
    except SqlglotError:
        return False
    return tree.find(exp.Query) is None and _works_row_by_row(tree, within)


@cache
def _duckdb_functions() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the kinds of each built-in function of DuckDB, each with the definition if it is a macro."""
    # Not at the top: callers that only need inputs and an order, such as the parser of DAGs, do without DuckDB.
    from mesh_platform.engine.duckdb import own_database

    query = "SELECT function_name, function_type, coalesce(macro_definition, '') FROM duckdb_functions()"
    found: dict[str, dict[tuple[str, str], None]] = {}
    with own_database() as connection:
        for name, kind, definition in connection.execute(query).fetchall():
            # Queries cannot call a pragma, which may have the name of a function.
            if kind != "pragma":
                found.setdefault(name, {})[kind, definition] = None
    return {name: tuple(kinds) for name, kinds in found.items()}
