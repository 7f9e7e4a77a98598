"""What the text of a model says by itself: what it reads, its faults, and whether it works row by row."""

from __future__ import annotations

from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mesh_platform.sql.model import QueryText
from mesh_platform.sql.syntax import line_of, name_of, relations, unstable_calls, works_row_by_row


@cache
def parse_query(sql: str) -> QueryText:
    """Parse the text of a model; cached, because a build and the cases of a domain read all models again."""
    try:
        trees = _parsed(sql)
    except RecursionError:
        return QueryText((), ((1, "is nested too deeply.", "Write its parts as CTEs."),), False)
    except SqlglotError as error:
        return QueryText((), (_syntax_fault(error),), False)
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        return QueryText((), ((1, "is not one query.", "A model is one SELECT; drop the rest."),), False)
    fix = "Take the time or id from an input's column."
    faults = (
        (line_of(call), f"calls {call.sql(dialect='duckdb')}, which answers otherwise at each build.", fix)
        for call in unstable_calls(trees[0])
    )
    return QueryText(tuple(relations(trees[0])), tuple(faults))


def tree_of(sql: str) -> exp.Query:
    """Return the query that a text is, as parsed by sqlglot. Do not modify it: it is shared."""
    (tree,) = _parsed(sql)
    assert isinstance(tree, exp.Query)
    return tree


def driving_tables(tree: exp.Query) -> tuple[int, set[str | None]]:
    """Return the number of selects of a UNION ALL, and the tables that they map row by row; None for one without."""
    branches = _branches(tree)
    return len(branches), {_driving_table(branch) for branch in branches}


def _branches(tree: exp.Expr) -> list[exp.Expr]:
    """Return the selects of a UNION ALL, or the query itself."""
    plain = {"this", "expression", "distinct", "by_name"}
    if not isinstance(tree, exp.Union) or tree.args.get("distinct") or {k for k, v in tree.args.items() if v} - plain:
        return [tree]
    return [*_branches(tree.this), *_branches(tree.expression)]


def _driving_table(tree: exp.Expr) -> str | None:
    start = tree.args.get("from_")
    if not isinstance(tree, exp.Select) or start is None or not works_row_by_row(tree):
        return None
    if any(join.side in ("RIGHT", "FULL") or join.method == "POSITIONAL" for join in tree.find_all(exp.Join)):
        return None
    return name_of(start.this) if isinstance(start.this, exp.Table) else None


def _syntax_fault(error: SqlglotError) -> tuple[int, str, str]:
    details = (getattr(error, "errors", None) or [{}])[0]
    fix = "Mend the syntax."
    if not details.get("line"):
        # Errors of the tokenizer have neither line nor column.
        return 1, "cannot be read: a text, a quoted name or a comment in it has no end.", "Close it."
    # sqlglot gives the column at the end of the word, and some of its descriptions show its own classes.
    word = details["highlight"]
    column = max(1, details["col"] - len(word) + 1)
    what = details["description"].partition(" but got <")[0]
    if "<" in what:
        what = "a part of the query is missing"
    elif "Unexpected token" in what:
        what = "unexpected words"
    return details["line"], f"cannot be read: {what}, at '{word}' in column {column}.", fix


@cache
def _parsed(sql: str) -> list[exp.Expr]:
    """Return the statements of a model; cached, because a build needs each several times."""
    return [tree for tree in sqlglot.parse(sql, dialect="duckdb") if tree is not None]
