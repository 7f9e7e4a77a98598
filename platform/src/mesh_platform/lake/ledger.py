"""Keep the ledger of a landing table: the events that were removed on purpose and that ingest must refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform.iceberg.append import append_new, days_filter
from mesh_platform.iceberg.keys import IdIndex, to_ids
from mesh_platform.lake.catalog import arrow_schema, ensure_table, find_table
from mesh_platform.lake.tables import ledger_name, ledger_schema

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from mesh_platform.contract.contract import Contract


def removed_keys(catalog: Catalog, ledger: str, known: IdIndex | None = None) -> Callable[[pa.Table], pa.Array]:
    """Return the function by which `append_new` refuses rows: it returns their ids that are in the ledger table.

    It reads only the days of the rows. A ledger table that does not exist refuses nothing.
    """
    known = known or IdIndex()

    def refused(rows: pa.Table) -> pa.Array:
        table = find_table(catalog, ledger) if rows.num_rows else None
        if table is None:
            return pa.array([], pa.large_string())
        days = days_filter("event_time", rows["event_time"])
        held = known.held(table, to_ids(rows["event_id"]), "event_id", days)
        return rows["event_id"].filter(pa.array(held)).combine_chunks()

    return refused


def write_ledger(catalog: Catalog, table: Table, contract: Contract, snapshot_id: int) -> int:
    """Append the events that a landing table has now but not at `snapshot_id` to its ledger; return their number.

    Raises what `append_new` raises.
    """
    columns = ("event_id", "event_time")
    present = table.scan(selected_fields=columns).to_arrow()
    kept = table.scan(selected_fields=columns, snapshot_id=snapshot_id).to_arrow()
    removed = present.join(kept.select(["event_id"]), keys="event_id", join_type="left anti")
    schema = ledger_schema(contract)
    rows = pa.table(
        [
            removed["event_id"],
            removed["event_time"],
            pa.repeat(pa.scalar("rollback", pa.large_string()), removed.num_rows),
            pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC")), removed.num_rows),
        ],
        names=[field.name for field in schema.fields],
    ).cast(arrow_schema(schema))
    append_new(lambda: ensure_table(catalog, ledger_name(contract), schema), rows, "event_id", "event_time")
    return int(removed.num_rows)
