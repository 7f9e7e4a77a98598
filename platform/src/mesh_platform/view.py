"""What people query: the catalog arrives; a DuckDB session, or a file, with a view for each table leaves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from mesh_platform.compare import present_name
from mesh_platform.contract import Contract, Field, Shape
from mesh_platform.domain import Mesh, offer
from mesh_platform.engine.duckdb import connect, literal
from mesh_platform.errors import UsageError
from mesh_platform.lake.catalog import contract_type, find_table
from mesh_platform.lake.delta import head
from mesh_platform.lake.landing import rejected_name, rejected_shape, removed_name, removed_shape
from mesh_platform.masking import UNKNOWN, add_pseudonyms, check_role, masks, reads_all
from mesh_platform.relation import (
    create_schemas,
    empty_select,
    interface_unions,
    quoted,
    table_shapes,
    tables_behind,
    typed,
    union_select,
)

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.types import NestedField


def open_session(
    mesh: Mesh,
    catalog: Catalog,
    *,
    role: str | None = None,
    as_of: datetime | str | None = None,
    only: Iterable[str] | None = None,
    locked: bool = True,
) -> duckdb.DuckDBPyConnection:
    """A DuckDB session with the views of the mesh; each is one state of its table for as long as the session lives.

    There is `<namespace>.<table>` for every product, landing table, quarantine and ledger, for interface unions and
    `mesh.sites`, and `<namespace>.<table>__resolved` for each table with references: see `_resolved_select`.

    `as_of` is a time (an instant or ISO text, UTC where it says nothing: each table as its readers saw it then) or
    `<table>@<snapshot id>` (that table as of then, all others now). `role` hides what is classified `pii` in
    contracts that do not list the role; without a role nothing is hidden. `only` names the views that will be read:
    what they need of the lake is opened, all others are there and have no rows. `locked` keeps the session from all
    files but those of the tables. Raises UsageError for an unknown role, table, snapshot or time.
    """
    check_role(mesh, role)
    states = _find_states(mesh, catalog, as_of, None if only is None else _needed(mesh, only))
    connection = connect(catalog.properties)
    _create_views(connection, mesh, states, role)
    if locked:
        _lock(connection, [state.table for state in states.values() if state.table])
    return connection


def write_views(mesh: Mesh, catalog: Catalog, path: Path) -> None:
    """Write a DuckDB file with the views of `open_session` for tools that open a file, in place of what was there.

    Each view is the state that its table has now; write the file again to see later ones. Readers load DuckDB's
    extensions avro and iceberg first. A reader has either the file of before or this one, whole. Raises UsageError
    where `path` is a folder.
    """
    if path.is_dir():
        raise UsageError(f"{path}: a folder. Name a file, such as views.duckdb.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        beside = Path(folder) / "views.duckdb"
        with connect(catalog.properties, str(beside)) as connection:
            _create_views(connection, mesh, _find_states(mesh, catalog, None, None), None)
        os.replace(beside, path)


def view_names(mesh: Mesh) -> list[str]:
    """Every view that a session can have; a quarantine's and a ledger's are there once something is in them."""
    beside = [name(contract) for contract in mesh.ingested() for name in (rejected_name, removed_name)]
    resolved = [f"{name}__resolved" for name, contract in mesh.contracts.items() if _references(contract)]
    return [*table_shapes(mesh), *beside, *interface_unions(mesh), *resolved]


def _needed(mesh: Mesh, views: Iterable[str]) -> set[str]:
    """The tables that the views are made of."""
    needed = set()
    for view in views:
        name = view.removesuffix("__resolved")
        needed |= set(tables_behind(mesh, name))
        if view != name:
            needed |= {table for field in _references(mesh.contracts[name]) for table, _ in [_target(field)]}
    return needed


def _create_views(
    connection: duckdb.DuckDBPyConnection, mesh: Mesh, states: Mapping[str, _State], role: str | None
) -> None:
    create_schemas(connection, mesh)
    if role is not None:
        add_pseudonyms(connection)
    for name, state in states.items():
        _create(connection, name, state.select({} if reads_all(role, state.contract) else masks(state.shape)))
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
        if _references(contract):
            _create(connection, f"{name}__resolved", _resolved_select(mesh, contract, shown))


def count_orphans(mesh: Mesh, connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """For each table with references, its rows with at least one value that the dimension lacks.

    A missing value points nowhere and is no orphan. `connection` is a session of `open_session`.
    """
    counts = {}
    for name, contract in mesh.contracts.items():
        tests = [
            f"{quoted(field.name)} IS NOT NULL AND {_lacks(field, quoted(field.name))}"
            for field in _references(contract)
        ]
        if tests:
            query = f"SELECT count(*) FROM {quoted(name)} WHERE ({') OR ('.join(tests)})"
            found = connection.execute(query).fetchone()
            assert found is not None
            counts[name] = int(found[0])
    return counts


@dataclass(frozen=True)
class _State:
    """One table as the session shows it: `snapshot` is None where it has no rows, `lost` says why it is not known.

    `past` is a state that was asked for: it has the columns and types of its time, by the names they have now.
    """

    contract: Contract
    shape: Shape
    table: Table | None
    snapshot: int | None
    past: bool = False
    lost: str = ""

    @cached_property
    def columns(self) -> list[tuple[Field, NestedField | None]]:
        """The columns shown, each with what it is in the table, where it is there."""
        if self.table is None or self.snapshot is None:
            return [(field, None) for field in self.shape.fields]
        now = {column.name: column.field_id for column in self.table.schema().fields}
        schema = self.table.schema()
        found = self.table.metadata.snapshot_by_id(self.snapshot)
        if self.past and found is not None and found.schema_id is not None:
            schema = self.table.schemas()[found.schema_id]
        then = {column.field_id: column for column in schema.fields}
        columns = [(field, then.get(now.get(present_name(field, now) or "", -1))) for field in self.shape.fields]
        return [
            (replace(field, type=contract_type(column.field_type)) if self.past and column else field, column)
            for field, column in columns
            if column or not self.past
        ]

    def select(self, hidden: Mapping[str, str]) -> str:
        if self.table is None or self.snapshot is None:
            # The error comes when the view is read: other tables can still be.
            return empty_select(self.shape, f"error({literal(self.lost)})" if self.lost else "false")
        source = literal(self.table.metadata_location)
        if self.past:
            source += f", snapshot_from_id = {self.snapshot}"
        shown = [typed(field, hidden.get(field.name) if column else "NULL") for field, column in self.columns]
        named = [f"{quoted(column.name)} AS {quoted(field.name)}" for field, column in self.columns if column]
        return f"SELECT {', '.join(shown)} FROM (SELECT {', '.join(named)} FROM iceberg_scan({source}))"


def _find_states(
    mesh: Mesh, catalog: Catalog, as_of: datetime | str | None, wanted: Collection[str] | None
) -> dict[str, _State]:
    shapes = {name: (_contract_of(mesh, name), shape) for name, shape in table_shapes(mesh).items()}
    kept = {name: _tables_in(catalog, name) for name in mesh.domains}
    for contract in mesh.contracts.values():
        if contract.event:
            beside = {
                rejected_name(contract): rejected_shape(contract),
                removed_name(contract): removed_shape(contract),
            }
            shapes |= {name: (contract, shape) for name, shape in beside.items() if name in kept[contract.domain]}
    there = [name for name in shapes if name in kept[name.split(".")[0]]]
    if isinstance(as_of, str) and "@" in as_of and wanted is not None:
        wanted = {*wanted, as_of.partition("@")[0]}
    tables = {
        name: find_table(catalog, name) if name in there and (wanted is None or name in wanted) else None
        for name in shapes
    }
    chosen: dict[str, tuple[int | None, str]] = {}
    if isinstance(as_of, str) and "@" in as_of:
        name, snapshot = _parse_snapshot(as_of, tables, there)
        chosen[name] = (snapshot, "")
    elif as_of is not None:
        time = _parse_time(as_of)
        chosen = {name: _snapshot_at(name, table, time) for name, table in tables.items() if table}
    states = {}
    for name, (contract, shape) in shapes.items():
        table = tables[name]
        at, lost = chosen.get(name, (head(table) if table else None, ""))
        states[name] = _State(contract, shape, table, at, name in chosen, lost)
    return states


def _tables_in(catalog: Catalog, namespace: str) -> set[str]:
    if not catalog.namespace_exists(namespace):
        return set()
    return {".".join(identifier) for identifier in catalog.list_tables(namespace)}


def _contract_of(mesh: Mesh, name: str) -> Contract:
    product = name.removesuffix("__raw")
    return mesh.contracts[product] if product in mesh.contracts else mesh.retired[product]


def _parse_snapshot(text: str, tables: Mapping[str, Table | None], there: Iterable[str]) -> tuple[str, int]:
    name, _, number = text.partition("@")
    table = tables.get(name)
    if table is None:
        raise UsageError(f"--as-of {text}: no table '{name}'. {offer(name, dict.fromkeys(there))}")
    known_ids = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    if not number.isdecimal() or int(number) not in known_ids:
        listed = [f"{s.snapshot_id} of {_instant(s.timestamp_ms).isoformat()}" for s in known_ids.values()]
        raise UsageError(f"--as-of {text}: {name} has no such snapshot. It has {', '.join(listed[-10:]) or 'none'}.")
    return name, int(number)


def _parse_time(value: datetime | str) -> datetime:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UsageError(
            f"--as-of {value}: it is a time such as 2025-11-01T00:00:00Z, or <table>@<snapshot id>; "
            "'mesh status' lists the tables."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _snapshot_at(name: str, table: Table, time: datetime) -> tuple[int | None, str]:
    """What main was at `time`, by the table's log of it (so also a state that was rolled back later)."""
    log = table.metadata.snapshot_log
    seen = [entry.snapshot_id for entry in log if _instant(entry.timestamp_ms) <= time]
    if seen:
        return seen[-1], ""
    first = table.metadata.snapshot_by_id(log[0].snapshot_id) if log else None
    if first and first.sequence_number and first.sequence_number > 1:
        oldest = _instant(log[0].timestamp_ms).isoformat()
        return None, f"{name}: what it was at {time.isoformat()} has expired; the oldest state kept is of {oldest}."
    return None, ""


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def tables_of_references(mesh: Mesh) -> list[str]:
    """The tables with references and those that they point to: what `count_orphans` reads."""
    pointing = {name: _references(contract) for name, contract in mesh.contracts.items()}
    return [
        *(name for name, fields in pointing.items() if fields),
        *{_target(field)[0] for fields in pointing.values() for field in fields},
    ]


