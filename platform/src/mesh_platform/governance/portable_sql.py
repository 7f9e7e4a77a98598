"""Finding the parts of a query that DuckDB runs and Spark does not, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError, UnsupportedError

from mesh_platform.sql.syntax import line_of, unstable_calls

# Functions of DuckDB that sqlglot does not translate, each with the equivalent in Spark.
SPARK = {
    # For a local time; for an instant, as AT TIME ZONE also accepts, Spark's functions convert the other way.
    "timezone": "to_utc_timestamp(time, zone)",
    "isoyear": "extract(yearofweek from day)",
}
_FIX = "Say it in SQL that Spark has, too."


def find_unportable(tree: exp.Expr) -> Iterator[tuple[int, str, str]]:
    """(line, fault, fix) for each part of the query that only DuckDB supports."""
    found = [*_own_words(tree)]
    yield from found
    if found:
        return
    try:
        tree.sql(dialect="spark", unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        for text in str(error).splitlines():
            yield line_of(tree), f"Spark: {text.rstrip('.')}.", _FIX
    except (SqlglotError, ValueError, TypeError) as error:
        yield line_of(tree), f"cannot be turned into Spark's SQL: {error}.", _FIX


def _own_words(tree: exp.Expr) -> Iterator[tuple[int, str, str]]:
    # These are rejected for every engine.
    unstable = {id(call) for call in unstable_calls(tree)}
    for node in tree.walk():
        if isinstance(node, exp.Anonymous) and node.name.lower() not in SPARK and id(node) not in unstable:
            yield line_of(node), f"calls {node.name}(), which is DuckDB's own.", _FIX
        elif isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier | exp.GenerateSeries):
            fix = "Read relations of the mesh; what a file holds is reference data."
            yield line_of(node), f"reads {node.sql(dialect='duckdb')[:60]}, which is no relation.", fix
        elif isinstance(node, exp.AtTimeZone):
            fix = "Write timezone(zone, time) of a local time; instants are in UTC already."
            yield line_of(node), "AT TIME ZONE means another thing on each engine.", fix
        elif isinstance(node, exp.Star) and any(node.args.get(k) for k in ("except_", "except", "replace", "rename")):
            yield line_of(node), "takes columns out of a star.", "Name the columns."
        elif isinstance(node, exp.Columns):
            yield line_of(node), "uses COLUMNS().", "Name the columns."
        elif isinstance(node, exp.Join) and (node.method or "").upper() in ("ASOF", "POSITIONAL"):
            yield line_of(node), f"joins by {node.method}.", "Join with a condition, and a window for the nearest."
        elif isinstance(node, exp.SetOperation) and node.args.get("by_name"):
            yield line_of(node), "unites by name.", "Name the columns in one order in each select."
