"""One line that Arrow could not read arrives; what is wrong with it leaves: a reason, the field, what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from mesh_platform.event import ENVELOPE

if TYPE_CHECKING:
    from mesh_platform.contract import Contract
    from mesh_platform.field_types import FieldType

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record was refused: a code, the field, and what was found and is allowed, in words."""

    reason: str
    field: str | None
    detail: str


def check_line(contract: Contract, raw: bytes) -> Fault | None:
    """The first fault in the form of one line of NDJSON, or None where the form is right."""
    if not raw.strip():
        return Fault("empty", None, "The message has no record in it.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault("not_utf8", None, f"Byte {error.start} is not UTF-8.")
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant, parse_float=Decimal)
    except _Refused as error:
        return Fault(error.reason, error.field, str(error))
    except RecursionError:
        return Fault("not_json", None, "It is nested too deeply.")
    except ValueError as error:
        return Fault("not_json", None, f"{error}.")
    if not isinstance(data, dict):
        return Fault("not_json", None, f"A record is an object, not {_json_kind(data)}.")
    return _check_fields(contract, data)


def read_identity(raw: bytes) -> tuple[str | None, datetime | None]:
    """The event id and time of a line, each None where it cannot be read."""
    try:
        data = json.loads(raw)
        event_id = data["event_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, None
    if not isinstance(event_id, str) or not _UUID.fullmatch(event_id):
        return None, None
    try:
        time = datetime.fromisoformat(data["event_time"])
        return event_id, time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, TypeError, KeyError, OverflowError):
        return event_id, None


class _Refused(ValueError):
    def __init__(self, reason: str, field: str | None, message: str) -> None:
        super().__init__(message)
        self.reason, self.field = reason, field


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _Refused("duplicate_key", key, f"'{key}' stands twice in one object.")
        result[key] = value
    return result


def _refuse_constant(name: str) -> None:
    raise _Refused("not_json", None, f"{name} is no JSON number.")


def _check_fields(contract: Contract, data: Mapping[str, Any]) -> Fault | None:
    unknown = sorted(set(data) - set(ENVELOPE))
    if unknown:
        return Fault("unknown_field", unknown[0], f"The envelope has {', '.join(ENVELOPE)}.")
    for name in ENVELOPE:
        value = data.get(name)
        if value is None:
            return Fault("missing", name, f"The envelope needs '{name}'.")
        if name != "payload" and not isinstance(value, str):
            return Fault("wrong_type", name, f"It must be a string, not {_json_kind(value)}.")
    if not _is_time(data["event_time"], zone=True):
        return Fault(
            "wrong_type", "event_time", f"It must be an instant in ISO 8601, not {data['event_time'][:80]!r}."
        )
    payload = data["payload"]
    if not isinstance(payload, dict):
        return Fault("wrong_type", "payload", f"It must be an object, not {_json_kind(payload)}.")
    assert contract.event is not None
    fields = contract.event.by_name
    unknown = sorted(set(payload) - set(fields))
    if unknown:
        return Fault("unknown_field", unknown[0][:200], f"The payload has {', '.join(fields)}.")
    for name, field in fields.items():
        value = payload.get(name)
        if value is not None and not _fits(field.type, value):
            return Fault("wrong_type", name, f"It must be {field.type.on_wire}, not {str(value)[:80]!r}.")
    return None


def _fits(type_: FieldType, value: object) -> bool:
    if type_.name == "boolean":
        return isinstance(value, bool)
    if type_.name in ("int", "long"):
        limit = 2**31 if type_.name == "int" else 2**63
        return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
    if type_.name == "double":
        return isinstance(value, int | Decimal) and not isinstance(value, bool)
    if type_.precision:
        return not isinstance(value, bool) and isinstance(value, int | Decimal | str) and _fits_decimal(type_, value)
    if not isinstance(value, str):
        return False
    if type_.name == "date":
        return _parses(date.fromisoformat, value)
    return type_.name == "string" or _is_time(value, zone=type_.name == "timestamptz")


def _fits_decimal(type_: FieldType, value: int | Decimal | str) -> bool:
    try:
        number = Decimal(value)
        return (
            number.is_finite()
            and abs(number) < 10 ** (type_.precision - type_.scale)
            and _scale(number) <= type_.scale
        )
    except InvalidOperation:
        return False


def _scale(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def _is_time(text: str, zone: bool) -> bool:
    try:
        return (datetime.fromisoformat(text).tzinfo is not None) == zone
    except ValueError:
        return False


def _parses(parse: object, text: str) -> bool:
    assert callable(parse)
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _json_kind(value: object) -> str:
    kinds = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
