"""Deliveries arrive; rows for the landing table leave, and rows for the quarantine, each with its reason.

A flush is parsed and checked as a whole in Arrow. Only where that parse fails is it looked at line by line.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from mesh_platform import faults as fault_points
from mesh_platform.broker import MAX_MESSAGE_BYTES, Delivery
from mesh_platform.event import EVENT_ID
from mesh_platform.field_types import parse_type
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.lake.landing import landing_shape, rejected_shape
from mesh_platform.line_check import Fault, read_identity, read_line

if TYPE_CHECKING:
    from mesh_platform.contract import Contract, Field
    from mesh_platform.field_types import FieldType

_KEPT_OF_OVERSIZE = 64 * 1024
_ENVELOPE_STRINGS = ("event_id", "event_type", "producer", "schema_version")
_INSTANT = parse_type("timestamptz")
_UNPARSED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError)
# The first and the last day that Python's dates can hold, from 1970.
_DAYS = ((date.min - date(1970, 1, 1)).days, (date.max - date(1970, 1, 1)).days)


@dataclass(frozen=True)
class Validated:
    """`accepted` has the landing table's schema, `rejected` the quarantine's; `lines` counts what was delivered."""

    accepted: pa.Table
    rejected: pa.Table
    lines: int


@dataclass(frozen=True, slots=True)
class Line:
    """One record as delivered."""

    raw: bytes
    message_id: str | None
    position: int
    size: int
    sha256: str | None = None


def validate(contract: Contract, deliveries: Sequence[Delivery], now: datetime) -> Validated:
    """Split all records of `deliveries` into accepted and rejected; `now` bounds their event times."""
    whole = [d for d in deliveries if len(d.body) <= MAX_MESSAGE_BYTES]
    oversize = [_oversize(d) for d in deliveries if len(d.body) > MAX_MESSAGE_BYTES]
    lines = [
        Line(raw, delivery.message_id, position, len(raw))
        for delivery in whole
        for position, raw in enumerate(_split(delivery.body))
    ]
    return validate_lines(contract, lines, now, oversize)


def validate_lines(
    contract: Contract, lines: Sequence[Line], now: datetime, oversize: Sequence[Line] = ()
) -> Validated:
    """As `validate`, of records that are split already; `oversize` are rejected as they are."""
    too_large = Fault("too_large", None, f"A message has at most {MAX_MESSAGE_BYTES} bytes; only its head is kept.")
    rejected = [(line, too_large) for line in oversize]
    parsed, kept, refused = _parse_all(contract, lines)
    rejected += refused
    fault_points.point("ingest.validating")
    faults = _check_rows(contract, parsed, now)
    if faults:
        good = np.ones(len(kept), dtype=bool)
        good[list(faults)] = False
        rejected += [(kept[row], fault) for row, fault in faults.items()]
        parsed = parsed.filter(pa.array(good))
    if rejected:
        # In the order of arrival, whatever found the fault.
        places = {id(line): place for place, line in enumerate((*lines, *oversize))}
        rejected.sort(key=lambda found: places[id(found[0])])
    return Validated(
        accepted=_landing_rows(contract, parsed, now),
        rejected=_rejected_rows(contract, rejected, now),
        lines=len(lines) + len(oversize),
    )


def _split(body: bytes) -> list[bytes]:
    # A message without a single record is a record that is empty: it is seen in the quarantine, not lost.
    return [line for line in body.split(b"\n") if line.strip()] or [body]


def _oversize(delivery: Delivery) -> Line:
    body = delivery.body
    return Line(body[:_KEPT_OF_OVERSIZE], delivery.message_id, 0, len(body), hashlib.sha256(body).hexdigest())


def _wire_schema(contract: Contract) -> pa.Schema:
    assert contract.event is not None
    payload = pa.struct([pa.field(field.name, field.type.wire) for field in contract.event.fields])
    envelope = [pa.field(name, pa.string()) for name in (*_ENVELOPE_STRINGS, "event_time")]
    return pa.schema([*envelope, pa.field("payload", payload)])


def _parse(contract: Contract, raws: Sequence[bytes]) -> pa.Table:
    """The lines as a flat table of typed columns. Raises one of `_UNPARSED` where one is bad or not in plain form."""
    schema = _wire_schema(contract)
    assert contract.event is not None
    data = b"\n".join([raw.strip(b" \t\r") for raw in raws])
    data.decode("utf-8")
    # Arrow reads two objects on one line, or one over two lines, as happily as one on each.
    starts = data.count(b"}\n{")
    if starts != len(raws) - 1 or not data.startswith(b"{") or not data.endswith(b"}"):
        raise pa.ArrowInvalid("a line is not one object")
    table = pa.json.read_json(
        io.BytesIO(data),
        read_options=pa.json.ReadOptions(block_size=len(data) + 64),
        parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    ).combine_chunks()
    if table.num_rows != len(raws):
        raise pa.ArrowInvalid("a line is not one object")
    if table["payload"].null_count:
        raise pa.ArrowInvalid("a payload is missing")
    columns = {name: table[name] for name in _ENVELOPE_STRINGS}
    columns["event_time"] = _typed(_INSTANT, table["event_time"])
    for field in contract.event.fields:
        columns[f"payload.{field.name}"] = _typed(field.type, pc.struct_field(table["payload"], field.name))
    return pa.table(columns)


def _typed(type_: FieldType, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as the type has them. Raises ArrowInvalid for what Arrow takes and Python, or the type, does not."""
    # Before the cast: Arrow looks up the power of ten for a scale of any size, outside of its table.
    if type_.precision and pc.all(pc.match_substring_regex(values, type_.plain)).as_py() is False:
        raise pa.ArrowInvalid("a decimal is not in plain form")
    typed = pc.cast(values, type_.arrow)
    if type_.logical in ("date", "timestamp"):
        numbers = pc.min_max(typed.cast(pa.int32() if type_.name == "date" else pa.int64())).as_py()
        unit = 1 if type_.name == "date" else 86_400_000_000
        first, last = _DAYS[0] * unit, (_DAYS[1] + 1) * unit
        outside = numbers["min"] is not None and not first <= numbers["min"] <= numbers["max"] < last
        # With an offset, a time written in the year 0 can be one of the year 1 in UTC; Python does not read it.
        if outside or pc.any(pc.starts_with(values, "0000")).as_py():
            raise pa.ArrowInvalid("a time is not in the years 1 to 9999")
    return typed


