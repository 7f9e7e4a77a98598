"""What people query: the catalog arrives; a DuckDB session, or a file, with a view for each table leaves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import Contract, Field, Shape
from mesh_platform.engine.duckdb import Connection, connect
from mesh_platform.engine.sql import empty_select, literal, quoted, scan, typed
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.snapshot_diff import head
from mesh_platform.lake.catalog import find_table
from mesh_platform.lake.releases import RELEASES, RELEASES_SHAPE
from mesh_platform.lake.tables import table_named, tables_of
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.query.as_of import State, find_states
from mesh_platform.query.counts import Memo
from mesh_platform.query.masking import PSEUDONYM, UNKNOWN, add_pseudonyms, check_role, masks, reads_all
from mesh_platform.query.references import find_strays, lacks, references, tables_referred_to, target
from mesh_platform.sql.relations import create_schemas, interface_unions, table_shapes, tables_behind, union_select

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table


def open_session(
    mesh: Mesh,
    catalog: Catalog,
    *,
    role: str | None = None,
    as_of: datetime | str | None = None,
    only: Collection[str] | None = None,
    locked: bool = True,
    memo: Memo | None = None,
) -> Connection:
    """A DuckDB session with the views of the mesh; each is one state of its table for as long as the session lives.

    There is `<namespace>.<table>` for every product, landing table, quarantine and ledger, for what rules hold back
    (`__held`, as it belongs to the state of its table), for interface unions, `mesh.sites` and `mesh.releases`; and
    `<namespace>.<table>__resolved` for each table with references: see `_resolved_select`.

    `as_of` is a time (an instant or ISO text, UTC where it says nothing: each table as its readers saw it then), a
    release such as `r3` (its tables as they are in it, and no others), or `<table>@<snapshot id>` (that table as of
    then, all others now). `role` hides what is classified `pii` in
    contracts that do not list the role; without a role nothing is hidden. `only` names the views that will be read:
    what they need of the lake is opened, all others are there and have no rows. `locked` keeps the session from all
    files but those of the tables. `memo` keeps what has to be read of large tables to open a session.

    Raises UsageError for an unknown role, table, snapshot, release or time.
    """
    check_role(mesh, role)
    states = find_states(mesh, catalog, as_of, None if only is None else _needed(mesh, only))
    releases = find_table(catalog, RELEASES) if only is None or RELEASES in only else None
    connection = connect(catalog.properties)
    memo = memo or Memo()
    _create_views(connection, mesh, states, releases, role, memo)
    memo.save()
    if locked:
        _lock(connection, [table for table in (*(state.table for state in states.values()), releases) if table])
    return connection


def write_views(mesh: Mesh, catalog: Catalog, path: Path) -> None:
    """Write a DuckDB file with the views of `open_session` for tools that open a file, in place of what was there.

    Each view is the state that its table has now; write the file again to see later ones. Readers load DuckDB's
    extensions avro and iceberg first. A reader has either the file of before or this one, whole. Raises UsageError
    where `path` is a folder, or anything else that is no DuckDB file.
    """
    if path.is_dir():
        raise UsageError(f"{path}: a folder. Name a file, such as views.duckdb.")
    if path.exists() and not _is_duckdb(path):
        raise UsageError(f"{path}: no DuckDB file; it would be replaced. Name another, or remove it.")
    if path.name.partition(".")[0].lower() in mesh.domains:
        # DuckDB calls the database as the file: `shop.sales` would be ambiguous in shop.duckdb.
        raise UsageError(
            f"{path}: DuckDB would confuse the file with the domain of that name. Name another, such as views.duckdb."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        # No domain has a hyphen in its name.
        beside = Path(folder) / "new-views.duckdb"
        with connect(catalog.properties, str(beside)) as connection:
            states = find_states(mesh, catalog, None, None)
            _create_views(connection, mesh, states, find_table(catalog, RELEASES), None, Memo())
        os.replace(beside, path)


def _is_duckdb(path: Path) -> bool:
    """Whether a file begins as DuckDB's do: after a checksum of eight bytes comes DUCK."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"


def view_names(mesh: Mesh) -> list[str]:
    """Every view that a session can have; of what is refused, removed or held back once there is something."""
    own = [table.name for contract in mesh.contracts.values() for table in tables_of(contract)]
    resolved = [f"{name}__resolved" for name, contract in mesh.contracts.items() if references(contract)]
    return [*dict.fromkeys([*table_shapes(mesh), *own]), *interface_unions(mesh), *resolved, RELEASES]


def _needed(mesh: Mesh, views: Iterable[str]) -> set[str]:
    """The tables that the views are made of."""
    needed = set()
    for view in views:
        name = view.removesuffix("__resolved")
        needed |= {*tables_behind(mesh, name)}
        table = table_named(mesh, name)
        if table and table.kind == "held":
            # Rows that are held back are shown as they belong to the state of their table.
            needed.add(table.contract.identifier)
        if view != name:
            needed |= set(tables_referred_to(mesh.contracts[name]))
    return needed


