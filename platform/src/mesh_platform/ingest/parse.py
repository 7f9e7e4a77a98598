"""Parsing message bodies: valid records as a table of typed columns, all others with their faults.

Arrow parses the bodies in pieces, and fails for a whole piece where one line is bad. Then the lines that do not match
a pattern are checked one by one, and the others parsed together; if that fails too, all are checked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from mesh_platform.contract.types import parse_type
from mesh_platform.ingest.line_check import Fault, read_line, tell_lines
from mesh_platform.ingest.line_join import find_values
from mesh_platform.ingest.line_pattern import write_pattern

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mesh_platform.contract.contract import Contract
    from mesh_platform.contract.types import FieldType

ENVELOPE_STRINGS = ("event_id", "event_type", "producer", "schema_version")
# Small enough that its memory is reused while it is in the CPU cache, and that a bad line costs little.
_PIECE_BYTES = 4 * 1024 * 1024
_SCAN_BYTES = 128 * 1024
_INSTANT = parse_type("timestamptz")
_UNPARSED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError)
# The first and the last day of Python's dates, counted from 1970.
_DAYS = ((date.min - date(1970, 1, 1)).days, (date.max - date(1970, 1, 1)).days)
_SPACES = b" \t\r"
# The faults of a line that is only a part of a value; the second where the part has a complete object inside.
_BROKEN = ("not_json", "duplicate_key")
# Threads help because Arrow releases the interpreter lock.
_READERS = ThreadPoolExecutor(2, "reader")


@dataclass(frozen=True)
class Records:
    """The records of some bodies, numbered by their lines, from 0 in the order of the bodies.

    `rows` has columns for the strings of the envelope, `event_time` and `payload.<field>`; its row i is the record
    `numbers[i]`, and numbers ascend. `refused` has the faults of the others. `starts[i]` is the number of body i's
    first line; its last entry is the count of lines. A record that spans several lines has the number of its first,
    and `joined` has its bytes; the numbers of its other lines are unused.
    """

    rows: pa.Table
    numbers: NDArray[np.int64]
    refused: dict[int, Fault]
    joined: dict[int, bytes]
    starts: NDArray[np.int64]


def read_bodies(contract: Contract, bodies: Sequence[bytes]) -> Records:
    """Parse every record; this checks form and types, not values."""
    tables, numbers, counts = [_no_rows(contract)], [], []
    refused: dict[int, Fault] = {}
    joined: dict[int, bytes] = {}
    before = 0
    for piece in _READERS.map(partial(_read_piece, contract), _pieces(bodies)):
        tables.append(piece.rows)
        numbers.append(piece.numbers + before)
        counts.append(np.diff(piece.starts))
        refused.update({place + before: fault for place, fault in piece.refused.items()})
        joined.update({place + before: raw for place, raw in piece.joined.items()})
        before += int(piece.starts[-1])
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))]) if counts else np.zeros(1, np.int64)
    of_rows = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
    return Records(pa.concat_tables(tables), of_rows, refused, joined, starts)


def split_body(body: bytes) -> list[bytes]:
    """Split a body into its records, one per line, without blank lines.

    A body without any record counts as one empty record, so that it goes to the quarantine and is not lost.
    """
    return [line for line in body.split(b"\n") if line and not line.isspace()] or [body]


@dataclass(frozen=True, slots=True)
class _Lines:
    """The records in `data` as `split_body` finds them: the start and end of each, and how many each body has.

    `odd` marks those that cannot be one JSON object, because they do not start and end with braces.
    """

    data: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    odd: NDArray[np.bool_]
    counts: NDArray[np.int64]

    def pick(self, chosen: NDArray[np.bool_]) -> list[bytes]:
        """The bytes of the chosen lines."""
        places = zip(self.starts[chosen].tolist(), self.ends[chosen].tolist(), strict=True)
        return [self.data[start:end] for start, end in places]

    def leave_out(self, odd: NDArray[np.bool_]) -> bytes:
        """The bytes of all other lines, with the blank lines between them."""
        turns = np.flatnonzero(np.diff(odd, prepend=True, append=True))
        runs = zip(self.starts[turns[::2]].tolist(), self.ends[turns[1::2] - 1].tolist(), strict=True)
        return b"\n".join([self.data[start:end] for start, end in runs])


def _pieces(bodies: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    ends = np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)))
    start = before = 0
    while start < len(bodies):
        stop = max(start + 1, int(np.searchsorted(ends, before + _PIECE_BYTES, "right")))
        yield bodies[start:stop]
        start, before = stop, int(ends[stop - 1])


def _find_lines(bodies: Sequence[bytes]) -> _Lines:
    data = b"\n".join([*bodies, b""])
    letters = np.frombuffer(data, np.uint8)
    scans = range(0, len(letters), _SCAN_BYTES)
    ends = np.concatenate([np.flatnonzero(letters[at : at + _SCAN_BYTES] == ord("\n")) + at for at in scans])
    starts = np.concatenate([[0], ends[:-1] + 1])
    odd = (letters[starts] != ord("{")) | (letters[ends - 1] != ord("}"))
    blank = np.zeros(len(starts), np.bool_)
    if odd.any():
        # Usually the text after the last line end, or a carriage return.
        blank = starts == ends
        returned = letters[ends - 1] == ord("\r")
        odd &= ~blank & ~(returned & (letters[starts] == ord("{")) & (letters[np.maximum(ends - 2, 0)] == ord("}")))
        for place in np.flatnonzero(odd):
            line = data[starts[place] : ends[place]].strip(_SPACES)
            blank[place] = not line or line.isspace()
            odd[place] = not (line.startswith(b"{") and line.endswith(b"}"))
    sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
    bounds = np.concatenate([[0], np.cumsum(sizes + 1)])
    if blank.any():
        starts, ends, odd = starts[~blank], ends[~blank], odd[~blank]
        firsts = np.searchsorted(starts, bounds)
        empty = np.flatnonzero(np.diff(firsts) == 0)
        starts = np.insert(starts, firsts[empty], bounds[empty])
        ends = np.insert(ends, firsts[empty], bounds[empty] + sizes[empty])
        odd = np.insert(odd, firsts[empty], True)
    return _Lines(data, starts, ends, odd, np.diff(np.searchsorted(starts, bounds)))


def _read_piece(contract: Contract, bodies: Sequence[bytes]) -> Records:
    lines = _find_lines(bodies)
    rows, numbers, refused = _read_lines(contract, lines)
    records = Records(rows, numbers, refused, {}, np.concatenate([[0], np.cumsum(lines.counts)]))
    broken = [number for number, fault in refused.items() if fault.reason in _BROKEN]
    return _join_lines(records, bodies, lines, sorted(broken)) if broken else records


def _join_lines(records: Records, bodies: Sequence[bytes], lines: _Lines, broken: Sequence[int]) -> Records:
    """Turn each value that spans several lines into one rejected record."""
    refused, joined = dict(records.refused), {}
    kept = np.ones(len(lines.starts), np.bool_)
    offsets = np.concatenate([[0], np.cumsum([len(body) + 1 for body in bodies])])
    owners = np.searchsorted(records.starts, broken, "right") - 1
    for owner, its_broken in groupby(zip(owners.tolist(), broken, strict=True), itemgetter(0)):
        first, after = records.starts[owner : owner + 2].tolist()
        if after - first == 1:
            continue
        starts, ends = ((each[first:after] - offsets[owner]).tolist() for each in (lines.starts, lines.ends))
        for begin, end in find_values(bodies[owner], starts, ends, [number - first for _, number in its_broken]):
            raw = bodies[owner][starts[begin] : ends[end]]
            for number in range(first + begin, first + end + 1):
                refused.pop(number, None)
                kept[number] = False
            joined[first + begin] = raw
            refused[first + begin] = tell_lines(raw, end - begin + 1)
    if not joined:
        return records
    # A line within such a value, for example in a list, may have been read as a record.
    rows = kept[records.numbers]
    return replace(
        records,
        rows=records.rows.filter(pa.array(rows)),
        numbers=records.numbers[rows],
        refused=refused,
        joined=joined,
    )


def _read_lines(contract: Contract, lines: _Lines) -> tuple[pa.Table, NDArray[np.int64], dict[int, Fault]]:
    """Read the lines: the rows by Arrow, the line number of each row, and the faults of the other lines."""
    odd = lines.odd
    read = _read_others(contract, lines, odd)
    table = _typed_or_none(contract, read)
    if table is None:
        matched = _match(contract, lines)
        read = _read_others(contract, lines, odd | ~matched) if read is None else read.filter(pa.array(matched[~odd]))
        odd = odd | ~matched
        table = _typed_or_none(contract, read)
    if table is None:
        odd = np.ones(len(odd), np.bool_)
        table = _no_rows(contract)
    if not odd.any():
        return table, np.arange(len(odd)), {}
    refused: dict[int, Fault] = {}
    plain: list[tuple[int, bytes]] = []
    for number, raw in zip(np.flatnonzero(odd).tolist(), lines.pick(odd), strict=True):
        read = read_line(contract, raw)
        if isinstance(read, Fault):
            refused[number] = read
        else:
            plain.append((number, read))
    tables, numbers = [table], np.flatnonzero(~odd).tolist()
    _bisect(contract, plain, tables, numbers, refused)
    table = pa.concat_tables(tables).combine_chunks()
    order = np.argsort(numbers)
    return table if len(tables) == 1 else table.take(order), np.asarray(numbers, np.int64)[order], refused


def _read_others(contract: Contract, lines: _Lines, odd: NDArray[np.bool_]) -> pa.Table | None:
    """The table of all lines but the odd ones, or None where Arrow cannot read them."""
    data = lines.leave_out(odd) if odd.any() else lines.data
    try:
        return _parse(contract, data, int(np.count_nonzero(~odd)))
    except _UNPARSED:
        return None


def _match(contract: Contract, lines: _Lines) -> NDArray[np.bool_]:
    """Which lines the contract's pattern matches."""
    # Each text extends to the start of the next line, as there is only white space in between.
    offsets = pa.py_buffer(np.append(lines.starts, len(lines.data)))
    texts = pa.LargeStringArray.from_buffers(len(lines.starts), offsets, pa.py_buffer(lines.data))
    matched: NDArray[np.bool_] = pc.match_substring_regex(texts, write_pattern(contract)).to_numpy(
        zero_copy_only=False
    )
    return matched


