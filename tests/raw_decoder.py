"""Look for a text in every file of a folder, without the platform: plain bytes, and what the formats decompress to.

Parquet is read by Arrow; Avro, SQLite and gzip are decoded here, by their specifications.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq


def places_of(folder: Path, text: str) -> list[str]:
    """The files below `folder` that have the text, each with the part that has it."""
    words = {text.encode(), json.dumps(text)[1:-1].encode(), text.encode("utf-16-le"), text.encode("utf-16-be")}
    return sorted(
        f"{path.relative_to(folder)}: {part}"
        for path in folder.rglob("*")
        if path.is_file()
        for part, content in _parts(path)
        if any(word in content for word in words)
    )


def _parts(path: Path) -> Iterator[tuple[str, bytes]]:
    content = path.read_bytes()
    yield "bytes", content
    if content.startswith(b"PAR1"):
        yield from _parquet(path)
    elif content.startswith(b"Obj\x01"):
        yield from _avro(content)
    elif content.startswith(b"SQLite format 3\0"):
        yield from _sqlite(path, content)
    elif content.startswith(b"\x1f\x8b"):
        yield "gzip", gzip.decompress(content)


def _parquet(path: Path) -> Iterator[tuple[str, bytes]]:
    file = pq.ParquetFile(path)
    for column in file.schema_arrow.names:
        yield column, repr(file.read([column])[column].unique().to_pylist()).encode()
    for group in range(file.num_row_groups):
        for number in range(file.metadata.num_columns):
            yield f"statistics of {number}", repr(file.metadata.row_group(group).column(number).statistics).encode()
    yield "footer", repr((file.metadata.metadata, file.schema_arrow.metadata)).encode()


def _avro(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = 4
    header: dict[bytes, bytes] = {}
    count, at = _number(content, at)
    while count:
        if count < 0:
            _, at = _number(content, at)
        for _ in range(abs(count)):
            key, at = _bytes(content, at)
            header[key], at = _bytes(content, at)
        count, at = _number(content, at)
    at += 16
    codec = header.get(b"avro.codec", b"null")
    assert codec in (b"null", b"deflate"), codec
    while at < len(content):
        _, at = _number(content, at)
        block, at = _bytes(content, at)
        at += 16
        yield "block", zlib.decompress(block, -15) if codec == b"deflate" else block


def _number(content: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = content[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), at


def _bytes(content: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(content, at)
    return content[at : at + length], at + length


def _sqlite(path: Path, content: bytes) -> Iterator[tuple[str, bytes]]:
    # A long value continues on overflow pages: after four bytes that name the next one, the rest of the page.
    size = int.from_bytes(content[16:18], "big")
    size = 65536 if size == 1 else size
    pages = [content[start : start + size] for start in range(0, len(content), size)]
    free = int.from_bytes(content[36:40], "big")
    yield "overflow", b"".join(page[4:] for page in pages)
    assert free < len(pages)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                cells = [each.encode() if isinstance(each, str) else each for each in row]
                yield table, b"\0".join(each for each in cells if isinstance(each, bytes))
