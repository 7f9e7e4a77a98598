"""A flush and its single lines have the same result: neither position nor neighbours of a line change it."""

from __future__ import annotations

import json
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mesh_platform.contract.contract import Contract

from conftest import draws
from tests.every_type import GOOD, PAYLOAD, check, every_type, line, written


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


_OBJECT = GOOD[0][:-2]


@pytest.mark.parametrize(
    ("lines", "accepted", "count"),
    [
        # As many objects as lines, but not one per line.
        ([GOOD[0] + GOOD[1], b""], 0, 1),
        ([GOOD[0] + GOOD[1], GOOD[2][:40], GOOD[2][40:]], 0, 3),
        ([GOOD[0] + GOOD[1], _OBJECT + b"}", b"}"], 0, 2),
        ([_OBJECT + b"}", b"}", GOOD[1]], 1, 2),
        ([_OBJECT, b"}}"], 0, 1),
        ([b"{", GOOD[0][1:]], 0, 1),
        ([GOOD[0] + b"{}", b"{}" + GOOD[1]], 0, 2),
        ([GOOD[0] + b"\r" + GOOD[1], b"{}"], 0, 2),
        ([GOOD[0] + GOOD[1], b"{\0}"], 0, 2),
        ([GOOD[0] + GOOD[1], b"{}\0}", GOOD[2]], 1, 3),
        ([GOOD[0] + b"\0{", b"}"], 0, 2),
        ([b"[", GOOD[0], b"]"], 0, 1),
        ([GOOD[0] + b",", GOOD[1]], 1, 2),
        # A string that looks like the border between two lines.
        ([line(name="}\n{"), GOOD[1]], 2, 2),
        ([written("name", b'"}'), b'{"' + GOOD[1][1:]], 0, 2),
        ([written("name", b'"}{"'), GOOD[1]], 2, 2),
    ],
)
def test_what_is_not_one_object_a_line_is_refused(
    contract: Contract, lines: list[bytes], accepted: int, count: int
) -> None:
    found = check(contract, b"\n".join(lines))
    assert (found.accepted.num_rows, found.rejected.num_rows, found.lines) == (accepted, count - accepted, count)


_SWAPS = st.sampled_from(
    ["null", "true", "7", "-0", "1.50", "1e2", "1e-9", '""', '"x"', '"1.5"', '"1e-400"', '"-0.0"', '"2025-10-01"',
     "NaN",
     '"2025-10-01T10:00:00"', '"2025-10-01T10:00:00Z"', '"0000-01-01T00:00:00Z"', '"2025-10-01T10:00:00+23:59"', "[]",
     "{}", '"\\ud800"', '"\\u0000"', "9" * 30, '"A-1"', '"new"', "1e-2147483647", '"0001-01-01T00:00:00+00:01"'],
)  # fmt: skip


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    raw = draw(st.sampled_from(GOOD))
    kind = draw(st.sampled_from(["good", "flip", "cut", "delete", "insert", "drop", "swap", "seam"]))
    place = draw(st.integers(0, len(raw) - 1))
    if kind == "flip":
        return raw[:place] + bytes([raw[place] ^ (1 << draw(st.integers(0, 7)))]) + raw[place + 1 :]
    if kind == "cut":
        return raw[:place]
    if kind == "delete":
        return raw[:place] + raw[place + draw(st.integers(1, 20)) :]
    if kind == "insert":
        return (
            raw[:place]
            + draw(st.sampled_from([b"\0", b"\r", b"{", b"}", b'"', b"\\", b",", b"\xff", b"}{"]))
            + raw[place:]
        )
    if kind == "drop":
        name = draw(st.sampled_from([*PAYLOAD]))
        return line(**{name: ...})
    if kind == "swap":
        return written(draw(st.sampled_from([*PAYLOAD])), draw(_SWAPS))
    if kind == "seam":
        return raw + draw(st.sampled_from([b"", b" ", b"\r"])) + draw(st.sampled_from([raw, b"{", b"}", b"\0"]))
    return raw


def is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


@settings(deadline=None, max_examples=draws(150), suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(_mutated(), min_size=1, max_size=8))
def test_lines_together_give_what_each_gives_alone(contract: Contract, lines: list[bytes]) -> None:
    pieces = [piece for raw in lines for piece in raw.split(b"\n") if piece.strip()]
    if not pieces or any(is_json(b"\n".join(pieces[a:b])) for b in range(len(pieces) + 1) for a in range(b - 1)):
        return
    alone = [check(contract, raw) for raw in pieces]
    for extra in ([], [b"{"]):
        together = check(contract, b"\n".join([*pieces, *extra]))
        accepted = pa.concat_tables([found.accepted for found in alone])
        assert together.accepted.to_pylist() == accepted.to_pylist()
        told = [(r["raw"], r["reason"], r["field"]) for found in alone for r in found.rejected.to_pylist()]
        told += [(raw, "not_json", None) for raw in extra]
        assert [(r["raw"], r["reason"], r["field"]) for r in together.rejected.to_pylist()] == told
        assert together.lines == together.accepted.num_rows + together.rejected.num_rows == len(pieces) + len(extra)


@settings(deadline=None, max_examples=draws(300))
@given(bodies=st.lists(st.binary(max_size=80) | st.text(max_size=40).map(str.encode), max_size=4))
@example(bodies=[b"\xff\xfe{\x00}\x00"])
@example(bodies=[b'{"event_id": "\\ud800"}'])
@example(bodies=[b"1e99999999999999999999"])
def test_no_bytes_raise(contract: Contract, bodies: list[bytes]) -> None:
    found = check(contract, *bodies)
    assert (found.accepted.num_rows, found.rejected.num_rows) == (0, found.lines)


@settings(deadline=None, max_examples=draws(200))
@given(
    time=st.from_regex(
        r"\A(000[01]|1970|2025|9999)-(01|02|12)-(01|29|31)"
        r"([T ]([01][0-9]|2[34])(:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,7})?)?)?)?"
        r"(Z|z|[+-](0[0-9]|1[0-9]|2[3-5])(:?[0-6][0-9])?)?\Z"
    ),
    field=st.sampled_from(["wall", "at", "born"]),
)
def test_both_ways_of_reading_take_the_same_times(contract: Contract, time: str, field: str) -> None:
    raw = written(field, f'"{time}"')
    fast, slow = check(contract, raw), check(contract, raw + b"\n{")
    assert fast.accepted.to_pylist() == slow.accepted.to_pylist()
    assert "not_readable" not in fast.rejected.column("reason").to_pylist()


@settings(deadline=None, max_examples=draws(200))
@given(
    number=st.from_regex(r"\A-?(0|[1-9][0-9]{0,45})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?\Z"),
    field=st.sampled_from(["price", "huge", "tiny", "ratio", "small", "big"]),
    quoted=st.booleans(),
)
def test_both_ways_of_reading_take_the_same_numbers(
    contract: Contract, number: str, field: str, quoted: bool
) -> None:
    raw = written(field, f'"{number}"' if quoted else number)
    fast, slow = check(contract, raw), check(contract, raw + b"\n{")
    assert fast.accepted.to_pylist() == slow.accepted.to_pylist()
    # Arrow considers 0e400 too large for a double.
    assert Decimal(number) == 0 or "not_readable" not in fast.rejected.column("reason").to_pylist()
    if field in ("price", "huge", "tiny") and fast.accepted.num_rows:
        assert fast.accepted.column(field).to_pylist() == [Decimal(number)]
