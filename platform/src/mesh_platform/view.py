"""What people query: the catalog arrives; a DuckDB session with a view for each table leaves, and query results."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from mesh_platform.contract import Contract, Field, Shape
from mesh_platform.domain import Mesh, offer
from mesh_platform.engine.duckdb import connect, literal
from mesh_platform.errors import UsageError
from mesh_platform.lake.catalog import find_table
from mesh_platform.lake.commit import built_from
from mesh_platform.lake.delta import head
from mesh_platform.lake.landing import (
    held_name,
    held_shape,
    rejected_name,
    rejected_shape,
    removed_name,
    removed_shape,
)
from mesh_platform.lake.releases import RELEASE_NAME, RELEASES, RELEASES_SHAPE, find_release
from mesh_platform.relation import (
    create_schemas,
    empty_select,
    interface_unions,
    quoted,
    table_shapes,
    typed,
    union_select,
)

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

UNKNOWN = "unknown"
# What was sent and refused can hold anything, so a role never sees it.
_AS_SENT = ("raw", "detail")
_PSEUDONYM = "mesh_pseudonym"
_TABLE_FUNCTIONS = ("range", "generate_series", "unnest", "repeat", "json_each", "json_tree")
_SYSTEM_SCHEMAS = ("information_schema", "pg_catalog")


def open_session(
    mesh: Mesh,
    catalog: Catalog,
    *,
    role: str | None = None,
    as_of: datetime | str | None = None,
    locked: bool = True,
) -> duckdb.DuckDBPyConnection:
    """A DuckDB session with the views of the mesh; each is one state of its table for as long as the session lives.

    There is `<namespace>.<table>` for every product, landing table, quarantine and ledger, for what rules hold back
    (`__held`, as it belongs to the state of its table), for interface unions, `mesh.sites` and `mesh.releases`; and
    `<namespace>.<table>__resolved` for each table with references: see `_resolved_select`.

    `as_of` is a time (an instant or ISO text, UTC where it says nothing: each table as its readers saw it then), a
    release such as `r3` (its tables as they are in it, and no others), or `<table>@<snapshot id>` (that table as of
    then, all others now). `role` hides what is classified `pii` in
    contracts that do not list the role; without a role nothing is hidden. `locked` keeps the session from all files
    but those of the tables. Raises UsageError for an unknown role, table, snapshot, release or time.
    """
    _check_role(mesh, role)
    states = _find_states(mesh, catalog, as_of)
    connection = connect(catalog.properties)
    create_schemas(connection, mesh)
    _add_pseudonyms(connection)
    for name, state in states.items():
        _create(connection, name, state.select({} if _reads_all(role, state.contract) else _masks(state.shape)))
    for name, (interface, implementations) in interface_unions(mesh).items():
        sources = {}
        for contract in implementations:
            hidden = {} if _reads_all(role, interface) else _masks(interface.table)
            own = contract.table.by_name
            # What the implementation's own view hides already is not hidden twice: the same value must stay the same.
            sources[contract.identifier] = {
                column: mask for column, mask in hidden.items() if own[column].classification != "pii"
            }
        _create(connection, name, union_select(interface, sources))
    for name, contract in mesh.contracts.items():
        if any(field.references for field in contract.table.fields):
            _create(connection, f"{name}__resolved", _resolved_select(contract))
    releases = find_table(catalog, RELEASES)
    _create(connection, RELEASES, _plain_select(RELEASES_SHAPE, releases))
    if locked:
        _lock(connection, [t for t in (*(state.table for state in states.values()), releases) if t])
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The rows of one SELECT (or FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW) over the views of the session.

    Raises UsageError for anything else, for what is no view, and for what DuckDB refuses, with its own hint.
    """
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise UsageError(
                f"mesh query reads only, and one statement at a time; this is {kinds}. Write one SELECT."
            )
        _check_sources(connection, sql)
        rows = connection.execute(sql).to_arrow_table()
    except duckdb.Error as error:
        raise UsageError(str(error)) from error
    twice = {name for name in rows.column_names if rows.column_names.count(name) > 1}
    if twice:
        raise UsageError(f"two columns are called {', '.join(sorted(twice))}. Name one of them with AS.")
    return rows


