"""References between tables: which dimensions columns point to, what is missing there, and the `__resolved` views."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.engine.sql import literal, quoted, typed
from mesh_platform.mesh.mesh import Mesh

# The member of a dimension that stands for all that it lacks.
UNKNOWN = "unknown"
# How the name of a view with resolved references ends, after that of its table.
RESOLVED = "__resolved"


def references(contract: Contract) -> list[Field]:
    """Return the columns of a table that point to a dimension."""
    return [field for field in contract.table.fields if field.references]


def target(field: Field) -> tuple[str, str]:
    """Return the table and the column that a reference points to."""
    assert field.references is not None
    return field.references


def tables_referred_to(contract: Contract) -> list[str]:
    """Return the tables that the columns of a table point to, sorted."""
    return sorted({target(field)[0] for field in references(contract)})


def lacks(field: Field, value: str) -> str:
    """Return the SQL condition that the dimension of `field` has no row for `value`, which must not be NULL."""
    dimension, column = map(quoted, target(field))
    return f"{value} NOT IN (SELECT {column} FROM {dimension} WHERE {column} IS NOT NULL)"


def dangling_query(contract: Contract) -> str:
    """Return the SQL that counts the rows of a table with a reference to a row that a dimension lacks.

    A missing value is not a reference.
    """
    fields = [(field, quoted(field.name)) for field in references(contract)]
    tests = [f"{column} IS NOT NULL AND {lacks(field, column)}" for field, column in fields]
    return f"SELECT count(*) FROM {quoted(contract.identifier)} WHERE ({') OR ('.join(tests)})"


def resolved_select(
    mesh: Mesh, contract: Contract, shown: Collection[str], dangling: Mapping[str, Collection[str]]
) -> str:
    """Return the SQL of a `__resolved` view: references resolved to 'unknown' members and to versions of dimensions.

    Each text that its dimension lacks becomes 'unknown'. The dimensions have that member, so an inner join keeps
    every row. Dates have no such member and stay as they are. The columns of `version_columns` have the version of a
    dimension's row that was valid at the row's own time (the column by which freshness is measured), or the first
    version if the row is older than all of them. `shown` are the columns of the table, because a past state may lack
    some. `dangling` are the values that dimensions lack, as far as they are known.
    """
    columns, joins = [], []
    versions = version_columns(mesh, contract)
    for field in contract.table.fields:
        if field.name not in shown:
            continue
        value = f"fact.{quoted(field.name)}"
        if field.references and field.type.name == "string":
            value = _known(field, value, dangling.get(field.name))
        columns.append(f"{value} AS {quoted(field.name)}")
        for alias, version in versions.get(field.name, {}).items():
            name, key = target(field)
            schema = mesh.contracts[name].table
            assert schema.history is not None
            time = f"fact.{quoted(str(contract.freshness_column))}"
            columns.append(f"coalesce({quoted(alias)}.{quoted(version)}, 1) AS {quoted(alias)}")
            joins.append(
                f"LEFT JOIN ({_versions_select(name, key, version, schema.history[0])}) AS {quoted(alias)} "
                f"ON {value} = {quoted(alias)}.{quoted(key)} "
                f"AND {time} >= {quoted(alias)}.began AND {time} < {quoted(alias)}.ended"
            )
    return f"SELECT {', '.join(columns)} FROM {quoted(contract.identifier)} AS fact {' '.join(joins)}"


def resolved_fields(mesh: Mesh, contract: Contract) -> list[Field]:
    """Return the columns of the `__resolved` view of a table, in order."""
    versions = version_columns(mesh, contract)
    fields: list[Field] = []
    for field in contract.table.fields:
        fields.append(field)
        for alias, version in versions.get(field.name, {}).items():
            schema = mesh.contracts[target(field)[0]].table
            fields.append(replace(schema.by_name[version], name=alias))
    return fields


def resolved_schemas(mesh: Mesh) -> dict[str, TableSchema]:
    """Return each `__resolved` view with its columns."""
    return {
        f"{name}{RESOLVED}": replace(contract.table, fields=tuple(resolved_fields(mesh, contract)))
        for name, contract in mesh.contracts.items()
        if references(contract)
    }


def empty_resolved(mesh: Mesh, contract: Contract, shown: Collection[str]) -> str:
    """Return the SQL of a relation without rows that has the columns of `resolved_select`."""
    hidden = contract.table.by_name.keys() - {*shown}
    hidden |= {alias for name, added in version_columns(mesh, contract).items() if name in hidden for alias in added}
    columns = [typed(field, "NULL") for field in resolved_fields(mesh, contract) if field.name not in hidden]
    return f"SELECT {', '.join(columns)} WHERE false"


def version_columns(mesh: Mesh, contract: Contract) -> dict[str, dict[str, str]]:
    """Return the columns that a `__resolved` view adds for dimensions that keep history, after each reference.

    They are the names of new columns, such as `vehicle_version` for `dim_vehicle.version`, each with the column of
    the dimension that it shows. A reference to a table without a contract adds none.
    """
    found: dict[str, dict[str, str]] = {}
    for field in references(contract) if contract.freshness_column else ():
        name, key = target(field)
        if name not in mesh.contracts:
            # `mesh check` reports the reference, and goes on to what else is wrong.
            continue
        schema = mesh.contracts[name].table
        versions = [column for column in schema.key if column != key]
        if schema.history and len(versions) == 1:
            found[field.name] = {f"{schema.name.removeprefix('dim_')}_{versions[0]}": versions[0]}
    return found


def _versions_select(name: str, key: str, version: str, began: str) -> str:
    """Return the SQL of when each version of a dimension's rows began, and when it ended.

    An ASOF join would not need the end, but sorts the whole fact.
    """
    order = f"PARTITION BY {quoted(key)} ORDER BY {quoted(began)}, {quoted(version)}"
    return (
        f"SELECT {quoted(key)}, {quoted(version)}, {quoted(began)} AS began, "
        f"lead({quoted(began)}, 1, 'infinity') OVER ({order}) AS ended "
        f"FROM {quoted(name)} WHERE {quoted(began)} IS NOT NULL"
    )


def _known(field: Field, value: str, dangling: Collection[str] | None) -> str:
    """Return the SQL of `value`, or of 'unknown' if it is missing or its dimension lacks it."""
    tests = [f"{value} IS NULL", lacks(field, value)]
    if dangling is not None:
        # DuckDB turns IN with so many values into a join, which runs even for queries that do not read the column.
        among = f"list_contains([{', '.join(map(literal, dangling))}], {value})"
        tests = [*([] if field.required else tests[:1]), *([among] if dangling else [])]
    return f"CASE WHEN {' OR '.join(tests)} THEN '{UNKNOWN}' ELSE {value} END" if tests else value
