"""A JSON value that spans several lines becomes one row of the quarantine, which says how to fix it."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_platform.broker import Delivery
from mesh_platform.contract.contract import Contract
from mesh_platform.ingest.line_join import find_values
from mesh_platform.ingest.validator import validate

from conftest import draws
from tests.every_type import GOOD, NOW, check, envelope, every_type


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


def pretty(data: object) -> bytes:
    return json.dumps(data, indent=2, ensure_ascii=False).encode()


def refused(contract: Contract, *bodies: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = check(contract, *bodies).rejected.to_pylist()
    return rows


PRETTY = pretty(envelope(0))
TWO = [json.loads(raw) for raw in GOOD[:2]]
LIST = b"[\n" + b",\n".join(GOOD) + b"\n]"


@pytest.mark.parametrize(
    ("body", "how"),
    [
        (PRETTY, "`jq -c .`"),
        (PRETTY + b"\n", "`jq -c .`"),
        (PRETTY.replace(b"\n", b"\r\n"), "`jq -c .`"),
        (PRETTY.replace(b"\n", b"\n\n \n"), "`jq -c .`"),
        (b"\xef\xbb\xbf" + PRETTY, "`jq -c .`"),
        (b"  " + PRETTY, "`jq -c .`"),
        (GOOD[0].replace(b'"payload"', b'\n"payload"'), "`jq -c .`"),
        (pretty(TWO), "`jq -c '.[]'`"),
        (LIST, "`jq -c '.[]'`"),
        (LIST.replace(b"\n", b"\r\n"), "`jq -c '.[]'`"),
        (b"[\n]", "`jq -c '.[]'`"),
        (b'{"a":{"b":1,"b":2},\n"c":3}', "`jq -c .`"),
        # Two values that share a line.
        (PRETTY + PRETTY, "`jq -c .`"),
    ],
)
def test_a_message_that_is_one_value_is_one_row(contract: Contract, body: bytes, how: str) -> None:
    found = check(contract, body)
    (row,) = found.rejected.to_pylist()
    assert (found.lines, found.accepted.num_rows) == (1, 0)
    assert (row["reason"], row["field"], row["position"]) == ("not_one_line", None, 0)
    assert how in row["detail"]
    assert "one object on a line" in row["detail"]
    assert row["raw"].strip() == body.strip()
    assert row["raw_sha256"] == hashlib.sha256(row["raw"]).hexdigest()


def test_a_list_on_one_line_is_one_row_that_says_the_same(contract: Contract) -> None:
    found = check(contract, b"[" + b",".join(GOOD) + b"]")
    (row,) = found.rejected.to_pylist()
    assert (found.lines, row["reason"]) == (1, "not_json")
    assert "Write one object on a line, as `jq -c '.[]'` does" in row["detail"]


def test_one_event_over_several_lines_has_its_id_and_is_known_when_it_comes_again(contract: Contract) -> None:
    for key in {row["rejection_key"] for body in (PRETTY, PRETTY + b"\n", LIST) for row in refused(contract, body)}:
        assert key == envelope(0)["event_id"] or key.startswith("m0:0:")
    (row,) = refused(contract, PRETTY)
    assert (row["event_id"], row["rejection_key"]) == (envelope(0)["event_id"],) * 2
    (again,) = validate(contract, [Delivery(row["raw"], "other", 7, False)], NOW).rejected.to_pylist()
    assert again["rejection_key"] == row["rejection_key"]


def test_values_one_after_the_other_are_a_row_each_and_good_lines_between_them_land(contract: Contract) -> None:
    other = pretty(envelope(1))
    body = b"\n".join([GOOD[0], PRETTY, GOOD[1], other, GOOD[2]])
    found = check(contract, b"hello", body, GOOD[0])
    assert found.accepted["name"].to_pylist() == ["0", "1", "2", "0"]
    rows = found.rejected.to_pylist()
    assert [(row["reason"], row["raw"]) for row in rows] == [
        ("not_json", b"hello"), ("not_one_line", PRETTY), ("not_one_line", other)
    ]  # fmt: skip
    assert [row["message_id"] for row in rows] == ["m0", "m1", "m1"]
    assert rows[1]["position"] == 1
    assert found.lines == 7


@pytest.mark.parametrize(
    "body",
    [
        b"\n".join([GOOD[0], b"hello", GOOD[1][:200], GOOD[2], GOOD[1][200:]]),
        b"\n".join([b"{", GOOD[0], b"{", b"}}"]),
        b"\n".join([b"[", *GOOD, b"]"]),
        b"\n".join([raw + b"," for raw in GOOD]),
        PRETTY[:-1],
        PRETTY + b",\n" + PRETTY,
    ],
)
def test_lines_that_are_broken_are_a_row_each(contract: Contract, body: bytes) -> None:
    found = check(contract, body)
    lines = [raw for raw in body.split(b"\n") if raw]
    assert found.lines == len(lines)
    assert found.accepted.num_rows == sum(raw in GOOD for raw in lines)
    assert found.rejected["raw"].to_pylist() == [raw for raw in lines if raw not in GOOD]


def test_a_broken_line_hides_no_value_behind_it(contract: Contract) -> None:
    (last,) = refused(contract, b"\n".join([b"hello", GOOD[0], b"[] x", PRETTY]))[2:]
    assert (last["reason"], last["raw"]) == ("not_one_line", PRETTY)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_PARTS = st.lists(st.tuples(_VALUES, st.sampled_from([None, 1, "\t"])), max_size=5)


@settings(deadline=None, max_examples=draws(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=_PARTS, end=st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_each_value_that_is_printed_over_lines_is_found(
    contract: Contract, parts: list[tuple[object, int | str | None]], end: bytes
) -> None:
    bodies = [json.dumps(value, indent=indent, ensure_ascii=False).encode() for value, indent in parts]
    body = end.join(raw.replace(b"\n", end) for raw in bodies)
    found = check(contract, body)
    assert found.lines == found.rejected.num_rows == max(1, len(bodies))
    wide = [raw.replace(b"\n", end) for raw in bodies if b"\n" in raw]
    joined = [row["raw"] for row in found.rejected.to_pylist() if row["reason"] == "not_one_line"]
    assert [raw.removesuffix(b"\r") for raw in joined] == wide


@pytest.mark.parametrize("line", [b"{", b"[", b"[1,", b'{"a":[', b"{} {", b"{},", b'["', b"{}{}", b'{"a":{},'])
def test_bytes_that_only_look_like_values_cost_no_more_than_their_length(line: bytes) -> None:
    spent = []
    for count in (20_000, 80_000):
        body = b"\n".join([line] * count)
        starts = [number * (len(line) + 1) for number in range(count)]
        begin = time.process_time()
        assert list(find_values(body, starts, [start + len(line) for start in starts], range(count))) == []
        spent.append(time.process_time() - begin)
    assert spent[1] < 16 * spent[0] + 0.2
