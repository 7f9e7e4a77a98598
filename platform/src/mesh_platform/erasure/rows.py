"""Erase the rows of one table, and let its record of what it was built from follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.contract.contract import Contract
from mesh_platform.erasure.targets import Target
from mesh_platform.errors import ConflictError
from mesh_platform.iceberg.commit import commit_files
from mesh_platform.iceberg.erasure import Edit, erase_rows, successor
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id, files_at, has_snapshot
from mesh_platform.iceberg.value_search import Value
from mesh_platform.lake.catalog import existing_table, find_table
from mesh_platform.lake.tables import held_name

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_ATTEMPTS = 8
_MASK = "[erased]"


def erase_from(catalog: Catalog, target: Target, value: Value, request: str, known: dict[str, int]) -> None:
    """Commit a state of a table that exists without the value. Raises what `erase_rows` raises."""
    contract = target.mesh_table.contract if target.mesh_table else None
    kind = target.mesh_table.kind if target.mesh_table else None
    if contract and kind == "held":
        _restore_held(catalog, contract)

    def notes(table: Table) -> Mapping[str, str]:
        return _notes(catalog, table, target, contract) if contract and kind == "product" else {}

    erase_rows(_loader(catalog, target.name), target.sought(value), request, notes, _edit(target, value), known)


def _loader(catalog: Catalog, name: str) -> Callable[[], Table]:
    return lambda: existing_table(catalog, name)


def _edit(target: Target, value: Value) -> Edit | None:
    """Return what replaces the value in rows of the platform, which are kept."""
    if target.mesh_table:
        return None

    def edit(rows: pa.Table) -> pa.Table:
        for place, name in enumerate(rows.column_names):
            if name in target.within:
                changed = pc.replace_substring(rows[name], value.text, _MASK)
                rows = rows.set_column(place, rows.schema.field(place), changed)
        return rows

    return edit


def _notes(catalog: Catalog, table: Table, target: Target, contract: Contract) -> Mapping[str, str]:
    """Return what the table is built from once the value is erased in it and in the tables that it `follows`.

    If it was built from a state of such a table, its rows are now what the model makes of that state less the erased
    rows. Where an input changed in any other way, the record stays, and the next build computes the table.
    """
    noted = read_provenance(table, current_snapshot_id(table))
    if noted is None:
        return {}
    was = noted[1]
    inputs = dict(was.inputs)
    for name in target.follows:
        found = find_table(catalog, name)
        state = inputs.get(name)
        if found is not None and isinstance(state, int):
            inputs[name] = successor(found, state)
    return replace(was, inputs=inputs, held=_held_now(catalog, contract, was.held)).to_summary()


def _held_now(catalog: Catalog, contract: Contract, was: int | None) -> int | None:
    """Return the state of the held rows that belongs to a table now. Raises ConflictError if a build moved them."""
    if was is None:
        return None
    held = find_table(catalog, held_name(contract))
    if held is None or not has_snapshot(held, was):
        return was
    now = successor(held, was)
    if now != was or current_snapshot_id(held) == was:
        return now
    # Compaction or a fence may have come after it, with the same rows.
    files = [{task.file.file_path for task in files_at(held, each)} for each in (was, current_snapshot_id(held))]
    if files[0] != files[1]:
        raise ConflictError(f"{contract.identifier}: somebody built it meanwhile.")
    return current_snapshot_id(held)


def _restore_held(catalog: Catalog, contract: Contract) -> None:
    """Make the held rows that the product table names the current ones: a build that was killed leaves others."""

    def attempt() -> None:
        product, held = find_table(catalog, contract.identifier), existing_table(catalog, held_name(contract))
        noted = read_provenance(product, current_snapshot_id(product)) if product else None
        named = noted[1].held if noted else None
        if named is None or not has_snapshot(held, named):
            return
        wanted = {task.file.file_path: task.file for task in files_at(held, successor(held, named))}
        present = {task.file.file_path: task.file for task in files_at(held, current_snapshot_id(held))}
        if wanted.keys() != present.keys():
            removed = [file for path, file in present.items() if path not in wanted]
            commit_files(held, removed, [file for path, file in wanted.items() if path not in present])

    on_conflict(_ATTEMPTS, attempt, f"{held_name(contract)}: others keep committing. Erase again.")
