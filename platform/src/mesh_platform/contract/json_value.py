"""Validation of JSON values against field types: what a producer may send for a field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from mesh_platform.contract.types import FieldType

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-5][0-9])?)"
_TIME = re.compile(rf"{_DATE.pattern}([ T][0-9]{{2}}(:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,6}})?)?)?{_ZONE}?)?")


def fits(type_: FieldType, value: object) -> bool:
    """Whether a JSON value, with numbers parsed as int or Decimal, is what `FieldType.on_wire` of the type says."""
    if type_.name == "boolean" or isinstance(value, bool):
        return type_.name == "boolean" and isinstance(value, bool)
    if type_.logical == "integer":
        return isinstance(value, int) and type_.holds(Decimal(value))
    if type_.name == "double":
        return isinstance(value, int | Decimal) and type_.holds(Decimal(value))
    if type_.precision:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return False
        return isinstance(value, int | Decimal | str) and type_.holds(Decimal(value))
    if not is_text(value):
        return False
    if type_.name == "date":
        return _is_date(value)
    return type_.name == "string" or is_time(value, zone=type_.name == "timestamptz")


def is_text(value: object) -> TypeGuard[str]:
    """Whether a JSON value is text that UTF-8 can encode."""
    # JSON can escape half a surrogate pair, which is not a character and has no UTF-8 encoding.
    return isinstance(value, str) and (value.isascii() or not _SURROGATE.search(value))


def _is_date(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def is_time(text: str, zone: bool) -> bool:
    """Whether `text` is a time in ISO 8601 with at most microseconds, and has a zone exactly if `zone`."""
    try:
        time = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
        if time is None or (time.tzinfo is not None) != zone:
            return False
        return not zone or bool(time.astimezone(UTC))
    except (ValueError, OverflowError):
        return False
