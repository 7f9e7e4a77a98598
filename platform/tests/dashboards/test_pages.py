"""Dashboards as pages: the numbers of the charts' own SQL, nothing from elsewhere, and text that is no markup."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256

import duckdb
from mesh_platform.dashboards.pages import formatted, page_of
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.sql.chart_query import chart_sql
from mesh_platform.sql.model import read_models

NOW = datetime(2025, 10, 3, tzinfo=UTC)
DELIVERIES = """
create schema logistics_core;
create table logistics_core.fact_delivery_sla__resolved as from (values
    (date '2025-10-01', 'W', 'V1', 'fog<b>', 'R', false, 30), (date '2025-10-01', 'W', 'V1', 'clear', 'R', true, -5),
    (date '2025-10-02', 'W', 'V2', 'clear', 'R', true, 0), (date '2025-10-02', 'W', 'V2', 'clear', 'R', false, 10)
) as t (delivered_date, warehouse_id, vehicle_id, weather, route_id, sla_met, delay_minutes);
create table logistics_core.dim_warehouse as select 'W' as warehouse_id, 'north' as region;
create table logistics_core.dim_vehicle as select 'V1' as vehicle_id, 'van' as vehicle_type, true as is_current;
create table logistics_core.dim_route as select 'R' as route_id, 'Barrie' as destination, true as is_current;
"""


def test_a_page_has_every_chart_with_its_numbers_and_asks_for_nothing(mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    with duckdb.connect() as session:
        session.execute(DELIVERIES)
        page = page_of(mesh, dashboard, session, NOW)
        late = session.execute(chart_sql(dashboard, "violated_share")).fetchall()
        weather = session.execute(chart_sql(dashboard, "violations_by_weather")).fetchall()
    assert late == [(0.5,)]
    assert '<p class="number">50.0%</p>' in page
    assert weather == [("fog<b>", 1.0), ("clear", 1 / 3)]
    assert "fog&lt;b&gt;: 100.0%" in page
    assert "clear: 33.3%" in page
    assert "<b>" not in page
    assert all(chart.slice_name in page for chart in dashboard.charts.values())
    assert mesh.domains["logistics_core"].owners.contact in page
    assert not re.search(r"https?://|<link|src=|url\(|@import", page)
    assert page.count("<script") == 1


def test_a_page_has_each_chart_for_each_choice_of_its_filters_and_runs_one_script(mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    with duckdb.connect() as session:
        session.execute(DELIVERIES)
        session.execute("insert into logistics_core.dim_warehouse values ('S', 'south')")
        session.execute(
            "insert into logistics_core.fact_delivery_sla__resolved values "
            "(date '2025-11-05', 'S', 'V1', 'clear', 'R', false, 50)"
        )
        page = page_of(mesh, dashboard, session, NOW)
        choices = [
            *("2025-10-30 to 2025-11-05", "2025-10-09 to 2025-11-05", "2025-11-01 to 2025-11-30"),
            "2025-10-01 to 2025-10-31",
        ]
        assert re.findall(r'<option value="\d+">([^<]*)', page) == ["All", *choices, "All", "north", "south"]
        section = page[page.index(dashboard.charts["violations"].slice_name) :].partition("</section>")[0]
        shown = dict(re.findall(r'data-for="([^"]*)"[^>]*>\s*<p class="number">([^<]*)', section))
        assert len(shown) == 15
        of_source = {"0 0": "true", "0 1": "region = 'north'", "4 2": "false", "3 2": "true and month(date) = 11"}
        for choice, condition in of_source.items():
            source = f'FROM (SELECT * FROM "dataset deliveries" WHERE {condition})'
            (row,) = session.execute(chart_sql(dashboard, "violations", source)).fetchall()
            assert shown[choice] == formatted(row[0], ",d"), choice
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    allowed = b64encode(sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in page


def test_a_chart_that_a_filter_excludes_is_there_once_for_it(mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    period, region = dashboard.file.filters
    scope = {"scope": {"rootPath": ["ROOT_ID"], "excluded": ["violations"]}}
    narrow = dashboard.file.model_copy(update={"filters": (period, region.model_copy(update={"settings": scope}))})
    with duckdb.connect() as session:
        session.execute(DELIVERIES)
        page = page_of(mesh, replace(dashboard, file=narrow), session, NOW)
    section = page[page.index(dashboard.charts["violations"].slice_name) :].partition("</section>")[0]
    assert re.findall(r'data-for="([^"]*)"', section) == ["0 *", "1 *", "2 *", "3 *"]


def test_a_page_without_rows_is_a_page_too(mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    with duckdb.connect() as session:
        session.execute(DELIVERIES + "delete from logistics_core.fact_delivery_sla__resolved")
        assert "<polyline" not in page_of(mesh, dashboard, session, NOW)


def test_values_read_as_superset_shows_them() -> None:
    assert formatted(Decimal("840877.45"), "$,.0f") == "$840,877"
    assert formatted(94.40636, "$,.2f") == "$94.41"
    assert formatted(0.0228, ".2%") == "2.28%"
    assert formatted(2192, ",d") == "2,192"
    assert [formatted(None, ",d"), formatted(date(2025, 10, 1), ""), formatted("x", "")] == ["-", "2025-10-01", "x"]


def test_the_graph_has_each_chart_below_its_dashboard_and_domain_with_what_it_reads(mesh: Mesh) -> None:
    graph = mesh_graph(mesh, read_models(mesh))
    charts = [node for node in graph.nodes.values() if node.kind == "chart"]
    assert len(charts) == sum(len(each.charts) for each in mesh.dashboards.values())
    chart = graph.nodes["chart:logistics_core.orders_and_returns.returns_by_reason"]
    domain = graph.domain(chart.id)
    assert domain
    assert domain.name == "logistics_core"
    names = [node.name for node in graph.of(chart.id, "computed from")]
    assert names == [
        "logistics_core.dim_product",
        "logistics_core.dim_warehouse",
        "logistics_core.fact_returns__resolved",
    ]
