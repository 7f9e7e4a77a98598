"""Find the state of each table that a session shows, now or at a given time, release or snapshot."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.contract.schema_change import present_name
from mesh_platform.engine.sql import empty_select, literal, quoted, scan, typed
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.bounds import newest
from mesh_platform.iceberg.expiry import expired_before, instant, state_at
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id, has_snapshot, rows_in_files
from mesh_platform.lake.catalog import contract_type, find_tables, list_tables
from mesh_platform.lake.releases import RELEASE_NAME, Release, find_release, read_releases
from mesh_platform.lake.tables import MeshTable, all_tables, held_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.text import offer

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.types import NestedField


_DAY = "day:"


@dataclass(frozen=True)
class State:
    """One table as a session shows it. `snapshot` is None if it has no rows; `lost` says why its state is unknown.

    A `past` state was asked for explicitly: it has the columns and types of its time, under their current names.
    """

    mesh_table: MeshTable
    table: Table | None
    snapshot: int | None
    past: bool = False
    lost: str = ""

    @property
    def contract(self) -> Contract:
        """The contract of its product."""
        return self.mesh_table.contract

    @cached_property
    def schema(self) -> TableSchema:
        """The columns of the table by its contract."""
        return self.mesh_table.schema

    @property
    def rows(self) -> int:
        """The rows in its files: more than it shows where another engine deleted some."""
        return rows_in_files(self.table, self.snapshot) if self.table and self.snapshot else 0

    @cached_property
    def columns(self) -> list[tuple[Field, NestedField | None]]:
        """The columns shown, each with its column in the Iceberg table; None if the table has none."""
        if self.table is None or self.snapshot is None:
            return [(field, None) for field in self.schema.fields]
        now = {column.name: column.field_id for column in self.table.schema().fields}
        schema = self.table.schema()
        found = self.table.metadata.snapshot_by_id(self.snapshot)
        if self.past and found is not None and found.schema_id is not None:
            schema = self.table.schemas()[found.schema_id]
        then = {column.field_id: column for column in schema.fields}
        columns = [(field, then.get(now.get(present_name(field, now) or "", -1))) for field in self.schema.fields]
        return [
            (replace(field, type=contract_type(column.field_type)) if self.past and column else field, column)
            for field, column in columns
            if column or not self.past
        ]

    def select(self, hidden: Mapping[str, str], condition: str | None = None) -> str:
        """Return the SQL that selects its rows; `hidden` maps columns to the expressions shown instead of them.

        `condition` is what the rows must satisfy, by their values as they are.
        """
        if self.table is None or self.snapshot is None:
            # The error is raised when the view is read, so that other tables can still be queried.
            return empty_select(self.schema, f"error({literal(self.lost)})" if self.lost else "false")
        source = scan(self.table.metadata_location, self.snapshot if self.past else None)
        shown = [typed(field, hidden.get(field.name) if column else "NULL") for field, column in self.columns]
        named = [f"{quoted(column.name)} AS {quoted(field.name)}" for field, column in self.columns if column]
        where = f" WHERE {condition}" if condition else ""
        return f"SELECT {', '.join(shown)} FROM (SELECT {', '.join(named)} FROM {source}){where}"


def tables_shown(mesh: Mesh) -> list[MeshTable]:
    """Return the tables that a session can show: all but what a retired product has besides its landing table."""
    return [each for each in all_tables(mesh) if each.kind == "landing" or each.contract.identifier in mesh.contracts]


def find_states(
    mesh: Mesh, catalog: Catalog, as_of: datetime | str | None, wanted: Collection[str] | None
) -> dict[str, State]:
    """Return the state of each table of the mesh `as_of` then; tables that are not `wanted` get one without rows.

    `day:2025-10-20` is the newest release that has no event of a later day. Raises UsageError for an unknown table,
    snapshot, release, day or time.
    """
    if isinstance(as_of, str) and as_of.startswith(_DAY):
        as_of = _release_of(mesh, catalog, as_of)
    kept = list_tables(catalog, mesh.domains)
    known = {
        each.name: each for each in tables_shown(mesh) if each.kind in ("landing", "product") or each.name in kept
    }
    there = [name for name in known if name in kept]
    if isinstance(as_of, str) and "@" in as_of and wanted is not None:
        wanted = {*wanted, as_of.partition("@")[0]}
    found = find_tables(catalog, (name for name in there if wanted is None or name in wanted))
    tables = {name: found.get(name) for name in known}
    chosen: dict[str, tuple[int | None, str]] = {}
    if isinstance(as_of, str) and "@" in as_of:
        name, snapshot = _parse_snapshot(as_of, tables, there)
        chosen[name] = (snapshot, "")
    elif isinstance(as_of, str) and RELEASE_NAME.fullmatch(as_of):
        released = find_release(catalog, as_of)
        chosen = {name: _released(as_of, name, table, released.get(name)) for name, table in tables.items()}
    elif as_of is not None:
        time = _parse_time(as_of)
        chosen = {name: state_at(table, time) for name, table in tables.items() if table}
    states = {}
    for name, mesh_table in known.items():
        table = tables[name]
        at, lost = chosen.get(name, (current_snapshot_id(table) if table else None, ""))
        states[name] = State(mesh_table, table, at, name in chosen, lost)
    for name, contract in mesh.contracts.items():
        held = held_name(contract)
        if held in states and str(as_of).partition("@")[0] != held:
            states[held] = _held_with(states[name], states[held])
    return states


def _released(release: str, name: str, table: Table | None, snapshot: int | None) -> tuple[int | None, str]:
    """Return the snapshot of a table in a release; None and why if the release has none that is left."""
    if table is not None and snapshot is not None and not has_snapshot(table, snapshot):
        return None, f"{name}: its state in release {release} is gone; 'mesh erasures' says which releases are void."
    return snapshot, f"{name} is not in release {release}."


def _held_with(product: State, held: State) -> State:
    """Return the held rows that belong to the shown state of their table, instead of the newest ones."""
    noted = read_provenance(product.table, product.snapshot) if product.table else None
    snapshot = noted[1].held if noted else None
    return replace(held, snapshot=snapshot, past=True, lost="" if product.snapshot else product.lost)


def _parse_snapshot(text: str, tables: Mapping[str, Table | None], there: Iterable[str]) -> tuple[str, int]:
    name, _, number = text.partition("@")
    table = tables.get(name)
    if table is None:
        raise UsageError(f"--as-of {text}: no table '{name}'. {offer(name, dict.fromkeys(there))}")
    known_ids = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    if not number.isdecimal() or int(number) not in known_ids:
        listed = [f"{s.snapshot_id} of {instant(s.timestamp_ms).isoformat()}" for s in known_ids.values()]
        expired = expired_before(table)
        gone = f" (of before {expired.isoformat()} only some are kept)" if expired else ""
        raise UsageError(
            f"--as-of {text}: {name} has no such snapshot{gone}. It has {', '.join(listed[-10:]) or 'none'}."
        )
    return name, int(number)


def _release_of(mesh: Mesh, catalog: Catalog, text: str) -> str:
    """Return the name of the newest release that has no event after a UTC day."""
    try:
        day = date.fromisoformat(text.removeprefix(_DAY))
    except ValueError as error:
        raise UsageError(f"--as-of {text}: no such day. Write one such as {_DAY}2025-10-20.") from error
    columns = {name: each.freshness_column for name, each in mesh.contracts.items() if each.freshness_column}
    tables = find_tables(catalog, columns)

    def last_day(release: Release) -> date:
        times = (
            newest(tables[name], columns[name], snapshot_id=snapshot)
            for name, snapshot in release.tables.items()
            if name in tables and has_snapshot(tables[name], snapshot)
        )
        return max((time.date() for time in times if time), default=date.min)

    releases = read_releases(catalog)[::-1]
    # Each release has the events of those before it.
    place = bisect_right(releases, day, key=last_day)
    if place:
        return releases[place - 1].name
    oldest = f"The oldest, {releases[0].name}, has some of {last_day(releases[0])}" if releases else "There is none"
    raise UsageError(f"--as-of {text}: each release has later events. {oldest}; 'mesh build' makes releases.")


def _parse_time(value: datetime | str) -> datetime:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UsageError(
            f"--as-of {value}: it is a time of commits such as {datetime.now(UTC):%Y-%m-%dT%H:%M:00Z}, a release "
            f"such as r3 ('mesh releases'), a day of events such as {_DAY}2025-10-20, or <table>@<snapshot id> "
            "('mesh history')."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