def _parse_all(
    contract: Contract, lines: Sequence[Line]
) -> tuple[pa.Table, Sequence[Line], list[tuple[Line, Fault]]]:
    """All lines that can be parsed, as a table and in its order, and those that cannot, with the reason."""
    try:
        if lines:
            return _parse(contract, [line.raw for line in lines]), lines, []
    except _UNPARSED:
        pass
    plain: list[tuple[Line, bytes]] = []
    refused: list[tuple[Line, Fault]] = []
    for line in lines:
        read = read_line(contract, line.raw)
        if isinstance(read, Fault):
            refused.append((line, read))
        else:
            plain.append((line, read))
    tables: list[pa.Table] = []
    good: list[Line] = []
    _bisect(contract, plain, tables, good, refused)
    empty = pa.table({name: pa.array([], type=type_) for name, type_ in _flat_types(contract)})
    return pa.concat_tables([empty, *tables]).combine_chunks(), good, refused


def _bisect(
    contract: Contract,
    plain: Sequence[tuple[Line, bytes]],
    tables: list[pa.Table],
    good: list[Line],
    refused: list[tuple[Line, Fault]],
) -> None:
    """Find by halves what Arrow refuses and the check of single lines does not know of."""
    if not plain:
        return
    try:
        tables.append(_parse(contract, [raw for _, raw in plain]))
        good.extend(line for line, _ in plain)
    except _UNPARSED as error:
        if len(plain) == 1:
            refused.append((plain[0][0], Fault("not_readable", None, str(error))))
            return
        middle = len(plain) // 2
        _bisect(contract, plain[:middle], tables, good, refused)
        _bisect(contract, plain[middle:], tables, good, refused)


def _flat_types(contract: Contract) -> list[tuple[str, pa.DataType]]:
    assert contract.event is not None
    envelope = [(name, pa.string()) for name in _ENVELOPE_STRINGS]
    payload = [(f"payload.{field.name}", field.type.arrow) for field in contract.event.fields]
    return [*envelope, ("event_time", pa.timestamp("us", "UTC")), *payload]


