"""Edit a few fields of Avro files, and keep every other byte.

An Iceberg manifest or manifest list of another engine can have fields and header entries that pyiceberg's own writer
does not know. So records are not decoded and encoded again: only the bytes of changed values are replaced. Also, the
decoder of pyiceberg 0.12 reads past the end of a truncated file and takes whatever is in memory for data.

The format: https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pyiceberg.avro.codecs import AVRO_CODEC_KEY, KNOWN_CODECS

_MAGIC = b"Obj\x01"
_SYNC = 16

Values = Mapping[int, Any]
# A field of a record: its id, the start and end of its value, the value, and whether it is optional.
_Found = list[tuple[int, int, int, Any, bool]]
# Takes the data, the start of a value and the list of fields found so far; returns the end of the value.
_Step = Callable[[bytes, int, _Found], int]


def edit_records(
    content: bytes, fields: Collection[int], edit: Callable[[Values], Values], closed: Collection[int] = ()
) -> bytes:
    """Return the Avro file `content` with each record's `fields` as `edit` returns them; itself if nothing changes.

    `fields` are Iceberg ids (`field-id`) of numbers and strings, at any depth of nested records, except below the ids
    `closed`. `edit` gets the values that a record has, with null as None; fields that it leaves out stay unchanged. A
    null cannot be set to a value, nor a value to null. Raises ValueError if the content is not a complete Avro file.
    """
    try:
        return _edit(content, fields, edit, closed)
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"no whole Avro file: {error}") from error


def read_records(content: bytes, fields: Collection[int], closed: Collection[int] = ()) -> list[Values]:
    """Return the `fields` of each record in an Avro file. Arguments and errors are those of `edit_records`."""
    found: list[Values] = []

    def keep(values: Values) -> Values:
        found.append(values)
        return values

    edit_records(content, fields, keep, closed)
    return found


def plain_parts(content: bytes) -> Iterator[bytes]:
    """Yield the header of an Avro file and its blocks, decompressed. Raises ValueError if it is not complete."""
    try:
        _, _, codec, start = _open(content)
        yield content[:start]
        for _, data in _blocks_of(content, start):
            yield codec.decompress(data) if codec else data
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"no whole Avro file: {error}") from error


def _edit(
    content: bytes, fields: Collection[int], edit: Callable[[Values], Values], closed: Collection[int]
) -> bytes:
    header, sync, codec, start = _open(content)
    step = _Steps(fields, closed).of(json.loads(header["avro.schema"]), None)
    parts = [content[:start]]
    differs = False
    for records, data in _blocks_of(content, start):
        plain = codec.decompress(data) if codec else data
        edited = _edit_block(plain, records, step, edit)
        if edited is not plain:
            differs = True
            data = codec.compress(edited)[0] if codec else edited
        parts += [_encode_number(records), _encode_number(len(data)), data, sync]
    return b"".join(parts) if differs else content


def _open(content: bytes) -> tuple[dict[str, bytes], bytes, Any, int]:
    """Return the header of a file, its sync marker, its codec (None if it has none), and where its blocks begin."""
    if not content.startswith(_MAGIC):
        raise ValueError("no whole Avro file: it does not begin as one")
    header, at = _read_header(content, len(_MAGIC))
    codec = KNOWN_CODECS[header.get(AVRO_CODEC_KEY, b"null").decode()]  # type: ignore[index]
    return header, content[at : at + _SYNC], codec, at + _SYNC


def _blocks_of(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the number of records and the bytes of each block; the sync marker is before `at`."""
    sync = content[at - _SYNC : at]
    while at < len(content):
        records, at = _number(content, at)
        data, at = _bytes(content, at)
        if len(sync) < _SYNC or content[at : at + _SYNC] != sync:
            raise ValueError("no whole Avro file: a block does not end where it should")
        at += _SYNC
        yield records, data
    if at > len(content):
        raise ValueError("no whole Avro file: it ends in its header")


def _read_header(content: bytes, at: int) -> tuple[dict[str, bytes], int]:
    found = {}
    count, at = _number(content, at)
    while count:
        if count < 0:
            _, at = _number(content, at)
        for _ in range(abs(count)):
            key, at = _bytes(content, at)
            found[key.decode()], at = _bytes(content, at)
        count, at = _number(content, at)
    return found, at


def _edit_block(plain: bytes, records: int, step: _Step, edit: Callable[[Values], Values]) -> bytes:
    parts: list[bytes] = []
    at = copied = 0
    for _ in range(records):
        found: _Found = []
        at = step(plain, at, found)
        edited = edit({number: value for number, _, _, value, _ in found})
        for number, begin, end, value, optional in found:
            new = edited.get(number, value)
            if new != value:
                # Branch 1 of the union: Iceberg requires null to be branch 0.
                parts += [plain[copied:begin], b"\x02" if optional else b"", _encode(new)]
                copied = end
    if at != len(plain):
        raise ValueError("no whole Avro file: a block is not as long as its records")
    return b"".join([*parts, plain[copied:]]) if parts else plain


