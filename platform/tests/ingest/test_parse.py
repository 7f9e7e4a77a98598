"""Each record keeps its number, row and fault, wherever bodies are split into pieces and lines."""

from __future__ import annotations

import itertools
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mesh_platform import faults
from mesh_platform.contract.contract import Contract
from mesh_platform.events.event import ENVELOPE
from mesh_platform.ingest import parse
from mesh_platform.ingest.line_check import Fault, read_line
from mesh_platform.ingest.line_pattern import write_pattern
from mesh_platform.ingest.parse import read_bodies, split_body

from conftest import draws

from ..every_type import GOOD, PAYLOAD, check, every_type, line, written
from .test_validator import BAD


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


def matches(contract: Contract, raw: bytes) -> bool:
    text = pa.LargeBinaryArray.from_pandas([raw], type=pa.large_binary()).view(pa.large_string())
    return bool(pc.match_substring_regex(text, write_pattern(contract))[0].as_py())


# Where things are

_TWICE = GOOD[2][:-1] + b',"producer":"x"}'
_LINES = st.sampled_from(
    [*GOOD[:3], b"  " + GOOD[0] + b"\t", GOOD[1] + b"\r", b"", b"\r", b" \t", b"\x0b", b"{", b"{}", b"\xff", b"{\0}",
     GOOD[0] + GOOD[1], written("price", '"x"'), written("price", "1.5"), written("at", '"0000-01-01T00:00:00Z"'),
     written("name", '"é"'), _TWICE, written("born", '"2025-02-29"'), written("born", '"2024-02-29"')],
)  # fmt: skip
_BODIES = st.lists(st.lists(_LINES, max_size=6).map(b"\n".join), max_size=8)


@pytest.mark.parametrize("size", [1, 1500, 4 * 1024 * 1024])
@settings(deadline=None, max_examples=draws(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=_BODIES)
@example(bodies=[b"", b"", GOOD[0], b"\n\n", b"\n"])
@example(bodies=[GOOD[0] + b"\n", b"\n" + GOOD[1]])
@example(bodies=[_TWICE] * 3)
def test_each_record_is_a_row_or_a_fault_under_its_own_number(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, size: int, bodies: list[bytes]
) -> None:
    monkeypatch.setattr(parse, "_PIECE_BYTES", size)
    records = read_bodies(contract, bodies)
    split = [split_body(body) for body in bodies]
    raws = [raw for lines in split for raw in lines]
    assert records.starts.tolist() == [0, *itertools.accumulate(map(len, split))]
    good = [number for number, raw in enumerate(raws) if not isinstance(read_line(contract, raw), Fault)]
    assert records.numbers.tolist() == good
    assert sorted(records.refused) == [number for number in range(len(raws)) if number not in good]
    ids = [json.loads(raws[number])["payload"]["name"] for number in good]
    assert records.rows["payload.name"].to_pylist() == ids
    for number, fault in records.refused.items():
        assert fault == read_line(contract, raws[number])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b"\n \n"])
def test_what_ends_lines_does_not_make_them_odd(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(parse, "read_line", lambda contract, raw: pytest.fail("a good line was read singly"))
    body = b"".join(raw + end for raw in GOOD[:3])
    assert read_bodies(contract, [body, body]).rows.num_rows == 6


@pytest.mark.parametrize("bad", [b"{", _TWICE, written("price", '"x"'), line(colour="red"), b"\xff"])
def test_a_bad_line_leaves_other_pieces_alone(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, bad: bytes
) -> None:
    read: list[bytes] = []

    def note(contract: Contract, raw: bytes) -> bytes | Fault:
        read.append(raw)
        return read_line(contract, raw)

    monkeypatch.setattr(parse, "_PIECE_BYTES", 1)
    monkeypatch.setattr(parse, "read_line", note)
    records = read_bodies(contract, [GOOD[0], GOOD[1] + b"\n" + bad, GOOD[2]])
    assert (records.rows.num_rows, [*records.refused]) == (3, [2])
    # Only a repeated key is beyond the pattern.
    assert read == ([GOOD[1], bad] if bad is _TWICE else [bad])


def test_parsed_is_a_point_before_the_checks(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_passed", {})
    monkeypatch.setenv("MESH_FAULT", "ingest.validating:raise")
    with pytest.raises(faults.InjectedFault):
        check(contract, GOOD[0])


# The pattern


@pytest.mark.parametrize("raw", GOOD[:3])
def test_pattern_knows_good_lines_in_any_order_and_spacing(contract: Contract, raw: bytes) -> None:
    data = json.loads(raw)
    turned: dict[str, Any] = {name: data[name] for name in reversed(ENVELOPE)}
    turned["payload"] = dict(reversed(data["payload"].items()))
    for spaced in (data, turned):
        for shape in ({}, {"separators": (",", ":")}, {"ensure_ascii": False}):
            assert matches(contract, json.dumps(spaced, **shape).encode() + b"\r\n\n")
    assert matches(contract, line(**dict.fromkeys(PAYLOAD)))
    assert matches(contract, line(name="\U0001f600 é \x7f \\ / \b"))


def test_what_the_pattern_lets_through_arrow_reads_but_for_a_key_that_stands_twice(contract: Contract) -> None:
    through = {name: read_line(contract, raw) for name, raw, _, _ in BAD if matches(contract, raw)}
    faulty = {name: fault.reason for name, fault in through.items() if isinstance(fault, Fault)}
    # Arrow reads a missing field of the envelope as null, which a later check finds.
    assert set(faulty.values()) == {"duplicate_key", "missing"}


def test_short_decimals_are_read_by_arrow_as_by_python(tmp_path: Path) -> None:
    contract = every_type(tmp_path, price={"physicalType": "decimal(3,2)", "logicalTypeOptions": {}})
    values = ["".join(letters) for size in range(6) for letters in itertools.product("-./09", repeat=size)]
    found = {text: check(contract, written("price", f'"{text}"')) for text in values[::7]}
    for text, records in found.items():
        good = bool(re.fullmatch(r"-?(0*[09]?(\.[09]{0,2}0*)?)", text)) and any(letter in text for letter in "09")
        assert (records.accepted.num_rows == 1) == good, text
        if good:
            assert records.accepted["price"].to_pylist() == [Decimal(text)]
