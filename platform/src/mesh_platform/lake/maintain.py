"""Maintain tables: set their properties, remove rows past their retention, compact small files, expire old snapshots,
and remove orphan files.

Each table goes through these steps in this order. A run may be killed at any time, and any number of runs may work at
once, alongside ingest and builds: the next run does what was left undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.contract.contract import TIME_TRAVEL
from mesh_platform.errors import AttentionError, ConflictError, UnavailableError, UsageError
from mesh_platform.iceberg.compaction import Compacted, compact, plan
from mesh_platform.iceberg.expiry import choose_expired, expire
from mesh_platform.iceberg.orphan_files import find_orphans, remove_orphans, shared_with, table_folders
from mesh_platform.iceberg.outage import answering, explain
from mesh_platform.iceberg.provenance import held_snapshot, note_properties, read_provenance
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.audit import AUDIT, move_records, remove_old_records
from mesh_platform.lake.catalog import find_table, find_tables, table_properties
from mesh_platform.lake.platform_tables import PLATFORM_TABLES
from mesh_platform.lake.releases import read_releases
from mesh_platform.lake.retention import clear_past, count_past, past_states, remove_past
from mesh_platform.lake.tables import MeshTable, all_tables
from mesh_platform.lake.tags import remove_tags
from mesh_platform.lake.trainings import dead_training_tags, old_models, read_trainings, remove_models
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.text import offer

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

# Orphan files are kept for longer than any reader may need them: a file of views is good for an hour.
ORPHAN_AGE = timedelta(hours=2)
_HELD = "not compacted: its readers see the state that its table names"


@dataclass(frozen=True)
class Maintained:
    """What was done to one table, or would be: the numbers of files merged, snapshots expired and orphans removed.

    `removed` counts the rows past their retention; `expired` includes the snapshots that still showed such rows.
    `compacted_bytes` and `orphan_bytes` are the sizes of these files. `skipped` says what was left undone and why;
    `failed`, whether the reason is a fault rather than somebody else at work. `excluded` is whether the contract
    forbids maintenance, with `mesh.maintain: false`.
    """

    table: str
    compacted: int
    expired: int
    orphans_removed: int
    skipped: str | None
    compacted_bytes: int = 0
    orphan_bytes: int = 0
    snapshot_id: int | None = None
    failed: bool = False
    excluded: bool = False
    removed: int = 0


@answering("", "the lake fails", "Mend the catalog or the storage, then maintain again.")
def maintain(
    mesh: Mesh,
    catalog: Catalog,
    tables: Sequence[str] = (),
    dry_run: bool = False,
    orphan_age: timedelta = ORPHAN_AGE,
    on_progress: Callable[[Maintained], object] = lambda _maintained: None,
    on_start: Callable[[str], object] = lambda _table: None,
    now: datetime | None = None,
) -> list[Maintained]:
    """Maintain `tables` (the name of a domain means all of its tables), by default all tables of the mesh.

    `dry_run` changes nothing and returns what would be done. If one table fails, the others are still maintained. A
    table whose contract says `mesh.maintain: false` is left as it is even if it is named, because the Airflow DAG and
    ingest name the tables that they want maintained. `on_start` is called before each table, `on_progress` after it.
    `now` is the time by which rows are past their retention, by default that of the machine.

    Raises UsageError for an unknown table, and UnavailableError if the catalog does not answer.
    """
    chosen = _chosen(mesh, catalog, tables)
    done = []
    if not dry_run and AUDIT in chosen:
        try:
            move_records(catalog)
            remove_old_records(catalog, datetime.now(UTC))
        except (AttentionError, ConflictError) as error:
            del chosen[AUDIT]
            on_start(AUDIT)
            done.append(Maintained(AUDIT, 0, 0, 0, str(error), failed=isinstance(error, AttentionError)))
            on_progress(done[-1])
    needs = _Needs(mesh, catalog)
    folders = table_folders(catalog)
    for name, mesh_table in chosen.items():
        if name not in folders:
            continue
        on_start(name)
        contract = mesh_table.contract if mesh_table else None
        load = _loader(catalog, name)
        lifetime = min(contract.time_travel, contract.retention) if contract else TIME_TRAVEL
        held_from = mesh_table.contract.identifier if mesh_table and mesh_table.kind == "held" else None
        properties = table_properties(mesh_table.schema if mesh_table else PLATFORM_TABLES[name])
        before = datetime.now(UTC) - orphan_age
        learns = bool(contract and contract.accuracy and name == contract.identifier)
        clock = now or datetime.now(UTC)
        job = _Job(name, load, properties, lifetime, needs, folders, before, held_from, learns, mesh_table, clock)
        if contract and not contract.maintained:
            skipped = f"mesh.maintain is false in {contract.path}"
            maintained = Maintained(name, 0, 0, 0, skipped, snapshot_id=current_snapshot_id(load()), excluded=True)
        else:
            maintained = job.plan() if dry_run else job.run()
        done.append(maintained)
        on_progress(maintained)
    return done


def _chosen(mesh: Mesh, catalog: Catalog, tables: Sequence[str]) -> dict[str, MeshTable | None]:
    """Return the chosen tables by name; those of the platform have no product, hence None."""
    names = {**{table.name: table for table in all_tables(mesh)}, **dict.fromkeys(PLATFORM_TABLES)}
    if not tables:
        return names
    chosen: dict[str, MeshTable | None] = {}
    for wanted in tables:
        found = {n: t for n, t in names.items() if n == wanted or (t and t.contract.domain == wanted)}
        is_there = wanted in mesh.domains or wanted == AUDIT or find_table(catalog, wanted) is not None
        if not found or not is_there:
            raise UsageError(f"{wanted}: no such table or domain. {offer(wanted, {**mesh.domains, **names})}")
        chosen |= found
    return chosen


def _loader(catalog: Catalog, name: str) -> Callable[[], Table]:
    def load() -> Table:
        table = find_table(catalog, name)
        if table is None:
            raise UnavailableError(f"{name}: it is gone. Run again.")
        return table

    return load


class _Needs:
    """The snapshots that models, releases and product tables still have to read, by their current provenance."""

    def __init__(self, mesh: Mesh, catalog: Catalog) -> None:
        self.mesh, self.catalog = mesh, catalog
        self.releases: dict[str, set[int]] = {}
        for release in read_releases(catalog):
            for name, snapshot in release.tables.items():
                self.releases.setdefault(name, set()).add(snapshot)
        self.trainings = read_trainings(catalog)
        self.readers: dict[str, set[str]] = {}
        for output, table in find_tables(catalog, mesh.contracts).items():
            for name in _inputs(table):
                self.readers.setdefault(name, set()).add(output)

    def of(self, name: str, held_from: str | None) -> set[int]:
        """Return the snapshots of the table `name` that a model or a release needs.

        For a table of rows held back from the table `held_from`, also those that the snapshots of that table name.
        """
        return self.of_builds(name, held_from) | self.releases.get(name, set())

    def of_builds(self, name: str, held_from: str | None) -> set[int]:
        """Do what `of` does, without the snapshots that only a release needs."""
        needed = set[int]()
        for reader in find_tables(self.catalog, self.readers.get(name, ())).values():
            needed |= {snapshot for snapshot in (_inputs(reader).get(name),) if snapshot}
        table = find_table(self.catalog, name)
        noted = read_provenance(table, current_snapshot_id(table)) if table else None
        if noted:
            needed.add(noted[0])
        product = find_table(self.catalog, held_from) if held_from else None
        for snapshot in product.metadata.snapshots if product else ():
            held = held_snapshot(snapshot)
            needed |= {held} if held else set()
        return needed


def _inputs(table: Table) -> Mapping[str, int]:
    """Return the snapshots that the current rows of a table are built from."""
    noted = read_provenance(table, current_snapshot_id(table))
    return noted[1].input_snapshots if noted else {}


@dataclass(frozen=True)
class _Job:
    """One table to maintain. Only files older than `before` can be orphans.

    `properties` are those that the table must have; one that an older version of the platform made lacks some.
    `held_from` is the product table from which the rows of a held table are held back, None for all other tables. The
    files of old models go with a table whose events a model predicts, which it `learns`. `mesh_table` is None for a
    table of the platform. `now` is the time of the data.
    """

    name: str
    load: Callable[[], Table]
    properties: Mapping[str, str]
    lifetime: timedelta
    needs: _Needs
    folders: Mapping[str, str]
    before: datetime
    held_from: str | None
    learns: bool
    mesh_table: MeshTable | None
    now: datetime

    def plan(self) -> Maintained:
        """Return what `run` would do now."""
        table = self.load()
        files = [] if self.held_from else [task.file for bin_ in plan(table) for task in bin_]
        needed, dead = self.needs.of(self.name, self.held_from), self._dead(table)
        expired = {*choose_expired(table, self.lifetime, needed, datetime.now(UTC), dead)}
        past, removed = self._past()
        expired.update(past)
        sharing = self._sharing(table)
        orphans = {} if sharing else find_orphans(table, self.before)
        orphans |= old_models(self.needs.catalog, self.before) if self.learns else {}
        return Maintained(
            table=self.name,
            compacted=len(files),
            expired=len(expired),
            orphans_removed=len(orphans),
            skipped=_sentence([_HELD if self.held_from else "", sharing]),
            compacted_bytes=sum(file.file_size_in_bytes for file in files),
            orphan_bytes=sum(orphans.values()),
            snapshot_id=current_snapshot_id(table),
            removed=removed,
        )

    def run(self) -> Maintained:
        """Maintain the table.

        Raises UnavailableError; other failures of the lake are in the result. Faults in the code are raised
        unchanged.
        """
        compacted, expired, past, failed = Compacted(), 0, 0, False
        removed: list[int] = []
        skipped: list[str] = []
        try:
            self._set_properties()
            past, reason = self._remove_past()
            skipped.append(reason)
            compacted = Compacted(reason=_HELD) if self.held_from else compact(self.load)
            skipped.append(compacted.reason)
            self._remove_dead_tags()
            needed = partial(self.needs.of, self.name, self.held_from)
            expired, reason = expire(self.load, self.lifetime, needed, datetime.now(UTC))
            skipped.append(reason)
            cleared, reason = self._clear_past()
            expired += cleared
            skipped.append(reason)
            faults.point("maintain.expired")
            skipped.append(self._sharing(self.load()))
            if not skipped[-1]:
                remove_orphans(self.load, self.before, removed.append)
            removed += remove_models(self.needs.catalog, self.before) if self.learns else []
        except UnavailableError:
            raise
        except ConflictError as error:
            skipped.append(f"no orphans removed: {error}")
        except Exception as error:
            explained = explain(error, "", "the storage fails", "Mend it, then maintain again.")
            if explained is None:
                raise
            failed = True
            skipped.append(str(explained))
        return Maintained(
            table=self.name,
            compacted=compacted.files,
            expired=expired,
            orphans_removed=len(removed),
            skipped=_sentence(skipped),
            compacted_bytes=compacted.bytes,
            orphan_bytes=sum(removed),
            snapshot_id=current_snapshot_id(self.load()),
            failed=failed,
            removed=past,
        )

    def _past(self) -> tuple[list[int], int]:
        """Return the snapshots that `_clear_past` would remove, and the number of rows of `_remove_past`."""
        if self.mesh_table is None:
            return [], 0
        catalog, needed = self.needs.catalog, self.needs.of_builds(self.name, self.held_from)
        states = past_states(catalog, self.mesh_table, self.now, datetime.now(UTC) - self.lifetime, needed)
        return states, count_past(catalog, self.mesh_table, self.now)

    def _remove_past(self) -> tuple[int, str]:
        """Remove the rows past their retention; return how many, and why they stay."""
        try:
            return remove_past(self.needs.catalog, self.mesh_table, self.now) if self.mesh_table else 0, ""
        except (AttentionError, ConflictError) as error:
            return 0, f"rows past their retention stay: {error}"

    def _clear_past(self) -> tuple[int, str]:
        """Remove past states with such rows, beyond time travel; return how many, and why they stay."""
        if self.mesh_table is None:
            return 0, ""
        before, needed = datetime.now(UTC) - self.lifetime, partial(self.needs.of_builds, self.name, self.held_from)
        try:
            return clear_past(self.needs.catalog, self.mesh_table, self.now, before, needed), ""
        except ConflictError as error:
            return 0, f"past states stay: {error}"

    def _set_properties(self) -> None:
        table = self.load()
        lacking = {key: value for key, value in self.properties.items() if table.properties.get(key) != value}
        # If somebody else commits meanwhile, the next run sets them.
        with suppress(ConflictError):
            if lacking:
                note_properties(table, lacking)

    def _remove_dead_tags(self) -> None:
        table = self.load()
        # If somebody else commits meanwhile, the next run removes them.
        with suppress(ConflictError):
            remove_tags(table, self._dead(table))

    def _dead(self, table: Table) -> set[str]:
        return dead_training_tags(table, self.name, self.needs.trainings)

    def _sharing(self, table: Table) -> str:
        other = shared_with(table, self.folders)
        return f"no orphans removed: {other} shares its folder" if other else ""


def _sentence(parts: list[str]) -> str | None:
    return "; ".join(part for part in parts if part) or None
