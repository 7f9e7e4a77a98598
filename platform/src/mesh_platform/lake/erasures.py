"""The record of erasures, `mesh.erasures`: two rows for each request, one before anything is removed, one at its end.

No row has the erased value, only a hash of it with a key (HMAC, RFC 2104) that stays in the state folder. By these
hashes ingest refuses the person's events from the request on, so no replay brings them back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.contract.contract import platform_column as _column
from mesh_platform.errors import AttentionError
from mesh_platform.files import write_once
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import ERASURE_KEY, arrow_schema, checked_table, ensure_table, find_table

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

ERASURES = "mesh.erasures"
_REQUESTED, _ENDED = "requested", "ended"
_ATTEMPTS = 8
_BYTES = 32
# What may be the value in bytes that ingest refuses: texts of JSON, and words.
_TEXT, _WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"'), re.compile(rb"[^\s\"'\[\]{}(),:;=<>|]+")

ERASURES_SCHEMA = TableSchema(
    "erasures",
    "Two rows for each request to erase a person: when it was made, and when it was done.",
    (
        _column("request", "string", "The request, as the person who made it calls it."),
        _column("step", "string", "requested, or ended: nothing of the value was found any more."),
        _column("at", "timestamptz", "When, UTC, by the machine's clock."),
        _column("by", "string", "Who erased."),
        _column("reason", "string", "Why."),
        _column("column_name", "string", "The column of the value, as the request names it."),
        _column("columns", "string", "JSON: the names of all columns that have such values."),
        _column("value_hash", "string", "HMAC-SHA-256 of the value, hexadecimal."),
        _column("key_id", "string", "Which key that is of: the start of the key's SHA-256."),
        _column("result", "string", "JSON: what was removed and how it was proved.", False),
    ),
    (),
    None,
    1,
)


@dataclass(frozen=True)
class Erasure:
    """One request, as the columns of `mesh.erasures` describe it; `ended_at` and `result` are None until it ended."""

    request: str
    requested_at: datetime
    by: str
    reason: str
    column_name: str
    columns: tuple[str, ...]
    value_hash: str
    key_id: str
    ended_at: datetime | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ErasureKey:
    """The key of the hashes."""

    content: bytes

    @property
    def key_id(self) -> str:
        """The name of the key, which does not tell it."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    def hash(self, value: bytes) -> str:
        """Return the hash of a value, in UTF-8."""
        return hmac.digest(self.content, value, "sha256").hex()


def erasure_key(catalog: Catalog, make: bool = False) -> ErasureKey:
    """Read the key of this lake; with `make`, make it if it is missing, readable by its owner only.

    Raises AttentionError without one.
    """
    place = catalog.properties.get(ERASURE_KEY)
    path = Path(place) if place else None
    if path and make:
        write_once(path, secrets.token_hex(_BYTES).encode())
    content = path.read_bytes() if path and path.exists() else b""
    if len(content) != 2 * _BYTES:
        raise AttentionError(
            f"{place or 'erasure.key'}: the key of the erasures is missing or not whole, so ingest cannot tell whose "
            "events it must refuse. Copy it from the state folder in which 'mesh erase' ran first."
        )
    return ErasureKey(content)


def read_erasures(catalog: Catalog) -> list[Erasure]:
    """Return all requests, newest first. Raises what `checked_table` raises."""
    table = checked_table(catalog, ERASURES, ERASURES_SCHEMA)
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist() if table else []
    ended = {row["request"]: row for row in rows if row["step"] == _ENDED}
    found = []
    for row in rows:
        if row["step"] == _REQUESTED:
            end = ended.get(row["request"])
            same = {name: row[name] for name in ("request", "by", "reason", "column_name", "value_hash", "key_id")}
            result = json.loads(end["result"]) if end else None
            columns = tuple(json.loads(row["columns"]))
            found.append(
                Erasure(
                    **same,
                    columns=columns,
                    requested_at=row["at"],
                    ended_at=end["at"] if end else None,
                    result=result,
                )
            )
    return sorted(found, key=lambda each: each.requested_at, reverse=True)


def record_request(catalog: Catalog, erasure: Erasure) -> None:
    """Append a request, unless it is there. Raises ConflictError if others keep committing, and UnavailableError."""
    _append(catalog, erasure, _REQUESTED, erasure.requested_at, None)


