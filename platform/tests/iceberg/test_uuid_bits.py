"""Parsed ids have the same 128 bits as Python's UUIDs, and anything but a lower-case UUID is recognised."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.events.event import EVENT_ID
from mesh_platform.iceberg.uuid_bits import parse_ids

GOOD = "0199b4d3-2c3a-7b1e-8f00-5d1c0f2a9b11"
TYPES = [pa.string(), pa.large_string()]
# One letter of an id replaced, added or removed.
_NEARLY = st.builds(
    lambda place, letter, width: GOOD[:place] + letter + GOOD[place + width :],
    st.integers(0, 35),
    st.sampled_from([*"0919af-gF/:`{@G\0 ", "é", "", "00"]),
    st.integers(0, 2),
)


def is_good(text: str | None) -> bool:
    return text is not None and re.fullmatch(EVENT_ID, text) is not None


def bits(text: str) -> tuple[int, int]:
    number = int(text.replace("-", ""), 16)
    return number >> 64, number % 2**64


@pytest.mark.parametrize("type_", TYPES)
@given(texts=st.lists(st.uuids().map(str) | _NEARLY | st.none() | st.text(max_size=40), max_size=20))
def test_bits_and_form_are_those_of_each_id(type_: pa.DataType, texts: list[str | None]) -> None:
    upper, lower, well_formed = parse_ids(pa.array(texts, type_))
    assert well_formed.tolist() == [is_good(text) for text in texts]
    for text, *found in zip(texts, upper.tolist(), lower.tolist(), strict=True):
        if text is not None and is_good(text):
            assert tuple(found) == bits(text)


@pytest.mark.parametrize("type_", TYPES)
def test_a_slice_of_many_gives_its_own(type_: pa.DataType) -> None:
    texts = [f"{number:08x}{GOOD[8:]}" for number in range(20_000)]
    upper, lower, well_formed = parse_ids(pa.array(["x", *texts], type_).slice(4000, 12_000))
    assert well_formed.all()
    assert [*zip(upper.tolist(), lower.tolist(), strict=True)] == [bits(text) for text in texts[3999:15_999]]


@pytest.mark.parametrize("type_", TYPES)
def test_at_each_place_just_its_own_letters_are_good(type_: pa.DataType) -> None:
    texts = [bytearray(GOOD.encode()) for _ in range(len(GOOD) * 256)]
    for number, text in enumerate(texts):
        text[number // 256] = number % 256
    offsets = np.arange(0, len(GOOD) * (len(texts) + 1), len(GOOD), np.int64 if type_ == TYPES[1] else np.int32)
    ids = pa.Array.from_buffers(type_, len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))])
    good = [bytes([n % 256]) in (b"-" if GOOD[n // 256] == "-" else b"0123456789abcdef") for n in range(len(texts))]
    assert parse_ids(ids)[2].tolist() == good
