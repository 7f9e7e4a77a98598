"""Check the types of SQL models against their contracts, without data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain

from mesh_platform.contract.contract import Contract, Field
from mesh_platform.engine.duckdb import DuckDBError, own_database
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import empty_select, quoted
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.audit import find_problems
from mesh_platform.sql.model import Model, binding_problem, build_order, find_models, of_tables
from mesh_platform.sql.relations import SITES, create_schemas, relation_schemas
from mesh_platform.sql.syntax import line_of

_CLOCKS = {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}


def check_types(mesh: Mesh, tables: Collection[str] | None = None) -> list[Problem]:
    """Return everything wrong with the SQL of the mesh, or of some `tables`; no data is needed.

    These are queries that cannot be parsed, unknown inputs and cycles; columns whose name or type is not that of the
    contract; and rules that cannot be run. The order of columns does not matter, because a build selects by name.
    """
    models, problems = find_models(mesh)
    problems += find_cycles(mesh, models, tables)
    faulty = {problem.path for problem in problems}
    sound = {name: model for name, model in models.items() if model.path not in faulty}
    checked = (*mesh.contracts.values(), *mesh.interfaces.values())
    chosen = [contract for contract in checked if tables is None or contract.identifier in tables]
    if tables is not None:
        problems = of_tables(mesh, tables, problems)
    return [*problems, *chain.from_iterable(check_contracts(mesh, sound, chosen).values())]


def find_cycles(mesh: Mesh, models: Mapping[str, Model], tables: Collection[str] | None = None) -> list[Problem]:
    """Return the problem of products, by default any of the mesh, that read each other, or none."""
    try:
        build_order(mesh, models, tables)
    except ContractError as error:
        return error.problems
    return []


def check_contracts(
    mesh: Mesh, models: Mapping[str, Model], contracts: Collection[Contract]
) -> dict[str, list[Problem]]:
    """Return, by the path of each of `contracts`, where its columns and rules do not fit the SQL of its model.

    Only the rules are checked if `models` has no model of the contract, or one that reads an unknown relation.
    """
    schemas = relation_schemas(mesh)
    paths = {contract.path for contract in contracts}
    # An interface may have the name of a product, and has no model.
    chosen = [model for model in models.values() if model.contract.path in paths]
    chosen = [model for model in chosen if schemas.keys() >= {*model.inputs}]
    read = {relation for model in chosen for relation in model.inputs}
    found: dict[str, list[Problem]] = {contract.path: [] for contract in contracts}
    with own_database() as connection:
        create_schemas(connection, mesh)
        for relation, schema in schemas.items():
            if relation in read and relation != SITES:
                # A view, as in a build, because a table would also have a rowid.
                connection.execute(f"CREATE VIEW {quoted(relation)} AS {empty_select(schema)}")
        # There are no rows, so optimising a plan takes longer than it saves.
        connection.execute("PRAGMA disable_optimizer")
        for model in chosen:
            found[model.contract.path] += _type_problems(model, connection)
        for contract in contracts:
            if contract.table.rules:
                found[contract.path] += find_problems(contract, connection)
    return found


def _type_problems(model: Model, connection: Connection) -> list[Problem]:
    try:
        described = connection.execute(f"DESCRIBE {model.sql}").fetchall()
    except DuckDBError as error:
        return [binding_problem(model, error)]
    actual = [(row[0], row[1]) for row in described]
    problems = []
    lines = {column.alias_or_name: line_of(column) for column in model.tree.selects}
    wanted = model.contract.table.by_name
    for name, found in actual:
        fault = _column_fault(model, wanted.get(name), found)
        if [other for other, _ in actual].count(name) > 1:
            fault = ("stands twice in the select.", "Name each column once.")
        if fault:
            problems.append(
                Problem(model.path, lines.get(name, 1), f"column '{name}' {fault[0]}", fault[1], rule="sql")
            )
    for name, field in wanted.items():
        if name not in dict(actual):
            message = f"column '{name}' ({field.type.duckdb}) of the contract is not selected."
            fix = f"Select it, or drop it from {model.contract.path}:{field.line}."
            problems.append(Problem(model.path, line_of(model.tree), message, fix, rule="sql"))
    return problems


def _column_fault(model: Model, field: Field | None, found: str) -> tuple[str, str] | None:
    if field is None:
        return "is not in the contract.", f"Drop it, or add it to {model.contract.path}:{model.contract.table.line}."
    if found != field.type.duckdb:
        where = f"{model.contract.path}:{field.line}"
        fix = f"Write cast(... as {field.type.duckdb.lower()}) as {field.name}."
        if found in _CLOCKS and field.type.duckdb in _CLOCKS:
            # A cast would take the local time for UTC.
            fix = f"Write timezone(zone, ...) as {field.name}, with the time zone that the local time is in."
        return f"is {found}; the contract ({where}) says {field.type.name}.", fix
    return None
