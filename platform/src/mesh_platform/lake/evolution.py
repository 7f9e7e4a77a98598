"""Evolve the tables of a product to its changed contract, without touching rows or snapshots.

Iceberg identifies columns by field ids (spec, section "Schema Evolution"), so no data file is written: existing files
are read with the new schema, and earlier snapshots keep the schema of their time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyiceberg.transforms import parse_transform

from mesh_platform import faults
from mesh_platform.contract.contract import partition_name
from mesh_platform.contract.schema_change import DROPPED, Change, compare, identifying
from mesh_platform.errors import ContractError, Problem
from mesh_platform.iceberg.commit import first_to_commit
from mesh_platform.iceberg.outage import answering
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.lake.catalog import AS_VERSION_2, find_table, present_schema
from mesh_platform.lake.tables import tables_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.update.schema import UpdateSchema

    from mesh_platform.contract.contract import Contract, TableSchema

_ATTEMPTS = 5
_MEND = "Mend the catalog or the storage, then evolve again; what is done stays done."


def plan_evolution(catalog: Catalog, contract: Contract) -> list[Change]:
    """Return what differs between the product's existing tables and its contract, landing table first."""
    return [
        change
        for name, table_schema in schemas_of(contract).items()
        if (table := find_table(catalog, name)) is not None
        for change in _changes(name, table, table_schema)
    ]


def evolve(catalog: Catalog, contract: Contract, only: str | None = None) -> list[Change]:
    """Apply the contract to the product's tables, each in one commit without a snapshot; return the changes.

    With `only`, changes of other kinds are ignored. If it is killed between two tables, run it again to finish.
    Raises ContractError with all breaking changes, before anything is changed; ConflictError if others keep
    committing; and UnavailableError.
    """
    refuse(contract, [change for change in plan_evolution(catalog, contract) if only in (None, change.change)])
    done: list[Change] = []
    for name, table_schema in schemas_of(contract).items():
        done += _evolve_table(catalog, contract, name, table_schema, only)
        faults.point("evolve.committed")
    return done


def schemas_of(contract: Contract) -> dict[str, TableSchema]:
    """Return the schemas that the contract defines, by table. The platform defines those of quarantine and ledger."""
    return {table.name: table.schema for table in tables_of(contract) if table.kind in ("landing", "product", "held")}


def refuse(contract: Contract, changes: list[Change]) -> None:
    """Raise ContractError with the breaking ones of `changes`, each with its line in the contract."""
    problems = []
    for change in changes:
        if change.breaking:
            table_schema = schemas_of(contract)[change.table]
            line = (
                table_schema.by_name[change.field].line if change.field in table_schema.by_name else table_schema.line
            )
            optional = "Make it optional, or publish" if change.change == "add_required" else "Publish"
            fix = f"{optional} it {AS_VERSION_2}"
            if change.purgeable:
                fix = (
                    f"Run 'mesh evolve {contract.identifier} --purge' to drop the old column for good, or rename it."
                )
            problems.append(Problem(contract.path, line, f"the table {change.table} {change.reason}.", fix))
    if problems:
        raise ContractError(problems)


def _changes(name: str, table: Table, table_schema: TableSchema) -> list[Change]:
    """Return what differs; a name that Iceberg keeps for a partition, of an earlier layout too, breaks."""
    sources = {part.name: part.source_id for spec in table.specs().values() for part in spec.fields}
    present = {field.name: field.field_id for field in table.schema().fields}
    changes = compare(name, present_schema(table), table_schema)
    for place, change in enumerate(changes):
        is_own = change.was is not None and sources.get(change.field) == present.get(change.was)
        if change.change in ("add", "rename") and change.field in sources and not is_own:
            reason = f"has a partition named {change.field}, so no other column can have that name; choose another"
            changes[place] = replace(change, breaking=True, reason=reason)
    return changes


def _evolve_table(
    catalog: Catalog, contract: Contract, name: str, table_schema: TableSchema, only: str | None
) -> list[Change]:
    def attempt() -> list[Change]:
        table = find_table(catalog, name)
        found = _changes(name, table, table_schema) if table is not None else []
        changes = [change for change in found if only in (None, change.change)]
        if table is None or not changes:
            return []
        refuse(contract, changes)
        with answering(name, "the lake takes no new schema", _MEND), first_to_commit(table):
            _apply(table, table_schema, changes)
        return changes

    return on_conflict(_ATTEMPTS, attempt, f"{name}: others keep committing. Stop them, then evolve again.")


def _apply(table: Table, table_schema: TableSchema, changes: list[Change]) -> None:
    with table.transaction() as transaction:
        with transaction.update_schema() as update:
            for change in changes:
                _change_schema(update, table, table_schema, change)
        if any(change.change == "repartition" for change in changes):
            schema = transaction.table_metadata.schema()
            present = {
                (str(part.transform), schema.find_column_name(part.source_id)): part for part in table.spec().fields
            }
            with transaction.update_spec() as spec:
                for key, part in present.items():
                    if key not in table_schema.partition:
                        spec.remove_field(part.name)
                for transform, column in table_schema.partition:
                    if (transform, column) not in present:
                        spec.add_field(column, parse_transform(transform), partition_name(transform, column))


def _change_schema(update: UpdateSchema, table: Table, table_schema: TableSchema, change: Change) -> None:
    field = table_schema.by_name.get(change.field)
    present = change.was or ""
    match change.change:
        case "add" if field:
            update.add_column(field.name, field.type.iceberg, doc=field.description)
        case "rename" if field:
            update.rename_column(present, field.name)
        case "widen" if field:
            update.update_column(present, field_type=field.type.iceberg)
        case "relax_required":
            update.make_column_optional(present)
        case "describe" if field:
            update.update_column(present, doc=field.description)
        case "drop_optional":
            update.update_column(present, doc=DROPPED + (table.schema().find_field(present).doc or ""))
        case "set_key":
            update.set_identifier_fields(*identifying(table_schema))