def _encode(value: str | int) -> bytes:
    if isinstance(value, int):
        return _encode_number(value)
    data = value.encode()
    return _encode_number(len(data)) + data


def _encode_number(value: int) -> bytes:
    rest = (value << 1) ^ (value >> 63)
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Decode an int or a long; return it and where it ends."""
    rest = shift = 0
    while True:
        byte = data[at]
        at += 1
        rest |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (rest >> 1) ^ -(rest & 1), at
        shift += 7


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _number(data, at)
    if not 0 <= size <= len(data) - at:
        raise ValueError("no whole Avro file: it ends in a value")
    return data[at : at + size], at + size


class _Steps:
    """Makes functions that step over a value of each type in a schema and record the fields that are looked for."""

    def __init__(self, fields: Collection[int], closed: Collection[int]) -> None:
        self._fields, self._closed = frozenset(fields), frozenset(closed)
        self._named: dict[str, _Step] = {}

    def of(self, schema: Any, number: int | None, looks: bool = True) -> _Step:
        """Return the step over `schema`, the type of the field `number`; it records fields only if it `looks`."""
        if number in self._fields and looks:
            return _reading(number, schema)
        kind = schema if isinstance(schema, str) else "union" if isinstance(schema, list) else schema["type"]
        if not isinstance(kind, str):
            return self.of(kind, None, looks)
        looks = looks and number not in self._closed
        match kind:
            case "null" | "boolean" | "float" | "double":
                return _sized({"null": 0, "boolean": 1, "float": 4, "double": 8}[kind])
            case "int" | "long" | "enum":
                step: _Step = _varied
            case "bytes" | "string":
                return _long
            case "fixed":
                step = _sized(int(schema["size"]))
            case "union":
                step = _union([self.of(branch, None, looks) for branch in schema])
            case "array":
                step = _blocks([self.of(schema["items"], None, looks)])
            case "map":
                step = _blocks([self.of("string", None), self.of(schema["values"], None, looks)])
            case "record":
                step = _all([self.of(field["type"], field.get("field-id"), looks) for field in schema["fields"]])
            case _:
                return self._named[kind.rpartition(".")[2]]
        if isinstance(schema, dict) and "name" in schema:
            self._named[schema["name"].rpartition(".")[2]] = step
        return step


def _reading(number: int, schema: Any) -> _Step:
    optional = isinstance(schema, list)
    kinds = [kind if isinstance(kind, str) else kind["type"] for kind in (schema if optional else [schema])]
    if (optional and kinds[0] != "null") or kinds[-1] not in ("string", "int", "long"):
        raise ValueError(f"no Avro file of Iceberg: its field {number} is {json.dumps(schema)}")
    is_text = kinds[-1] == "string"

    def step(data: bytes, begin: int, found: _Found) -> int:
        at, branch = begin, 1
        value: bytes | int | None = None
        if optional:
            branch, at = _number(data, at)
        if branch:
            value, at = _bytes(data, at) if is_text else _number(data, at)
        found.append((number, begin, at, value.decode() if isinstance(value, bytes) else value, optional))
        return at

    return step


def _sized(size: int) -> _Step:
    return lambda data, at, found: at + size


def _varied(data: bytes, at: int, found: _Found) -> int:
    while data[at] > 0x7F:
        at += 1
    return at + 1


def _long(data: bytes, at: int, found: _Found) -> int:
    size, at = _number(data, at)
    if size < 0:
        raise ValueError("no whole Avro file: a value has no such length")
    return at + size


def _union(branches: list[_Step]) -> _Step:
    def step(data: bytes, at: int, found: _Found) -> int:
        branch, at = _number(data, at)
        return branches[branch](data, at, found)

    return step


def _all(steps: list[_Step]) -> _Step:
    def step(data: bytes, at: int, found: _Found) -> int:
        for each in steps:
            at = each(data, at, found)
        return at

    return step


def _blocks(steps: list[_Step]) -> _Step:
    def step(data: bytes, at: int, found: _Found) -> int:
        count, at = _number(data, at)
        while count:
            if count < 0:
                # A negative count is followed by the block's size in bytes, so the block is skipped as a whole.
                at = _long(data, at, found)
            else:
                for _ in range(count):
                    for each in steps:
                        at = each(data, at, found)
            count, at = _number(data, at)
        return at

    return step
