"""The check of a single line that Arrow could not read: its fault (a reason, the field, what is allowed).

A line without a fault is returned in a plain form that Arrow reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.json_value import fits, is_text, is_time
from mesh_platform.contract.version import read_version
from mesh_platform.contract.wall_clock import TOO_FINE, is_too_fine, read_time
from mesh_platform.events.event import ENVELOPE, EVENT_ID
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.contract.contract import Contract

_PER_LINE = "Write one object on a line, as {} does, and send it again."
_OF_LIST = "`jq -c '.[]'`"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record was rejected: a code, the field, and a text with the value found and what is allowed."""

    reason: str
    field: str | None
    detail: str


def read_line(contract: Contract, raw: bytes) -> bytes | Fault:
    """Read one line of NDJSON; return it in plain form, or its first fault.

    In plain form decimals are as `FieldType.write` returns them, and fields have their present names.
    """
    if not raw.strip():
        return Fault("empty", None, "The message has no record in it.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault("not_utf8", None, f"Byte {error.start} is not UTF-8.")
    try:
        data = json.loads(
            text, object_pairs_hook=_once, parse_constant=Decimal, parse_float=_read_number, parse_int=_read_number
        )
    except _Refused as error:
        return Fault(error.reason, error.field, str(error))
    except RecursionError:
        return Fault("not_json", None, "It is nested too deeply.")
    except ValueError as error:
        return Fault("not_json", None, f"{error}.")
    if not isinstance(data, dict):
        how = f" {_PER_LINE.format(_OF_LIST)}" if isinstance(data, list) else ""
        return Fault("not_json", None, f"A record is an object, not {_json_kind(data)}.{how}")
    named = _present_names(contract, data)
    if isinstance(named, Fault):
        return named
    return _check_fields(contract, named) or _write_plain(contract, named, raw, data is not named)


def tell_lines(raw: bytes, count: int) -> Fault:
    """The fault of a JSON value that spans `count` lines."""
    how = _OF_LIST if raw.lstrip(b"\xef\xbb\xbf \t\r").startswith(b"[") else "`jq -c .`"
    detail = f"It is JSON over {counted(count, 'line')}. {_PER_LINE.format(how)}"
    return Fault("not_one_line", None, detail)


def check_version(contract: Contract, text: str) -> Fault | None:
    """The fault of an event's `schema_version`: the contract must know that version and still accept it.

    A patch never changes the form of events, so it may be newer than that of the contract.
    """
    if text == contract.version:
        return None
    own, sent = read_version(contract.version), read_version(text)
    if own and sent:
        if (sent.major, sent.minor) > (own.major, own.minor):
            allowed = (
                f"The contract is of version {contract.version}. Deploy the one of {text[:20]}, then run "
                f"'mesh ingest {contract.identifier} --replay-rejected'."
            )
        elif (oldest := contract.oldest_taken) and sent < oldest:
            allowed = (
                f"The contract is of version {contract.version} and takes events from {oldest} on. Where those of "
                f"{text[:20]} mean the same, say mesh.oldestVersion in the contract, then run "
                f"'mesh ingest {contract.identifier} --replay-rejected'."
            )
        else:
            return None
    elif own:
        allowed = f"A version is up to three numbers, such as {contract.version}, which the contract has."
    else:
        allowed = f"It must be '{contract.version}', as in the contract, whose version is not three numbers."
    return Fault("unknown_version", "schema_version", f"{allowed} It is {text[:80]!r}.")


def read_identity(raw: bytes) -> tuple[str | None, datetime | None]:
    """The event id and time of a line, each None where it is unreadable."""
    try:
        data = json.loads(raw)
        event_id = data["event_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, None
    if not isinstance(event_id, str) or not re.fullmatch(EVENT_ID, event_id):
        return None, None
    try:
        time = read_time(data["event_time"])
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


def _read_number(text: str) -> int | Decimal:
    # Python does not parse an int of over 4300 digits; no field accepts one, and the fault should name the field.
    try:
        return int(text) if len(text) < 100 else Decimal(text)
    except ValueError:
        pass
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _Refused("not_json", None, f"The exponent of {text[:80]} is out of all bounds.") from None


def _present_names(contract: Contract, data: dict[str, Any]) -> dict[str, Any] | Fault:
    """The record with the present names of fields: an event sent before a rename may arrive after it."""
    assert contract.event is not None
    former, payload = contract.event.former_names, data.get("payload")
    if not isinstance(payload, dict) or former.keys().isdisjoint(payload):
        return data
    renamed: dict[str, Any] = {}
    for name in sorted(payload, key=former.__contains__):
        present = former.get(name, name)
        if present in renamed:
            return Fault("duplicate_key", name, f"'{name}' is a former name of '{present}', which stands there too.")
        renamed[present] = payload[name]
    return {**data, "payload": renamed}


def _write_plain(contract: Contract, data: dict[str, Any], raw: bytes, renamed: bool) -> bytes:
    assert contract.event is not None
    payload = data["payload"]
    plain = {
        field.name: field.type.write(Decimal(payload[field.name]))
        for field in contract.event.fields
        if field.type.precision and payload.get(field.name) is not None
    }
    if not renamed and all(payload[name] == value for name, value in plain.items()):
        return raw
    return json.dumps({**data, "payload": {**payload, **plain}}, default=float).encode()


def _check_fields(contract: Contract, data: Mapping[str, Any]) -> Fault | None:
    unknown = sorted(set(data) - set(ENVELOPE))
    if unknown:
        return Fault("unknown_field", unknown[0], f"The envelope has {', '.join(ENVELOPE)}.")
    for name in ENVELOPE:
        value = data.get(name)
        if value is None:
            return Fault("missing", name, f"The envelope needs '{name}'.")
        if name != "payload" and not is_text(value):
            return Fault("wrong_type", name, f"It must be a string of Unicode, not {_json_kind(value)}.")
    if not is_time(data["event_time"], zone=True):
        return Fault(
            "wrong_type", "event_time", f"It must be an instant in ISO 8601, not {_shown(data['event_time'])}."
        )
    fault = _check_payload(contract, data["payload"])
    assert contract.event is not None
    # A payload of another version may have another form, so the version is the fault to report.
    if fault and data["event_type"] == contract.event.name:
        return check_version(contract, data["schema_version"]) or fault
    return fault


def _check_payload(contract: Contract, payload: object) -> Fault | None:
    if not isinstance(payload, dict):
        return Fault("wrong_type", "payload", f"It must be an object, not {_json_kind(payload)}.")
    assert contract.event is not None
    fields = contract.event.by_name
    unknown = sorted(set(payload) - set(fields))
    if unknown:
        return Fault("unknown_field", unknown[0], f"The payload has {', '.join(fields)}.")
    for name, field in fields.items():
        value = payload.get(name)
        if value is not None and not fits(field.type, value):
            shown = _shown(value) if field.type.logical == "timestamp" else repr(str(value)[:80])
            return Fault("wrong_type", name, f"It must be {field.type.on_wire}, not {shown}.")
    return None


def _shown(time: object) -> str:
    text = str(time)
    return f"{text[:80]!r}, which {TOO_FINE}" if is_too_fine(text) else repr(text[:80])


def _json_kind(value: object) -> str:
    kinds = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number")
