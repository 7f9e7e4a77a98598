"""Read the history of a table: the snapshots that led to its current state, and when its rows changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pyiceberg.table.snapshots import Operation, ancestors_of

from mesh_platform.iceberg.expiry import expired_before, instant
from mesh_platform.iceberg.provenance import engine_of
from mesh_platform.iceberg.snapshot_diff import count_rows

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


@dataclass(frozen=True)
class HistoryEntry:
    """One snapshot: its operation (of the Iceberg spec), how many rows it added, and how many readers see in it.

    `engine` ran the query that made it; None for DuckDB, and for one that no query made.
    """

    snapshot_id: int
    committed_at: datetime
    operation: str
    added: int
    rows: int
    engine: str | None


def read_history(table: Table) -> list[HistoryEntry]:
    """Return the snapshots that led to the table's current state, newest first."""
    return [
        HistoryEntry(
            snapshot.snapshot_id,
            instant(snapshot.timestamp_ms),
            summary.operation.value,
            int(summary["added-records"] or 0),
            count_rows(table, snapshot.snapshot_id),
            engine_of(snapshot),
        )
        for snapshot in snapshots_on_main(table)
        if (summary := snapshot.summary) is not None
    ]


def snapshots_on_main(table: Table) -> list[Snapshot]:
    """Return the snapshots that led to the current one, newest first.

    Before the first one whose parent has expired, these are all kept snapshots that are older.
    """
    current = table.current_snapshot()
    ancestors = list(ancestors_of(current, table.metadata)) if current else []
    expired = expired_before(table)
    if not ancestors or expired is None:
        return ancestors
    number = ancestors[-1].sequence_number or 0
    older = [snapshot for snapshot in table.metadata.snapshots if (snapshot.sequence_number or 0) < number]
    return ancestors + sorted(older, key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)


def changed_since(table: Table, snapshot_id: int) -> datetime | None:
    """Return when the first commit after a snapshot changed rows, UTC; None if none did. Compaction changes none."""
    later: list[Snapshot] = []
    for snapshot in snapshots_on_main(table):
        if snapshot.snapshot_id == snapshot_id:
            changes = [each for each in later if each.summary is None or each.summary.operation != Operation.REPLACE]
            return instant(changes[-1].timestamp_ms) if changes else None
        later.append(snapshot)
    # The snapshot was rolled back or has expired, so the current state is another one.
    return instant(later[0].timestamp_ms) if later else None
