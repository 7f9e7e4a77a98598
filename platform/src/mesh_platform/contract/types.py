"""Field types: the type in each system (DuckDB, Arrow, Iceberg, JSON) for the `physicalType` of a contract.

Type names are those of the Iceberg spec (section "Primitive Types"); ODCS calls them `physicalType`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from pyiceberg.types import PrimitiveType

# name: (ODCS logicalType, DuckDB type, the value in JSON)
_TYPES = {
    "string": ("string", "VARCHAR", "a string"),
    "int": ("integer", "INTEGER", "a whole number within 32 bits"),
    "long": ("integer", "BIGINT", "a whole number within 64 bits"),
    "double": ("number", "DOUBLE", "a finite number"),
    "boolean": ("boolean", "BOOLEAN", "true or false"),
    "date": ("date", "DATE", "a date such as 2025-10-31"),
    "timestamp": ("timestamp", "TIMESTAMP", "a local time such as 2025-10-31T09:15:00"),
    "timestamptz": ("timestamp", "TIMESTAMP WITH TIME ZONE", "an instant such as 2025-10-31T09:15:00Z"),
}
_DECIMAL = re.compile(r"decimal\(([0-9]{1,2}), *([0-9]{1,2})\)")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
# Precise enough for the remainder of 38 digits by 38 places; the default of 28 digits rounds.
_EXACT = Context(prec=80, Emin=MIN_EMIN, Emax=MAX_EMAX)

ALLOWED = (*_TYPES, "decimal(p,s)")


@dataclass(frozen=True)
class FieldType:
    """One type, named as in the Iceberg spec. Only decimals have `precision` and `scale`."""

    name: str
    logical: str
    duckdb: str
    on_wire: str
    precision: int = 0
    scale: int = 0

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type in tables."""
        import pyarrow as pa

        if self.precision:
            return pa.decimal128(self.precision, self.scale)
        return {
            "string": pa.large_string(),
            "int": pa.int32(),
            "long": pa.int64(),
            "double": pa.float64(),
            "boolean": pa.bool_(),
            "binary": pa.large_binary(),
            "date": pa.date32(),
            "timestamp": pa.timestamp("us"),
            "timestamptz": pa.timestamp("us", "UTC"),
        }[self.name]

    @property
    def wire(self) -> pa.DataType:
        """The Arrow type for parsing this field from JSON; cast the result to `arrow`.

        Arrow's JSON reader accepts dates as day numbers and times with or without a zone; its cast from strings
        accepts only what the type says. Its reader also crashes on the decimal 1e-2147483647.
        """
        import pyarrow as pa

        return pa.string() if self.precision or self.logical in ("string", "date", "timestamp") else self.arrow

    @property
    def plain(self) -> str:
        """A regular expression of the decimals that `write` returns and that Arrow casts safely."""
        places = rf"(\.[0-9]{{1,{self.scale}}})?" if self.scale else ""
        return rf"^-?[0-9]{{1,{max(1, self.precision - self.scale)}}}{places}$"

    @property
    def iceberg(self) -> PrimitiveType:
        """The Iceberg type."""
        from pyiceberg import types

        if self.precision:
            return types.DecimalType(self.precision, self.scale)
        primitive: dict[str, Callable[[], PrimitiveType]] = {
            "string": types.StringType,
            "int": types.IntegerType,
            "long": types.LongType,
            "double": types.DoubleType,
            "boolean": types.BooleanType,
            "binary": types.BinaryType,
            "date": types.DateType,
            "timestamp": types.TimestampType,
            "timestamptz": types.TimestamptzType,
        }
        return primitive[self.name]()

    def holds(self, number: Decimal) -> bool:
        """Whether a column of this numeric type stores `number` unchanged; a double holds any finite number."""
        if not number.is_finite():
            return False
        if self.name == "double":
            return isfinite(float(number))
        places = self.scale if self.precision else 0
        if self.precision:
            within = number.copy_abs() < 10 ** (self.precision - places)
        else:
            limit = 2**31 if self.name == "int" else 2**63
            within = -limit <= number < limit
        return within and _EXACT.remainder(number, Decimal((0, (1,), -places))) == 0

    def read_number(self, text: str) -> Decimal:
        """Parse the number in a cell of a CSV file, written in the digits 0 to 9.

        Raises ValueError for other text, and for a number that this type does not hold. Python itself also accepts
        `1_000`, spaces and the digits of all scripts.
        """
        if not _NUMBER.fullmatch(text) or not self.holds(number := Decimal(text)):
            raise ValueError(text)
        return number

    def write(self, number: Decimal) -> str:
        """The canonical text of a number that this decimal type `holds`."""
        exact = number.quantize(Decimal((0, (1,), -self.scale)), context=_EXACT)
        return f"{exact if exact else exact.copy_abs():f}"


def parse_type(text: str) -> FieldType:
    """The type that `physicalType: text` names. Raises ValueError, which says what is allowed."""
    if text in _TYPES:
        return FieldType(text, *_TYPES[text])
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2])
        if 1 <= precision <= 38 and scale <= precision:
            on_wire = f"a decimal with at most {precision - scale} digits before the point and {scale} after it"
            duckdb = f"DECIMAL({precision},{scale})"
            return FieldType(f"decimal({precision},{scale})", "number", duckdb, on_wire, precision, scale)
    raise ValueError(f"type '{text}' is not one of {', '.join(ALLOWED)} (p up to 38, s up to p).")


def shown_value(value: Any) -> str:
    """A value as text for messages; NaN and infinities are written as in `mesh query`."""
    return words if isinstance(value, float) and (words := number_words(value)) else str(value)


def number_words(number: float) -> str | None:
    """The name of NaN or an infinity, as in JavaScript, Spark and protobuf's JSON; None for finite numbers."""
    if number != number:
        return "NaN"
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(number)


# Not for contracts, as ODCS and JSON have no bytes; the quarantine stores the message as it was sent.
BINARY = FieldType("binary", "string", "BLOB", "bytes")
