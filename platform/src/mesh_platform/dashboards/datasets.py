"""The columns of the datasets of dashboards, derived from their SQL and the contracts; no data is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mesh_platform.contract.contract import TableSchema
from mesh_platform.engine.duckdb import DuckDBError, own_database
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import empty_select, quoted
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.chart_query import chart_dimensions, chart_metrics, readable_schemas
from mesh_platform.sql.relations import SITES, create_schemas


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


# By `<domain>.<dashboard>.<dataset>` and the name of the column.
DatasetColumns = Mapping[str, Mapping[str, Column]]


def dataset_columns(mesh: Mesh, dashboards: Iterable[Dashboard]) -> DatasetColumns:
    """Return the columns of each dataset, `<domain>.<dashboard>.<dataset>`. Raises ContractError for faulty SQL."""
    found, problems = find_columns(mesh, dashboards)
    if problems:
        raise ContractError(problems)
    return found


def find_columns(mesh: Mesh, dashboards: Iterable[Dashboard]) -> tuple[dict[str, dict[str, Column]], list[Problem]]:
    """Return the columns of each dataset whose SQL and metrics are sound, and what is wrong with the others."""
    schemas = readable_schemas(mesh)
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
                problems += _expressions(connection, dashboard, name)
    return found, problems


def _expressions(connection: Connection, dashboard: Dashboard, name: str) -> Iterator[Problem]:
    """Yield the metrics and computed columns that do not fit the SQL of a dataset, with the charts they break."""
    dataset = dashboard.datasets[name]
    computed = {key: str(each["expression"]) for key, each in dataset.columns.items() if each.get("expression")}
    metrics = {key: each.expression for key, each in dataset.metrics.items()}
    for kind, texts, named in (("metric", metrics, chart_metrics), ("column", computed, chart_dimensions)):
        # All at once where all are sound.
        if _error(connection, dashboard.sql[name], texts.values()) is None:
            continue
        for key, text in texts.items():
            if error := _error(connection, dashboard.sql[name], [text]):
                own = [
                    chart for chart, each in dashboard.charts.items() if each.dataset == name and key in named(each)
                ]
                broken = f"breaks {', '.join(own) or 'no chart'} of {dashboard.identifier}"
                yield _problem(f"{dashboard.folder}/datasets/{name}.yaml", f"{kind} '{key}' {broken}: {error}")


def _error(connection: Connection, sql: str, expressions: Collection[str]) -> str | None:
    try:
        if expressions:
            connection.execute(f"DESCRIBE SELECT {', '.join(expressions)} FROM ({sql}\n)")
    except DuckDBError as error:
        return str(error)
    return None


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
