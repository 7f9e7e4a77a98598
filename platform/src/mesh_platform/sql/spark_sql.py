"""Write a model's query in Spark's SQL, so that Spark returns the rows that DuckDB returns.

sqlglot translates what the dialects merely spell differently. The rewrites here are for what it leaves as it is or
translates into something else; docs/parity.md shows that the rows are equal. Spark's session must be in UTC, with
ANSI mode on, as it is by default since Spark 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError, UnsupportedError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from mesh_platform.errors import AttentionError
from mesh_platform.sql.syntax import line_of, name_of

if TYPE_CHECKING:
    from mesh_platform.contract.contract import TableSchema
    from mesh_platform.contract.types import FieldType
    from mesh_platform.sql.model import Model

_TEXT = exp.DataType.build("text")
_LOCAL, _INSTANT = exp.DataType.build("timestampntz"), exp.DataType.build("timestamptz")

# The month and the day with which a span begins; None for the month of the time itself.
_STARTS = {"YEAR": (1, 1), "MONTH": (None, 1)}


def spark_query(model: Model, schemas: Mapping[str, TableSchema], place: Callable[[str], str]) -> str:
    """Return a SELECT of Spark that has the rows of a model, in the columns and types of its contract.

    `schemas` has the schema of each relation that the model reads. `place` returns where Spark finds a relation: a
    name, dotted or not. Raises AttentionError for a query that cannot be written for Spark.
    """
    try:
        tree = _rewrite_zones(*_typed_tree(model, schemas), model)
        tree = tree.transform(_rewrite)
        for table in [*tree.find_all(exp.Table)]:
            if table.db:
                there = exp.to_table(place(name_of(table)), dialect="spark")
                for part in ("this", "db", "catalog"):
                    table.set(part, there.args.get(part))
        made = tree.sql(dialect="spark", unsupported_level=ErrorLevel.RAISE, comments=False)
    except SqlglotError as error:
        raise AttentionError(f"{model.path}: cannot be written for Spark: {error}. Write it otherwise.") from error
    return spark_select(model.contract.table, f"({made}) AS made")


def spark_name(relation: str) -> str:
    """Return the name of a relation's temporary view in Spark, which allows no dot in it."""
    return relation.replace(".", "__of__")


def spark_select(schema: TableSchema, source: str = "", values: Mapping[str, str] | None = None) -> str:
    """Return a SELECT of Spark with the columns and types of `schema`, which are `values` of a row of `source`.

    A column without a value is NULL; without `values`, each is the column of its name. Without `source` it has one
    row.
    """
    given = {field.name: quoted(field.name) for field in schema.fields} if values is None else values
    columns = (
        f"CAST({given.get(f.name, 'NULL')} AS {spark_type(f.type)}) AS {quoted(f.name)}" for f in schema.fields
    )
    return f"SELECT {', '.join(columns)}" + (f" FROM {source}" if source else "")


def spark_literal(text: str) -> str:
    """Return `text` as a string literal of Spark, in which a backslash has a meaning of its own."""
    return exp.Literal.string(text).sql(dialect="spark")


def quoted(name: str) -> str:
    """Return one part of a name, or a path, quoted for Spark."""
    return "`" + name.replace("`", "``") + "`"


def spark_type(kind: FieldType) -> str:
    """Return the type of Spark for a contract's type."""
    return {"timestamp": "TIMESTAMP_NTZ", "timestamptz": "TIMESTAMP", "long": "BIGINT"}.get(kind.name, kind.name)


def _typed_tree(model: Model, schemas: Mapping[str, TableSchema]) -> tuple[exp.Expr, MappingSchema]:
    """Return the model's query, with qualified columns and the types that sqlglot can tell, and the schema."""
    tree = model.tree.transform(_rewrite_series)
    tables: dict[str, Any] = {}
    for relation in model.inputs:
        namespace, _, table = relation.partition(".")
        columns = {field.name: field.type.duckdb for field in schemas[relation].fields}
        tables.setdefault(namespace, {})[table] = columns
    schema = MappingSchema(tables, dialect="duckdb")
    tree = qualify(
        tree,
        schema=schema,
        dialect="duckdb",
        expand_alias_refs=False,
        quote_identifiers=False,
        identify=False,
        validate_qualify_columns=False,
    )
    return annotate_types(tree, schema=schema, dialect="duckdb"), schema