def _check_rows(contract: Contract, rows: pa.Table, now: datetime) -> dict[int, Fault]:
    """The first fault of each row that has one, by row number."""
    assert contract.event is not None
    faults: dict[int, Fault] = {}

    def report(bad: pa.ChunkedArray, reason: str, field: str, detail: str, column: str | None = None) -> None:
        for row in np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False)):
            value = rows[column][int(row)].as_py() if column else None
            found = f" It is {value!r}." if isinstance(value, str) else f" It is {value}." if column else ""
            faults.setdefault(int(row), Fault(reason, field, detail + found[:300]))

    for name in (*_ENVELOPE_STRINGS, "event_time"):
        report(pc.is_null(rows[name]), "missing", name, f"The envelope needs '{name}'.")
    id_form = pc.match_substring_regex(rows["event_id"], f"^{EVENT_ID}$")
    report(pc.invert(id_form), "wrong_type", "event_id", "An event id is a UUID in small letters.", "event_id")
    expected = contract.event.name
    report(
        pc.not_equal(rows["event_type"], expected),
        "event_type",
        "event_type",
        f"It must be '{expected}'.",
        "event_type",
    )
    if rows.num_rows:
        report(
            _time_differs(rows, id_form), "id_time_mismatch", "event_time", "The id's first 48 bits say another time."
        )
    oldest = pa.scalar(now - contract.retention, pa.timestamp("us", "UTC"))
    detail = f"The contract keeps events from {oldest.as_py():%Y-%m-%d} on."
    report(pc.less(rows["event_time"], oldest), "beyond_retention", "event_time", detail, "event_time")
    newest = pa.scalar(max(now, datetime.now(UTC)) + timedelta(days=1), pa.timestamp("us", "UTC"))
    report(
        pc.greater(rows["event_time"], newest),
        "in_the_future",
        "event_time",
        "Check the sender's clock.",
        "event_time",
    )
    for name in ("producer", "schema_version"):
        report(pc.match_substring(rows[name], "\0"), "nul_character", name, "Strings hold no NUL character.")
    for field in contract.event.fields:
        _check_field(field, rows[f"payload.{field.name}"], report)
    return faults


def _check_field(field: Field, values: pa.ChunkedArray, report: object) -> None:
    assert callable(report)
    column = f"payload.{field.name}"
    if field.required:
        report(pc.is_null(values), "missing", field.name, f"'{field.name}' is required.")
    if field.type.name == "double":
        report(pc.invert(pc.is_finite(values)), "wrong_type", field.name, "It must be a finite number.")
    if field.type.name == "string":
        report(pc.match_substring(values, "\0"), "nul_character", field.name, "Strings hold no NUL character.")
    if field.minimum is not None:
        low = pc.less(values, pa.scalar(field.minimum).cast(values.type))
        report(low, "out_of_range", field.name, f"It is at least {field.minimum}.", column)
    if field.maximum is not None:
        high = pc.greater(values, pa.scalar(field.maximum).cast(values.type))
        report(high, "out_of_range", field.name, f"It is at most {field.maximum}.", column)
    if field.pattern is not None:
        misses = pc.invert(pc.match_substring_regex(values, field.pattern))
        report(misses, "pattern", field.name, f"It must match {field.pattern}.", column)
    if field.valid_values:
        other = pc.invert(pc.is_in(values, pa.array(field.valid_values, values.type)))
        detail = f"It is one of {', '.join(field.valid_values)}."
        report(pc.and_(pc.is_valid(values), other), "not_allowed", field.name, detail, column)


def _time_differs(rows: pa.Table, id_form: pa.ChunkedArray) -> pa.Array:
    ids = pc.if_else(pc.fill_null(id_form, False), rows["event_id"], "0" * 36).cast(pa.binary(36)).combine_chunks()
    letters = np.frombuffer(ids.buffers()[1], dtype=np.uint8, count=len(ids) * 36).reshape(-1, 36)
    digits = letters[:, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]].astype(np.int64)
    values = np.where(digits >= ord("a"), digits - ord("a") + 10, digits - ord("0"))
    milliseconds = values @ (16 ** np.arange(11, -1, -1, dtype=np.int64))
    actual = pc.divide(rows["event_time"].cast(pa.int64()), 1000).combine_chunks()
    return pc.and_(id_form.combine_chunks(), pc.not_equal(actual, pa.array(milliseconds)))


def _landing_rows(contract: Contract, parsed: pa.Table, now: datetime) -> pa.Table:
    schema = arrow_schema(landing_shape(contract))
    columns = {name.removeprefix("payload."): parsed[name] for name in parsed.column_names}
    columns["ingested_at"] = pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), parsed.num_rows)
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def _rejected_rows(contract: Contract, rejected: Sequence[tuple[Line, Fault]], now: datetime) -> pa.Table:
    rows = []
    for line, fault in rejected:
        digest = line.sha256 or hashlib.sha256(line.raw).hexdigest()
        event_id, event_time = read_identity(line.raw)
        # Foreign senders number their messages as they like; the same bytes in the same place are the same message.
        place = f"{line.message_id}:{line.position}:{digest}" if line.message_id else digest
        rows.append(
            {
                "rejection_key": event_id or place,
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
    return pa.Table.from_pylist(rows, schema=arrow_schema(rejected_shape(contract)))


def _visible(text: str, most: int) -> str:
    """At most so many characters; what has no place in a table's string, such as half a surrogate, is escaped."""
    return text[:most].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
