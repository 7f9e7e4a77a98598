"""The columns of the datasets of dashboards, derived from their SQL and the contracts; no data is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh_platform.contract.contract import TableSchema
from mesh_platform.engine.duckdb import DuckDBError, own_database
from mesh_platform.engine.sql import empty_select, quoted
from mesh_platform.errors import ContractError, Problem
from mesh_platform.lake.tables import table_named
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.query.health import HEALTH_SCHEMAS
from mesh_platform.sql.references import RESOLVED, references
from mesh_platform.sql.relations import SITES, create_schemas, relation_schemas


@dataclass(frozen=True)
class Column:
    """A column of a dataset: its name, its type in DuckDB, and what the contract of its source says of it."""

    name: str
    type: str
    description: str | None

    @property
    def is_time(self) -> bool:
        """Whether it is a day or a time."""
        return self.type.startswith(("DATE", "TIMESTAMP"))


def readable(mesh: Mesh) -> dict[str, TableSchema]:
    """Return the relations that a dataset may read: products, unions, `mesh.*`; not the landing tables."""
    found = {
        name: schema
        for name, schema in relation_schemas(mesh).items()
        if (table := table_named(mesh, name)) is None or table.kind == "product"
    }
    resolved = {f"{name}{RESOLVED}": each.table for name, each in mesh.contracts.items() if references(each)}
    return {**found, **resolved, **HEALTH_SCHEMAS}


def dataset_columns(mesh: Mesh, dashboards: Iterable[Dashboard]) -> dict[str, dict[str, Column]]:
    """Return the columns of each dataset, `<domain>.<dashboard>.<dataset>`. Raises ContractError for faulty SQL."""
    found, problems = find_columns(mesh, dashboards)
    if problems:
        raise ContractError(problems)
    return found


def find_columns(mesh: Mesh, dashboards: Iterable[Dashboard]) -> tuple[dict[str, dict[str, Column]], list[Problem]]:
    """Return the columns of each dataset whose SQL and metrics are sound, and what is wrong with the others."""
    schemas = readable(mesh)
    found: dict[str, dict[str, Column]] = {}
    problems: list[Problem] = []
    with own_database() as connection:
        create_schemas(connection, mesh)
        for relation, schema in schemas.items():
            if relation != SITES:
                connection.execute(f"CREATE VIEW {quoted(relation)} AS {empty_select(schema)}")
        for dashboard in dashboards:
            for name, sql in dashboard.sql.items():
                path = f"{dashboard.folder}/datasets/{name}"
                try:
                    rows = connection.execute(f"DESCRIBE {sql}").fetchall()
                except DuckDBError as error:
                    readers = [key for key, chart in dashboard.charts.items() if chart.dataset == name]
                    broken = f"breaks {', '.join(readers) or 'no chart'} of {dashboard.identifier}: {error}"
                    problems.append(_problem(f"{path}.sql", broken))
                    continue
                described = _descriptions(schemas, sql)
                found[f"{dashboard.identifier}.{name}"] = {
                    column: Column(column, kind, described.get(column)) for column, kind, *_ in rows
                }
                for metric, each in dashboard.datasets[name].metrics.items():
                    try:
                        connection.execute(f"DESCRIBE SELECT {each.expression} FROM ({sql})")
                    except DuckDBError as error:
                        problems.append(_problem(f"{path}.yaml", f"metric '{metric}': {error}"))
    return found, problems


def _problem(path: str, error: str) -> Problem:
    text = " ".join(error.split("\n\nLINE")[0].split())
    return Problem(path, 1, text, "Read what is published: 'mesh explain <product>' lists columns.", rule="charts")


def _descriptions(schemas: Mapping[str, TableSchema], sql: str) -> dict[str, str]:
    """What contracts say of columns by name, of the relations that the SQL names; the first one counts."""
    text = sql.lower()
    named = sorted((name for name in schemas if name in text), key=text.index)
    found: dict[str, str] = {}
    for name in named:
        for field in schemas[name].fields:
            found.setdefault(field.name, field.description)
    return found
