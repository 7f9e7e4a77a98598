"""Test SQL models by cases: YAML files with given rows and the rows that a model must make of them.

A file is a list of cases:

    - name: a sentence that says what holds
      model: <domain>.<table>
      given: {<relation>: [rows]}     columns not given are null; relations not given are empty
      where: an SQL condition on the output, to look at some of its rows (optional)
      expect: [rows]                  columns not named are not looked at; the order of rows does not matter

Decimals, dates and times are written as strings, times in ISO 8601 and UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh_platform.contract.contract import TableSchema
from mesh_platform.contract.types import shown_value
from mesh_platform.contract.yaml_document import read_document
from mesh_platform.engine.duckdb import DuckDBError, own_database
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal, quoted, table_definition, typed
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import Model, read_models
from mesh_platform.sql.relations import SITES, create_schemas, relation_schemas
from mesh_platform.text import offer

Row = Mapping[str, Any]
_NEEDED, _OPTIONAL = ("name", "model", "given", "expect"), ("where",)


@dataclass(frozen=True)
class Case:
    """One case; `place` is `file:line`."""

    place: str
    name: str
    model: str
    given: Mapping[str, Sequence[Row]]
    expect: Sequence[Row]
    where: str | None


def read_cases(path: Path, root: Path) -> list[Case]:
    """Read the cases of one file. Raises ContractError with everything that is wrong with its form."""
    document = read_document(path, root)
    if isinstance(document, Problem):
        raise ContractError([document])
    cases = []
    problems = []
    data = document.data if isinstance(document.data, list) else [None]
    for number, item in enumerate(data):
        if not isinstance(item, dict) or not set(_NEEDED) <= set(item) <= {*_NEEDED, *_OPTIONAL}:
            fix = f"A case has {', '.join(_NEEDED)}, and where it needs it {', '.join(_OPTIONAL)}."
            problems.append(document.problem((number,), "is not a case.", fix))
            continue
        place = f"{document.label}:{document.line((number,))}"
        given = {relation: rows or [] for relation, rows in (item["given"] or {}).items()}
        cases.append(Case(place, item["name"], item["model"], given, item["expect"] or [], item.get("where")))
    if problems:
        raise ContractError(problems)
    return cases


def run_case(mesh: Mesh, case: Case) -> str | None:
    """Run a case, and return how the model's output differs from what it expects, None if it does not.

    Raises ContractError if the case names something that the mesh does not have, or a value that does not fit its
    column, or if the model fails.
    """
    models = read_models(mesh)
    schemas = relation_schemas(mesh)
    if case.model not in models:
        raise _fault(case, f"model '{case.model}' is not one of the mesh.", offer(case.model, models))
    for relation in case.given:
        if relation not in schemas:
            raise _fault(case, f"'{relation}' is no relation of the mesh.", offer(relation, schemas))
    wanted, model = mesh.contracts[case.model].table, models[case.model]
    needed = {case.model, *case.given, *model.inputs}
    with own_database() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_schemas(connection, mesh)
        connection.execute(f"DELETE FROM {quoted(SITES)}")
        for relation, schema in schemas.items():
            if relation not in needed:
                continue
            if relation != SITES:
                connection.execute(table_definition(relation, schema))
            _insert(connection, case, relation, schema, case.given.get(relation, ()))
        actual = _run(connection, case, model, wanted)
        # After the run, the output's table is used to cast the expected rows to the contract's types.
        connection.execute(f"DELETE FROM {quoted(case.model)}")
        _insert(connection, case, case.model, wanted, case.expect)
        names = [field.name for field in wanted.fields]
        typed_rows = connection.execute(
            f"SELECT {', '.join(map(quoted, names))} FROM {quoted(case.model)}"
        ).fetchall()
    expected = [
        {name: value for name, value in zip(names, row, strict=True) if name in written}
        for row, written in zip(typed_rows, case.expect, strict=True)
    ]
    return _difference(case, expected, actual)


def _run(connection: Connection, case: Case, model: Model, schema: TableSchema) -> list[dict[str, Any]]:
    columns = ", ".join(typed(field) for field in schema.fields)
    query = f"SELECT {columns} FROM (\n{model.sql}\n) AS output WHERE {case.where or 'true'}"
    try:
        rows = connection.execute(query).fetchall()
    except DuckDBError as error:
        raise _fault(
            case, f"{model.path} fails: {' '.join(str(error).split())}.", "Mend the model or the case."
        ) from error
    return [dict(zip((field.name for field in schema.fields), row, strict=True)) for row in rows]


def _insert(connection: Connection, case: Case, relation: str, schema: TableSchema, rows: Sequence[Row]) -> None:
    for row in rows:
        for name in row:
            if name not in schema.by_name:
                raise _fault(case, f"'{relation}' has no column '{name}'.", offer(name, schema.by_name))
        # DuckDB casts from text, so that no decimal becomes a float and no instant a local time on the way.
        # Literals, because for each parameter DuckDB's client looks for pandas on the disk.
        texts = (row.get(field.name) for field in schema.fields)
        values = ", ".join("NULL" if text is None else literal(str(text)) for text in texts)
        try:
            connection.execute(f"INSERT INTO {quoted(relation)} VALUES ({values})")
        except DuckDBError as error:
            raise _fault(
                case, f"a row of '{relation}': {' '.join(str(error).split())}.", "Correct the value."
            ) from error


def _difference(case: Case, expected: list[dict[str, Any]], actual: list[dict[str, Any]]) -> str | None:
    named = list(dict.fromkeys(name for row in expected for name in row))
    unmatched = list(actual)
    missing = []
    # Expectations with the most columns are matched first, so that others do not take the only row that fits them.
    for row in sorted(expected, key=len, reverse=True):
        matches = (other for other in unmatched if all(_same(other[name], value) for name, value in row.items()))
        found = next(matches, None)
        if found is None:
            missing.append(row)
        else:
            unmatched.remove(found)
    if not missing and not unmatched:
        return None
    surplus = [{name: row[name] for name in named} for row in unmatched]
    lines = [f"{case.place}: {case.name}", *(f"  expected, not there: {_shown(row)}" for row in missing)]
    return "\n".join([*lines, *(f"  there, not expected: {_shown(row)}" for row in surplus)])


def _same(one: Any, other: Any) -> bool:
    # A case may expect NaN, written .nan, which is not equal to itself.
    return bool(one == other or (one != one and other != other))


def _shown(row: Row) -> str:
    return ", ".join(f"{name}={shown_value(value) if value is not None else 'null'}" for name, value in row.items())


def _fault(case: Case, message: str, fix: str) -> ContractError:
    path, _, line = case.place.rpartition(":")
    return ContractError([Problem(path, int(line), message, fix)])
