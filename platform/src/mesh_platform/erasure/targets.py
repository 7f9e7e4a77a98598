"""Find the tables and columns that have the values of a column, by contracts, references and lineage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mesh_platform.contract.contract import Contract
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.value_search import Sought, Value
from mesh_platform.lake.erasures import ERASURES
from mesh_platform.lake.platform_tables import PLATFORM_TABLES
from mesh_platform.lake.tables import EVENT_TABLES, MeshTable, TableKind, table_named, tables_of
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.columns import Column, Columns, queue_relation
from mesh_platform.sql.model import Model, build_order, driving_inputs
from mesh_platform.sql.relations import tables_behind
from mesh_platform.text import offer

_QUARANTINE = ("raw", "detail")
_BUILT: tuple[TableKind, ...] = ("held", "product")


@dataclass(frozen=True)
class Target:
    """A table that may have the value, and where: in the columns `equal`, or within the texts and bytes `within`.

    `mesh_table` is None for a table of the platform; in these the value is replaced, and the rows stay. `follows` are
    the tables whose rows the table maps one by one with these columns, so that it stays up to date with them if the
    same values are erased in all; it is empty for any other table.
    """

    name: str
    mesh_table: MeshTable | None
    equal: tuple[str, ...]
    within: tuple[str, ...] = ()
    follows: frozenset[str] = frozenset()

    def sought(self, value: Value) -> Sought:
        """Return what is sought in the table."""
        return Sought(value, self.equal, self.within)


@dataclass(frozen=True)
class Targets:
    """All targets, each after those that it is computed from, and the names of all columns that have the values."""

    tables: tuple[Target, ...]
    columns: tuple[str, ...]


def find_targets(mesh: Mesh, models: Mapping[str, Model], column: str) -> Targets:
    """Return where the values of `column` are.

    They are in the columns of that name, in those that refer to one, and in all that are copies of these. Raises
    UsageError if no table has it.
    """
    lineage = Columns(mesh, models)
    starts = {*_named(mesh, column)}
    if not starts:
        known = dict.fromkeys(sorted({each.name for one in mesh.contracts.values() for each in one.table.fields}))
        raise UsageError(f"{column}: no column has that name. {offer(column, known)}")
    found = _copies(lineage, starts)
    by_table: dict[str, list[str]] = {}
    for relation, name in sorted(found):
        if table_named(mesh, relation):
            by_table.setdefault(relation, []).append(name)
    names = {name for relation, name in found if table_named(mesh, relation)}
    tables = [*_targets(mesh, models, lineage, by_table, found)]
    for platform, schema in PLATFORM_TABLES.items():
        if platform != ERASURES:
            texts = tuple(field.name for field in schema.fields if field.type.name == "string")
            tables.append(Target(platform, None, (), texts))
    return Targets(tuple(tables), tuple(sorted(names | _former_names(mesh, names))))


def _named(mesh: Mesh, column: str) -> Iterator[Column]:
    for contract in (*mesh.contracts.values(), *mesh.retired.values()):
        for field in contract.table.fields:
            if field.name == column or (field.references and field.references[1] == column):
                yield contract.identifier, field.name
        if contract.event and column in contract.event.by_name:
            yield queue_relation(contract), column


def _copies(lineage: Columns, starts: set[Column]) -> set[Column]:
    """Return the columns, and all that are copies of them or that they are copies of."""
    found, waiting = set(starts), [*starts]
    while waiting:
        lineage.trace({reader for relation, _ in waiting for reader in lineage.readers.get(relation, ())})
        lineage.trace({relation for relation, _ in waiting})
        near: set[Column] = set()
        for relation, name in waiting:
            above = lineage.lineage(relation).columns.get(name, ())
            near |= {(each.relation, each.column) for each in above if each.how == "copied"}
            for edge in lineage.edges_from((relation, name)):
                if edge.how == "copied" and edge.target_column is not None:
                    near.add((edge.target, edge.target_column))
        waiting = sorted(near - found)
        found |= near
    return found


def _targets(
    mesh: Mesh,
    models: Mapping[str, Model],
    lineage: Columns,
    by_table: Mapping[str, list[str]],
    found: set[Column],
) -> Iterator[Target]:
    contracts = [mesh.contracts[name] for name in build_order(mesh, models)]
    tables = [each for contract in (*mesh.retired.values(), *contracts) for each in tables_of(contract)]
    # A product reads the landing tables of others, too, so these go first. Held rows go before their table, whose
    # snapshot names the state of the held rows that belongs to it.
    first = [each for each in tables if each.kind in EVENT_TABLES]
    then = [MeshTable(each.contract, kind) for each in tables if each.kind == "product" for kind in _BUILT]
    for mesh_table in (*first, *then):
        name, contract = mesh_table.name, mesh_table.contract
        if mesh_table.kind == "quarantine":
            yield Target(name, mesh_table, (), _QUARANTINE)
        elif name in by_table:
            is_product = mesh_table.kind == "product"
            follows = _follows(mesh, models, lineage, contract, by_table[name], found) if is_product else frozenset()
            yield Target(name, mesh_table, tuple(by_table[name]), (), follows)


def _follows(
    mesh: Mesh,
    models: Mapping[str, Model],
    lineage: Columns,
    contract: Contract,
    columns: list[str],
    found: set[Column],
) -> frozenset[str]:
    """Return the tables whose rows the model maps one by one, if each of them gives it the erased values."""
    model = models.get(contract.identifier)
    driving = driving_inputs(model) if model else ()
    made = lineage.lineage(contract.identifier).columns
    copied = {
        each.relation
        for name in columns
        for each in made.get(name, ())
        if each.how == "copied" and (each.relation, each.column) in found
    }
    if not driving or copied != {*driving}:
        return frozenset()
    return frozenset(table for relation in driving for table in tables_behind(mesh, relation))


def _former_names(mesh: Mesh, names: set[str]) -> set[str]:
    fields = (
        field
        for contract in mesh.contracts.values()
        for schema in (contract.table, contract.event)
        if schema
        for field in schema.fields
    )
    return {former for field in fields if field.name in names for former in field.renamed_from}
