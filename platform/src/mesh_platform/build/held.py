"""Rows that rules hold back: what a build made of them arrives, the snapshot of `<table>__held` that has them leaves.

They are written before the output is, and the output's snapshot names the state of them that belongs to it
(`mesh.held`). So what a killed build left behind is seen by nobody, and gone with the next one that writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform import faults
from mesh_platform.engine.duckdb import registered
from mesh_platform.engine.sql import in_partitions
from mesh_platform.iceberg.commit import append_rows, replace_files
from mesh_platform.iceberg.snapshot_diff import all_files, files_at, has_snapshot, head, read_files
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.tables import held_name, held_shape

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.contract.contract import Contract
    from mesh_platform.engine.duckdb import Connection


def is_kept(catalog: Catalog, contract: Contract, snapshot_id: int | None) -> bool:
    """Whether what was held back at a snapshot can still be read; nothing, at None, always can."""
    if snapshot_id is None:
        return True
    return has_snapshot(ensure_table(catalog, held_name(contract), held_shape(contract)), snapshot_id)


def read_held(catalog: Catalog, contract: Contract, snapshot_id: int | None) -> pa.Table | None:
    """The rows held back at a snapshot, none at None; None where that state has expired."""
    shape = held_shape(contract)
    if snapshot_id is None:
        return arrow_schema(shape).empty_table()
    table = ensure_table(catalog, held_name(contract), shape)
    if not has_snapshot(table, snapshot_id):
        return None
    # Read by the table's current schema, which that snapshot may be older than.
    columns = [field.name for field in shape.fields]
    return read_files(table, files_at(table, snapshot_id), columns).cast(arrow_schema(shape))


def as_held(contract: Contract, rows: pa.Table | None) -> pa.Table:
    """`rows` in the types of the table of what is held back; None is no rows."""
    schema = arrow_schema(held_shape(contract))
    return schema.empty_table() if rows is None else rows.cast(schema)


def append_held(catalog: Catalog, contract: Contract, was: int | None, rows: pa.Table | None) -> int | None:
    """The snapshot with `rows` beside those of the snapshot `was`, which is there still. Raises ConflictError."""
    came = as_held(contract, rows)
    if not came.num_rows:
        return was
    table = ensure_table(catalog, held_name(contract), held_shape(contract))
    if head(table) == was:
        return _committed(append_rows(table, came))
    stayed = read_held(catalog, contract, was)
    assert stayed is not None, f"{held_name(contract)} has lost snapshot {was}"
    return _replaced(catalog, contract, pa.concat_tables([stayed, came]))


def replace_held(
    connection: Connection,
    catalog: Catalog,
    contract: Contract,
    was: int | None,
    rows: pa.Table | None,
    touched: str | None = None,
) -> int | None:
    """The snapshot with `rows` instead of those of `was`, or of those in the partitions of the relation `touched`.

    Raises ConflictError.
    """
    came = as_held(contract, rows)
    if not came.num_rows and was is None:
        return None
    stayed = read_held(catalog, contract, was) if touched else None
    if stayed is not None and touched:
        with registered(connection, "mesh_held", stayed):
            kept = f"SELECT * FROM mesh_held WHERE NOT {in_partitions(contract.table, 'mesh_held', touched)}"
            came = pa.concat_tables([came, connection.execute(kept).to_arrow_table().cast(came.schema)])
    return _replaced(catalog, contract, came)


def _replaced(catalog: Catalog, contract: Contract, rows: pa.Table) -> int:
    table = ensure_table(catalog, held_name(contract), held_shape(contract))
    return _committed(replace_files(table, [task.file for task in all_files(table)], rows))


def _committed(snapshot_id: int) -> int:
    faults.point("build.held")
    return snapshot_id
