"""Open DuckDB sessions with a view for each table of the mesh."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.contract.masking import applies
from mesh_platform.contract.types import FieldType
from mesh_platform.engine.duckdb import connect, set_threads
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import empty_select, literal, quoted, scan, typed
from mesh_platform.iceberg.outage import answering
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.audit import AUDIT
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.platform_tables import PLATFORM_TABLES
from mesh_platform.lake.tables import MeshTable, table_named
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.policy.masks import Mask, mask_sql, masks
from mesh_platform.policy.pseudonyms import Salts, add_pseudonyms
from mesh_platform.policy.roles import check_role, reads_audit, rows_of
from mesh_platform.query.as_of import State, find_states, tables_shown
from mesh_platform.query.dangling import find_dangling
from mesh_platform.query.state_cache import StateCache
from mesh_platform.sql.references import (
    RESOLVED,
    empty_resolved,
    references,
    resolved_select,
    tables_referred_to,
    target,
)
from mesh_platform.sql.relations import create_schemas, interface_unions, tables_behind, union_select

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_UNREADABLE = ("DuckDB cannot read it", "Mend the storage, then run again.")


def open_session(
    mesh: Mesh,
    catalog: Catalog,
    *,
    role: str | None = None,
    as_of: datetime | str | None = None,
    only: Collection[str] | None = None,
    locked: bool = True,
    cache: StateCache | None = None,
    salts: Salts | None = None,
) -> Connection:
    """Open a DuckDB session with the views of the mesh; each shows one state of its table for the whole session.

    There is a view `<namespace>.<table>` for every product, landing table, quarantine, ledger, table of held rows
    (`__held`, the rows that belong to the shown state of their table) and interface union, for `mesh.sites` and each
    of PLATFORM_TABLES, `mesh.audit` only for roles that `reads_audit` names; and `<namespace>.<table>__resolved` for
    each table with references: see `resolved_select`.

    `as_of` is a time (a datetime or ISO text, UTC by default: each table as its readers saw it then), a release such
    as `r3` (the tables of that release and no others), or `<table>@<snapshot id>` (that table at the snapshot, all
    others now). `role` hides what is classified `pii` in contracts that do not list the role (`policy.masks`), and
    that of a warehouse the rows of others (`policy.roles`); without a role nothing is hidden. Sessions with the same
    `salts` have the same pseudonyms; by default this one shares them with none. `only` names the views that will be
    read: only their tables are opened, all other views exist but have no rows. `locked` denies the session all files
    but those of the tables. `cache` keeps what has to be read of large tables to open a session.

    Raises UsageError for an unknown role, table, snapshot, release or time, and without the key of stable pseudonyms.
    """
    check_role(mesh, role)
    states = find_states(mesh, catalog, as_of, None if only is None else _needed(mesh, only))
    platform = find_tables(catalog, [name for name in PLATFORM_TABLES if _is_read(name, only)])
    connection = connect(catalog.properties)
    set_threads(connection, sum(state.rows for state in states.values()))
    cache = cache or StateCache()
    add_pseudonyms(connection, salts or Salts(), _salted(mesh, states.values(), role))
    create_views(connection, mesh, states, platform, role, cache, only)
    cache.save()
    if locked:
        shown = (state.table for state in states.values())
        _lock(connection, [table for table in (*shown, *platform.values()) if table])
    return connection


def view_names(mesh: Mesh) -> list[str]:
    """Return the names of all views that a session can have.

    A session has the views of a quarantine, a ledger or a table of held rows only once that table exists.
    """
    tables = [table.name for table in tables_shown(mesh)]
    resolved = [f"{name}{RESOLVED}" for name, contract in mesh.contracts.items() if references(contract)]
    return [*tables, *interface_unions(mesh), *resolved, *PLATFORM_TABLES]


def hidden_columns(mesh: Mesh, role: str | None, views: Iterable[str]) -> dict[str, list[str]]:
    """Map each table that the views read to the columns that the role may not read of it, where there are any."""
    tables = [table for name in sorted(_needed(mesh, views)) if (table := table_named(mesh, name))]
    hidden = {each.name: [*_hidden(each, role)] for each in tables}
    return {name: columns for name, columns in hidden.items() if columns}


def _needed(mesh: Mesh, views: Iterable[str]) -> set[str]:
    """Return the tables that the views read."""
    needed = set()
    for view in views:
        name = view.removesuffix(RESOLVED)
        needed |= {*tables_behind(mesh, name)}
        table = table_named(mesh, name)
        if table and table.kind == "held":
            # The state of a product table says which of its held rows are shown.
            needed.add(table.contract.identifier)
        if view != name:
            needed |= set(tables_referred_to(mesh.contracts[name]))
    return needed


def create_views(
    connection: Connection,
    mesh: Mesh,
    states: Mapping[str, State],
    platform: Mapping[str, Table],
    role: str | None,
    cache: StateCache,
    only: Collection[str] | None = None,
) -> None:
    """Create the views of `open_session` in a connection; `states` has the tables that they show."""
    create_schemas(connection, mesh)
    for name, state in states.items():
        condition = rows_of(mesh, role, state.contract, state.schema, [field.name for field, _ in state.columns])
        _create(connection, name, state.select(mask_sql(_hidden_in(state, role)), condition))
    shown = {name: {field.name for field, _ in state.columns} for name, state in states.items()}
    for name, (interface, implementations) in interface_unions(mesh).items():
        sources = {}
        for contract in implementations if _is_read(name, only) else ():
            hidden = mask_sql(masks(role, interface, interface.table.fields))
            own = contract.table.by_name
            missing = {
                field.name: "NULL" for field in interface.table.fields if field.name not in shown[contract.identifier]
            }
            # The implementation's own view masks its pii columns already; a second mask would give other pseudonyms.
            sources[contract.identifier] = {
                column: mask for column, mask in hidden.items() if own[column].classification != "pii"
            } | missing
        _create(connection, name, union_select(interface, sources))
    for name, contract in mesh.contracts.items():
        if references(contract):
            select = empty_resolved(mesh, contract, shown[name])
            if _is_read(f"{name}{RESOLVED}", only):
                dangling = _dangling(connection, contract, states, role, cache)
                select = resolved_select(mesh, contract, shown[name], dangling)
            _create(connection, f"{name}{RESOLVED}", select)
    for name, schema in PLATFORM_TABLES.items():
        if name != AUDIT or reads_audit(role):
            _create(connection, name, _plain_select(schema, platform.get(name)))


def _is_read(view: str, only: Collection[str] | None) -> bool:
    """Whether a view of other views needs them: to create it, DuckDB opens the tables of all that it names."""
    return only is None or view in only


def _hidden(table: MeshTable, role: str | None) -> dict[str, Mask]:
    """Map the columns of a table that the role may not read to what it reads instead."""
    return masks(role, table.contract, table.schema.fields, table.kind == "quarantine")


def _hidden_in(state: State, role: str | None) -> dict[str, Mask]:
    """Do what `_hidden` does, for the columns of a state, which may have other types."""
    fields = [field for field, _ in state.columns]
    return masks(role, state.contract, fields, state.mesh_table.kind == "quarantine")


def _salted(mesh: Mesh, states: Iterable[State], role: str | None) -> Iterator[tuple[str, FieldType]]:
    """Yield the salt and the type of the pseudonyms in the views of the role."""
    found = [*(_hidden_in(state, role) for state in states if state.table)]
    found += [masks(role, each, each.table.fields) for each in mesh.interfaces.values()]
    for mask in (mask for hidden in found for mask in hidden.values()):
        if mask.salt and applies(mask.action, mask.kind):
            yield mask.salt, mask.kind


def _plain_select(schema: TableSchema, table: Table | None) -> str:
    if table is None or current_snapshot_id(table) is None:
        return empty_select(schema)
    columns = ", ".join(typed(field) for field in schema.fields)
    return f"SELECT {columns} FROM {scan(table.metadata_location)}"


def _dangling(
    connection: Connection,
    contract: Contract,
    states: Mapping[str, State],
    role: str | None,
    cache: StateCache,
) -> dict[str, list[str]]:
    """Return what `find_dangling` does, as the role sees it: it can read the SQL of views, so masks apply here."""

    def mask_of(name: str, column: str) -> Mask | None:
        return _hidden_in(states[name], role).get(column)

    with answering(contract.identifier, *_UNREADABLE):
        found = find_dangling(connection, contract, states, cache)
    for field in references(contract):
        mask = mask_of(contract.identifier, field.name)
        if field.name in found and (mask != mask_of(*target(field)) or (mask and not mask.keeps_keys)):
            # Its values cannot be compared with those of the dimension.
            del found[field.name]
        elif field.name in found and mask:
            query = f"SELECT {mask.sql('value')} FROM unnest(?) AS dangling (value)"
            found[field.name] = [row[0] for row in connection.execute(query, [found[field.name]]).fetchall()]
    return found


def _create(connection: Connection, name: str, select: str) -> None:
    # It reads the metadata of the table.
    with answering(name, *_UNREADABLE):
        connection.execute(f"CREATE VIEW {quoted(name)} AS {select}")


def _lock(connection: Connection, tables: list[Table]) -> None:
    folders = [table.location().removeprefix("file://") for table in tables]
    listed = ", ".join(literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
