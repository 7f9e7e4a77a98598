"""Make and read releases: snapshots of tables that were built together, under one name, atomically.

Each table's snapshot is tagged with the name, which keeps it from expiring; then one append to `mesh.releases` makes
the release. The first tag claims the name: tags are always created in the same order and never overwritten, so of two
builders that want a name at once, the later one fails on the other's tag and takes another name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform import faults
from mesh_platform.contract.contract import TableSchema
from mesh_platform.contract.contract import platform_column as _column
from mesh_platform.errors import ConflictError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import arrow_schema, ensure_table, find_table, find_tables
from mesh_platform.lake.tags import dead_tags, newest_number, tag_snapshot

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

RELEASES = "mesh.releases"
RELEASE_NAME = re.compile(r"r[1-9][0-9]*")


RELEASES_SCHEMA = TableSchema(
    "releases",
    "One row for each table of each release.",
    (
        _column("release", "string", "Name of the release, which is also the tag of its snapshots: r1, r2, ..."),
        _column("released_at", "timestamptz", "When it was made, UTC, by the machine's clock."),
        _column("table", "string", "The table, <domain>.<table>."),
        _column("snapshot_id", "long", "The table's snapshot in this release."),
    ),
    (),
    None,
    1,
)


@dataclass(frozen=True)
class Release:
    """One release: `tables` maps each table to the id of its snapshot."""

    name: str
    released_at: datetime
    tables: Mapping[str, int]


def read_releases(catalog: Catalog) -> list[Release]:
    """Return all releases, newest first. Raises UnavailableError."""
    table = find_table(catalog, RELEASES)
    return _releases_in(table) if table else []


def find_release(catalog: Catalog, name: str) -> dict[str, int]:
    """Return the snapshot of each table in the release `name`.

    Raises UsageError, which lists the newest releases, if there is no such release, and UnavailableError.
    """
    releases = read_releases(catalog)
    for release in releases:
        if release.name == name:
            return dict(release.tables)
    newest = ", ".join(release.name for release in releases[:5]) or "none: 'mesh build' makes one"
    raise UsageError(f"{name}: no such release. The newest are {newest}; 'mesh releases' lists them.")


def make_release(catalog: Catalog, tables: Mapping[str, int]) -> Release | None:
    """Make a release of these snapshots, which belong together; return None if the newest release is the same.

    What a killed call leaves behind is not a release; a later release removes its tags. Raises ConflictError, without
    making a release, if a table has a newer snapshot or another builder is making a release: the caller must look at
    the tables again. Raises UnavailableError.
    """
    ledger = ensure_table(catalog, RELEASES, RELEASES_SCHEMA)
    releases = _releases_in(ledger)
    if not tables or (releases and releases[0].tables == tables):
        return None
    found = find_tables(catalog, sorted(tables))
    for name, snapshot in tables.items():
        if name not in found or current_snapshot_id(found[name]) != snapshot:
            raise ConflictError(f"{name}: somebody else built it since.")
    newest = _number(releases[0].name) if releases else 0
    release = Release(f"r{max(newest, newest_number('r', found)) + 1}", datetime.now(UTC), dict(tables))
    known = {each.name for each in releases}
    for name, table in found.items():
        tag_snapshot(table, tables[name], release.name, dead_tags("r", table, newest, known))
    faults.point("build.tagged")
    append_rows(ledger, _rows(release))
    return release


def _releases_in(table: Table) -> list[Release]:
    rows: dict[str, list[dict[str, object]]] = {}
    for row in table.scan().to_arrow().to_pylist():
        rows.setdefault(row["release"], []).append(row)
    found = [_read(name, its_rows) for name, its_rows in rows.items()]
    return sorted(found, key=lambda release: _number(release.name), reverse=True)


def _read(name: str, rows: list[dict[str, object]]) -> Release:
    at = rows[0]["released_at"]
    assert isinstance(at, datetime)
    return Release(name, at, {str(row["table"]): int(str(row["snapshot_id"])) for row in rows})


def _rows(release: Release) -> pa.Table:
    rows = [
        {"release": release.name, "released_at": release.released_at, "table": table, "snapshot_id": snapshot}
        for table, snapshot in release.tables.items()
    ]
    return pa.Table.from_pylist(rows, schema=arrow_schema(RELEASES_SCHEMA))


def _number(name: str) -> int:
    return int(name.removeprefix("r"))
