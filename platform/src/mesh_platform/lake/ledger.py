"""The ledger of a landing table: the events that were removed on purpose, which ingest refuses from then on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform.iceberg.append import append_new, days_filter
from mesh_platform.iceberg.keys import KnownKeys, to_keys
from mesh_platform.lake.catalog import arrow_schema, ensure_table, find_table
from mesh_platform.lake.tables import removed_name, removed_shape

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from mesh_platform.contract.contract import Contract


def removed_keys(catalog: Catalog, ledger: str, known: KnownKeys | None = None) -> Callable[[pa.Table], pa.Array]:
    """What `append_new` must refuse: the ids in the ledger table, if there is one, on the days of the rows."""
    known = known or KnownKeys()

    def refused(rows: pa.Table) -> pa.Array:
        table = find_table(catalog, ledger)
        if table is None or not rows.num_rows:
            return pa.array([], pa.large_string())
        days = days_filter("event_time", rows["event_time"])
        held = known.held(table, to_keys(rows["event_id"]), "event_id", days)
        return rows["event_id"].filter(pa.array(held)).combine_chunks()

    return refused


def write_ledger(catalog: Catalog, table: Table, contract: Contract, snapshot_id: int) -> int:
    """Note the events that are in a landing table now and not at `snapshot_id`; how many.

    Raises what `append_new` raises.
    """
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
    append_new(lambda: ensure_table(catalog, removed_name(contract), shape), rows, "event_id", "event_time")
    return int(leaving.num_rows)