def count_orphans(mesh: Mesh, connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """For each table with references, its rows with at least one value that the dimension lacks.

    A missing value points nowhere and is no orphan. `connection` is a session of `open_session`.
    """
    counts = {}
    for name, contract in mesh.contracts.items():
        tests = [
            f"{quoted(field.name)} IS NOT NULL AND {_lacks(contract, field)}"
            for field in contract.table.fields
            if field.references
        ]
        if tests:
            query = f"SELECT count(*) FROM {quoted(name)} WHERE ({') OR ('.join(tests)})"
            found = connection.execute(query).fetchone()
            assert found is not None
            counts[name] = int(found[0])
    return counts


@dataclass(frozen=True)
class _State:
    """One table as the session shows it: `snapshot` is None where it has no rows, `lost` says why it is not known."""

    contract: Contract
    shape: Shape
    table: Table | None
    snapshot: int | None
    lost: str = ""

    def select(self, masks: Mapping[str, str]) -> str:
        if self.table is None or self.snapshot is None:
            # The error comes when the view is read: other tables can still be.
            return empty_select(self.shape, f"error({literal(self.lost)})" if self.lost else "false")
        source = literal(self.table.metadata_location)
        schema = self.table.schema()
        if self.snapshot != head(self.table):
            source += f", snapshot_from_id = {self.snapshot}"
            found = self.table.metadata.snapshot_by_id(self.snapshot)
            assert found is not None
            schema = self.table.schemas()[found.schema_id] if found.schema_id is not None else schema
        present = {field.name for field in schema.fields}
        columns = [
            typed(field, masks.get(field.name) if field.name in present else "NULL") for field in self.shape.fields
        ]
        return f"SELECT {', '.join(columns)} FROM iceberg_scan({source})"


def _plain_select(shape: Shape, table: Table | None) -> str:
    if table is None or head(table) is None:
        return empty_select(shape)
    columns = ", ".join(typed(field) for field in shape.fields)
    return f"SELECT {columns} FROM iceberg_scan({literal(table.metadata_location)})"


def _find_states(mesh: Mesh, catalog: Catalog, as_of: datetime | str | None) -> dict[str, _State]:
    shapes = {name: (_contract_of(mesh, name), shape) for name, shape in table_shapes(mesh).items()}
    kept = {name: _tables_in(catalog, name) for name in mesh.domains}
    for contract in mesh.contracts.values():
        if contract.event:
            beside = {
                rejected_name(contract): rejected_shape(contract),
                removed_name(contract): removed_shape(contract),
            }
            shapes |= {name: (contract, shape) for name, shape in beside.items() if name in kept[contract.domain]}
        if held_name(contract) in kept[contract.domain]:
            shapes[held_name(contract)] = (contract, held_shape(contract))
    tables = {name: find_table(catalog, name) if name in kept[name.split(".")[0]] else None for name in shapes}
    chosen: dict[str, tuple[int | None, str]] = {}
    if isinstance(as_of, str) and "@" in as_of:
        name, snapshot = _parse_snapshot(as_of, tables)
        chosen[name] = (snapshot, "")
    elif isinstance(as_of, str) and RELEASE_NAME.fullmatch(as_of):
        released = find_release(catalog, as_of)
        chosen = {name: (released.get(name), f"{name} is not in release {as_of}.") for name in tables}
    elif as_of is not None:
        time = _parse_time(as_of)
        chosen = {name: _snapshot_at(name, table, time) for name, table in tables.items() if table}
    states = {}
    for name, (contract, shape) in shapes.items():
        table = tables[name]
        at, lost = chosen.get(name, (head(table) if table else None, ""))
        states[name] = _State(contract, shape, table, at, lost)
    for name, contract in mesh.contracts.items():
        held = states.get(held_name(contract))
        if held and not chosen.get(held_name(contract), (None, ""))[0]:
            states[held_name(contract)] = _held_with(states[name], held)
    return states


def _held_with(product: _State, held: _State) -> _State:
    """What is held back as it belongs to the state of its table, not as it came last."""
    noted = built_from(product.table, product.snapshot) if product.table else None
    snapshot = (noted or {}).get("mesh.held")
    return replace(held, snapshot=int(snapshot) if snapshot else None, lost=product.lost)


def _tables_in(catalog: Catalog, namespace: str) -> set[str]:
    if not catalog.namespace_exists(namespace):
        return set()
    return {".".join(identifier) for identifier in catalog.list_tables(namespace)}


def _contract_of(mesh: Mesh, name: str) -> Contract:
    return mesh.contracts[name] if name in mesh.contracts else mesh.contracts[name.removesuffix("__raw")]


def _parse_snapshot(text: str, tables: Mapping[str, Table | None]) -> tuple[str, int]:
    name, _, number = text.partition("@")
    table = tables.get(name)
    if table is None:
        known = {other: table for other, table in tables.items() if table}
        raise UsageError(f"--as-of {text}: no table '{name}'. {offer(name, known)}")
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
            f"--as-of {value}: it is a time such as 2025-11-01T00:00:00Z, a release such as r3 ('mesh releases'), or "
            "<table>@<snapshot id> ('mesh history')."
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


def _check_role(mesh: Mesh, role: str | None) -> None:
    roles = {name: None for contract in mesh.contracts.values() for name in contract.roles}
    if role is not None and role not in roles:
        raise UsageError(f"--role {role}: no contract knows this role. {offer(role, roles)}")


def _reads_all(role: str | None, contract: Contract) -> bool:
    return role is None or role in contract.roles


def _masks(shape: Shape) -> dict[str, str]:
    """For the columns of `shape` that a role may not read, what it reads instead.

    A text becomes a pseudonym, the same one everywhere in the session, so that tables can still be joined; the member
    'unknown' of a dimension stays. Anything else is missing.
    """
    masks = {}
    for field in shape.fields:
        if shape.name.endswith("__rejected") and field.name in _AS_SENT:
            masks[field.name] = "NULL"
        elif field.classification == "pii":
            column = quoted(field.name)
            pseudonym = f"CASE WHEN {column} = '{UNKNOWN}' THEN {column} ELSE {_PSEUDONYM}({column}) END"
            masks[field.name] = pseudonym if field.type.name == "string" else "NULL"
    return masks


def _add_pseudonyms(connection: duckdb.DuckDBPyConnection) -> None:
    """Define `_PSEUDONYM`: a text as 32 hexadecimal digits, by a key that no SQL can read and that dies with us."""
    key = secrets.token_bytes(32)

    def pseudonym(value: str) -> str:
        return blake2b(value.encode(), key=key, digest_size=16).hexdigest()

    text = duckdb.sqltype("VARCHAR")
    connection.create_function(_PSEUDONYM, pseudonym, [text], text)


def _resolved_select(contract: Contract) -> str:
    """The table with 'unknown' for each text that its dimension lacks.

    An inner join to the dimensions, which have that member, then keeps every row. No date is such a member; it stays.
    """
    columns = []
    for field in contract.table.fields:
        column = quoted(field.name)
        if field.references and field.type.name == "string":
            lacks = f"{column} IS NULL OR {_lacks(contract, field)}"
            columns.append(f"CASE WHEN {lacks} THEN '{UNKNOWN}' ELSE {column} END AS {column}")
        else:
            columns.append(column)
    return f"SELECT {', '.join(columns)} FROM {quoted(contract.identifier)}"


def _lacks(contract: Contract, field: Field) -> str:
    """The SQL condition that the dimension of `field` has no row for it."""
    assert field.references is not None
    table, _, column = field.references.partition(".")
    dimension = quoted(f"{contract.domain}.{table}")
    return (
        f"{quoted(field.name)} NOT IN (SELECT {quoted(column)} FROM {dimension} WHERE {quoted(column)} IS NOT NULL)"
    )


def _create(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    connection.execute(f"CREATE VIEW {quoted(name)} AS {select}")


def _lock(connection: duckdb.DuckDBPyConnection, tables: list[Table]) -> None:
    folders = [table.location().removeprefix("file://") for table in tables]
    listed = ", ".join(literal(folder) for folder in folders)
    connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _check_sources(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse what reads past the views, such as a table's own files, which hold what a role may not see."""
    found = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    assert found is not None
    try:
        tree = json.loads(found[0])
        nodes = list(_nodes(tree))
    except RecursionError:
        raise UsageError("the query is nested too deeply. Write it with fewer levels.") from None
    if tree["error"]:
        raise UsageError(f"mesh query reads only: {tree['error_message']} Write one SELECT over the views.")
    views = {
        f"{schema}.{name}".lower(): None
        for schema, name in connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
        ).fetchall()
    }
    # A CTE named like a path must not vouch for that file elsewhere in the query.
    own = {key.lower() for node in nodes for key in _cte_names(node) if key.isidentifier()}
    for node in nodes:
        # Who could call it on guesses could tell whose pseudonym is whose.
        if str(node.get("function_name")).lower() == _PSEUDONYM:
            raise UsageError(f"{_PSEUDONYM}() is for the views alone. Leave it out.")
        if node.get("type") == "TABLE_FUNCTION":
            function = node["function"]["function_name"].lower()
            if function not in _TABLE_FUNCTIONS:
                raise UsageError(
                    f"mesh query reads views only, not {function}(). It may call {', '.join(_TABLE_FUNCTIONS)}."
                )
        if node.get("type") == "BASE_TABLE":
            name = ".".join(part for part in (node["schema_name"], node["table_name"]) if part).lower()
            if name not in views and name not in own and node["schema_name"].lower() not in _SYSTEM_SCHEMAS:
                raise UsageError(f"{name}: no such view. {offer(name, views)}")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _cte_names(node: dict[str, Any]) -> list[str]:
    return [entry["key"] for entry in node["cte_map"]["map"]] if "cte_map" in node else []
