"""Validation of deliveries: rows for the landing table, and rows for the quarantine with their reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform import faults
from mesh_platform.broker import MAX_MESSAGE_BYTES, Delivery
from mesh_platform.contract.contract import AHEAD
from mesh_platform.contract.promise import PromiseKind, promises_of
from mesh_platform.contract.wall_clock import find_odd
from mesh_platform.iceberg.uuid_bits import parse_ids
from mesh_platform.ingest.line_check import Fault, check_version, read_identity
from mesh_platform.ingest.parse import ENVELOPE_STRINGS, read_bodies, split_body
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.lake.tables import landing_schema, quarantine_schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mesh_platform.contract.contract import Contract, Field
    from mesh_platform.iceberg.reused_ids import Reused

_REASONS: dict[PromiseKind, str] = {
    "minimum": "out_of_range",
    "maximum": "out_of_range",
    "pattern": "pattern",
    "values": "not_allowed",
}
_KEPT_OF_OVERSIZE = 64 * 1024
# The largest offset of a zone from UTC, in the Line Islands.
_EASTERNMOST = timedelta(hours=14)


@dataclass(frozen=True)
class Validated:
    """The result. `accepted` has the landing table's schema, `rejected` the quarantine's; `lines` counts all records.

    Row i of `accepted` is the record `numbers[i]` of `sources`, validated at the time `now`.
    """

    accepted: pa.Table
    rejected: pa.Table
    lines: int
    numbers: NDArray[np.int64]
    sources: _Sources
    now: datetime


@dataclass(frozen=True)
class _Sources:
    """The origin of records: `starts` and `joined` are those of `parse.Records` for these deliveries."""

    deliveries: Sequence[Delivery]
    starts: NDArray[np.int64]
    joined: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class _Rejected:
    """One rejected record. `size` and `sha256` are of the whole record as sent, `raw` is the part that is stored."""

    raw: bytes
    message_id: str | None
    position: int
    size: int
    sha256: str
    fault: Fault
    key: str | None = None


def validate(contract: Contract, deliveries: Sequence[Delivery], now: datetime) -> Validated:
    """Split all records of `deliveries` into accepted and rejected; `now` bounds their event times.

    Both keep the order of arrival, but messages that are too large come last.
    """
    whole = [delivery for delivery in deliveries if len(delivery.body) <= MAX_MESSAGE_BYTES]
    records = read_bodies(contract, [delivery.body for delivery in whole])
    faults.point("ingest.validating")
    rows = records.rows
    found = _check_rows(contract, rows, now)
    count, numbers = rows.num_rows + len(records.refused), records.numbers
    if found:
        good = np.ones(rows.num_rows, dtype=bool)
        good[list(found)] = False
        rows, numbers = rows.filter(pa.array(good)), numbers[good]
    refused = records.refused | {int(records.numbers[row]): fault for row, fault in found.items()}
    sources = _Sources(whole, records.starts, records.joined)
    rejected = [*_look_up(sources, refused)]
    if len(whole) < len(deliveries):
        rejected += [_oversize(delivery) for delivery in deliveries if len(delivery.body) > MAX_MESSAGE_BYTES]
    return Validated(
        accepted=_landing_rows(contract, rows, now),
        rejected=_rejected_rows(contract, rejected, now),
        lines=count + len(deliveries) - len(whole),
        numbers=numbers,
        sources=sources,
        now=now,
    )


def reject_accepted(
    contract: Contract, validated: Validated, reused: Iterable[Reused], failed: Mapping[int, Exception]
) -> pa.Table:
    """Rows of the quarantine for accepted rows whose id already has another content, or that cannot be stored.

    The key of the first includes the content, so that each such content is quarantined exactly once. `failed` has
    the errors of the second by row.
    """
    faults, keys = {}, {}
    for row, error in failed.items():
        detail = (
            f"The lake cannot store it: {type(error).__name__}: {error}. This is a fault in the platform: report it."
        )
        faults[int(validated.numbers[row])] = Fault("not_storable", None, detail)
    for each in reused:
        number = int(validated.numbers[each.row])
        faults[number] = Fault(
            "id_reused",
            "event_id",
            f"The id has another content already, of hash {each.known}; this one's is {each.new}. They differ in "
            f"{', '.join(each.columns)}. An id is of one event: give a correction an id of its own.",
        )
        keys[number] = f"{validated.accepted['event_id'][each.row]}:{each.new}"
    found = zip(_look_up(validated.sources, faults), sorted(faults), strict=True)
    return _rejected_rows(contract, [replace(line, key=keys.get(number)) for line, number in found], validated.now)


def _look_up(sources: _Sources, refused: Mapping[int, Fault]) -> Iterator[_Rejected]:
    """The rejected records as sent, in order."""
    numbers = sorted(refused)
    places = np.searchsorted(sources.starts, numbers, "right") - 1
    before, raws = -1, []
    for number, place in zip(numbers, places.tolist(), strict=True):
        delivery = sources.deliveries[place]
        if place != before:
            before, raws = place, split_body(delivery.body)
        position = number - int(sources.starts[place])
        raw = sources.joined.get(number, raws[position])
        digest = hashlib.sha256(raw).hexdigest()
        yield _Rejected(raw, delivery.message_id, position, len(raw), digest, refused[number])


def _oversize(delivery: Delivery) -> _Rejected:
    body = delivery.body
    fault = Fault("too_large", None, f"A message has at most {MAX_MESSAGE_BYTES} bytes; only its head is kept.")
    digest = hashlib.sha256(body).hexdigest()
    return _Rejected(body[:_KEPT_OF_OVERSIZE], delivery.message_id, 0, len(body), digest, fault)


def _check_rows(contract: Contract, rows: pa.Table, now: datetime) -> dict[int, Fault]:
    """The first fault of each faulty row, by row number."""
    assert contract.event is not None
    found: dict[int, Fault] = {}

    def report(bad: pa.ChunkedArray, reason: str, field: str, detail: str, column: str | None = None) -> None:
        if not pc.any(bad).as_py():
            return
        for row in np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False)):
            value = rows[column][int(row)].as_py() if column else None
            shown = f" It is {value!r}." if isinstance(value, str) else f" It is {value}." if column else ""
            found.setdefault(int(row), Fault(reason, field, detail + shown[:300]))

    for name in (*ENVELOPE_STRINGS, "event_time"):
        report(pc.is_null(rows[name]), "missing", name, f"The envelope needs '{name}'.")
    upper, _, well_formed = parse_ids(rows["event_id"].combine_chunks())
    report(pa.array(~well_formed), "wrong_type", "event_id", "An event id is a UUID in small letters.", "event_id")
    expected = contract.event.name
    report(
        pc.not_equal(rows["event_type"], expected),
        "event_type",
        "event_type",
        f"It must be '{expected}'.",
        "event_type",
    )
    times = pc.divide(rows["event_time"].cast(pa.int64()), 1000)
    differs = pc.and_(pc.not_equal(times, pa.array((upper >> 16).astype(np.int64))), pa.array(well_formed))
    report(differs, "id_time_mismatch", "event_time", "The id's first 48 bits say another time.")
    oldest = pa.scalar(now - contract.retention, pa.timestamp("us", "UTC"))
    detail = f"The contract keeps events from {oldest.as_py():%Y-%m-%d} on."
    report(pc.less(rows["event_time"], oldest), "beyond_retention", "event_time", detail, "event_time")
    newest = max(now, datetime.now(UTC)) + AHEAD
    own_time = [f"payload.{contract.event.time}"] if contract.event.time else []
    for column in ("event_time", *own_time):
        is_instant = rows[column].type.tz is not None
        # A local time is compared as if it were UTC, which it is ahead of by at most `_EASTERNMOST`.
        latest = newest if is_instant else newest.astimezone(UTC).replace(tzinfo=None) + _EASTERNMOST
        late = pc.greater(rows[column], pa.scalar(latest, rows[column].type))
        report(late, "in_the_future", column.removeprefix("payload."), "Check the sender's clock.", column)
    for name in ("producer", "schema_version"):
        report(_hold_nul(rows[name]), "nul_character", name, "Strings hold no NUL character.")
    sent = pc.unique(rows["schema_version"].drop_null()).to_pylist()
    if unknown := {each: fault for each in sent if (fault := check_version(contract, each))}:
        versions = rows["schema_version"].combine_chunks()
        for row in np.flatnonzero(pc.is_in(versions, pa.array([*unknown])).to_numpy(zero_copy_only=False)).tolist():
            found.setdefault(row, unknown[versions[row].as_py()])
    for field in contract.event.fields:
        _check_field(field, rows[f"payload.{field.name}"], report)
        if field.type.name == "timestamp" and contract.time_zone:
            _check_clock(contract, field, rows, report)
    return found


def _check_field(field: Field, values: pa.ChunkedArray, report: object) -> None:
    assert callable(report)
    column = f"payload.{field.name}"
    if field.required:
        report(pc.is_null(values), "missing", field.name, f"'{field.name}' is required.")
    if field.type.name == "double":
        report(pc.invert(pc.is_finite(values)), "wrong_type", field.name, "It must be a finite number.")
    if field.type.name == "string":
        report(_hold_nul(values), "nul_character", field.name, "Strings hold no NUL character.")
    for promise in promises_of(field):
        report(promise.breaking(values), _REASONS[promise.kind], field.name, promise.allowed, column)


def _check_clock(contract: Contract, field: Field, rows: pa.Table, report: object) -> None:
    """Report local times that the site's clock shows twice or never, where the contract rejects these."""
    assert callable(report)
    assert contract.event is not None
    assert contract.time_zone is not None
    if "reject" not in (field.ambiguous_time, field.nonexistent_time):
        return
    column = f"payload.{field.name}"
    present = pc.is_valid(rows[column]).to_numpy()
    local = pc.fill_null(rows[column].cast(pa.int64()), 0).to_numpy()
    for bad, odd in find_odd(local, contract.time_zone):
        clock = f"The clock in {contract.time_zone}"
        if not odd.twice and field.nonexistent_time == "reject":
            detail = f"{clock} never showed it; mesh.nonexistentTime can let it pass."
            report(pa.array(bad & present), "nonexistent_time", field.name, detail, column)
        if not odd.twice or field.ambiguous_time != "reject":
            continue
        detail = f"{clock} showed it twice; mesh.ambiguousTime can say which it is."
        if field.name == contract.event.time:
            detail = f"{clock} showed it twice, and event_time is neither; mesh.ambiguousTime can let it pass."
            # The envelope tells which it was. In milliseconds, as one of the two may have no more digits.
            instants = pc.fill_null(rows["event_time"].cast(pa.int64()), 0).to_numpy() // 1000
            for offset in (odd.before, odd.after):
                bad = bad & ((local - offset) // 1000 != instants)
        report(pa.array(bad & present), "ambiguous_time", field.name, detail, column)


def _hold_nul(strings: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    # Searching all bytes at once costs a tenth of searching each string, and matches are very rare.
    letters = [chunk.buffers()[2] for chunk in strings.chunks]
    if any(part is not None and 0 in np.frombuffer(part, np.uint8) for part in letters):
        return pc.match_substring(strings, "\0")
    return pa.array([], pa.bool_())


def _landing_rows(contract: Contract, parsed: pa.Table, now: datetime) -> pa.Table:
    schema = arrow_schema(landing_schema(contract))
    columns = {name.removeprefix("payload."): parsed[name] for name in parsed.column_names}
    columns["ingested_at"] = pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), parsed.num_rows)
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _rejected_rows(contract: Contract, rejected: Sequence[_Rejected], now: datetime) -> pa.Table:
    rows = []
    for line in rejected:
        fault, digest = line.fault, line.sha256
        event_id, event_time = read_identity(line.raw)
        # Foreign senders choose message ids freely; the same bytes at the same position are the same record.
        place = f"{line.message_id}:{line.position}:{digest}" if line.message_id else digest
        rows.append(
            {
                "rejection_key": line.key or event_id or place,
                "event_id": event_id,
                "event_time": event_time,
                "message_id": line.message_id,
                "position": line.position,
                "reason": fault.reason,
                "field": _visible(fault.field, 200) if fault.field is not None else None,
                "detail": _visible(fault.detail, 500),
                "raw": line.raw,
                "raw_sha256": digest,
                "raw_bytes": line.size,
                "rejected_at": now,
            }
        )
    return pa.Table.from_pylist(rows, schema=arrow_schema(quarantine_schema(contract)))


def _visible(text: str, most: int) -> str:
    """At most `most` characters, with those escaped that a string column cannot store, such as half a surrogate."""
    text = text[:most]
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\0")
