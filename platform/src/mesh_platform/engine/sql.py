"""SQL text: names, literals, columns and conditions on partitions, derived from shapes."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from mesh_platform.contract.contract import Field, Shape
    from mesh_platform.contract.promise import Promise
    from mesh_platform.contract.types import FieldType

_SPANS = ("day", "month", "year")
_PARTITION_VALUE = {
    "day": "CAST({} AS DATE)",
    "month": "date_trunc('month', {})",
    "year": "date_trunc('year', {})",
    "identity": "{}",
}


def breaking_condition(promise: Promise, column: str, kind: FieldType) -> str:
    """The SQL condition that a value of `column`, quoted, breaks a promise; null where it is missing."""
    match promise.limit:
        case tuple() as values:
            return f"{column} NOT IN ({', '.join(literal(value) for value in values)})"
        case Decimal() as bound:
            # To DuckDB NaN is above all numbers. It is in no order with them: another check says whether it may be.
            number = f" AND NOT isnan({column})" if kind.name == "double" else ""
            return f"{column} {'<' if promise.kind == 'minimum' else '>'} {bound:f}{number}"
        case pattern:
            return f"NOT regexp_matches({column}, {literal(pattern)})"


def literal(text: str) -> str:
    """`text` as a string in SQL."""
    return "'" + text.replace("'", "''") + "'"


def scan(metadata_location: str, snapshot_id: int | None = None) -> str:
    """The SQL source of an Iceberg table as a metadata file has it: its current rows, or those of a snapshot.

    It never moves: a later commit is in another metadata file.
    """
    at = f", snapshot_from_id = {snapshot_id}" if snapshot_id is not None else ""
    return f"iceberg_scan({literal(metadata_location)}{at})"


def empty_select(shape: Shape, condition: str = "false") -> str:
    """The SQL of a relation without rows that has the columns of `shape`."""
    return f"SELECT {', '.join(typed(field, 'NULL') for field in shape.fields)} WHERE {condition}"


def typed(field: Field, expression: str | None = None) -> str:
    """The SQL of one column of a select, in the contract's type; by default the column of that name."""
    return f"CAST({expression or quoted(field.name)} AS {field.type.duckdb}) AS {quoted(field.name)}"


def quoted(name: str) -> str:
    """`name`, dotted or not, quoted for SQL."""
    return ".".join(f'"{part}"' for part in name.split("."))


def partition_values(shape: Shape, relation: str) -> list[str]:
    """SQL expressions on `relation` that tell the partitions of `shape` apart, as its Iceberg transforms do."""
    return [
        _PARTITION_VALUE[transform].format(f"{relation}.{quoted(column)}") for transform, column in shape.partition
    ]


def has_days(shape: Shape) -> bool:
    """Whether a table of this shape has partitions by time: days, months or years."""
    return any(transform in _SPANS for transform, _ in shape.partition)


def days_between(shape: Shape, relation: str, first: date, last: date) -> str:
    """The SQL condition that a row of `relation` lies in a partition by time that reaches into these days.

    The shape `has_days`; of several partitions by time the first counts.
    """
    partitions = zip(shape.partition, partition_values(shape, relation), strict=True)
    span, value = next((transform, value) for (transform, _), value in partitions if transform in _SPANS)
    begin, end = (f"date_trunc('{span}', DATE '{day.isoformat()}')" for day in (first, last))
    return f"{value} BETWEEN {begin} AND {end}"


def in_partitions(shape: Shape, relation: str, touched: str) -> str:
    """The SQL condition that a row of `relation` lies in a partition that `touched` has a row in."""
    pairs = zip(partition_values(shape, touched), partition_values(shape, relation), strict=True)
    columns, tests = ["true AS p"], ["true"]
    for number, (there, here) in enumerate(pairs):
        columns.append(f"{there} AS p{number}")
        tests.append(f"p{number} IS NOT DISTINCT FROM {here}")
    return f"EXISTS (SELECT 1 FROM (SELECT DISTINCT {', '.join(columns)} FROM {touched}) WHERE {' AND '.join(tests)})"


def table_definition(relation: str, shape: Shape) -> str:
    """The SQL that creates an empty table of `shape`."""
    columns = ", ".join(f"{quoted(field.name)} {field.type.duckdb}" for field in shape.fields)
    return f"CREATE TABLE {quoted(relation)} ({columns})"
