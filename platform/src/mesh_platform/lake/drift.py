"""What differs between the tables of the lake and the contracts, and what mends each difference. It only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mesh_platform.contract.contract import exact_from_1970
from mesh_platform.contract.schema_change import Change, compare
from mesh_platform.iceberg.bounds import begins_before_1970
from mesh_platform.iceberg.outage import answering
from mesh_platform.lake.catalog import AS_VERSION_2, existing_table, present_schema, table_properties
from mesh_platform.lake.evolution import schemas_of
from mesh_platform.lake.platform_tables import PLATFORM_TABLES
from mesh_platform.lake.tables import all_tables, tables_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from mesh_platform.contract.contract import Field, TableSchema
    from mesh_platform.lake.tables import MeshTable
    from mesh_platform.mesh.mesh import Mesh

_BY_HAND = "No command does this: mend the table with pyiceberg, or drop it if nothing of it is needed."


@dataclass(frozen=True)
class Difference:
    """One thing that is not as contracts and SQL say.

    `name` is the table, the page or the entity; `product` is the one it belongs to, if any. `expected` is what the
    mesh says and `found` what is there; None is nothing. `mend` is what to do about it.
    """

    where: Literal["lake", "catalog", "openmetadata"]
    product: str | None
    name: str
    what: str
    expected: str | None
    found: str | None
    mend: str

    def __str__(self) -> str:
        sides = f"expected {self.expected or 'nothing'}, found {self.found or 'nothing'}"
        return f"{self.where}: {self.name} {self.what}; {sides}. {self.mend}"


def lake_differences(mesh: Mesh, catalog: Catalog) -> Iterator[Difference]:
    """Yield what differs between contracts and lake: tables, columns, keys, partitions, sort orders, properties.

    A table that is made when it is first needed (quarantine, ledger, held rows) may be missing. Properties that the
    mesh does not set, the order of columns, and columns marked as dropped may be as they are. Raises
    UnavailableError, and AttentionError for a table whose metadata is damaged.
    """
    present = table_names(catalog)
    for table in all_tables(mesh):
        product = table.contract.identifier
        if table.name in present:
            yield from _table(catalog, table.name, product, table)
        elif not table.contract.retired and table.kind in ("landing", "product"):
            command = f"mesh {'ingest' if table.kind == 'landing' else 'build'} {product}"
            yield Difference("lake", product, table.name, "is missing", "a table", None, f"Run '{command}'.")
    for name in PLATFORM_TABLES:
        if name in present:
            yield from _table(catalog, name, None, None)
    retired = (contract for domain in mesh.domains.values() for contract in domain.retired.values())
    own = {table.name for table in all_tables(mesh)} | {each.name for one in retired for each in tables_of(one)}
    for name in sorted(present - own - {*PLATFORM_TABLES}):
        mend = "Write a contract for it, or drop it with pyiceberg: catalog.drop_table."
        yield Difference("lake", None, name, "is a table that no contract names", None, "a table", mend)


def table_names(catalog: Catalog) -> set[str]:
    """Return the names of all tables of the catalog. Raises UnavailableError."""
    with answering("the catalog", "the lake does not answer", "Mend the catalog, then run again."):
        return {".".join(name) for namespace in catalog.list_namespaces() for name in catalog.list_tables(namespace)}


def _table(catalog: Catalog, name: str, product: str | None, table: MeshTable | None) -> Iterator[Difference]:
    schema = table.schema if table else PLATFORM_TABLES[name]
    # Of retired products, and of what the platform defines, no command changes the schema.
    evolves = table is not None and not table.contract.retired and name in schemas_of(table.contract)
    found = existing_table(catalog, name)
    present = present_schema(found)
    for change in compare(name, present, schema):
        expected, there = _sides(change, present, schema)
        mend = _mend(change, product or "") if evolves else _BY_HAND
        yield Difference("lake", product, name, change.reason, expected, there, mend)
    yield from _layout(found, name, product, schema)


def _layout(found: Table, name: str, product: str | None, schema: TableSchema) -> Iterator[Difference]:
    """Yield what differs in how a table is written."""
    for transform, column in exact_from_1970(schema):
        if column in found.schema().column_names and begins_before_1970(found, transform, column):
            part = f"{transform}({column})"
            mend = (
                f"Partition by year({column}) or by a date, run 'mesh evolve {product}' and 'mesh build {product}'."
            )
            what = f"has rows before 1970 in partitions by {part}, which DuckDB's filters do not find"
            yield Difference("lake", product, name, what, "none", "some", mend)
    order = found.sort_order()
    if not order.is_unsorted:
        columns = ", ".join(str(found.schema().find_column_name(field.source_id)) for field in order.fields)
        yield Difference("lake", product, name, "has a sort order", None, columns, _BY_HAND)
    for key, value in table_properties(schema).items():
        there = found.properties.get(key)
        if there != value:
            mend = f"Run 'mesh maintain {name}'. If its contract forbids that, set the property with pyiceberg."
            yield Difference("lake", product, name, f"has another {key}", value, there, mend)


def _mend(change: Change, product: str) -> str:
    evolve = f"Run 'mesh evolve {product}'"
    if change.purgeable:
        return f"{evolve[:-1]} --purge'."
    if change.breaking:
        return f"Put contract or table back as it was, or publish the change {AS_VERSION_2}"
    return f"{evolve}, then 'mesh build {product}'." if change.change == "repartition" else f"{evolve}."


def _sides(change: Change, old: TableSchema, new: TableSchema) -> tuple[str | None, str | None]:
    """Return what the contract says of that which a change concerns, and what the table has."""
    there, wanted = old.by_name.get(change.was or ""), new.by_name.get(change.field)
    match change.change:
        case "change_key" | "set_key" | "repartition" | "rename":
            return change.field, change.was
        case "describe":
            return _described(wanted), _described(there)
        case "relax_required" | "require":
            return _required(wanted), _required(there)
        case "drop_optional" | "drop_required":
            return None, _typed(there)
        case _:
            return _typed(wanted), _typed(there)


def _described(field: Field | None) -> str | None:
    return f"'{field.description}'" if field and field.description else None


def _required(field: Field | None) -> str | None:
    return None if field is None else "required" if field.required else "optional"


def _typed(field: Field | None) -> str | None:
    return None if field is None else f"{field.name} {field.type.name}"
