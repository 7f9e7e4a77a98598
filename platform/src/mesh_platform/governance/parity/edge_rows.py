"""Generate rows at the edges of each type, for the relations that models read. The same call gives the same rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.promise import promises_of
from mesh_platform.errors import AttentionError
from mesh_platform.lake.catalog import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1000
# A fifth of the values that may be missing are.
_MISSING = 0.2
_TEXTS = (
    "",
    " ",
    "a",
    "A",
    "a ",
    "0",
    "-1",
    "NULL",
    "null",
    "O'Brien",
    '"quoted"',
    "back\\slash",
    "\\n",
    "100%_",
    "line\nline",
    "tab\t",
    # One letter as one character and as two, which no engine may take for equal.
    "\u00e9",
    "e\u0301",
    "\U0001f600",
    "\u4e2d\u6587",
    "\u0000",
    "\ufffd",
    "z" * 1000,
)
_DOUBLES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    0.3,
    1e-300,
    5e-324,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    1e15 + 0.3,
)
_NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
_LIMITS = {"int": 2**31, "long": 2**63}
_DATES = (
    date(1, 1, 1),
    date(1582, 10, 4),
    date(1582, 10, 15),
    date(1899, 12, 31),
    date(1900, 1, 1),
    date(1969, 12, 31),
    date(1970, 1, 1),
    date(2000, 2, 29),
    date(2024, 2, 29),
    date(2024, 12, 30),
    date(2025, 1, 1),
    date(2025, 3, 9),
    date(2025, 10, 31),
    date(2025, 11, 1),
    date(2025, 11, 2),
    date(2038, 1, 19),
    date(9999, 12, 30),
)
# Around the hours that North America's clocks skip (9 March) and show twice (2 November).
_TIMES = (
    *(datetime(2025, 3, 9, hour, 30) for hour in range(10)),
    *(datetime(2025, 11, 2, hour, 30) for hour in range(10)),
    datetime(2025, 3, 9, 2),
    datetime(2025, 3, 9, 3),
    datetime(2025, 11, 2, 1),
    datetime(2025, 11, 2, 2),
    datetime(2025, 7, 1, 12),
    datetime(2025, 12, 31, 23, 59, 59, 999999),
    datetime(2026, 1, 1),
    datetime(2016, 12, 31, 23, 59, 59),
    datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(1970, 1, 1),
    datetime(1900, 1, 1),
    datetime(1883, 11, 18, 12, 3, 57),
    datetime(2038, 1, 19, 3, 14, 8),
    datetime(1, 1, 2),
    datetime(9999, 12, 30, 23, 59, 59, 999999),
)


def edge_rows(relation: str, schema: TableSchema, words: Sequence[str], number: int = ROWS) -> pa.Table:
    """Return up to `number` rows of `relation`, in the Arrow types of its contract.

    `words` are texts that the models compare with; so rows of two relations join, and conditions hold. Required
    columns have values, and a key is there once, so there are fewer rows where it has few values.
    """
    import pyarrow as pa

    draw = random.Random(relation)
    texts = [*dict.fromkeys([*words, *_TEXTS])]
    columns: dict[str, list[Any]] = {}
    for field in schema.fields:
        values = _values(relation, field, texts)
        drawn = [draw.choice(values) for _ in range(number)]
        if (field.name,) == schema.key and field.type.name == "string" and not [*promises_of(field)]:
            drawn = [*texts, *(f"key {n}" for n in range(number))][:number]
        elif not field.required and field.name not in schema.key:
            drawn = [None if draw.random() < _MISSING else value for value in drawn]
        columns[field.name] = drawn
    kept: dict[tuple[Any, ...], int] = {}
    for row in range(number):
        kept.setdefault(tuple(columns[name][row] for name in schema.key) or (row,), row)
    target = arrow_schema(schema)
    return pa.table({name: [values[row] for row in kept.values()] for name, values in columns.items()}, schema=target)


def _values(relation: str, field: Field, texts: Sequence[str]) -> Sequence[Any]:
    """Return the values to draw from: those at the edges of the type and of the promises that keep the promises."""
    promises = [*promises_of(field)]
    edges = _edges(field, [*field.valid_values, *map(str, field.examples), *texts])
    found = [value for value in edges if not any(promise.breaks(value) for promise in promises)]
    if not found:
        raise AttentionError(
            f"{relation}: no value of '{field.name}' is known that keeps its promises. Give the column an example."
        )
    return found


def _edges(field: Field, texts: Sequence[str]) -> Sequence[Any]:
    kind, bounds = field.type, [bound for bound in (field.minimum, field.maximum) if bound is not None]
    if kind.precision or kind.logical == "integer":
        around = [Decimal(0), Decimal(1), *bounds]
        # By default, decimals are rounded to 28 digits.
        with localcontext(prec=80):
            step = Decimal(1).scaleb(-kind.scale)
            limit = Decimal(10) ** (kind.precision - kind.scale) if kind.precision else Decimal(_LIMITS[kind.name])
            near = [limit - step, -limit, step - limit, *(n + d for n in around for d in (-step, Decimal(0), step))]
        numbers = [number for number in near if kind.holds(number)]
        return numbers if kind.precision else [int(number) for number in numbers]
    return {
        "string": texts,
        "double": (*_DOUBLES, *map(float, bounds), *(_NOT_FINITE if field.allow_non_finite else ())),
        "boolean": (True, False),
        "date": _DATES,
        "timestamp": _TIMES,
        "timestamptz": [time.replace(tzinfo=UTC) for time in _TIMES],
    }[kind.name]
