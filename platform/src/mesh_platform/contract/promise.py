"""What a contract promises of each value of a column: bounds, a pattern, a list of values.

Ingest holds Arrow arrays against it (`breaking`), reference files and examples single values (`breaks`), and builds
SQL (`engine.sql.breaking_condition`). The three agree; null breaks no promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from mesh_platform.contract.pattern import pattern_matches

if TYPE_CHECKING:
    import pyarrow as pa

    from mesh_platform.contract.contract import Field

PromiseKind = Literal["values", "minimum", "maximum", "pattern"]


@dataclass(frozen=True)
class Promise:
    """One promise of a column. `limit` is a bound, a pattern of RE2, or the values that are allowed."""

    kind: PromiseKind
    limit: Decimal | str | tuple[str, ...]

    @property
    def broken(self) -> str:
        """What is wrong with a value that breaks it, such as `is below 0`."""
        words = {"values": "is not one of", "minimum": "is below", "maximum": "is above", "pattern": "does not match"}
        return f"{words[self.kind]} {self._limit}"

    @property
    def allowed(self) -> str:
        """A sentence that says what is allowed, such as `It is at least 0.`"""
        words = {"values": "is one of", "minimum": "is at least", "maximum": "is at most", "pattern": "must match"}
        return f"It {words[self.kind]} {self._limit}."

    @property
    def _limit(self) -> str:
        return ", ".join(self.limit) if isinstance(self.limit, tuple) else str(self.limit)

    def breaks(self, value: Any) -> bool:
        """Whether one value breaks it."""
        if value is None:
            return False
        match self.limit:
            case tuple() as values:
                return str(value) not in values
            case Decimal() as bound:
                number = Decimal(str(value))
                return number < bound if self.kind == "minimum" else number > bound
            case pattern:
                return not pattern_matches(pattern, str(value))

    def breaking(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which values break it; null or false where one is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        match self.limit:
            case tuple() as allowed:
                other = pc.invert(pc.is_in(values, pa.array(allowed, values.type)))
                return pc.and_(pc.is_valid(values), other)
            case Decimal() as bound:
                compare = pc.less if self.kind == "minimum" else pc.greater
                # Arrow casts a decimal to another double than the nearest one: 0.3 would be below 0.3.
                number = float(bound) if pa.types.is_floating(values.type) else bound
                return compare(values, pa.scalar(number).cast(values.type))
            case pattern:
                return pc.invert(pc.match_substring_regex(values, pattern))


def promises_of(field: Field) -> Iterator[Promise]:
    """The promises of a column, in the order in which they are looked at."""
    if field.minimum is not None:
        yield Promise("minimum", field.minimum)
    if field.maximum is not None:
        yield Promise("maximum", field.maximum)
    if field.pattern is not None:
        yield Promise("pattern", field.pattern)
    if field.valid_values:
        yield Promise("values", field.valid_values)
