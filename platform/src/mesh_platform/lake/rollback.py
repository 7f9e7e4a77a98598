"""Roll a table back: make an earlier snapshot its current one again.

The events that a rollback removes from a landing table are first written to its ledger, so that no replay brings them
back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh_platform.errors import UsageError
from mesh_platform.iceberg.commit import first_to_commit
from mesh_platform.iceberg.expiry import expired_before
from mesh_platform.iceberg.history import snapshots_on_main
from mesh_platform.iceberg.outage import answering
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import existing_table
from mesh_platform.lake.ledger import write_ledger
from mesh_platform.lake.tables import table_named

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.mesh.mesh import Mesh

_ATTEMPTS = 5
_MEND = "Mend the catalog or the storage, then roll back again."


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did: `previous_id` is the snapshot that was the current one before.

    `removed` counts the events removed from a landing table and written to its ledger; it is 0 for other tables.
    """

    table: str
    snapshot_id: int
    previous_id: int | None
    removed: int


def roll_back(mesh: Mesh, catalog: Catalog, identifier: str, snapshot_id: int) -> RolledBack:
    """Make `snapshot_id` the table's current snapshot; tables downstream follow with the next build.

    The events that this removes from a landing table are first written to its ledger, so that no replay brings them
    back. Rolling forward to a snapshot that has them does. Raises UsageError for a table or snapshot that does not
    exist, for a quarantine or a ledger (acknowledged events would be lost), and for a table of held rows (the
    snapshot of its product table says which of them count). Raises ConflictError if somebody else commits first each
    time, and UnavailableError.
    """
    known = table_named(mesh, identifier)
    if known and known.kind in ("quarantine", "ledger"):
        raise UsageError(
            f"{identifier}: a quarantine and a ledger only grow. Roll back a landing table or a product."
        )
    if known and known.kind == "held":
        raise UsageError(f"{identifier}: held rows follow their table. Roll back {known.contract.identifier}.")

    def attempt() -> RolledBack:
        table = existing_table(catalog, identifier)
        if table.metadata.snapshot_by_id(snapshot_id) is None:
            newest = ", ".join(str(s.snapshot_id) for s in snapshots_on_main(table)[:10]) or "none"
            expired = expired_before(table)
            gone = f", or no more: of before {expired.isoformat()} only some are kept" if expired else ""
            raise UsageError(f"{identifier}: no snapshot {snapshot_id}{gone}; the newest are {newest}.")
        previous_id = current_snapshot_id(table)
        removed = 0
        with answering(identifier, "the lake does not answer", _MEND):
            if known and known.kind == "landing" and previous_id != snapshot_id:
                removed = write_ledger(catalog, table, known.contract, snapshot_id)
            with first_to_commit(table), table.manage_snapshots() as manage:
                manage.set_current_snapshot(snapshot_id=snapshot_id)
        return RolledBack(identifier, snapshot_id, previous_id, removed)

    advice = f"{identifier}: others keep committing. Stop ingest for this table, then roll back again."
    return on_conflict(_ATTEMPTS, attempt, advice)
