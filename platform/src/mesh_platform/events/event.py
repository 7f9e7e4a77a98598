"""The envelope around one record (a time and a payload), with a stable id, as a line of NDJSON."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

ENVELOPE = ("event_id", "event_time", "event_type", "payload", "producer", "schema_version")


# The text of an event id: a UUID in small letters.
EVENT_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a source: when it happened (aware, to the microsecond) and its fields.

    `dropped` has its values in dropped columns of the event. They count for its id, but are not sent.
    """

    time: datetime
    payload: Mapping[str, Any]
    dropped: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One record in its envelope."""

    event_id: str
    event_type: str
    event_time: datetime
    producer: str
    schema_version: str
    payload: Mapping[str, Any]

    def to_json(self) -> bytes:
        """One line of NDJSON, without the newline. Decimals are strings, times ISO 8601 (UTC with `Z`).

        Raises ValueError for what JSON in UTF-8 cannot hold: NaN, an infinity, half a surrogate pair.
        """
        envelope = {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "event_time": format_time(self.event_time),
            "producer": self.producer,
            "schema_version": self.schema_version,
            "payload": self.payload,
        }
        return _WIRE.encode(envelope).encode()


class EventIds:
    """Assigns ids to the records of one source (a product's name, such as `north_warehouse.orders_north`).

    An id is a UUID whose first 48 bits are the event time in milliseconds since 1970 (RFC 9562, version 7);
    the rest is a hash of source, content and occurrence number. Equal records differ in that number only, so a
    file has the same ids whenever it is replayed, whatever the order of its rows.

    `names` has the names under which fields are hashed where they differ from their own (`TableSchema.names_in_ids`),
    so that a record keeps its id when a field is renamed. Times, those in the fields `times` too, are
    hashed in whole milliseconds, as when nothing finer was stored: records that differ in microseconds only are
    numbered as equal ones are.
    """

    def __init__(self, source: str, names: Mapping[str, str] | None = None, times: Collection[str] = ()) -> None:
        self._source = source
        self._names = names or {}
        self._times = times
        self._seen: Counter[bytes] = Counter()

    def id_of(self, record: Record) -> str:
        """The id of the next occurrence of `record`."""
        milliseconds = to_milliseconds(record.time)
        payload = {**record.payload, **record.dropped} if record.dropped else record.payload
        parts = [self._source, milliseconds, self._hashed(payload)]
        digest = blake2b(_HASHED.encode(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        occurrence = self._seen[digest]
        self._seen[digest] += 1
        rest = int.from_bytes(blake2b(digest + occurrence.to_bytes(8, "big"), digest_size=10).digest(), "big")
        uuid = f"{(milliseconds << 80 | rest) & _NOT_VERSION_OR_VARIANT | _VERSION_7:032x}"
        return f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"

    def _hashed(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        texts = {name: text for name in self._times if isinstance(text := payload.get(name), str)}
        payload = {**payload, **{name: _FINER.sub(r"\1", text, count=1) for name, text in texts.items()}}
        if not self._names:
            return payload
        renamed = {self._names.get(name, name): value for name, value in payload.items()}
        # A payload with a field under two of its names is invalid, but it still needs an id.
        return renamed if len(renamed) == len(payload) else payload


def to_milliseconds(time: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, rounded down. Raises ValueError before 1970 and without a zone."""
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no time zone; an event time is an instant")
    milliseconds = (time - _EPOCH) // _MILLISECOND
    if milliseconds < 0:
        raise ValueError(f"{time.isoformat()} is before 1970, which an event id cannot hold")
    return milliseconds


def format_time(time: datetime) -> str:
    """An aware time as ISO 8601 in UTC with `Z`: with milliseconds, or with microseconds where it has some."""
    return _with_fraction(time.astimezone(UTC)).replace("+00:00", "Z")


def format_local(time: datetime) -> str:
    """A local time as ISO 8601 without a zone, with the same digits as `format_time`."""
    return _with_fraction(time.replace(tzinfo=None))


def _with_fraction(time: datetime) -> str:
    # Whole milliseconds always have three digits, because ids are hashes of this text.
    return time.isoformat(timespec="microseconds" if time.microsecond % 1000 else "milliseconds")


def _to_wire(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return format_time(value) if value.tzinfo else format_local(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form on the wire")


def _to_hash(value: object) -> str:
    if isinstance(value, datetime):
        value = value.replace(microsecond=value.microsecond // 1000 * 1000)
    return _to_wire(value)


# Made once: json.dumps makes one for each call.
_WIRE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_to_wire)
_HASHED = json.JSONEncoder(separators=(",", ":"), sort_keys=True, default=_to_hash)
# The fraction of a second: its first three digits, and the others.
_FINER = re.compile(r"(\.\d{3})\d+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_VERSION_7 = 0x7 << 76 | 0b10 << 62
_NOT_VERSION_OR_VARIANT = ~(0xF << 76 | 0b11 << 62)
