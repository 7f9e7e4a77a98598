"""Events by the million: a contract arrives; rows as its landing table has them leave, or as messages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from mesh_platform.broker import Message
from mesh_platform.contract.contract import Contract, Field
from mesh_platform.lake.catalog import arrow_schema
from mesh_platform.lake.tables import landing_schema

START = datetime(2025, 10, 1, tzinfo=UTC)
LINES_IN_MESSAGE = 500
# As in `make run`.
LATE, TWICE = 0.02, 0.01
_DAY = 86_400_000
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_DIGITS = [place for place in range(36) if place not in (8, 13, 18, 23)]


def draw(
    contract: Contract,
    count: int,
    seed: int,
    per_day: int = 100_000,
    first_day: int = 0,
    late: float = LATE,
    start: datetime = START,
) -> pa.Table:
    """`count` valid rows of the landing table in order of arrival, `per_day` a day from `first_day` after `start` on.

    The share `late` of them happened up to a day before. No two have one id, whatever the seed.
    """
    assert contract.event is not None
    random = np.random.default_rng(seed)
    first = np.int64(start.timestamp() * 1000) + first_day * _DAY
    times = first + np.arange(count, dtype=np.int64) * _DAY // per_day
    moved = random.random(count) < late
    times[moved] -= random.integers(1, _DAY, int(moved.sum()))
    instants = pa.array(times, pa.timestamp("ms", "UTC")).cast(pa.timestamp("us", "UTC"))
    columns = {"event_id": _ids(times, random), "event_time": instants}
    columns |= {field.name: _values(field, count, instants, random) for field in contract.event.fields}
    columns |= {
        "producer": pa.repeat(pa.scalar("benchmark"), count),
        "schema_version": pa.repeat(pa.scalar(contract.version), count),
        "ingested_at": instants,
    }
    schema = arrow_schema(landing_schema(contract))
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def repeat_some(rows: pa.Table, seed: int) -> pa.Table:
    """The rows, TWICE of them a second time, some thousand rows later."""
    first = np.arange(rows.num_rows)
    again = first[np.random.default_rng(seed).random(len(first)) < TWICE]
    return rows.take(np.concatenate([first, again])[np.argsort(np.concatenate([first, again + 5000.5]))])


def write_messages(
    contract: Contract, rows: pa.Table, lines: int = LINES_IN_MESSAGE, bad: float = 0.0
) -> list[Message]:
    """The rows as NDJSON, so many lines in a message. `bad` of them are no JSON."""
    assert contract.event is not None
    letters = _write_lines(contract, rows, bad)
    _, offsets, data = letters.buffers()
    ends = np.frombuffer(offsets, np.int64)[: len(letters) + 1]
    whole = memoryview(data)
    starts = [*range(0, len(letters), lines), len(letters)]
    return [
        Message(bytes(whole[ends[first] : ends[last] - 1]), f"benchmark:{first}") for first, last in pairwise(starts)
    ]


def _write_lines(contract: Contract, rows: pa.Table, bad: float) -> pa.LargeStringArray:
    assert contract.event is not None
    parts: list[pa.Array | str] = ['{"event_id":"', rows["event_id"], '","event_type":"', contract.event.name]
    parts += ['","event_time":"', _write_times(rows["event_time"]), '","producer":"', rows["producer"]]
    parts += ['","schema_version":"', rows["schema_version"], '","payload":{']
    spoilt = np.random.default_rng(1).random(rows.num_rows) < bad
    for number, field in enumerate(contract.event.fields):
        text = _write_values(field, rows[field.name])
        if number == 0 and bad:
            text = pc.if_else(pa.array(spoilt), pa.scalar("}", text.type), text)
        parts += [f'{"," if number else ""}"{field.name}":', text]
    parts.append("}}\n")
    texts = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else _whole(part) for part in parts]
    return pc.binary_join_element_wise(*texts, pa.scalar("", pa.large_string()))


def _whole(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    values = values.cast(pa.large_string())
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _write_values(field: Field, values: pa.ChunkedArray) -> pa.Array:
    if field.type.name == "boolean":
        return _whole(pc.if_else(values, "true", "false"))
    if field.type.logical == "timestamp":
        text = _write_times(values)
        text = text if field.type.name == "timestamptz" else pc.utf8_rtrim(text, "Z")
    elif field.type.name in ("int", "long", "double"):
        return _whole(values)
    else:
        text = _whole(values)
    quote = pa.scalar('"', pa.large_string())
    return pc.binary_join_element_wise(quote, text, quote, pa.scalar("", pa.large_string()))


def _write_times(values: pa.ChunkedArray) -> pa.Array:
    # To text Arrow casts `2025-10-01 00:00:00.000Z`.
    zoned = values.cast(pa.timestamp("us")).cast(pa.timestamp("ms"))
    text = pc.replace_substring(_whole(zoned), " ", "T", max_replacements=1)
    return pc.binary_join_element_wise(text, pa.scalar("Z", pa.large_string()), pa.scalar("", pa.large_string()))


def _values(field: Field, count: int, instants: pa.Array, random: np.random.Generator) -> pa.Array:
    if field.type.logical == "timestamp":
        return instants.cast(pa.timestamp("us", "UTC")).cast(field.type.arrow)
    if field.type.name == "date":
        return instants.cast(pa.date32())
    if field.type.name == "boolean":
        return pa.array(random.random(count) < 0.5)
    if field.type.name == "string":
        pool = _pool(field)
        return pa.array(pool, pa.string()).take(pa.array(random.integers(0, len(pool), count)))
    low = int(field.minimum or 0)
    scale = 10**field.type.scale
    high = int(min(field.maximum if field.maximum is not None else 1000, low + 1000)) * scale
    numbers = pa.array(random.integers(low * scale, high + 1, count))
    if not field.type.precision:
        return numbers.cast(field.type.arrow)
    unit = pa.scalar(Decimal(1).scaleb(-field.type.scale), pa.decimal128(18, field.type.scale))
    return pc.multiply(numbers.cast(pa.decimal128(19, 0)), unit).cast(field.type.arrow)


def _pool(field: Field) -> list[str]:
    """Texts such as a field may hold: what is allowed, or the contract's example with other numbers at its end."""
    example = str(field.examples[0]) if field.examples else f"{field.name}-00001"
    kept = example.rstrip("0123456789")
    if field.valid_values or field.pattern or kept == example:
        return list(field.valid_values or map(str, field.examples or [example]))
    width = len(example) - len(kept)
    return [f"{kept}{number:0{width}}" for number in range(min(5000, 10**width))]


def _ids(times: npt.NDArray[np.int64], random: np.random.Generator) -> pa.Array:
    raw = np.empty((len(times), 16), np.uint8)
    raw[:, :6] = times.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    raw[:, 6:] = random.integers(0, 256, (len(times), 10), np.uint8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x70
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    text = np.full((len(times), 36), ord("-"), np.uint8)
    text[:, _DIGITS] = _HEX[np.stack([raw >> 4, raw & 15], axis=2).reshape(-1, 32)]
    ends = np.arange(len(times) + 1, dtype=np.int64) * 36
    return pa.LargeStringArray.from_buffers(len(times), pa.py_buffer(ends), pa.py_buffer(text))