def _create_views(
    connection: Connection,
    mesh: Mesh,
    states: Mapping[str, State],
    releases: Table | None,
    role: str | None,
    memo: Memo,
) -> None:
    create_schemas(connection, mesh)
    if role is not None:
        add_pseudonyms(connection)
    for name, state in states.items():
        _create(connection, name, state.select(_hidden(state, role)))
    shown = {name: {field.name for field, _ in state.columns} for name, state in states.items()}
    for name, (interface, implementations) in interface_unions(mesh).items():
        sources = {}
        for contract in implementations:
            hidden = {} if reads_all(role, interface) else masks(interface.table)
            own = contract.table.by_name
            missing = {
                field.name: "NULL" for field in interface.table.fields if field.name not in shown[contract.identifier]
            }
            # What the implementation's own view hides already is not hidden twice: the same value must stay the same.
            sources[contract.identifier] = {
                column: mask for column, mask in hidden.items() if own[column].classification != "pii"
            } | missing
        _create(connection, name, union_select(interface, sources))
    for name, contract in mesh.contracts.items():
        if references(contract):
            strays = _strays(connection, contract, states, role, memo)
            _create(connection, f"{name}__resolved", _resolved_select(mesh, contract, shown, strays))
    _create(connection, RELEASES, _plain_select(RELEASES_SHAPE, releases))


def _hidden(state: State, role: str | None) -> dict[str, str]:
    """The columns of a state that the role may not read, each with what it reads instead."""
    if reads_all(role, state.contract):
        return {}
    return masks(state.shape, state.mesh_table.kind == "quarantine")


def _plain_select(shape: Shape, table: Table | None) -> str:
    if table is None or head(table) is None:
        return empty_select(shape)
    columns = ", ".join(typed(field) for field in shape.fields)
    return f"SELECT {columns} FROM {scan(table.metadata_location)}"


def _strays(
    connection: Connection,
    contract: Contract,
    states: Mapping[str, State],
    role: str | None,
    memo: Memo,
) -> dict[str, list[str]]:
    """The values that `find_strays` finds, as the role sees them; views can be read, so they are hidden here too."""

    def is_hidden(name: str, column: str) -> bool:
        return column in _hidden(states[name], role)

    found = find_strays(connection, contract, states, memo)
    for field in references(contract):
        hidden = is_hidden(contract.identifier, field.name)
        if field.name in found and hidden != is_hidden(*target(field)):
            # Then they are other values than those of the dimension, all of them.
            del found[field.name]
        elif field.name in found and hidden:
            query = f"SELECT {PSEUDONYM}(value) FROM unnest(?) AS strays (value)"
            found[field.name] = [row[0] for row in connection.execute(query, [found[field.name]]).fetchall()]
    return found


def _resolved_select(
    mesh: Mesh, contract: Contract, shown: Mapping[str, Collection[str]], strays: Mapping[str, Collection[str]]
) -> str:
    """The table with 'unknown' for each text that its dimension lacks, and the version of each that keeps history.

    An inner join to the dimensions, which have that member, then keeps every row. No date is such a member; it stays.
    The version is the one true at the row's own time (the column that freshness is measured by), or the first where
    the row is older than all, in a column such as `vehicle_version` for `dim_vehicle.version`. `shown` has the
    columns of each table: in a past state, some may not be there. `strays` are what dimensions lack, where it is
    known already.
    """
    columns, joins = [], []
    for field in contract.table.fields:
        if field.name not in shown[contract.identifier]:
            continue
        value = f"fact.{quoted(field.name)}"
        if field.references and field.type.name == "string":
            value = _known(field, value, strays.get(field.name))
        columns.append(f"{value} AS {quoted(field.name)}")
        if not field.references or not contract.freshness_column:
            continue
        name, key = field.references
        shape = mesh.contracts[name].table
        versions = [column for column in shape.key if column != key]
        if shape.history and len(versions) == 1:
            alias = f"{shape.name.removeprefix('dim_')}_{versions[0]}"
            time = f"fact.{quoted(contract.freshness_column)}"
            columns.append(f"coalesce({quoted(alias)}.{quoted(versions[0])}, 1) AS {quoted(alias)}")
            joins.append(
                f"LEFT JOIN ({_versions_select(name, key, versions[0], shape.history[0])}) AS {quoted(alias)} "
                f"ON {value} = {quoted(alias)}.{quoted(key)} "
                f"AND {time} >= {quoted(alias)}.began AND {time} < {quoted(alias)}.ended"
            )
    return f"SELECT {', '.join(columns)} FROM {quoted(contract.identifier)} AS fact {' '.join(joins)}"


def _versions_select(name: str, key: str, version: str, began: str) -> str:
    """When each version of a dimension's rows began, and when the next one did.

    An ASOF join does without the latter, and sorts the whole fact for it.
    """
    order = f"PARTITION BY {quoted(key)} ORDER BY {quoted(began)}, {quoted(version)}"
    return (
        f"SELECT {quoted(key)}, {quoted(version)}, {quoted(began)} AS began, "
        f"lead({quoted(began)}, 1, 'infinity') OVER ({order}) AS ended "
        f"FROM {quoted(name)} WHERE {quoted(began)} IS NOT NULL"
    )


def _known(field: Field, value: str, strays: Collection[str] | None) -> str:
    """The SQL of `value`, or 'unknown' where it is missing or its dimension lacks it."""
    tests = [f"{value} IS NULL", lacks(field, value)]
    if strays is not None:
        # Of IN with so many DuckDB makes a join, which is there for queries too that do not read the column.
        among = f"list_contains([{', '.join(map(literal, strays))}], {value})"
        tests = [*([] if field.required else tests[:1]), *([among] if strays else [])]
    return f"CASE WHEN {' OR '.join(tests)} THEN '{UNKNOWN}' ELSE {value} END" if tests else value


def _create(connection: Connection, name: str, select: str) -> None:
    connection.execute(f"CREATE VIEW {quoted(name)} AS {select}")


def _lock(connection: Connection, tables: list[Table]) -> None:
    folders = [table.location().removeprefix("file://") for table in tables]
    listed = ", ".join(literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
