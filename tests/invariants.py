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
    catalog: Mapping[str, str] | None = None,
) -> list[str]:
    """What is broken in a state folder, of the promises on one product; [] where all hold.

    `confirmed` are the lines that a publisher got a confirm for, `sent` those it sent besides, `dead` those in
    RabbitMQ's dead-letter queue, `runs` what each call of ingest reported. Messages in an embedded broker's file
    count as held; RabbitMQ's queues must be empty. `catalog` are pyiceberg's properties of the catalog, by default
    those of the embedded one.
    """
    confirmed = list(confirmed)
    found: list[str] = []
    landing, rejected, ledger = (_open(state, f"{product}__{kind}", catalog) for kind in ("raw", "rejected", "removed"))
    removed = set(_column(ledger, "event_id"))
    found += _faults_of_history(landing, "event_id", removed)
    found += _faults_of_history(rejected, "rejection_key", set())

    landed = set(_column(landing, "event_id"))
    hashes = set(_column(rejected, "raw_sha256"))
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


def landed_ids(state: Path, product: str, catalog: Mapping[str, str] | None = None) -> list[str]:
    """The ids in the landing table, sorted, as often as they are there."""
    return sorted(_column(_open(state, f"{product}__raw", catalog), "event_id"))


def quarantine(state: Path, product: str, catalog: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The rows of the quarantine."""
    table = _open(state, f"{product}__rejected", catalog)
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist() if table else []
    return rows


def _open(state: Path, identifier: str, properties: Mapping[str, str] | None) -> Table | None:
    if properties is None:
        if not (state / "catalog.db").is_file():
            return None
        properties = {"type": "sql", "uri": f"sqlite:///{state}/catalog.db", "warehouse": str(state / "warehouse")}
    catalog = load_catalog("mesh", **properties)
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


def _faults_of_history(table: Table | None, key: str, removed: set[Any]) -> list[str]:
    """I1 in every snapshot that can be read, I3 between each and its parent."""
    if table is None:
        return []
    found = []
    name = ".".join(table.name())
    keys: dict[int, set[Any]] = {}
    for snapshot in sorted(table.metadata.snapshots, key=lambda each: each.sequence_number or 0):
        counts = Counter(_column(table, key, snapshot.snapshot_id))
        doubled = [f"{value} {count} times" for value, count in counts.items() if count > 1]
        if doubled:
            found.append(f"I1: {name} at {snapshot.snapshot_id} has {', '.join(doubled[:5])}; {len(doubled)} in all")
        keys[snapshot.snapshot_id] = set(counts)
        lost = keys.get(snapshot.parent_snapshot_id or 0, set()) - set(counts) - removed
        if lost:
            found.append(f"I3: {name} lost {len(lost)} rows at {snapshot.snapshot_id}")
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