def _bisect(
    contract: Contract,
    plain: Sequence[tuple[int, bytes]],
    tables: list[pa.Table],
    numbers: list[int],
    refused: dict[int, Fault],
) -> None:
    """Find by bisection the lines that Arrow cannot read though the check of single lines accepts them."""
    if not plain:
        return
    try:
        read = _parse(contract, b"\n".join([raw for _, raw in plain]), len(plain))
        tables.append(_typed_rows(contract, read))
        numbers.extend(number for number, _ in plain)
    except _UNPARSED as error:
        if len(plain) == 1:
            refused[plain[0][0]] = Fault("not_readable", None, str(error))
            return
        middle = len(plain) // 2
        _bisect(contract, plain[:middle], tables, numbers, refused)
        _bisect(contract, plain[middle:], tables, numbers, refused)


def _parse(contract: Contract, data: bytes, count: int) -> pa.Table:
    """Parse `count` lines, each in braces, with Arrow. Raises one of `_UNPARSED` where one is bad."""
    if not count:
        return _wire_schema(contract).empty_table()
    if not data.isascii():
        data.decode("utf-8")
    if b"\0" in data:
        raise pa.ArrowInvalid("a line holds NUL")
    table = pa.json.read_json(
        pa.BufferReader(data),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=len(data) + 64),
        parse_options=pa.json.ParseOptions(explicit_schema=_wire_schema(contract), unexpected_field_behavior="error"),
    ).combine_chunks()
    # Arrow also accepts two objects on one line and one object on two lines. Inside an object, no line ends with '}'
    # before one that starts with '{', so each line has at least one object; the count shows that none has more.
    if table.num_rows != count:
        raise pa.ArrowInvalid("a line is not one object")
    if table["payload"].null_count:
        raise pa.ArrowInvalid("a payload is missing")
    return table