def record_end(catalog: Catalog, erasure: Erasure, result: Mapping[str, Any]) -> None:
    """Append the end of a request, unless it is there. Raises what `record_request` raises."""
    _append(catalog, erasure, _ENDED, datetime.now(UTC), json.dumps(result))


def _append(catalog: Catalog, erasure: Erasure, step: str, at: datetime, result: str | None) -> None:
    def attempt() -> None:
        table = ensure_table(catalog, ERASURES, ERASURES_SCHEMA)
        there = {(each.request, each.ended_at is not None) for each in read_erasures(catalog)}
        if (erasure.request, True) in there or (step == _REQUESTED and (erasure.request, False) in there):
            return
        row = {name: getattr(erasure, name) for name in ("request", "by", "reason", "column_name")}
        row |= {"value_hash": erasure.value_hash, "key_id": erasure.key_id, "columns": json.dumps(erasure.columns)}
        row |= {"step": step, "at": at, "result": result}
        append_rows(table, pa.Table.from_pylist([row], schema=arrow_schema(ERASURES_SCHEMA)))

    on_conflict(_ATTEMPTS, attempt, f"{ERASURES}: others keep committing. Erase again.")


class Erased:
    """Tells which events of a product belong to persons who were erased.

    Each call looks at the newest requests: an append calls it after it has loaded its table, so a request that was
    recorded before the table was cleaned is never missed.
    """

    def __init__(self, catalog: Catalog, contract: Contract) -> None:
        self._catalog = catalog
        fields = contract.event.fields if contract.event else ()
        self._names = {field.name: {field.name, *field.renamed_from} for field in fields}
        self._read_at: int | None = None
        self._hashes: dict[str, set[str]] = {}
        self._key: ErasureKey | None = None

    def landing(self, rows: pa.Table) -> pa.Array:
        """Return the ids of the rows of a landing table that must not be stored."""
        self._refresh(rows)
        marked = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
        for name, hashes in self._hashes.items():
            if name in rows.column_names:
                values = pc.unique(rows[name].cast(pa.large_string())).drop_null()
                gone = pa.array([each for each in values.to_pylist() if self._is_gone(each.encode(), hashes)])
                if len(gone):
                    marked = pc.or_(marked, pc.is_in(rows[name].cast(pa.large_string()), gone.cast(values.type)))
        return rows["event_id"].filter(marked).combine_chunks()

    def quarantine(self, rows: pa.Table) -> pa.Array:
        """Return the keys of the rows of a quarantine that must not be stored: their bytes name such a person."""
        self._refresh(rows)
        hashes = set().union(*self._hashes.values())
        raws = rows["raw"].to_pylist() if hashes else []
        marked = [any(self._is_gone(each, hashes) for each in _texts(raw)) for raw in raws]
        return rows["rejection_key"].filter(pa.array(marked or [False] * rows.num_rows, pa.bool_())).combine_chunks()

    def _is_gone(self, value: bytes, hashes: set[str]) -> bool:
        assert self._key is not None
        return self._key.hash(value) in hashes

    def _refresh(self, rows: pa.Table) -> None:
        table = find_table(self._catalog, ERASURES) if rows.num_rows else None
        if table is None or current_snapshot_id(table) in (None, self._read_at):
            return
        found: dict[str, set[str]] = {}
        for erasure in read_erasures(self._catalog):
            self._key = erasure_key(self._catalog)
            if self._key.key_id != erasure.key_id:
                raise AttentionError(
                    f"{self._catalog.properties.get(ERASURE_KEY)}: not the key of erasure {erasure.request}, so "
                    "ingest cannot tell whose events it must refuse. Copy the key from the state folder in which it "
                    "ran."
                )
            for name, names in self._names.items():
                if names.intersection(erasure.columns):
                    found.setdefault(name, set()).add(erasure.value_hash)
        self._hashes, self._read_at = found, current_snapshot_id(table)


def _texts(raw: bytes) -> Iterable[bytes]:
    """Yield what may be a value in the bytes of a message: the texts of JSON, and words."""
    for text in {*_TEXT.findall(raw)}:
        with suppress(ValueError, UnicodeEncodeError):
            yield json.loads(b'"' + text + b'"').encode()
    yield from {*_WORD.findall(raw)}
    for encoding in ("utf-16-le", "utf-16-be"):
        if b"\0" in raw:
            yield from (word.encode() for word in re.findall(r"[\w-]+", raw.decode(encoding, "ignore")))
