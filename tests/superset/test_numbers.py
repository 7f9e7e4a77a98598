"""What charts show: the numbers of `mesh query`, of the region of the role, of the newest commit."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.chart_query import chart_dimensions, chart_sql
from superset_server import Superset, chart_data, wait_until

pytestmark = pytest.mark.superset
NORTH = "WH-NORTH"


def close(one: Any, other: Any) -> bool:
    """Whether two values are the same, give or take how JSON writes them."""
    if isinstance(one, int | float) and other is not None:
        return math.isclose(one, float(other), rel_tol=1e-9)
    return str(one) == str(other)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which days are ISO days: Superset says milliseconds for them."""
    if isinstance(row.get("date"), int | float):
        row["date"] = time.strftime("%Y-%m-%d", time.gmtime(row["date"] / 1000))
    return row | ({"date": str(row["date"])[:10]} if "date" in row else {})


def test_a_warehouse_sees_its_region_alone(superset: Superset, mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.orders_and_returns"]
    with superset.session("admin") as admin, superset.session(NORTH) as north:
        numbers = admin.numbers("dataset")
        regions = [
            {row["region"] for row in chart_data(each, numbers, dashboard, "revenue_by_day")}
            for each in (admin, north)
        ]
    assert regions == [{"north", "south", "east", "west"}, {"north"}]


def test_a_new_commit_is_seen(superset: Superset, mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.orders_and_returns"]
    superset.state.mesh("run", "--days", 1, "--format", "json")
    committed = time.monotonic()
    sql = chart_sql(dashboard, "revenue_total")
    wanted = superset.mesh("query", sql, "--role", "analyst")[0]["revenue_usd"]
    with superset.session("analyst") as session, superset.session("admin") as admin:
        numbers = admin.numbers("dataset")

        def is_seen() -> bool:
            return close(chart_data(session, numbers, dashboard, "revenue_total")[0]["revenue_usd"], wanted)

        wait_until(is_seen, "the new revenue")
    print(f"seen after {time.monotonic() - committed:.1f} s")


@pytest.mark.parametrize("user", ["steward", NORTH])
def test_each_number_of_each_chart_equals_that_of_mesh_query(
    superset: Superset, dashboards: list[Dashboard], user: str
) -> None:
    compared = 0
    with superset.session("admin") as admin, superset.session(user) as session:
        numbers = admin.numbers("dataset")
        for dashboard in dashboards:
            for name in dashboard.charts:
                shown = [plain(row) for row in chart_data(session, numbers, dashboard, name)]
                # Superset's answer is not limited, nor in order, so nor is this.
                sql = chart_sql(dashboard, name).partition("\nORDER BY")[0]
                rows = [plain(row) for row in superset.mesh("query", sql, "--role", user)]
                assert len(shown) == len(rows), (dashboard.name, name)
                compared += len(rows)
                keys = chart_dimensions(dashboard.charts[name])
                by_key = {tuple(str(row[key]) for key in keys): row for row in rows}
                for row in shown:
                    other = by_key[tuple(str(row[key]) for key in keys)]
                    assert all(close(row[each], other[each]) for each in row), (dashboard.name, name, row, other)
    assert compared > 100
