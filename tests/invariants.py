"""The five promises of exactly once, checked from outside: no code here is ingest's.

Tables are read by plain pyiceberg, the embedded queue by sqlite3. Violations leave as sentences.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.manifest import DataFileContent
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

PARTS = ("appended", "quarantined", "duplicates", "dead_lettered")


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
    landing, rejected, ledger = _open(state, product, ("raw", "rejected", "removed"), catalog)
    removed = set(_column(ledger, "event_id"))
    found += _faults_of_history(landing, "event_id", removed)
    found += _faults_of_history(rejected, "rejection_key", set())

    landed = set(_column(landing, "event_id"))
    hashes = set(_column(rejected, "raw_sha256"))
    held = landed | removed
    queued = set(_queued(state)) | set(dead)
    for line in dict.fromkeys(confirmed):
        if _id(line) not in held and sha256(line).hexdigest() not in hashes and line not in queued:
            found.append(f"I2/I4: confirmed and nowhere to be found: {line[:120]!r}")
    inside = [line for line in confirmed if _id(line) in landed - removed and line not in queued]
    kept = {_content(line) for line in inside if sha256(line).hexdigest() in hashes}
    contents = Counter(content[0] for content in {_content(line) for line in inside} - kept)
    # The landing table has one of them.
    found += [f"I4: {count} contents of {key} were confirmed" for key, count in contents.items() if count > 1]
    published = {_id(line) for line in [*confirmed, *sent]}
    found += [f"I4: {key} is in the landing table and nobody published it" for key in landed - published]
    for run in runs:
        for report in run:
            if report["deliveries"] != sum(report[part] for part in PARTS):
                found.append(f"I5: deliveries are not the sum of their parts: {dict(report)}")
    return found


def landed_ids(state: Path, product: str, catalog: Mapping[str, str] | None = None) -> list[str]:
    """The ids in the landing table, sorted, as often as they are there."""
    (landing,) = _open(state, product, ("raw",), catalog)
    return sorted(_column(landing, "event_id"))


def quarantine(state: Path, product: str, catalog: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """The rows of the quarantine."""
    (table,) = _open(state, product, ("rejected",), catalog)
    rows: list[dict[str, Any]] = table.scan().to_arrow().to_pylist() if table else []
    return rows


def _open(
    state: Path, product: str, kinds: Sequence[str], properties: Mapping[str, str] | None
) -> list[Table | None]:
    """The tables of a product, `<product>__<kind>`; None for one that is not there."""
    if properties is None:
        if not _is_catalog(state / "catalog.db"):
            return [None] * len(kinds)
        properties = {"type": "sql", "uri": f"sqlite:///{state}/catalog.db", "warehouse": str(state / "warehouse")}
    catalog = load_catalog("mesh", **properties)
    return [_load(catalog, f"{product}__{kind}") for kind in kinds]


def _is_catalog(file: Path) -> bool:
    """Whether a catalog is there with both of its tables: whoever opens it before makes them beside its owner."""
    if not file.is_file():
        return False
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        return len(connection.execute("select 1 from sqlite_master where name glob 'iceberg_*'").fetchall()) == 2


def _load(catalog: Catalog, identifier: str) -> Table | None:
    try:
        return catalog.load_table(identifier)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def _column(table: Table | None, name: str) -> list[Any]:
    if table is None or table.current_snapshot() is None:
        return []
    rows: pa.Table = table.scan(selected_fields=(name,)).to_arrow()
    values: list[Any] = rows[name].to_pylist()
    return values


def _faults_of_history(table: Table | None, key: str, removed: set[Any]) -> list[str]:
    """I1 in every snapshot that can be read, I3 between each and its parent."""
    if table is None:
        return []
    found = []
    name = ".".join(table.name())
    here, counts, doubled = None, Counter[Any](), set[Any]()
    files: frozenset[str] = frozenset()
    for snapshot in sorted(table.metadata.snapshots, key=lambda each: each.sequence_number or 0):
        if here != snapshot.parent_snapshot_id:
            parent = table.snapshot_by_id(snapshot.parent_snapshot_id or 0)
            files = _files(table, parent) if parent else frozenset()
            counts = Counter(value for path in files for value in _values(table, path, key))
            doubled = {value for value, count in counts.items() if count > 1}
        here, now = snapshot.snapshot_id, _files(table, snapshot)
        come = [value for path in now - files for value in _values(table, path, key)]
        gone = [value for path in files - now for value in _values(table, path, key)]
        counts.update(come)
        counts.subtract(gone)
        files = now
        doubled = {value for value in doubled.union(come) if counts[value] > 1}
        if doubled:
            some = ", ".join(f"{value} {counts[value]} times" for value in list(doubled)[:5])
            found.append(f"I1: {name} at {here} has {some}; {len(doubled)} in all")
        lost = {value for value in gone if not counts[value]} - removed
        if lost:
            found.append(f"I3: {name} lost {len(lost)} rows at {here}")
    if head := table.current_snapshot():
        in_files = Counter(value for path in _files(table, head) for value in _values(table, path, key))
        if in_files != Counter(_column(table, key)):
            found.append(f"{name}: a scan does not give what the files hold, so that the history was not checked")
    return found


# Manifests and data files never change, and a history names each of them in many snapshots.
_ENTRIES: dict[str, frozenset[str]] = {}
_VALUES: dict[str, list[Any]] = {}


def _files(table: Table, snapshot: Snapshot) -> frozenset[str]:
    """The data files of a snapshot."""
    found: set[str] = set()
    for manifest in snapshot.manifests(table.io):
        path = manifest.manifest_path
        if path not in _ENTRIES:
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            assert all(entry.data_file.content == DataFileContent.DATA for entry in entries), "nobody writes deletes"
            _ENTRIES[path] = frozenset(entry.data_file.file_path for entry in entries)
        found |= _ENTRIES[path]
    return frozenset(found)


def _values(table: Table, path: str, name: str) -> list[Any]:
    """One column of a data file."""
    if path not in _VALUES:
        with table.io.new_input(path).open() as file:
            _VALUES[path] = pq.read_table(file, columns=[name])[name].to_pylist()
    return _VALUES[path]


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


def _content(line: bytes) -> tuple[str, str]:
    """The id of an event and what it says, whoever sent it. Two ways to write a value differ here."""
    data = json.loads(line)
    return data["event_id"], json.dumps([data["event_time"], data["payload"]], sort_keys=True)


def _id(line: bytes) -> str | None:
    try:
        found = json.loads(line)["event_id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None