def _references(contract: Contract) -> list[Field]:
    return [field for field in contract.table.fields if field.references]


def _target(field: Field) -> tuple[str, str]:
    assert field.references is not None
    return field.references


def _resolved_select(mesh: Mesh, contract: Contract, shown: Mapping[str, Collection[str]]) -> str:
    """The table with 'unknown' for each text that its dimension lacks, and the version of each that keeps history.

    An inner join to the dimensions, which have that member, then keeps every row. No date is such a member; it stays.
    The version is the one true at the row's own time (the column that freshness is measured by), or the first where
    the row is older than all, in a column such as `vehicle_version` for `dim_vehicle.version`. `shown` has the
    columns of each table: in a past state, some may not be there.
    """
    columns, joins = [], []
    for field in contract.table.fields:
        if field.name not in shown[contract.identifier]:
            continue
        value = f"fact.{quoted(field.name)}"
        if field.references and field.type.name == "string":
            value = f"CASE WHEN {value} IS NULL OR {_lacks(field, value)} THEN '{UNKNOWN}' ELSE {value} END"
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
                f"ASOF LEFT JOIN {quoted(name)} AS {quoted(alias)} ON {value} = {quoted(alias)}.{quoted(key)} "
                f"AND {time} >= {quoted(alias)}.{quoted(shape.history[0])}"
            )
    return f"SELECT {', '.join(columns)} FROM {quoted(contract.identifier)} AS fact {' '.join(joins)}"


def _lacks(field: Field, value: str) -> str:
    """The SQL condition that the dimension of `field` has no row for `value`."""
    dimension, column = map(quoted, _target(field))
    return f"{value} NOT IN (SELECT {column} FROM {dimension} WHERE {column} IS NOT NULL)"


def _create(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    connection.execute(f"CREATE VIEW {quoted(name)} AS {select}")


def _lock(connection: duckdb.DuckDBPyConnection, tables: list[Table]) -> None:
    folders = [table.location().removeprefix("file://") for table in tables]
    listed = ", ".join(literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
