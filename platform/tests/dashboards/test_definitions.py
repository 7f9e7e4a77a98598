"""Dashboards as files: what a rule refuses, how they become Superset's assets, and come back as they were."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.dashboards.canonical import files_of
from mesh_platform.dashboards.deploy import plan, pull, uncanonical
from mesh_platform.dashboards.superset_assets import MARK, chart_uuid, superset_assets
from mesh_platform.dashboards.superset_ids import DATABASE_ID
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.governance.check import check, open_scope
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.sql.chart_query import KINDS, chart_sql

DELIVERIES = "domains/logistics_core/dashboards/deliveries"


def problems(root: Path) -> list[str]:
    return [str(each) for each in check(open_scope(root, date(2026, 1, 1)), only=["charts", "domain-files"])]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def asset(assets: dict[str, dict[str, Any]], end: str) -> dict[str, Any]:
    (found,) = [each for path, each in assets.items() if path.endswith(f"{end}.yaml")]
    return found


def test_four_dashboards_have_five_charts_or_more_in_kinds_that_have_sql_and_filters_of_region_and_period(mesh: Mesh):
    assert len(mesh.dashboards) >= 4
    for dashboard in mesh.dashboards.values():
        assert len(dashboard.charts) >= 5
        assert {chart.viz_type for chart in dashboard.charts.values()} <= {*KINDS}
        assert {"Period", "Region"} <= {each.name for each in dashboard.file.filters}
        assert all(chart_sql(dashboard, name) for name in dashboard.charts)


def test_a_contract_that_drops_a_column_breaks_the_charts_that_show_it_and_no_others(mesh_copy: Path) -> None:
    assert problems(mesh_copy) == []
    contract = mesh_copy / "domains/logistics_core/contracts/fact_returns.odcs.yaml"
    edit(contract, "name: reason", "name: cause")
    (found,) = problems(mesh_copy)
    assert found.startswith("domains/logistics_core/dashboards/orders_and_returns/datasets/returns.sql:1: ")
    assert "breaks returns_by_reason of logistics_core.orders_and_returns: " in found
    assert "reason" in found


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("charts/violations.yaml", "metric: violations", "metric: violation", "no metric 'violation'. Did you"),
        ("charts/violations_by_weather.yaml", "x_axis: weather", "x_axis: wether", "no column 'wether'. Did you"),
        ("charts/violations.yaml", "dataset: deliveries", "dataset: delivery", "there is no datasets/delivery.yaml"),
        ("charts/violations.yaml", "viz_type:", "vizz_type:", "vizz_type: Extra inputs are not permitted"),
        ("dashboard.yaml", "chart: violations\n", "chart: broken\n", "there is no charts/broken.yaml"),
        ("datasets/deliveries.yaml", "not sla_met)", "not sla)", "metric 'violations': Binder Error"),
        ("datasets/deliveries.sql", "fact_delivery_sla__resolved", "delivery_sla__raw", "breaks typical_delay, "),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_file_and_its_fix(
    mesh_copy: Path, file: str, old: str, new: str, said: str
) -> None:
    edit(mesh_copy / DELIVERIES / file, old, new)
    assert any(said in each for each in problems(mesh_copy)), problems(mesh_copy)


def test_a_dashboard_needs_an_owner_who_can_be_reached(mesh_copy: Path) -> None:
    edit(mesh_copy / "domains/logistics_core/owners.yaml", "central-logistics@acme.example", "TODO")
    assert any("dashboard.yaml:1: its domain's contact reaches nobody." in each for each in problems(mesh_copy))


def test_assets_have_owners_stable_ids_and_columns_with_the_words_of_the_contract(mesh: Mesh) -> None:
    assets = superset_assets(mesh)
    assert assets == superset_assets(load_mesh(mesh.root))
    chart = asset(assets, "logistics_core.deliveries.violations")
    assert chart["certified_by"] == mesh.domains["logistics_core"].owners.team
    assert chart["certification_details"] == f"{MARK}{DELIVERIES}/charts/violations.yaml"
    dataset = asset(assets, "logistics_core.deliveries.deliveries")
    assert dataset["database_uuid"] == DATABASE_ID
    columns = {each["column_name"]: each for each in dataset["columns"]}
    assert columns["weather"]["description"] == "Weather on the way."
    assert [columns["date"]["is_dttm"], columns["weather"]["is_dttm"]] == [True, False]
    uuids = [each["uuid"] for each in assets.values()]
    assert len({*uuids}) == len(uuids)


def test_files_come_back_byte_by_byte_also_after_superset_has_put_in_its_own(mesh: Mesh) -> None:
    assert uncanonical(mesh) == {}
    assets = superset_assets(mesh)
    files = files_of(mesh, assets)
    assert files == {path: (mesh.root / path).read_text(encoding="utf-8") for path in files}
    assert {*files} == {
        str(path.relative_to(mesh.root)) for path in mesh.root.glob("domains/*/dashboards/**/*") if path.is_file()
    }
    for path, each in assets.items():
        if path.startswith("charts/"):
            each["params"] |= {"datasource": "7__table", "slice_id": 9, "dashboards": [3], "extra_form_data": {}}
            each["query_context"] = "{}"
        if path.startswith("dashboards/"):
            each["metadata"] |= {"chart_configuration": {"9": {}}, "color_scheme": "", "shared_label_colors": []}
    assert files_of(mesh, assets) == files
    assert plan(mesh, assets) == []


def test_a_plan_names_what_is_created_changed_and_deleted_and_leaves_what_people_made(mesh: Mesh) -> None:
    there = superset_assets(mesh)
    del there["charts/logistics_core.deliveries.violations.yaml"]
    asset(there, "logistics_core.deliveries.worst_routes")["params"]["row_limit"] = 3
    old = asset(there, "logistics_core.deliveries.typical_delay")
    there["charts/1.yaml"] = old | {"uuid": "1", "slice_name": "Left the files"}
    there["charts/2.yaml"] = old | {"uuid": "2", "slice_name": "Mine", "certification_details": None}
    there["queries/3.yaml"] = {"uuid": "3", "label": "Mine too"}
    steps = [(step.action, step.kind, step.name) for step in plan(mesh, there)]
    assert steps == [
        ("create", "chart", "logistics_core.deliveries.violations"),
        ("change", "chart", "logistics_core.deliveries.worst_routes"),
        ("delete", "chart", "Left the files"),
    ]


def test_pull_writes_one_changed_line_a_new_chart_and_removes_one_that_was_taken_away(mesh_copy: Path) -> None:
    mesh = load_mesh(mesh_copy)
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    there = superset_assets(mesh)
    asset(there, "logistics_core.deliveries.worst_routes")["slice_name"] = "Look here first"
    position = asset(there, "dashboards/logistics_core.deliveries")["position"]
    made = asset(there, "logistics_core.deliveries.violations") | {"uuid": "9f", "slice_name": "Made in Superset!"}
    there["charts/9.yaml"] = made
    position["CHART-violations"]["meta"] |= {"uuid": "9f"}
    done = pull(mesh, there)
    assert done == {
        f"{DELIVERIES}/charts/made_in_superset.yaml": "written",
        f"{DELIVERIES}/charts/violations.yaml": "removed",
        f"{DELIVERIES}/charts/worst_routes.yaml": "written",
        f"{DELIVERIES}/dashboard.yaml": "written",
    }
    again = load_mesh(mesh_copy)
    assert problems(mesh_copy) == []
    assert chart_uuid(again.dashboards[dashboard.identifier], "made_in_superset") == "9f"
    assert pull(again, there) == {}
    file = yaml.safe_load((mesh_copy / DELIVERIES / "charts/worst_routes.yaml").read_text())
    assert file["slice_name"] == "Look here first"


def test_a_layout_with_more_than_rows_comes_back_too(mesh_copy: Path) -> None:
    mesh = load_mesh(mesh_copy)
    there = superset_assets(mesh)
    position = asset(there, "dashboards/logistics_core.deliveries")["position"]
    text = {
        "type": "MARKDOWN",
        "id": "MARKDOWN-1",
        "children": [],
        "meta": {"code": "Read me", "width": 3, "height": 9},
    }
    position["MARKDOWN-1"] = text
    position["ROW-1"]["children"].append("MARKDOWN-1")
    assert [*pull(mesh, there)] == [f"{DELIVERIES}/dashboard.yaml"]
    again = load_mesh(mesh_copy)
    file = (mesh_copy / DELIVERIES / "dashboard.yaml").read_text()
    assert "Read me" in file
    # No id of a chart is in it: it is called by its name.
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-|chartId", file)
    assert plan(again, there) == []
    assert superset_assets(again)["dashboards/logistics_core.deliveries.yaml"]["position"] == position


def test_faulty_sql_and_a_kind_of_chart_without_sql_are_refused(mesh_copy: Path) -> None:
    edit(mesh_copy / DELIVERIES / "charts/violations.yaml", "big_number_total", "deck_arc")
    mesh = load_mesh(mesh_copy)
    with pytest.raises(UsageError, match="no SQL can be written for a deck_arc"):
        chart_sql(mesh.dashboards["logistics_core.deliveries"], "violations")
    (mesh_copy / DELIVERIES / "datasets/deliveries.sql").write_text("select nothing")
    with pytest.raises(ContractError, match=re.escape("datasets/deliveries.sql:1: breaks typical_delay, ")):
        superset_assets(load_mesh(mesh_copy))
