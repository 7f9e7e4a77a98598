"""Dashboards as pages that open from a file: the same YAML and SQL, without a server and without a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from mesh_platform.dashboards.page_filters import choices_of, dataset_table, page_filters
from mesh_platform.engine.protocol import Connection
from mesh_platform.mesh.dashboards import Chart, Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.chart_query import chart_dimensions, chart_metrics, chart_sql

Rows = Sequence[Mapping[str, Any]]
# Of Okabe and Ito, which people who see few colours can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _HEIGHT, _LEFT, _BELOW = 720, 260, 90, 24


@dataclass(frozen=True)
class _Series:
    name: str
    colour: str
    points: str


def page_of(mesh: Mesh, dashboard: Dashboard, session: Connection, now: datetime) -> str:
    """Return the HTML of a dashboard with the rows that a session shows. Each dataset is read once.

    Each chart is drawn for each choice of its filters, with the same SQL: figures such as medians and distinct counts
    cannot be computed from others.
    """
    for name, sql in dashboard.sql.items():
        session.execute(f"CREATE OR REPLACE TEMP TABLE {dataset_table(name)} AS {sql}")
    filters = page_filters(dashboard, session)

    def ask(chart: str, source: str) -> Rows:
        return list(session.execute(chart_sql(dashboard, chart, source)).to_arrow_table().to_pylist())

    owners = mesh.domains[dashboard.domain].owners
    charts = {
        name: {
            "title": chart.slice_name,
            "choices": [
                (choice, _drawn(dashboard, name, ask(name, source)))
                for choice, source in choices_of(dashboard, name, filters)
            ],
        }
        for name, chart in dashboard.charts.items()
    }
    rows = [[cell.chart for cell in row] for row in dashboard.file.rows] or [[name] for name in charts]
    assets = files("mesh_platform.dashboards") / "assets"
    script = "\n" + (assets / "dashboard.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((assets / "dashboard.html").read_text(encoding="utf-8")).render(
        title=dashboard.file.dashboard_title,
        description=dashboard.file.description,
        owners=owners,
        now=f"{now:%Y-%m-%d %H:%M} UTC",
        filters=filters,
        # The page runs this script and no other.
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        rows=[[charts[name] for name in row] for row in rows],
        size={"width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "bottom": _HEIGHT - _BELOW},
    )


def _drawn(dashboard: Dashboard, name: str, rows: Rows) -> dict[str, Any]:
    """Return what the template draws: the chart's kind of drawing with its text, and always its table."""
    chart, dataset = dashboard.charts[name], dashboard.datasets[dashboard.charts[name].dataset]
    metrics, dimensions = chart_metrics(chart), chart_dimensions(chart)
    formats = {key: dataset.metrics[key].d3format or "" for key in metrics}
    columns: list[dict[str, Any]] = [{"name": key, "title": key} for key in dimensions]
    columns += [{"name": key, "title": dataset.metrics[key].verbose_name or key, "number": True} for key in metrics]
    table = [[formatted(row[key], formats.get(key, "")) for key in (*dimensions, *metrics)] for row in rows]
    found: dict[str, Any] = {"title": chart.slice_name, "columns": columns, "table": table, "kind": "table"}
    if chart.viz_type == "big_number_total":
        return found | {
            "kind": "number",
            "number": table[0][0] if table else "-",
            "below": chart.params.get("subheader"),
        }
    if chart.params.get("time_grain_sqla"):
        return found | {"kind": "lines"} | _lines(chart, rows, formats[metrics[0]])
    if chart.viz_type == "echarts_timeseries_bar":
        return found | {"kind": "bars", "bars": _bars(chart, rows, formats[metrics[0]])}
    return found


def formatted(value: Any, pattern: str) -> str:
    """Return a value as a person reads it, by one of d3's patterns that datasets use, such as `$,.2f` or `.1%`."""
    if value is None:
        return "-"
    if isinstance(value, datetime | date):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, str):
        return value
    number = float(value)
    if pattern.endswith("%"):
        return f"{number:{pattern}}"
    if pattern.endswith("d"):
        return f"{number:,.0f}"
    return ("$" if pattern.startswith("$") else "") + f"{number:{pattern.lstrip('$') or ',.2f'}}"


def _groups(chart: Chart, row: Mapping[str, Any]) -> str:
    return ", ".join(str(row[key]) for key in chart_dimensions(chart)[1:])


def _lines(chart: Chart, rows: Rows, pattern: str) -> dict[str, Any]:
    """Return the lines over time, one for each group and metric, in the units of the drawing."""
    metrics, axis = chart_metrics(chart), chart.params["x_axis"]
    days = sorted({row[axis] for row in rows})
    values = [float(row[metric]) for row in rows for metric in metrics if row[metric] is not None]
    low, high = min([0.0, *values]), max([*values, 1e-9])
    wide, high_px = (_WIDTH - _LEFT) / max(1, len(days) - 1), _HEIGHT - _BELOW - 8
    points: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row[axis]):
        for metric in metrics:
            if row[metric] is not None:
                name = _groups(chart, row) if len(metrics) == 1 else f"{metric} {_groups(chart, row)}".strip()
                x = _LEFT + days.index(row[axis]) * wide
                y = 8 + high_px * (1 - (float(row[metric]) - low) / (high - low))
                points.setdefault(name or metric, []).append(f"{x:.1f},{y:.1f}")
    series = [
        _Series(name, _COLOURS[number % len(_COLOURS)], " ".join(points[name]))
        for number, name in enumerate(sorted(points))
    ]
    ends = [formatted(days[0], ""), formatted(days[-1], "")] if days else ["", ""]
    return {"series": series, "ends": ends, "high": formatted(high, pattern), "low": formatted(low, pattern)}


def _bars(chart: Chart, rows: Rows, pattern: str) -> list[dict[str, Any]]:
    """Return a bar for each value of the axis, of parts in per cent of the longest bar."""
    metric, axis = chart_metrics(chart)[0], chart_dimensions(chart)[0]
    groups = sorted({_groups(chart, row) for row in rows})
    totals: dict[str, float] = {}
    for row in rows:
        totals[str(row[axis])] = totals.get(str(row[axis]), 0.0) + float(row[metric] or 0)
    longest = max([*totals.values(), 1e-9])
    return [
        {
            "name": name,
            "total": formatted(total, pattern),
            "parts": [
                {
                    "name": _groups(chart, row),
                    "share": f"{100 * float(row[metric] or 0) / longest:.2f}",
                    "colour": _COLOURS[groups.index(_groups(chart, row)) % len(_COLOURS)],
                    "value": formatted(row[metric], pattern),
                }
                for row in sorted(rows, key=lambda row: _groups(chart, row))
                if str(row[axis]) == name
            ],
        }
        for name, total in sorted(totals.items(), key=lambda item: -item[1])
    ]
