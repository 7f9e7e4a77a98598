"""The envelope around one record, and its id.

A record (a time and a payload) arrives; an `Event` with a stable id leaves, and its line of NDJSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

ENVELOPE = ("event_id", "event_time", "event_type", "payload", "producer", "schema_version")


# An event id as it is written: a UUID in small letters.
EVENT_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class Record:
    """What a source gives: the instant it happened (aware, kept to the millisecond) and its fields."""

    time: datetime
    payload: Mapping[str, Any]


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
        return json.dumps(
            envelope, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_to_wire
        ).encode()


class EventIds:
    """Gives ids to the records of one source (a product's name, such as `north_warehouse.orders_north`).

    An id is a UUID whose first 48 bits are the event time in milliseconds since 1970 (RFC 9562, version 7);
    the rest is a hash of source, content and occurrence number. Equal records are told apart by that number
    alone, so a file gives the same ids whenever it is replayed, whatever the order of its rows.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._seen: Counter[bytes] = Counter()

    def id_of(self, record: Record) -> str:
        """The id of the next occurrence of `record`."""
        milliseconds = to_milliseconds(record.time)
        content = json.dumps(
            [self._source, milliseconds, record.payload], sort_keys=True, separators=(",", ":"), default=_to_wire
        )
        digest = blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        occurrence = self._seen[digest]
        self._seen[digest] += 1
        rest = int.from_bytes(blake2b(digest + occurrence.to_bytes(8, "big"), digest_size=10).digest(), "big")
        return str(UUID(int=(milliseconds << 80 | rest) & _NOT_VERSION_OR_VARIANT | _VERSION_7))


def to_milliseconds(time: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, rounded down. Raises ValueError before 1970 and without a zone."""
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no time zone; an event time is an instant")
    milliseconds = (time - _EPOCH) // _MILLISECOND
    if milliseconds < 0:
        raise ValueError(f"{time.isoformat()} is before 1970, which an event id cannot hold")
    return milliseconds


def format_time(time: datetime) -> str:
    """An aware time as ISO 8601 in UTC with milliseconds and `Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_local(time: datetime) -> str:
    """A time as the clock on the wall shows it: ISO 8601 with milliseconds and no zone."""
    return time.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _to_wire(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return format_time(value) if value.tzinfo else format_local(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form on the wire")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_VERSION_7 = 0x7 << 76 | 0b10 << 62
_NOT_VERSION_OR_VARIANT = ~(0xF << 76 | 0b11 << 62)
