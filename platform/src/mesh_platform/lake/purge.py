"""Purge columns that a contract dropped from its tables for good, so that other types can reuse their names.

A dropped column stays in its table, so that the contract can restore it with its values. A purge deletes it from the
table's schema (Iceberg spec, "Schema Evolution"): no data file is written, earlier snapshots keep the schema of their
time, and a later column of that name gets another field id, so that old files read as null for it. The contract can
then no longer restore the column. So a purge is refused while a state is kept that was made when the contract had it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.contract.schema_change import DROPPED, Change, compare, left_over
from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.commit import first_to_commit
from mesh_platform.iceberg.expiry import reigns_ended
from mesh_platform.iceberg.outage import answering
from mesh_platform.iceberg.replace import replace_same_rows
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import find_table, present_schema
from mesh_platform.lake.evolution import evolve, plan_evolution, refuse, schemas_of
from mesh_platform.lake.tables import held_name

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from mesh_platform.contract.contract import Contract, TableSchema

_ATTEMPTS = 5
_GIVEN_UP = "{}: others keep committing. Stop them, then purge again."
_MEND = "Mend the catalog or the storage, then purge again; what is done stays done."
DESPITE = "--despite-releases"


def plan_purge(catalog: Catalog, contract: Contract, despite_releases: bool = False) -> list[Change]:
    """Return what `purge` would do: a `purge` change for each column, `breaking` if still refused, and what follows.

    With `despite_releases`, a state that a release, a tag or a branch names does not keep a column.
    """
    return _purges(catalog, contract, despite_releases) + _changes_after(catalog, contract)


def purge(catalog: Catalog, contract: Contract, despite_releases: bool = False) -> list[Change]:
    """Delete dropped columns from the product's tables, and apply the contract; return the changes.

    The first call for a table that nobody has written to since the contract dropped the column commits a snapshot
    with the same rows, so that the earlier state can expire. If it is killed between two tables, run it again to
    finish.

    Raises AttentionError with everything that keeps a column, and for how long, and ContractError with what would
    break even after the purge; in both cases no column is deleted. Raises ConflictError if others keep committing,
    and UnavailableError.
    """
    refuse(contract, _changes_after(catalog, contract))
    done: list[Change] = []
    # If another change breaks, at least mark the columns as dropped: later snapshots then do not show them.
    breaks = any(change.breaking for change in plan_evolution(catalog, contract))
    done += evolve(catalog, contract, "drop_optional" if breaks else None)
    _renew_states(catalog, contract)
    purges = _purges(catalog, contract, despite_releases)
    kept = [f"{change.table}: {change.reason}." for change in purges if change.breaking]
    if kept:
        waits = " Until then leave the new column of that name out of the contract: no build runs with it." * breaks
        raise AttentionError("\n".join([*kept, f"What was dropped is noted. No column was purged.{waits}"]))
    # The held table goes first, because the product table's state decides which held rows are shown.
    for name in reversed(schemas_of(contract)):
        columns = {change.field for change in purges if change.table == name}
        if columns:
            _delete(catalog, name, columns)
        faults.point("evolve.committed")
    return [*done, *purges, *evolve(catalog, contract)]


def _purges(catalog: Catalog, contract: Contract, despite_releases: bool) -> list[Change]:
    found = []
    for name, table_schema in schemas_of(contract).items():
        table = find_table(catalog, name)
        for field in left_over(present_schema(table), table_schema) if table is not None else ():
            # Held rows are only shown with a state of their product table.
            owner = find_table(catalog, contract.identifier) if name == held_name(contract) else table
            assert table is not None
            kept = _partitioned_by(table, field.name)
            if not kept and owner is not None:
                kept = _kept_by(owner, field.name, contract, despite_releases)
            effect = f"has {field.name} ({field.type.name}), which the contract lacks"
            reason = f"{effect}; {kept}" if kept else f"{effect}; its values can no more be read or come back"
            found.append(Change(name, "purge", field.name, field.name, bool(kept), reason))
    return found


def _changes_after(catalog: Catalog, contract: Contract) -> list[Change]:
    """Return what evolving would change once all dropped columns are purged."""
    changes = []
    for name, table_schema in schemas_of(contract).items():
        table = find_table(catalog, name)
        if table is not None:
            present = present_schema(table)
            gone = {field.name for field in left_over(present, table_schema)}
            fields = tuple(field for field in present.fields if field.name not in gone)
            changes += compare(name, replace(present, fields=fields), table_schema)
    return changes


def _partitioned_by(table: Table, column: str) -> str:
    number = table.schema().find_field(column).field_id
    if any(part.source_id == number for spec in table.specs().values() for part in spec.fields):
        return "the table is or was partitioned by it, and readers need it for that. Choose another name"
    return ""


def _kept_by(table: Table, column: str, contract: Contract, despite_releases: bool) -> str:
    """Say which states keep a column, until when, and what to do about it; empty if none does."""
    present = next((field for field in table.schema().fields if field.name == column), None)
    showing = _showing(table, present.field_id) if present else []
    names = {ref.snapshot_id: name for name, ref in table.metadata.refs.items() if name != "main"}
    now, ended = datetime.now(UTC), reigns_ended(table)
    lifetime = min(contract.time_travel, contract.retention)
    # Of a snapshot that never was the current one and is not named, only this is known: it can expire.
    until = {each: (ended.get(each, now - lifetime) or now) + lifetime for each in showing}
    passing = {each: time for each, time in until.items() if time > now or each not in names}
    kept = []
    if passing:
        newest = max(passing, key=lambda each: passing[each])
        others = f" and {len(passing) - 1} of before show" if len(passing) > 1 else " shows"
        way = (
            f"until {passing[newest]:%Y-%m-%d %H:%M} UTC; run 'mesh build' and 'mesh maintain' then, and purge again"
        )
        if passing[newest] <= now:
            way = "and may expire: run 'mesh build' and 'mesh maintain', then purge again"
        kept.append(f"snapshot {newest}{others} it {way}")
    named = sorted({ref for each, ref in names.items() if each in showing})
    if named and not despite_releases:
        kept.append(
            f"{', '.join(named)} {'show' if len(named) > 1 else 'shows'} it for good; {DESPITE} purges it all the "
            "same, and they show no column of its name then"
        )
    return "; ".join(kept)


def _showing(table: Table, field_id: int) -> list[int]:
    """Return the snapshots, oldest first, that were made while the contract had a column."""
    schemas = {
        number
        for number, schema in table.schemas().items()
        for field in schema.fields
        if field.field_id == field_id and not (field.doc or "").startswith(DROPPED)
    }
    return [each.snapshot_id for each in table.metadata.snapshots if each.schema_id in schemas]


def _renew_states(catalog: Catalog, contract: Contract) -> None:
    """Give each table a current state that shows no dropped column, so that the earlier one can expire."""
    for name, table_schema in schemas_of(contract).items():
        if name != held_name(contract):
            on_conflict(_ATTEMPTS, partial(_renew_state, catalog, name, table_schema), _GIVEN_UP.format(name))


def _renew_state(catalog: Catalog, name: str, table_schema: TableSchema) -> None:
    table = find_table(catalog, name)
    gone = left_over(present_schema(table), table_schema) if table is not None else ()
    if table is None or not any(
        current_snapshot_id(table) in _showing(table, table.schema().find_field(field.name).field_id)
        for field in gone
    ):
        return
    replace_same_rows(table)


def _delete(catalog: Catalog, name: str, columns: set[str]) -> None:
    def attempt() -> None:
        table = find_table(catalog, name)
        present = {field.name for field in table.schema().fields} if table is not None else set()
        if table is None or not columns & present:
            return
        reaching = answering(name, "the lake takes no new schema", _MEND)
        with reaching, first_to_commit(table), table.update_schema() as update:
            for column in sorted(columns & present):
                update.delete_column(column)

    on_conflict(_ATTEMPTS, attempt, _GIVEN_UP.format(name))
