"""Open the Iceberg catalog, and find or create tables that match their contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    NotInstalledError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import NestedField

from mesh_platform.contract.contract import Field, TableSchema, partition_name
from mesh_platform.contract.schema_change import HARMLESS, compare, identifying
from mesh_platform.contract.types import BINARY, FieldType, parse_type
from mesh_platform.errors import AttentionError, UnavailableError, UsageError
from mesh_platform.iceberg.connection import connect_catalog
from mesh_platform.iceberg.key_index import KEY_INDEX
from mesh_platform.iceberg.outage import answering, is_outage
from mesh_platform.iceberg.place import check_table, check_warehouse, is_sql, load_entry, sql_entries
from mesh_platform.lake.tables import split_name

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.types import IcebergType

    from mesh_platform.settings import Settings

CATALOG = "mesh"
PROPERTIES = {
    # pyiceberg's own retry would rebase an append onto a commit that deduplication has not seen.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    # A reader opens every manifest, and DuckDB does so for each view, whether a query reads it or not.
    "commit.manifest.min-count-to-merge": "8",
    # Busy tables write a hundred metadata.json in minutes, and a reader may use an older one. `orphan_files` removes
    # them when no reader can use them any more.
    "write.metadata.delete-after-commit.enabled": "false",
    "write.metadata.previous-versions-max": "20",
}
_BY_FLUSH = {
    # The default is 2 MiB. Ids fill that dictionary at each flush before they are written without one, which takes a
    # third of the time of a write. Large files are faster to read with it.
    "write.parquet.dict-size-bytes": str(128 * 1024),
    # These tables are written often and read by few.
    "commit.manifest.min-count-to-merge": "20",
}
# How to make a change that breaks readers.
AS_VERSION_2 = "as version 2 next to this one, as docs/evolution.md says."
_MEND = "Mend the catalog or the storage, then run again."
_FILE_IO = {"py-io-impl": "mesh_platform.iceberg.durable_io.DurableFileIO"}
# In the state folder: it can be rebuilt.
_KEY_INDEX = "keys"
# The catalog's property that names the file with the key of the hashes of erased values.
ERASURE_KEY = "mesh.erasure-key"
# The catalog's property that names the folder of the records that wait for `mesh.audit`.
AUDIT_FOLDER = "mesh.audit-folder"
_NOT_IN_PATHS = {
    "?": "a catalog's URL ends at a '?'",
    '"': "DuckDB's views read no file with a '\"' in its path",
}


def open_catalog(settings: Settings, copied: bool = False) -> Catalog:
    """Open the catalog `mesh`: the one of `PYICEBERG_CATALOG__MESH__*`, else SQLite and files in the state folder.

    Raises UsageError for settings that name no catalog, and if its tables are outside its warehouse, as after a copy
    or a move, unless `copied` says that the caller repairs that. Raises UnavailableError if it does not answer, and
    AttentionError if its database is damaged.
    """
    from sqlalchemy.exc import DBAPIError

    state = settings.state_dir
    external = settings.has_external_catalog
    own = {
        **_FILE_IO,
        KEY_INDEX: str(state / _KEY_INDEX),
        ERASURE_KEY: str(state / "erasure.key"),
        AUDIT_FOLDER: str(state / "audit"),
    }
    subject = "PYICEBERG_CATALOG__MESH__*" if external else str(state / "catalog.db")
    fix = "Start it, or correct these variables" if external else "Look at this file and its folder"
    with answering(subject, "the catalog does not answer", f"{fix}, then run again."):
        if external:
            return _checked(_external_catalog(own), copied)
        try:
            state.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"{state}: not a folder. Name one with MESH_STATE.") from error
        for sign, why in _NOT_IN_PATHS.items():
            if sign in str(state):
                raise UsageError(f"{state}: {why}. Name a folder without one with MESH_STATE.")
        file = state / "catalog.db"
        if (state / "warehouse").exists() and not (file.exists() and file.stat().st_size):
            # A new catalog would be empty, and events acknowledged into it would be lost once the old one is back.
            raise UnavailableError(
                f"{state}: warehouse/ has tables, but catalog.db, which names them, is gone or empty. "
                "Put it back; or remove warehouse/ too, which drops all tables."
            )
        properties = embedded_properties(settings) | own
        try:
            catalog = connect_catalog(CATALOG, **properties)
        except DBAPIError:
            # If two processes start in an empty folder at once, one finds the other's tables half created.
            catalog = connect_catalog(CATALOG, **properties)
        return _checked(catalog, copied)


def _checked(catalog: Catalog, copied: bool) -> Catalog:
    if not copied:
        check_warehouse(catalog)
    return catalog


def _external_catalog(own: Mapping[str, str]) -> Catalog:
    from sqlalchemy.exc import ArgumentError

    try:
        return connect_catalog(CATALOG, **own)
    except (ValueError, ImportError, NotInstalledError, ArgumentError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"PYICEBERG_CATALOG__MESH__*: these variables name no catalog that can be opened ({reason}). "
            "Correct them, or unset all of them for the catalog in the state folder."
        ) from error


def embedded_properties(settings: Settings) -> dict[str, str]:
    """Return the properties with which plain pyiceberg opens the embedded catalog."""
    state = settings.state_dir
    return {
        "type": "sql",
        "uri": f"sqlite:///{state / 'catalog.db'}?timeout=60",
        # A path, not a URL: readers disagree about percent signs, '#' and '?' in URLs.
        "warehouse": str(state / "warehouse"),
    }


def find_table(catalog: Catalog, identifier: str) -> Table | None:
    """Load the table `<namespace>.<name>` at its newest state; return None if there is none.

    Raises UnavailableError, AttentionError if its metadata is damaged, and UsageError if the table is a copy that
    still names the files of the original.
    """
    if identifier.count(".") != 1:
        return None
    with answering(identifier, "the lake does not answer", _MEND):
        try:
            table = catalog.load_table(identifier)
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        check_table(table)
        return table


def find_tables(catalog: Catalog, identifiers: Iterable[str]) -> dict[str, Table]:
    """Load the tables of these names that exist, each at its newest state. Raises what `find_table` raises.

    It asks a SQL catalog once for all of them.
    """
    if not is_sql(catalog):
        found = {name: find_table(catalog, name) for name in identifiers}
        return {name: table for name, table in found.items() if table is not None}
    with answering(CATALOG, "the lake does not answer", _MEND):
        entries = {entry.name: entry for entry in sql_entries(catalog)}
    tables = {}
    for name in identifiers:
        if name in entries:
            with answering(name, "the lake does not answer", _MEND):
                tables[name] = load_entry(catalog, entries[name])
                check_table(tables[name])
    return tables


def list_tables(catalog: Catalog, namespaces: Iterable[str]) -> set[str]:
    """Return the names of all tables in some namespaces; a SQL catalog is asked once, and may name others too."""
    if is_sql(catalog):
        return {entry.name for entry in sql_entries(catalog)}
    found = (catalog.list_tables(name) for name in namespaces if catalog.namespace_exists(name))
    return {".".join(identifier) for identifiers in found for identifier in identifiers}


def existing_table(catalog: Catalog, identifier: str) -> Table:
    """Load the table of that name. Raises UsageError if there is none, and what `find_table` raises."""
    table = find_table(catalog, identifier)
    if table is None:
        raise UsageError(f"{identifier}: no such table. 'mesh status' lists them.")
    return table


def checked_table(catalog: Catalog, identifier: str, table_schema: TableSchema) -> Table | None:
    """Load the table of this schema; None if it is missing.

    Raises AttentionError if it has other columns or partitions, and UnavailableError.
    """
    table = find_table(catalog, identifier)
    if table is not None:
        _check_table(identifier, table, table_schema)
    return table


def ensure_table(catalog: Catalog, identifier: str, table_schema: TableSchema, opened: Table | None = None) -> Table:
    """Load the table of this schema unless it is `opened`; create it if it is missing.

    Raises what `checked_table` raises.
    """
    # Another process may create it at the same time, by another contract.
    table = opened or find_table(catalog, identifier) or _create_table(catalog, identifier, table_schema)
    _check_table(identifier, table, table_schema)
    return table


def ensure_all(catalog: Catalog, schemas: Mapping[str, TableSchema]) -> None:
    """Check the tables of these names, and create those that are missing. Raises what `checked_table` raises."""
    found = find_tables(catalog, schemas)
    for name, table_schema in schemas.items():
        if name in found:
            _check_table(name, found[name], table_schema)
        else:
            ensure_table(catalog, name, table_schema)


def _create_table(catalog: Catalog, identifier: str, table_schema: TableSchema) -> Table:
    schema = iceberg_schema(table_schema)
    properties = table_properties(table_schema)
    namespace = identifier.split(".")[0]
    with answering(identifier, "the lake takes no new table", _MEND):
        _create_namespace(catalog, namespace)
        try:
            return catalog.create_table(
                identifier, schema, partition_spec=_partition_spec(table_schema, schema), properties=properties
            )
        except TableAlreadyExistsError as error:
            if (found := find_table(catalog, identifier)) is None:
                message = f"{identifier}: the catalog says that the table is there, and that it is not. {_MEND}"
                raise UnavailableError(message) from error
            return found


def table_properties(table_schema: TableSchema) -> dict[str, str]:
    """Return the properties that a table of this schema must have, whatever others it has."""
    return PROPERTIES | (_BY_FLUSH if table_schema.by_flush else {})


def _create_namespace(catalog: Catalog, namespace: str) -> None:
    """Create a namespace unless it exists. It counts as created even if the catalog's answer got lost."""
    from sqlalchemy.exc import DBAPIError

    with suppress(NamespaceAlreadyExistsError):
        try:
            catalog.create_namespace(namespace)
        except Exception as error:
            # If two processes create it at once, the later one gets an error of the catalog's database.
            if not (isinstance(error, DBAPIError) or is_outage(error)) or not catalog.namespace_exists(namespace):
                raise


