"""Avro files with a few fields changed and every other byte as it was.

An Iceberg manifest or manifest list of another engine can have fields and header entries that pyiceberg's own writer
does not know. So records are not read and written again: what differs is put between what does not. The format:
https://avro.apache.org/docs/1.12.0/specification/
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pyiceberg.avro.codecs import AVRO_CODEC_KEY, KNOWN_CODECS
from pyiceberg.avro.decoder import BinaryDecoder, new_decoder
from pyiceberg.avro.encoder import BinaryEncoder

_MAGIC = b"Obj\x01"
_SYNC = 16

Values = Mapping[int, Any]
# A field of a record: its id, where its value begins and ends, the value, and whether it may be null.
_Found = list[tuple[int, int, int, Any, bool]]
_Step = Callable[[BinaryDecoder, _Found], None]


def edit_records(
    content: bytes, fields: Collection[int], edit: Callable[[Values], Values], closed: Collection[int] = ()
) -> bytes:
    """The Avro file `content` with each record's `fields` as `edit` returns them; the same object where none differs.

    `fields` are ids of Iceberg (`field-id`) of numbers and strings, at any depth of records, but not below the ids
    `closed`. `edit` gets the values that a record has, null as None; what it leaves out stays. A field that is None
    cannot be set, nor one set to None. Raises ValueError where the content is no whole Avro file.
    """
    try:
        return _edit(content, fields, edit, closed)
    except (EOFError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no whole Avro file: {error}") from error


def read_records(content: bytes, fields: Collection[int], closed: Collection[int] = ()) -> list[Values]:
    """The `fields` of each record in an Avro file. Arguments and errors are those of `edit_records`."""
    found: list[Values] = []

    def keep(values: Values) -> Values:
        found.append(values)
        return values

    edit_records(content, fields, keep, closed)
    return found


def _edit(
    content: bytes, fields: Collection[int], edit: Callable[[Values], Values], closed: Collection[int]
) -> bytes:
    if not content.startswith(_MAGIC):
        raise ValueError("no whole Avro file: it does not begin as one")
    decoder = new_decoder(content)
    decoder.skip(len(_MAGIC))
    header = _read_header(decoder)
    sync = decoder.read(_SYNC)
    codec = KNOWN_CODECS[header.get(AVRO_CODEC_KEY, b"null").decode()]  # type: ignore[index]
    step = _Steps(fields, closed).of(json.loads(header["avro.schema"]), None)
    written = io.BytesIO()
    written.write(content[: decoder.tell()])
    differs = False
    while decoder.tell() < len(content):
        records, data = decoder.read_int(), decoder.read_bytes()
        if decoder.read(_SYNC) != sync:
            raise ValueError("no whole Avro file: a block does not end where it should")
        plain = codec.decompress(data) if codec else data
        edited = _edit_block(plain, records, step, edit)
        if edited is not plain:
            differs = True
            data = codec.compress(edited)[0] if codec else edited
        encoder = BinaryEncoder(written)
        encoder.write_int(records)
        encoder.write_bytes(data)
        encoder.write(sync)
    return written.getvalue() if differs else content


def _read_header(decoder: BinaryDecoder) -> dict[str, bytes]:
    found = {}
    while count := decoder.read_int():
        if count < 0:
            decoder.skip_int()
        for _ in range(abs(count)):
            key = decoder.read_utf8()
            found[key] = decoder.read_bytes()
    return found


def _edit_block(plain: bytes, records: int, step: _Step, edit: Callable[[Values], Values]) -> bytes:
    decoder = new_decoder(plain)
    parts: list[bytes] = []
    copied = 0
    for _ in range(records):
        found: _Found = []
        step(decoder, found)
        values = {number: value for number, _, _, value, _ in found}
        edited = edit(values)
        for number, begin, end, value, optional in found:
            new = edited.get(number, value)
            if new != value:
                parts += [plain[copied:begin], _encode(new, optional)]
                copied = end
    if decoder.tell() != len(plain):
        raise ValueError("no whole Avro file: a block has more than its records")
    return b"".join([*parts, plain[copied:]]) if parts else plain


def _encode(value: str | int, optional: bool) -> bytes:
    written = io.BytesIO()
    encoder = BinaryEncoder(written)
    if optional:
        # Iceberg asks for null as the first of the two.
        encoder.write_int(1)
    if isinstance(value, str):
        encoder.write_utf8(value)
    else:
        encoder.write_int(value)
    return written.getvalue()


class _Steps:
    """What steps over a value of each type of a schema, and notes the fields that are looked for."""

    def __init__(self, fields: Collection[int], closed: Collection[int]) -> None:
        self._fields, self._closed = frozenset(fields), frozenset(closed)
        self._named: dict[str, _Step] = {}

    def of(self, schema: Any, number: int | None, looks: bool = True) -> _Step:
        """The step over `schema`, the type of the field `number`; it `looks` at fields, or passes them all."""
        if number in self._fields and looks:
            return _reading(number, schema)
        kind = schema if isinstance(schema, str) else "union" if isinstance(schema, list) else schema["type"]
        if not isinstance(kind, str):
            return self.of(kind, None, looks)
        looks = looks and number not in self._closed
        match kind:
            case "null":
                return lambda decoder, found: None
            case "boolean":
                return lambda decoder, found: decoder.skip(1)
            case "int" | "long" | "enum":
                step: _Step = lambda decoder, found: decoder.skip_int()  # noqa: E731
            case "float":
                return lambda decoder, found: decoder.skip(4)
            case "double":
                return lambda decoder, found: decoder.skip(8)
            case "bytes" | "string":
                return lambda decoder, found: decoder.skip_bytes()
            case "fixed":
                size = int(schema["size"])
                step = lambda decoder, found: decoder.skip(size)  # noqa: E731
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

    def step(decoder: BinaryDecoder, found: _Found) -> None:
        begin = decoder.tell()
        value = None
        if not optional or decoder.read_int():
            value = decoder.read_utf8() if is_text else decoder.read_int()
        found.append((number, begin, decoder.tell(), value, optional))

    return step


def _union(branches: list[_Step]) -> _Step:
    return lambda decoder, found: branches[decoder.read_int()](decoder, found)


def _all(steps: list[_Step]) -> _Step:
    def step(decoder: BinaryDecoder, found: _Found) -> None:
        for each in steps:
            each(decoder, found)

    return step


def _blocks(steps: list[_Step]) -> _Step:
    def step(decoder: BinaryDecoder, found: _Found) -> None:
        while count := decoder.read_int():
            if count < 0:
                # Its bytes follow, so that it is passed as a whole.
                decoder.skip(decoder.read_int())
                continue
            for _ in range(count):
                for each in steps:
                    each(decoder, found)

    return step
