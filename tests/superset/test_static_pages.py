"""The pages without a server have the numbers of Superset."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product
from pathlib import Path

import pytest
from mesh_platform.dashboards.pages import formatted
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.chart_query import chart_metrics
from superset_server import Superset, chart_data

pytestmark = pytest.mark.superset


def test_a_page_without_a_server_has_the_numbers_of_superset_under_the_same_filters(
    superset: Superset, mesh: Mesh, tmp_path: Path
) -> None:
    from site_browser import browser, requests

    superset.state.mesh("dashboards", "html", tmp_path)
    assert not (tmp_path / "logistics_core.product_health.html").exists()
    compared = 0
    with browser() as chrome, superset.session("analyst") as session, superset.session("admin") as admin:
        numbers = admin.numbers("dataset")
        for name in ("logistics_core.deliveries", "logistics_core.orders_and_returns"):
            dashboard = mesh.dashboards[name]
            chrome.get((tmp_path / f"{name}.html").as_uri())
            for region, days in product(("All", "north"), (0, 1, 3)):
                shown = chrome.execute_script(_CHOOSE, [days, region])
                filters = [] if region == "All" else [{"col": "region", "op": "IN", "val": [region]}]
                first, _, last = shown["period"].partition(" to ")
                for chart, figures in zip(_in_order(dashboard), shown["charts"], strict=True):
                    time_column = dashboard.datasets[dashboard.charts[chart].dataset].main_dttm_col
                    span = f"{first} : {date.fromisoformat(last) + timedelta(1)}" if last else "No filter"
                    given = {"filters": filters, "granularity": time_column, "time_range": span}
                    rows = chart_data(session, numbers, dashboard, chart, **given)
                    metrics = dashboard.datasets[dashboard.charts[chart].dataset].metrics
                    keys = chart_metrics(dashboard.charts[chart])
                    wanted = [formatted(row[key], metrics[key].d3format or "") for row in rows for key in keys]
                    limit = dashboard.charts[chart].params.get("row_limit") or len(rows)
                    if len(rows) <= limit:
                        # A number without rows is a dash, a table without rows is empty.
                        none = ["-"] if dashboard.charts[chart].viz_type == "big_number_total" else []
                        assert sorted(figures) == sorted(wanted or none), (name, chart, region, shown["period"])
                        compared += len(figures)
        assert [each for each in requests(chrome) if not each.startswith("file:")] == []
    assert compared > 300


# Choose values of the two filters, and return the figures that each chart then shows.
_CHOOSE = """
const [period, region] = document.querySelectorAll('select');
period.selectedIndex = arguments[0][0];
region.selectedIndex = [...region.options].findIndex(each => each.text === arguments[0][1]);
for (const each of [period, region]) each.dispatchEvent(new Event('change'));
const charts = [...document.querySelectorAll('section')].map(section => {
  const visible = [...section.querySelectorAll('[data-for]')].filter(each => !each.hidden);
  if (visible.length !== 1) throw new Error(visible.length + ' drawings of ' + section.innerText);
  return [...visible[0].querySelectorAll('.number, td.n')].map(each => each.textContent);
});
return {period: period.selectedOptions[0].text, charts};
"""


def _in_order(dashboard: Dashboard) -> list[str]:
    return [cell.chart for row in dashboard.file.rows for cell in row]