def iceberg_schema(table_schema: TableSchema) -> Schema:
    """Return the Iceberg schema for that of a contract: columns, descriptions, ids from 1, and identifier fields."""
    key = identifying(table_schema)
    return Schema(
        *(
            NestedField(number, field.name, field.type.iceberg, required=field.required, doc=field.description)
            for number, field in enumerate(table_schema.fields, start=1)
        ),
        identifier_field_ids=[
            number for number, field in enumerate(table_schema.fields, start=1) if field.name in key
        ],
    )


def present_schema(table: Table) -> TableSchema:
    """Return the `TableSchema` of a table by its current schema; a type that no contract has keeps Iceberg's name."""
    schema, spec = table.schema(), table.spec()
    key = schema.identifier_field_ids
    names = {field.field_id: field.name for field in schema.fields}
    fields = (
        Field(
            name=field.name,
            type=contract_type(field.field_type),
            description=field.doc or "",
            required=field.required,
            key=key.index(field.field_id) + 1 if field.field_id in key else 0,
            line=1,
        )
        for field in schema.fields
    )
    partition = tuple((str(field.transform), names[field.source_id]) for field in spec.fields)
    return TableSchema(table.name()[-1], "", tuple(fields), partition, None, 1)


def contract_type(found: IcebergType) -> FieldType:
    """Return the contract's type for an Iceberg type; one that no contract has keeps Iceberg's name."""
    if found == BINARY.iceberg:
        return BINARY
    try:
        return parse_type(str(found))
    except ValueError:
        return FieldType(str(found), "", "", "")


