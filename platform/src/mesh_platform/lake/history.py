"""The history of a table: its snapshots, the state at a time, and the way back, with what must not come again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.table.snapshots import Operation, ancestors_of

from mesh_platform.errors import ConflictError, UsageError
from mesh_platform.lake.append import append_new, nothing_refused
from mesh_platform.lake.catalog import arrow_schema, ensure_table, find_table
from mesh_platform.lake.commit import first_to_commit
from mesh_platform.lake.delta import head
from mesh_platform.lake.expiry import expired_before
from mesh_platform.lake.landing import held_name, landing_name, rejected_name, removed_name, removed_shape
from mesh_platform.lake.outage import answering

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from mesh_platform.contract import Contract
    from mesh_platform.domain import Mesh

_MEND = "Mend the catalog or the storage, then roll back again."


@dataclass(frozen=True)
class RolledBack:
    """`removed` counts the events that left a landing table and went into its ledger; 0 for other tables."""

    table: str
    snapshot_id: int
    left: int | None
    removed: int


@dataclass(frozen=True)
class HistoryEntry:
    """One snapshot: what it did (an operation of the Iceberg spec), the rows it brought, and those there since."""

    snapshot_id: int
    committed_at: datetime
    operation: str
    added: int
    rows: int


def read_history(catalog: Catalog, identifier: str) -> list[HistoryEntry]:
    """The snapshots that led to the table's current state, newest first. Raises UsageError for an unknown table."""
    return [
        HistoryEntry(
            snapshot.snapshot_id,
            datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
            summary.operation.value,
            int(summary["added-records"] or 0),
            int(summary["total-records"] or 0),
        )
        for snapshot in snapshots_on_main(_existing(catalog, identifier))
        if (summary := snapshot.summary) is not None
    ]


def _existing(catalog: Catalog, identifier: str) -> Table:
    table = find_table(catalog, identifier)
    if table is None:
        raise UsageError(f"{identifier}: no such table. 'mesh status' lists them.")
    return table


def snapshots_on_main(table: Table) -> list[Snapshot]:
    """The snapshots that led to the current one, newest first; of before one that has expired, all that are kept."""
    current = table.current_snapshot()
    led = list(ancestors_of(current, table.metadata)) if current else []
    expired = expired_before(table)
    if not led or expired is None:
        return led
    number = led[-1].sequence_number or 0
    older = [snapshot for snapshot in table.metadata.snapshots if (snapshot.sequence_number or 0) < number]
    return led + sorted(older, key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)


def changed_since(table: Table, snapshot_id: int) -> datetime | None:
    """When the first commit after a snapshot changed rows, UTC; None where none did. Compaction changes none."""
    later: list[Snapshot] = []
    for snapshot in snapshots_on_main(table):
        if snapshot.snapshot_id == snapshot_id:
            changes = [each for each in later if each.summary is None or each.summary.operation != Operation.REPLACE]
            return _time(changes[-1]) if changes else None
        later.append(snapshot)
    # It was rolled back, or has expired: what stands now is another state.
    return _time(later[0]) if later else None


def _time(snapshot: Snapshot) -> datetime:
    return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)


def roll_back(mesh: Mesh, catalog: Catalog, identifier: str, snapshot_id: int) -> RolledBack:
    """Make `snapshot_id` the table's current snapshot; the tables above follow with the next build.

    From a landing table the events that leave are first written to its ledger, so that no replay brings them
    back. Going forward again to a snapshot that holds them does. Raises UsageError for a table or snapshot that
    is not there, for a quarantine or a ledger (what is acknowledged would be nowhere), and for rows that rules hold
    back (the snapshot of their table says which of them count). Raises ConflictError where somebody commits in
    between five times, and Unavailable.
    """
    landings = {landing_name(contract): contract for contract in mesh.ingested()}
    if identifier in {name(contract) for contract in mesh.ingested() for name in (rejected_name, removed_name)}:
        raise UsageError(
            f"{identifier}: a quarantine and a ledger only grow. Roll back a landing table or a product."
        )
    if identifier in {held_name(contract) for contract in mesh.contracts.values()}:
        raise UsageError(f"{identifier}: it goes with its table. Roll back {identifier.removesuffix('__held')}.")
    for _ in range(5):
        table = _existing(catalog, identifier)
        if table.metadata.snapshot_by_id(snapshot_id) is None:
            known = ", ".join(str(s.snapshot_id) for s in snapshots_on_main(table)[:10]) or "none"
            expired = expired_before(table)
            gone = f", or no more: of before {expired.isoformat()} only some are kept" if expired else ""
            raise UsageError(f"{identifier}: no snapshot {snapshot_id}{gone}; the newest are {known}.")
        left = head(table)
        removed = 0
        with answering(identifier, "the lake does not answer", _MEND):
            if identifier in landings and left != snapshot_id:
                removed = _write_ledger(catalog, table, landings[identifier], snapshot_id)
            with suppress(ConflictError):
                with first_to_commit(table), table.manage_snapshots() as manage:
                    manage.set_current_snapshot(snapshot_id=snapshot_id)
                return RolledBack(identifier, snapshot_id, left, removed)
    raise ConflictError(f"{identifier}: others keep committing. Stop ingest for this table, then roll back again.")


def _write_ledger(catalog: Catalog, table: Table, contract: Contract, snapshot_id: int) -> int:
    columns = ("event_id", "event_time")
    present = table.scan(selected_fields=columns).to_arrow()
    kept = table.scan(selected_fields=columns, snapshot_id=snapshot_id).to_arrow()
    leaving = present.join(kept.select(["event_id"]), keys="event_id", join_type="left anti")
    shape = removed_shape(contract)
    rows = pa.table(
        [
            leaving["event_id"],
            leaving["event_time"],
            pa.repeat(pa.scalar("rollback", pa.large_string()), leaving.num_rows),
            pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC")), leaving.num_rows),
        ],
        names=[field.name for field in shape.fields],
    ).cast(arrow_schema(shape))
    append_new(
        lambda: ensure_table(catalog, removed_name(contract), shape), rows, "event_id", "event_time", nothing_refused
    )
    return int(leaving.num_rows)