def _typed_or_none(contract: Contract, read: pa.Table | None) -> pa.Table | None:
    """Convert the result of `_parse` to `Records.rows`, or None where a value is bad or not in plain form."""
    try:
        return None if read is None else _typed_rows(contract, read)
    except pa.ArrowInvalid:
        return None


def _typed_rows(contract: Contract, read: pa.Table) -> pa.Table:
    columns = {name: read[name] for name in ENVELOPE_STRINGS}
    columns["event_time"] = _typed(_INSTANT, read["event_time"])
    assert contract.event is not None
    for field in contract.event.fields:
        columns[f"payload.{field.name}"] = _typed(field.type, pc.struct_field(read["payload"], field.name))
    return pa.table(columns)


def _typed(type_: FieldType, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert to the type. Raises ArrowInvalid also for values that Arrow accepts but Python or the type does not."""
    # Before the cast, because Arrow reads its table of powers of ten out of bounds for large scales.
    if type_.precision and not _are_short_digits(values, type_.precision + 2):
        raise pa.ArrowInvalid("a decimal is not in plain form")
    typed = pc.cast(values, type_.arrow)
    if type_.logical in ("date", "timestamp"):
        numbers = pc.min_max(typed.cast(pa.int32() if type_.name == "date" else pa.int64())).as_py()
        unit = 1 if type_.name == "date" else 86_400_000_000
        first, last = _DAYS[0] * unit, (_DAYS[1] + 1) * unit
        outside = numbers["min"] is not None and not first <= numbers["min"] <= numbers["max"] < last
        # With an offset, a time in the year 0 can be in the year 1 in UTC; Python does not parse it.
        if outside or pc.any(pc.starts_with(values, "0000")).as_py():
            raise pa.ArrowInvalid("a time is not in the years 1 to 9999")
    return typed


def _are_short_digits(values: pa.ChunkedArray, most: int) -> bool:
    """Whether every value has at most `most` characters, all of them digits, points, dashes or slashes.

    Arrow's cast rejects those that are not numbers.
    """
    letters = [np.frombuffer(chunk.buffers()[2] or b"", np.uint8) for chunk in values.chunks]
    longest = pc.max(pc.binary_length(values)).as_py() or 0
    return longest <= most and all(ord("-") <= part.min() and part.max() <= ord("9") for part in letters if len(part))


def _wire_schema(contract: Contract) -> pa.Schema:
    assert contract.event is not None
    payload = pa.struct([pa.field(field.name, field.type.wire) for field in contract.event.fields])
    envelope = [pa.field(name, pa.string()) for name in (*ENVELOPE_STRINGS, "event_time")]
    return pa.schema([*envelope, pa.field("payload", payload)])


def _no_rows(contract: Contract) -> pa.Table:
    assert contract.event is not None
    types = {name: pa.string() for name in ENVELOPE_STRINGS} | {"event_time": _INSTANT.arrow}
    types |= {f"payload.{field.name}": field.type.arrow for field in contract.event.fields}
    return pa.table({name: pa.array([], type_) for name, type_ in types.items()})