def arrow_schema(table_schema: TableSchema) -> pa.Schema:
    """Return the Arrow schema of a schema's rows; columns are nullable unless the contract requires them."""
    return pa.schema([pa.field(f.name, f.type.arrow, nullable=not f.required) for f in table_schema.fields])


def _partition_spec(table_schema: TableSchema, schema: Schema) -> PartitionSpec:
    if not table_schema.partition:
        return UNPARTITIONED_PARTITION_SPEC
    return PartitionSpec(
        *(
            PartitionField(
                source_id=schema.find_field(column).field_id,
                field_id=1000 + number,
                transform=parse_transform(transform),
                name=partition_name(transform, column),
            )
            for number, (transform, column) in enumerate(table_schema.partition)
        )
    )


def _check_table(identifier: str, table: Table, table_schema: TableSchema) -> None:
    # Optional columns that the contract dropped may stay: their history is readable, and they are null in new rows.
    changes = [c for c in compare(identifier, present_schema(table), table_schema) if c.change not in HARMLESS]
    if not changes:
        return
    found = f"{identifier}: the table {'; '.join(change.reason for change in changes)}. Nothing was changed."
    product, kind = split_name(identifier)
    breaking = [change for change in changes if change.breaking]
    if breaking and all(change.purgeable for change in breaking):
        raise AttentionError(f"{found} Run 'mesh evolve {product} --purge', or put the contract back as it was.")
    if kind in ("quarantine", "ledger") or breaking:
        raise AttentionError(f"{found} Put the contract back as it was, or publish the change {AS_VERSION_2}")
    raise AttentionError(f"{found} Run 'mesh evolve {product}', then again.")
