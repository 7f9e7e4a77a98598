"""The SELECT of a chart, written from its YAML: what Superset asks for it, without Superset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mesh_platform.contract.contract import TableSchema
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.errors import UsageError
from mesh_platform.lake.tables import table_named
from mesh_platform.mesh.dashboards import Chart, Dashboard, Dataset
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.health_schemas import HEALTH_SCHEMAS
from mesh_platform.sql.references import resolved_schemas
from mesh_platform.sql.relations import relation_schemas

# Superset's names of spans of time.
_GRAINS = {"P1D": "day", "P1W": "week", "P1M": "month", "P3M": "quarter", "P1Y": "year", "PT1H": "hour"}
KINDS = (
    *("big_number_total", "echarts_timeseries_line", "echarts_timeseries_bar", "echarts_area", "pie", "table"),
    *("heatmap_v2", "echarts_timeseries_step"),
)
# Superset's operators of filters that compare a column with one value.
_COMPARED = {"==": "=", "!=": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "LIKE": "LIKE", "ILIKE": "ILIKE"}


def readable_schemas(mesh: Mesh) -> dict[str, TableSchema]:
    """Return the relations that a dataset may read: products, unions, `__resolved`, `mesh.*`; no landing tables."""
    found = {
        name: schema
        for name, schema in relation_schemas(mesh).items()
        if (table := table_named(mesh, name)) is None or table.kind == "product"
    }
    return {**found, **resolved_schemas(mesh), **HEALTH_SCHEMAS}


def chart_dimensions(chart: Chart) -> list[str]:
    """Return the columns by which a chart groups: its x axis first."""
    params = chart.params
    axis = [params["x_axis"]] if params.get("x_axis") else []
    groups = params.get("groupby") or []
    return [*axis, *([groups] if isinstance(groups, str) else groups)]


def chart_metrics(chart: Chart) -> list[str]:
    """Return the names of the metrics that a chart shows."""
    one = [chart.params["metric"]] if chart.params.get("metric") else []
    return [*one, *(chart.params.get("metrics") or [])]


def chart_conditions(dataset: Dataset, chart: Chart) -> Iterator[tuple[str, str]]:
    """Yield the clause, WHERE or HAVING, and the SQL of each filter of a chart.

    Raises UsageError for a filter that SQL cannot be written for.
    """
    for each in chart.params.get("adhoc_filters") or []:
        clause = each.get("clause") or "WHERE"
        if each.get("expressionType") == "SQL":
            yield clause, each["sqlExpression"]
        elif (operator := each.get("operator")) != "TEMPORAL_RANGE" or each.get("comparator") != "No filter":
            column, value = column_sql(dataset, each["subject"]), each.get("comparator")
            if operator in _COMPARED:
                yield clause, f"{column} {_COMPARED[operator]} {_value(value)}"
            elif operator in ("IN", "NOT IN"):
                yield clause, f"{column} {operator} ({', '.join(map(_value, value))})"
            elif operator in ("IS NULL", "IS NOT NULL"):
                yield clause, f"{column} {operator}"
            else:
                raise UsageError(f"no SQL can be written for a filter by {operator}. Write its condition as SQL.")


def column_sql(dataset: Dataset, name: str) -> str:
    """Return the SQL of a column of a dataset: its name, or the expression of one that the dataset computes."""
    expression = dataset.columns.get(name, {}).get("expression")
    return f"({expression})" if expression else quoted(name)


def chart_sql(dashboard: Dashboard, name: str, source: str | None = None) -> str:
    """Return the SELECT of a chart over the relations of the mesh: its dimensions, then its metrics, in order.

    Rows are ordered by the first metric, largest first, and limited as the chart limits them; those of a chart with a
    time axis by the axis. `source` is a SELECT that stands for the dataset's own, if given.

    Raises UsageError for a kind of chart that is not in KINDS, and for a filter that SQL cannot be written for.
    """
    chart = dashboard.charts[name]
    if chart.viz_type not in KINDS:
        raise UsageError(
            f"{dashboard.folder}/charts/{name}.yaml: no SQL can be written for a {chart.viz_type}. "
            f"There is {', '.join(KINDS)}."
        )
    dataset = dashboard.datasets[chart.dataset]
    grain = _GRAINS.get(chart.params.get("time_grain_sqla") or "")
    axis = chart.params.get("x_axis")
    columns: dict[str, str] = {}
    for column in chart_dimensions(chart):
        own = column_sql(dataset, column)
        columns[column] = f"date_trunc('{grain}', {own})" if column == axis and grain else own
    metrics = {metric: dataset.metrics[metric].expression for metric in chart_metrics(chart)}
    selected = [f"{sql} AS {quoted(column)}" for column, sql in {**columns, **metrics}.items()]
    conditions = [*chart_conditions(dataset, chart)]
    where = [f"({sql})" for clause, sql in conditions if clause == "WHERE"]
    having = [f"({sql})" for clause, sql in conditions if clause == "HAVING"]
    text = f"SELECT {', '.join(selected)}\nFROM (\n{(source or dashboard.sql[chart.dataset]).strip()}\n) AS dataset"
    text += f"\nWHERE {' AND '.join(where)}" if where else ""
    text += f"\nGROUP BY {', '.join(columns.values())}" if columns else ""
    text += f"\nHAVING {' AND '.join(having)}" if having else ""
    return text + _order(chart.params, columns, [*metrics]) if columns else text


def chart_query(dashboard: Dashboard, name: str) -> tuple[str, tuple[str, ...]]:
    """Return a SELECT that reads what a chart reads, and its columns: `chart_sql`, if there is one.

    A chart of another kind, or one with faults, may show any column: all are then in one, called `dataset`.
    """
    chart = dashboard.charts[name]
    columns = (*chart_dimensions(chart), *chart_metrics(chart))
    known = dashboard.datasets[chart.dataset].metrics
    if columns and {*map(str, columns)} == {*columns} and known.keys() >= {*chart_metrics(chart)}:
        try:
            return chart_sql(dashboard, name), columns
        except (UsageError, KeyError):
            pass
    return f"SELECT dataset FROM (\n{dashboard.sql[chart.dataset].strip()}\n) AS dataset", ("dataset",)


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).upper() if value is not None else "NULL"
    return str(value) if isinstance(value, int | float) else literal(str(value))


def _order(params: Mapping[str, Any], columns: Mapping[str, str], metrics: Sequence[str]) -> str:
    largest = [name for name in metrics if name == params.get("timeseries_limit_metric")] or metrics[:1]
    by = [quoted(params["x_axis"])] if params.get("time_grain_sqla") else [f"{quoted(name)} DESC" for name in largest]
    limit = params.get("row_limit")
    return f"\nORDER BY {', '.join([*by, *map(quoted, columns)])}" + (f"\nLIMIT {int(limit)}" if limit else "")
