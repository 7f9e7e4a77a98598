"""Write SQL text: quoted names, literals, columns, and conditions on promises and partitions, from schemas."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from mesh_platform.contract.contract import Field, TableSchema
    from mesh_platform.contract.promise import Promise
    from mesh_platform.contract.types import FieldType

_SPANS = ("day", "month", "year")
_PARTITION_VALUE = {
    "day": "CAST({} AS DATE)",
    "month": "date_trunc('month', {})",
    "year": "date_trunc('year', {})",
    "identity": "{}",
}


def breaking_condition(promise: Promise, column: str, kind: FieldType | None = None) -> str:
    """Return the SQL condition that a value of `column`, a quoted name, breaks a promise; it is NULL for NULL."""
    match promise.limit:
        case tuple() as values:
            return f"{column} NOT IN ({', '.join(literal(value) for value in values)})"
        case Decimal() as bound:
            # DuckDB sorts NaN above all numbers, but it is in no range. Another check says whether NaN is allowed.
            number = f" AND NOT isnan({column})" if kind and kind.name == "double" else ""
            return f"{column} {'<' if promise.kind == 'minimum' else '>'} {bound:f}{number}"
        case pattern:
            return f"NOT regexp_matches({column}, {literal(pattern)})"


def literal(text: str) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def scan(metadata_location: str, snapshot_id: int | None = None) -> str:
    """Return the SQL source of an Iceberg table as a metadata file has it: its current rows, or those of a snapshot.

    It never changes: a later commit is in another metadata file.
    """
    at = f", snapshot_from_id = {snapshot_id}" if snapshot_id is not None else ""
    return f"iceberg_scan({literal(metadata_location)}{at})"


def empty_select(schema: TableSchema, condition: str = "false") -> str:
    """Return the SQL of an empty relation with the columns of `schema`."""
    return f"SELECT {', '.join(typed(field, 'NULL') for field in schema.fields)} WHERE {condition}"


def typed(field: Field, expression: str | None = None) -> str:
    """Return the SQL of one selected column, cast to the contract's type; by default the column of that name."""
    return f"CAST({expression or quoted(field.name)} AS {field.type.duckdb}) AS {quoted(field.name)}"


def quoted(name: str) -> str:
    """Return `name`, dotted or not, quoted for SQL."""
    return ".".join(f'"{part}"' for part in name.split("."))


def partition_values(schema: TableSchema, relation: str) -> list[str]:
    """Return SQL expressions on `relation` that tell the partitions of `schema` apart, as its Iceberg transforms."""
    return [
        _PARTITION_VALUE[transform].format(f"{relation}.{quoted(column)}") for transform, column in schema.partition
    ]


def has_days(schema: TableSchema) -> bool:
    """Whether a table of this schema is partitioned by time: by days, months or years."""
    return any(transform in _SPANS for transform, _ in schema.partition)


def days_between(schema: TableSchema, relation: str, first: date, last: date) -> str:
    """Return the SQL condition that a row of `relation` is in a partition by time that overlaps these days.

    `has_days` must be true of the schema; the first of several partitions by time counts.
    """
    partitions = zip(schema.partition, partition_values(schema, relation), strict=True)
    span, value = next((transform, value) for (transform, _), value in partitions if transform in _SPANS)
    begin, end = (f"date_trunc('{span}', DATE '{day.isoformat()}')" for day in (first, last))
    return f"{value} BETWEEN {begin} AND {end}"


def in_partitions(schema: TableSchema, relation: str, touched: str) -> str:
    """Return the SQL condition that a row of `relation` is in a partition in which `touched` has a row."""
    pairs = zip(partition_values(schema, touched), partition_values(schema, relation), strict=True)
    columns, tests = ["true AS p"], ["true"]
    for number, (there, here) in enumerate(pairs):
        columns.append(f"{there} AS p{number}")
        tests.append(f"p{number} IS NOT DISTINCT FROM {here}")
    return f"EXISTS (SELECT 1 FROM (SELECT DISTINCT {', '.join(columns)} FROM {touched}) WHERE {' AND '.join(tests)})"


def has_key(relation: str, columns: Sequence[str], keys: str, names: Sequence[str]) -> str:
    """Return the SQL condition that `columns` of `relation` are in a row of `keys`, in its columns `names`."""
    pairs = zip(map(quoted, columns), map(quoted, names), strict=True)
    tests = (f"{keys}.{name} IS NOT DISTINCT FROM {relation}.{column}" for column, name in pairs)
    return f"EXISTS (SELECT 1 FROM {keys} WHERE {' AND '.join(tests)})"


def table_definition(relation: str, schema: TableSchema) -> str:
    """Return the SQL that creates an empty table of `schema`."""
    columns = ", ".join(f"{quoted(field.name)} {field.type.duckdb}" for field in schema.fields)
    return f"CREATE TABLE {quoted(relation)} ({columns})"
