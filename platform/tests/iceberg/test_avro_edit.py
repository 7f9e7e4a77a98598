"""Editing fields of Avro files keeps everything else, whoever wrote them and whatever they contain."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.iceberg.avro_edit import edit_records, read_records
from pyiceberg.avro.encoder import BinaryEncoder

# As other engines may write: fields and header entries that pyiceberg does not know, named types, an array in a
# block with its size, a union that is not optional.
PAIR = {"type": "record", "name": "k1_v2", "fields": [{"name": "key", "type": "int", "field-id": 117}]}
FILE = {
    "type": "record",
    "name": "r2",
    "fields": [
        {"name": "content", "type": "int", "field-id": 134},
        {"name": "file_path", "type": "string", "field-id": 100},
        {
            "name": "partition",
            "field-id": 102,
            "type": {
                "type": "record",
                "name": "r102",
                "fields": [
                    {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "field-id": 1000},
                    {"name": "odd", "type": "string", "field-id": 100},
                    {"name": "money", "type": {"type": "fixed", "name": "d9", "size": 3}, "field-id": 1001},
                    {"name": "more", "type": "d9", "field-id": 1002},
                ],
            },
        },
        {"name": "sizes", "type": ["null", {"type": "array", "items": PAIR, "logicalType": "map"}], "field-id": 108},
        {"name": "words", "type": {"type": "map", "values": "bytes"}, "field-id": 2000},
        {"name": "ratio", "type": ["null", "double", "float", "boolean"], "field-id": 2001},
        {"name": "referenced", "type": ["null", "string"], "default": None, "field-id": 143},
        {"name": "kind", "type": {"type": "enum", "name": "e", "symbols": ["a", "b"]}, "field-id": 2002},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "entry",
    "fields": [
        {"name": "status", "type": "int", "field-id": 0},
        {"name": "data_file", "type": FILE, "field-id": 2},
        {"name": "nothing", "type": "null", "field-id": 2003},
        {"name": "last", "type": ["null", "long"], "field-id": 4},
    ],
}
FIELDS = (0, 4, 100, 143)


def avro(records: Sequence[Sequence[Any]], codec: str = "deflate") -> bytes:
    out = io.BytesIO()
    encoder = BinaryEncoder(out)
    out.write(b"Obj\x01")
    header = {"avro.schema": json.dumps(SCHEMA).encode(), "avro.codec": codec.encode(), "from elsewhere": b"\xff"}
    encoder.write_int(len(header))
    for key, value in header.items():
        encoder.write_utf8(key)
        encoder.write_bytes(value)
    encoder.write_int(0)
    out.write(b"s" * 16)
    # One block for each record, as large files have several blocks.
    for status, path, referenced, last in records:
        block = io.BytesIO()
        inner = BinaryEncoder(block)
        inner.write_int(status)
        inner.write_int(0)
        inner.write_utf8(path)
        inner.write_int(1)
        inner.write_int(-7)
        inner.write_utf8("/old/odd")
        block.write(b"abcdef")
        inner.write_int(1)
        inner.write_int(-2)
        inner.write_int(2)
        inner.write_int(5)
        inner.write_int(-6)
        inner.write_int(0)
        inner.write_int(1)
        inner.write_utf8("/old/word")
        inner.write_bytes(b"\x00\xff")
        inner.write_int(0)
        inner.write_int(2)
        inner.write_float(1.5)
        inner.write_int(referenced is not None)
        if referenced is not None:
            inner.write_utf8(referenced)
        inner.write_int(1)
        inner.write_int(last is not None)
        if last is not None:
            inner.write_int(last)
        packed = block.getvalue()
        if codec == "deflate":
            squeezed = zlib.compressobj(wbits=-15)
            packed = squeezed.compress(packed) + squeezed.flush()
        encoder.write_int(1)
        encoder.write_bytes(packed)
        out.write(b"s" * 16)
    return out.getvalue()


def moved(values: Any) -> Any:
    return {n: v.replace("/old", "/a new one") if isinstance(v, str) else v for n, v in values.items()}


RECORD = st.tuples(
    st.integers(-(2**31), 2**31 - 1),
    st.text().map(lambda text: f"/old/{text}"),
    st.none() | st.text(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
)


@given(st.lists(RECORD, max_size=4), st.sampled_from(["deflate", "null"]))
def test_what_is_not_changed_is_kept_byte_by_byte(records: list[Any], codec: str) -> None:
    content = avro(records, codec)
    read = [dict(zip((0, 100, 143, 4), record, strict=True)) for record in records]
    assert [dict(found) for found in read_records(content, FIELDS, closed=(102,))] == read
    assert edit_records(content, FIELDS, lambda values: values, closed=(102,)) is content
    edited = edit_records(content, FIELDS, moved, closed=(102,))
    assert read_records(edited, FIELDS, closed=(102,)) == [moved(values) for values in read]
    if codec == "null":
        assert edited == avro([[s, *moved({0: p, 1: r}).values(), n] for s, p, r, n in records], codec)


def test_an_optional_number_and_text_are_set() -> None:
    content = avro([[1, "/old/a", "/old/b", 5]])
    edited = edit_records(content, FIELDS, lambda values: {143: "/c", 4: -(2**40)}, closed=(102,))
    assert read_records(edited, FIELDS, closed=(102,)) == [{0: 1, 100: "/old/a", 143: "/c", 4: -(2**40)}]


@pytest.mark.parametrize("codec", ["deflate", "null"])
def test_half_a_file_is_told(codec: str) -> None:
    content = avro([[1, "/old/a", None, None], [2, "/old/b", None, 1]], codec)
    whole = []
    for end in range(len(content)):
        try:
            whole.append(len(read_records(content[:end], FIELDS, closed=(102,))))
        except ValueError:
            continue
    # A file cut between two blocks is a valid Avro file with fewer records.
    assert whole == [0, 1]
    with pytest.raises(ValueError, match="no whole Avro file"):
        read_records(b"PAR1", FIELDS)
