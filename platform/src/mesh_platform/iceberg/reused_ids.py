"""Compare rows that have a known key with the known row: is their content the same, and their sender?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.iceberg.internals import read_in_batches

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reused:
    """The row `row`, counted from 0, has the key of another row, but not its content.

    `known` and `new` are the SHA-256 of the known and the new content in hexadecimal, `columns` those in which they
    differ. The hash is of values by column id, so a rename, a wider type or a new optional column does not change it.
    """

    row: int
    known: str
    new: str
    columns: tuple[str, ...]


def compare_copies(
    table: Table,
    holders: Sequence[FileScanTask],
    rows: pa.Table,
    key: str,
    content: Sequence[str],
    sender: str | None,
    fresh: _Mask,
    copies: _Mask,
) -> tuple[list[Reused], int]:
    """Return, in order, those of `copies` that differ in a column of `content` from the known row with their key.

    Return also how many others have the same content and differ in the column `sender`.

    The known row is in one of the files `holders` of `table`, or among the `fresh` rows, which have each key once.
    Values are compared in the current types of the columns; a missing column is null. Times are compared in whole
    milliseconds, the precision of ids, because an earlier release truncated times to milliseconds.
    """
    names = [key, *content, *([sender] if sender else [])]
    asked = _plain(rows, names).filter(pa.array(copies))
    keys = asked[key].combine_chunks()
    before = fresh & _among(rows[key].cast(keys.type), keys)
    there = pa.concat_tables([*_read(table, holders, asked, keys), _plain(rows, names).filter(pa.array(before))])
    at = pc.index_in(keys, value_set=there[key].combine_chunks())
    there = there.take(at)
    differ = {name: _differ(there[name], asked[name]) for name in content}
    known = at.is_valid().to_numpy(zero_copy_only=False)
    any_differs = np.logical_or.reduce([*differ.values()]) & known
    others = int((_differ(there[sender], asked[sender]) & known & ~any_differs).sum()) if sender else 0
    places = np.flatnonzero(any_differs)
    if not len(places):
        return [], others
    known_hashes, new_hashes = (
        _hash(table.schema(), each.select(content).take(pa.array(places))) for each in (there, asked)
    )
    reused = [
        Reused(row, old, new, tuple(name for name in content if differ[name][place]))
        for row, place, old, new in zip(
            np.flatnonzero(copies)[places].tolist(), places, known_hashes, new_hashes, strict=True
        )
    ]
    return reused, others


def _read(table: Table, holders: Sequence[FileScanTask], asked: pa.Table, keys: pa.Array) -> Iterator[pa.Table]:
    """Yield the rows with one of `keys`, with the columns and types of `asked`."""
    for task in holders:
        # A batch at a time, because compaction makes files that are much larger than a flush.
        for batch in read_in_batches(table, asked.column_names, task):
            part = pa.table(batch).select(asked.column_names).cast(asked.schema)
            yield part.filter(pa.array(_among(part.column(0), keys)))


def _plain(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return some columns of `rows`, all nullable."""
    chosen = rows.select(names)
    return chosen.cast(pa.schema([field.with_nullable(True) for field in chosen.schema]))


def _among(values: pa.ChunkedArray, keys: pa.Array) -> _Mask:
    found: _Mask = pc.is_in(values, value_set=keys).to_numpy(zero_copy_only=False)
    return found


def _differ(some: pa.ChunkedArray, others: pa.ChunkedArray) -> _Mask:
    """Return where two values differ; two nulls are equal."""
    if pa.types.is_timestamp(some.type):
        some, others = (
            pc.floor_temporal(each.cast(pa.timestamp("us")), unit="millisecond") for each in (some, others)
        )
    one_missing = pc.xor(pc.is_null(some), pc.is_null(others))
    differ: _Mask = pc.fill_null(pc.or_(pc.not_equal(some, others), one_missing), one_missing).to_numpy()
    return differ


def _hash(schema: Schema, rows: pa.Table) -> list[str]:
    ids = {name: str(schema.find_field(name).field_id) for name in rows.column_names}
    found = []
    for row in rows.to_pylist():
        values = {ids[name]: value for name, value in row.items() if value is not None}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=_write)
        found.append(sha256(text.encode()).hexdigest())
    return found


def _write(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return value.isoformat() if isinstance(value, date) else str(value)