def _rewrite_series(node: exp.Expr) -> exp.Expr:
    """A series is a table function of DuckDB, and a list of Spark."""
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.GenerateSeries):
        return node
    alias = node.args.get("alias")
    if alias is None or len(alias.columns) > 1:
        raise UnsupportedError("a series has no name, or not one column. Name it, such as AS series (day)")
    (column,) = alias.columns or [alias.this]
    days = exp.Explode(this=node.this.copy())
    return exp.select(exp.alias_(days, column.copy())).subquery(alias.this.copy())


def _rewrite_zones(tree: exp.Expr, schema: MappingSchema, model: Model) -> exp.Expr:
    """Spark has one function for each of the two that DuckDB calls timezone(): which is meant depends on the type."""
    while calls := [call for call in tree.find_all(exp.Anonymous) if call.name.lower() == "timezone"]:
        known = [call for call in calls if call.expressions[-1].is_type(_LOCAL, _INSTANT)]
        if not known:
            raise AttentionError(
                f"{model.path}:{line_of(calls[0])}: whether timezone() is given a local time or an instant cannot be "
                "seen from here. Cast its argument to timestamp or timestamptz."
            )
        for call in known:
            zone, time = call.expressions
            made = _local_time(zone, time) if time.is_type(_INSTANT) else _instant(zone, time)
            call.replace(made)
        tree = annotate_types(tree, schema=schema, dialect="duckdb")
    return tree


def _local_time(zone: exp.Expr, instant: exp.Expr) -> exp.Expr:
    return exp.cast(_call("FROM_UTC_TIMESTAMP", instant, zone), _LOCAL)


def _instant(zone: exp.Expr, local: exp.Expr) -> exp.Expr:
    """Of two instants that a clock shows as one local time, DuckDB takes the later one, and Spark the earlier one."""
    time = exp.cast(local.copy(), _INSTANT)
    if zone.is_string and zone.name.upper() in ("UTC", "ETC/UTC"):
        return time
    earlier = _call("TO_UTC_TIMESTAMP", time, zone)
    after = exp.paren(earlier + exp.Interval(this=exp.Literal.string("3"), unit=exp.var("HOURS")))
    # If the clock is set back in between, its new offset; by another one it never shows `time`, or at `earlier`.
    offset = exp.paren(_call("FROM_UTC_TIMESTAMP", after, zone) - after)
    later = exp.paren(time - offset)
    shown = _call("FROM_UTC_TIMESTAMP", later, zone)
    return exp.cast(exp.case().when(shown.eq(time), later).else_(earlier), _INSTANT)


def _rewrite(node: exp.Expr) -> exp.Expr:
    match node:
        case exp.Monthname():
            return _call("DATE_FORMAT", node.this, exp.Literal.string("MMMM"))
        case exp.Dayname():
            return _call("DATE_FORMAT", node.this, exp.Literal.string("EEEE"))
        case exp.DayOfWeekIso():
            return _iso_weekday(node.this)
        case exp.TimestampTrunc() | exp.DateTrunc() if (unit := node.text("unit").upper()) in _STARTS:
            return _first_day(node.this, unit)
        case exp.Week():
            return exp.Extract(this=exp.var("WEEK"), expression=node.this.copy())
        case exp.Anonymous() if node.name.lower() == "isoyear":
            # The year of the Thursday in the same week; Sail 0.7 has no YEAROFWEEK.
            day = node.expressions[0]
            return exp.Year(this=_call("DATE_ADD", day, exp.Literal.number(4) - _iso_weekday(day)))
        case exp.Concat() if not isinstance(node, exp.ConcatWs):
            # sqlglot puts COALESCE(x, '') around each part, which makes Spark cast '' to the type of x.
            parts = [part.copy() if part.is_string else exp.cast(part.copy(), _TEXT) for part in node.expressions]
            return exp.Concat(expressions=parts, safe=node.args.get("safe"), coalesce=node.args.get("coalesce"))
    return node


def _first_day(time: exp.Expr, unit: str) -> exp.Expr:
    """Sail 0.7 truncates no time before 1677 or after 2262."""
    month, day = _STARTS[unit]
    parts = [exp.Year(this=time.copy()), month or exp.Month(this=time.copy()), day]
    first = _call("MAKE_DATE", *(exp.convert(part) for part in parts))
    kind = time.type
    return exp.cast(first, kind) if kind is not None and kind.is_type(_LOCAL, _INSTANT) else first


def _iso_weekday(day: exp.Expr) -> exp.Expr:
    """sqlglot counts Monday to Sunday as 3 to 2, and Sail 0.7 has -1 as the WEEKDAY of a Sunday."""
    return exp.paren((_call("DAYOFWEEK", day) + 5) % 7 + 1)


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Return a call that sqlglot writes as it is."""
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])
