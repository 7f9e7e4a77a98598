"""Read and write `<table>__held`: the rows that rules hold back from a product table.

A build writes held rows before the output, and the output's snapshot names the held snapshot that belongs to it
(`mesh.held`). So nobody sees what a killed build left behind, and the next build that writes replaces it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform import faults
from mesh_platform.engine.duckdb import registered
from mesh_platform.iceberg.commit import append_rows, replace_files
from mesh_platform.iceberg.snapshot_diff import all_files, current_snapshot_id, files_at, has_snapshot, read_files
from mesh_platform.lake.catalog import arrow_schema, checked_table, ensure_table
from mesh_platform.lake.tables import held_name, held_schema

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.contract.contract import Contract
    from mesh_platform.engine.protocol import Connection


def is_kept(catalog: Catalog, contract: Contract, snapshot_id: int | None) -> bool:
    """Whether the held rows of a snapshot can still be read; None, which has none, always can."""
    if snapshot_id is None:
        return True
    table = checked_table(catalog, held_name(contract), held_schema(contract))
    return table is not None and has_snapshot(table, snapshot_id)


def read_held(catalog: Catalog, contract: Contract, snapshot_id: int | None) -> pa.Table | None:
    """Return the held rows of a snapshot, no rows for None; return None if that snapshot has expired."""
    table_schema = held_schema(contract)
    if snapshot_id is None:
        return arrow_schema(table_schema).empty_table()
    table = ensure_table(catalog, held_name(contract), table_schema)
    if not has_snapshot(table, snapshot_id):
        return None
    # The snapshot may be older than the table's current schema, by which the rows are read.
    columns = [field.name for field in table_schema.fields]
    return read_files(table, files_at(table, snapshot_id), columns).cast(arrow_schema(table_schema))


def as_held(contract: Contract, rows: pa.Table | None) -> pa.Table:
    """Cast `rows` to the schema of the held table; None gives no rows."""
    schema = arrow_schema(held_schema(contract))
    return schema.empty_table() if rows is None else rows.cast(schema)


def append_held(catalog: Catalog, contract: Contract, was: int | None, rows: pa.Table | None) -> int | None:
    """Add `rows` to those of the snapshot `was`, which must still exist; return the new snapshot.

    Raises ConflictError.
    """
    added = as_held(contract, rows)
    if not added.num_rows:
        return was
    table = ensure_table(catalog, held_name(contract), held_schema(contract))
    if current_snapshot_id(table) == was:
        return _committed(append_rows(table, added))
    kept = read_held(catalog, contract, was)
    assert kept is not None, f"{held_name(contract)} has lost snapshot {was}"
    return _replaced(catalog, contract, pa.concat_tables([kept, added]))


def replace_held(
    connection: Connection,
    catalog: Catalog,
    contract: Contract,
    was: int | None,
    rows: pa.Table | None,
    replaced: Callable[[str], str] | None = None,
) -> int | None:
    """Replace the rows of `was`; return the new snapshot.

    `replaced` returns the SQL condition that a row of a relation is one to replace; by default, all are. Raises
    ConflictError.
    """
    replacement = as_held(contract, rows)
    if not replacement.num_rows and was is None:
        return None
    present = read_held(catalog, contract, was) if replaced else None
    if present is not None and replaced:
        with registered(connection, "mesh_held", present):
            query = f"SELECT * FROM mesh_held WHERE NOT {replaced('mesh_held')}"
            kept = connection.execute(query).to_arrow_table().cast(replacement.schema)
        replacement = pa.concat_tables([replacement, kept])
    return _replaced(catalog, contract, replacement)


def _replaced(catalog: Catalog, contract: Contract, rows: pa.Table) -> int:
    table = ensure_table(catalog, held_name(contract), held_schema(contract))
    return _committed(replace_files(table, [task.file for task in all_files(table)], rows))


def _committed(snapshot_id: int) -> int:
    faults.point("build.held")
    return snapshot_id
