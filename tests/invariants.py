"""The five promises of exactly once, checked from outside: no code here is ingest's.

Tables are read by plain pyiceberg, the embedded queue by sqlite3. Violations leave as sentences.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table

PARTS = ("appended", "quarantined", "duplicates", "dead_lettered", "returned")


def violations(
    state: Path,
    product: str,
    confirmed: Iterable[bytes],
    sent: Iterable[bytes] = (),
    runs: Iterable[Sequence[Mapping[str, Any]]] = (),
    dead: Iterable[bytes] = (),
) -> list[str]:
    """What is broken in a state folder, of the promises on one product; [] where all hold.

    `confirmed` are the lines that a publisher got a confirm for, `sent` those it sent besides, `dead` those in
    RabbitMQ's dead-letter queue, `runs` what each call of ingest reported. Messages in an embedded broker's file
    count as held; RabbitMQ's queues must be empty.
    """
    confirmed = list(confirmed)
    found: list[str] = []
    landing, rejected, ledger = (_open(state, f"{product}__{kind}") for kind in ("raw", "rejected", "removed"))
    found += _once_in_every_snapshot(landing, "event_id")
    found += _once_in_every_snapshot(rejected, "rejection_key")
    found += _only_grows(landing, "event_id", set(_column(ledger, "event_id")))
    found += _only_grows(rejected, "rejection_key", set())

    landed = set(_column(landing, "event_id"))
    hashes = set(_column(rejected, "raw_sha256"))
    removed = set(_column(ledger, "event_id"))
    quarantined = set(_column(rejected, "event_id"))
    held = landed | quarantined | removed
    queued = set(_queued(state)) | set(dead)
    for line in dict.fromkeys(confirmed):
        if _id(line) not in held and sha256(line).hexdigest() not in hashes and line not in queued:
            found.append(f"I2/I4: confirmed and nowhere to be found: {line[:120]!r}")
    published = {_id(line) for line in [*confirmed, *sent]}
    found += [f"I4: {key} is in the landing table and nobody published it" for key in landed - published]
    for run in runs:
        for report in run:
            if report["deliveries"] != sum(report[part] for part in PARTS):
                found.append(f"I5: deliveries are not the sum of their parts: {dict(report)}")
    return found


def landed_ids(state: Path, product: str) -> list[str]:
    """The ids in the landing table, sorted, as often as they are there."""
    return sorted(_column(_open(state, f"{product}__raw"), "event_id"))


def quarantine(state: Path, product: str) -> list[dict[str, Any]]:
    """The rows of the quarantine."""
    table = _open(state, f"{product}__rejected")
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist() if table else []
    return rows


def _open(state: Path, identifier: str) -> Table | None:
    if not (state / "catalog.db").is_file():
        return None
    catalog = load_catalog(
        "mesh", type="sql", uri=f"sqlite:///{state}/catalog.db", warehouse=str(state / "warehouse")
    )
    try:
        return catalog.load_table(identifier)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def _column(table: Table | None, name: str, snapshot_id: int | None = None) -> list[Any]:
    if table is None or table.current_snapshot() is None:
        return []
    rows: pa.Table = table.scan(selected_fields=(name,), snapshot_id=snapshot_id).to_arrow()
    values: list[Any] = rows[name].to_pylist()
    return values


def _once_in_every_snapshot(table: Table | None, key: str) -> list[str]:
    found = []
    for snapshot in table.metadata.snapshots if table else ():
        counts = Counter(_column(table, key, snapshot.snapshot_id))
        doubled = [f"{value} {count} times" for value, count in counts.items() if count > 1]
        if doubled:
            where = f"{'.'.join(table.name())} at {snapshot.snapshot_id}" if table else ""
            found.append(f"I1: {where} has {', '.join(doubled[:5])} and {len(doubled)} such in all")
    return found


def _only_grows(table: Table | None, key: str, removed: set[Any]) -> list[str]:
    found = []
    for snapshot in table.metadata.snapshots if table else ():
        if snapshot.parent_snapshot_id is None or table is None:
            continue
        before = set(_column(table, key, snapshot.parent_snapshot_id))
        lost = before - set(_column(table, key, snapshot.snapshot_id)) - removed
        if lost:
            found.append(f"I3: {'.'.join(table.name())} lost {len(lost)} rows at {snapshot.snapshot_id}")
    return found


def _queued(state: Path) -> list[bytes]:
    path = state / "broker.db"
    if not path.is_file():
        return []
    connection = sqlite3.connect(path)
    try:
        bodies = [row[0] for row in connection.execute("SELECT bytes FROM message JOIN body USING (id)")]
    finally:
        connection.close()
    return [line for body in bodies for line in [*body.split(b"\n"), body]]


def _id(line: bytes) -> str | None:
    try:
        found = json.loads(line)["event_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None
