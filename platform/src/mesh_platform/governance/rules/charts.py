"""Rules of dashboards: what a chart shows is published, and somebody answers for it."""

from __future__ import annotations

from collections.abc import Iterable

from mesh_platform.dashboards.datasets import find_columns
from mesh_platform.errors import Problem
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.mesh.mesh import find_unreachable
from mesh_platform.policy.roles import dashboard_roles
from mesh_platform.sql.chart_query import chart_dimensions, chart_metrics
from mesh_platform.text import offer


@rule()
def charts(scope: Scope) -> Iterable[Problem]:
    """Datasets of dashboards read published columns alone, and charts show columns and metrics of their dataset.

    So a change of a contract that breaks a chart is refused here, with the name of that chart. The dashboard's domain
    has an owner who can be reached.
    """
    dashboards = scope.mesh.dashboards.values()
    if not dashboards:
        return
    columns, problems = find_columns(scope.mesh, dashboards)
    yield from problems
    for dashboard in dashboards:
        owners = scope.mesh.domains[dashboard.domain].owners
        for key, _, fix in find_unreachable(owners.model_dump()):
            yield Problem(f"{dashboard.folder}/dashboard.yaml", 1, f"its domain's {key} reaches nobody.", fix)
        for role in dashboard.file.roles:
            if role not in (roles := dashboard_roles(scope.mesh)):
                message = f"it is for {role}, which is no role of dashboards."
                yield Problem(f"{dashboard.folder}/dashboard.yaml", 1, message, offer(role, dict.fromkeys(roles)))
        for each in dashboard.file.filters:
            if each.column and each.dataset:
                offered = columns.get(f"{dashboard.identifier}.{each.dataset}")
                if offered is not None and each.column not in {*offered, *dashboard.datasets[each.dataset].columns}:
                    message = f"filter '{each.name}': dataset '{each.dataset}' has no column '{each.column}'."
                    yield Problem(f"{dashboard.folder}/dashboard.yaml", 1, message, offer(each.column, offered))
        for name, chart in dashboard.charts.items():
            known = columns.get(f"{dashboard.identifier}.{chart.dataset}")
            path = f"{dashboard.folder}/charts/{name}.yaml"
            metrics = dashboard.datasets[chart.dataset].metrics
            added = dashboard.datasets[chart.dataset].columns
            for column in chart_dimensions(chart):
                if known is not None and column not in known and column not in added:
                    message = f"dataset '{chart.dataset}' has no column '{column}'."
                    yield Problem(path, 1, message, offer(column, known))
            for metric in chart_metrics(chart):
                if not isinstance(metric, str):
                    fix = f"Write it into datasets/{chart.dataset}.yaml, and call it by its name here."
                    yield Problem(path, 1, "a metric is computed in the chart itself.", fix)
                elif metric not in metrics:
                    message = f"dataset '{chart.dataset}' has no metric '{metric}'."
                    yield Problem(path, 1, message, offer(metric, metrics))
