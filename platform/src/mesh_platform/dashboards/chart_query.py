"""The SELECT of a chart, written from its YAML: what Superset asks for it, without Superset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mesh_platform.engine.sql import quoted
from mesh_platform.errors import UsageError
from mesh_platform.mesh.dashboards import Chart, Dashboard

# Superset's names of spans of time.
_GRAINS = {"P1D": "day", "P1W": "week", "P1M": "month", "P3M": "quarter", "P1Y": "year", "PT1H": "hour"}
KINDS = (
    *("big_number_total", "echarts_timeseries_line", "echarts_timeseries_bar", "echarts_area", "pie", "table"),
    *("heatmap_v2", "echarts_timeseries_step"),
)


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


def chart_conditions(chart: Chart) -> Iterator[tuple[str, str]]:
    """Yield the clause, WHERE or HAVING, and the SQL of each filter of a chart."""
    for each in chart.params.get("adhoc_filters") or []:
        if each.get("expressionType") == "SQL":
            yield each.get("clause", "WHERE"), each["sqlExpression"]


def chart_sql(dashboard: Dashboard, name: str, source: str | None = None) -> str:
    """Return the SELECT of a chart over the relations of the mesh: its dimensions, then its metrics, in order.

    Rows are ordered by the first metric, largest first, and limited as the chart limits them; those of a chart with a
    time axis by the axis. `source` is a SELECT that stands for the dataset's own, if given.

    Raises UsageError for a kind of chart that is not in KINDS.
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
    columns = {
        column: f"date_trunc('{grain}', {quoted(column)})" if column == axis and grain else quoted(column)
        for column in chart_dimensions(chart)
    }
    metrics = {metric: dataset.metrics[metric].expression for metric in chart_metrics(chart)}
    selected = [f"{sql} AS {quoted(column)}" for column, sql in {**columns, **metrics}.items()]
    where = [f"({sql})" for clause, sql in chart_conditions(chart) if clause == "WHERE"]
    having = [f"({sql})" for clause, sql in chart_conditions(chart) if clause == "HAVING"]
    text = f"SELECT {', '.join(selected)}\nFROM (\n{(source or dashboard.sql[chart.dataset]).strip()}\n) AS dataset"
    text += f"\nWHERE {' AND '.join(where)}" if where else ""
    text += f"\nGROUP BY {', '.join(columns.values())}" if columns else ""
    text += f"\nHAVING {' AND '.join(having)}" if having else ""
    return text + _order(chart.params, columns, [*metrics]) if columns else text


def _order(params: Mapping[str, Any], columns: Mapping[str, str], metrics: list[str]) -> str:
    first = quoted(params.get("timeseries_limit_metric") or metrics[0])
    by = [quoted(params["x_axis"])] if params.get("time_grain_sqla") else [f"{first} DESC"]
    limit = params.get("row_limit")
    return f"\nORDER BY {', '.join([*by, *map(quoted, columns)])}" + (f"\nLIMIT {int(limit)}" if limit else "")
