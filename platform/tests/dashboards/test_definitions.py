"""Dashboards as files: what a rule refuses, how they become Superset's assets, and come back as they were."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.dashboards.canonical import files_of
from mesh_platform.dashboards.deploy import plan, pull, uncanonical
from mesh_platform.dashboards.superset_assets import MARK, chart_uuid, dashboard_uuid, superset_assets
from mesh_platform.dashboards.superset_ids import DATABASE_ID, asset_id
from mesh_platform.errors import AttentionError, ContractError, UsageError
from mesh_platform.governance.check import check, open_scope
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.sql.chart_query import KINDS, chart_sql

DATASET = asset_id("dataset", "logistics_core.deliveries.deliveries")
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
        ("datasets/deliveries.yaml", "not sla_met)", "not sla)", "'violations' breaks violations, worst_routes of "),
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
    assert plan(mesh, assets, roles_of(mesh)) == []


def test_a_plan_names_what_is_created_changed_and_deleted_and_leaves_what_people_made(mesh: Mesh) -> None:
    there = superset_assets(mesh)
    del there["charts/logistics_core.deliveries.violations.yaml"]
    asset(there, "logistics_core.deliveries.worst_routes")["params"]["row_limit"] = 3
    old = asset(there, "logistics_core.deliveries.typical_delay")
    there["charts/1.yaml"] = old | {"uuid": "1", "slice_name": "Left the files"}
    there["charts/2.yaml"] = old | {"uuid": "2", "slice_name": "Mine", "certification_details": None}
    there["queries/3.yaml"] = {"uuid": "3", "label": "Mine too"}
    steps = [(step.action, step.kind, step.name) for step in plan(mesh, there, roles_of(mesh))]
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


def roles_of(mesh: Mesh) -> dict[str, list[str]]:
    """The roles of dashboards on a server that has those of the files."""
    return {dashboard_uuid(each): sorted(each.file.roles) for each in mesh.dashboards.values()}


def test_a_dashboard_whose_roles_differ_is_changed_and_roles_are_known(mesh_copy: Path) -> None:
    mesh = load_mesh(mesh_copy)
    there = superset_assets(mesh)
    assert mesh.dashboards["logistics_core.product_health"].file.roles == ("steward",)
    steps = plan(mesh, there, roles_of(mesh) | {dashboard_uuid(mesh.dashboards["logistics_core.product_health"]): []})
    assert [(step.action, step.name) for step in steps] == [("change", "logistics_core.product_health")]
    edit(mesh_copy / "domains/logistics_core/dashboards/product_health/dashboard.yaml", "- steward", "- stewart")
    assert any(
        "it is for stewart, which is no role of dashboards. Did you mean" in each for each in problems(mesh_copy)
    )


def edit_filter(assets: dict[str, dict[str, Any]], number: int, **changes: Any) -> None:
    """Change a filter of the deliveries as Superset's page does."""
    metadata = asset(assets, "dashboards/logistics_core.deliveries")["metadata"]
    metadata["native_filter_configuration"][number] |= changes


def number_of(assets: dict[str, dict[str, Any]], chart: str) -> int:
    position = asset(assets, "dashboards/logistics_core.deliveries")["position"]
    return int(position[f"CHART-{chart}"]["meta"]["chartId"])


Assets = dict[str, dict[str, Any]]
RANGE = {"filterType": "filter_range", "controlValues": {"enableEmptyFilter": False, "rangeDisplayMode": "slider"}}
GRAIN = {"filterType": "filter_timegrain", "controlValues": {}}


def add_parts(assets: Assets) -> None:
    """What parts filters in Superset's bar."""
    found = asset(assets, "dashboards/logistics_core.deliveries")["metadata"]["native_filter_configuration"]
    found[2:] = [{"id": "NATIVE_FILTER_DIVIDER-x", "type": "DIVIDER", "title": "More", "description": "Of routes."}]


EDITS: dict[str, Callable[[Assets], Any]] = {
    "a range": lambda there: edit_filter(there, 1, **RANGE),
    "a grain of time": lambda there: edit_filter(there, 1, **GRAIN, targets=[{"datasetUuid": DATASET}]),
    "a column of time": lambda there: edit_filter(
        there, 1, filterType="filter_timecolumn", targets=[{"datasetUuid": DATASET}]
    ),
    "a scope": lambda there: edit_filter(
        there, 1, scope={"rootPath": ["ROOT_ID"], "excluded": [number_of(there, "worst_routes")]}, chartsInScope=[1]
    ),
    "a parent": lambda there: edit_filter(there, 1, cascadeParentIds=["NATIVE_FILTER-period"]),
    "one value alone": lambda there: edit_filter(
        there, 1, controlValues={"multiSelect": False, "sortAscending": True}
    ),
    "an excluding default": lambda there: edit_filter(
        there,
        1,
        defaultDataMask={
            "extraFormData": {"filters": [{"col": "region", "op": "NOT IN", "val": ["north"]}]},
            "filterState": {"value": ["north"], "label": "north (excluded)"},
        },
    ),
    "a description": lambda there: edit_filter(there, 1, description="Which?", requiredFirst={"a": True}),
    "a divider": add_parts,
    "another name": lambda there: edit_filter(there, 1, name="Région «ü»"),
    "a chart that no cross filter reaches": lambda there: asset(there, "dashboards/logistics_core.deliveries")[
        "metadata"
    ].update(
        chart_configuration={
            str(number_of(there, "violations_by_weather")): {
                "id": number_of(there, "violations_by_weather"),
                "crossFilters": {
                    "scope": {"rootPath": ["ROOT_ID"], "excluded": [number_of(there, "violations")]},
                    "chartsInScope": [1],
                },
            },
            "9999": {"id": 9999, "crossFilters": {"scope": "global", "chartsInScope": []}},
        },
        global_chart_configuration={
            "scope": {"rootPath": ["ROOT_ID"], "excluded": [number_of(there, "typical_delay")]},
            "chartsInScope": [],
        },
    ),
    "a chart that is not refreshed": lambda there: asset(there, "dashboards/logistics_core.deliveries")[
        "metadata"
    ].update(
        timed_refresh_immune_slices=[number_of(there, "violations")],
        expanded_slices={str(number_of(there, "violations")): True},
    ),
    "a currency": lambda there: asset(there, "logistics_core.deliveries.deliveries")["metrics"][0].update(
        currency={"symbol": "USD", "symbolPosition": "prefix"}, warning_text="Careful", extra={"a": 1}
    ),
    "settings of a dataset": lambda there: asset(there, "logistics_core.deliveries.deliveries").update(
        fetch_values_predicate="region <> 'x'", always_filter_main_dttm=True, cache_timeout=60
    ),
}


# Those of one row touch different settings, and are made together.
MADE_TOGETHER = [
    ("a range", "a scope", "a currency"),
    ("a grain of time", "a parent", "a description", "a chart that is not refreshed"),
    ("a column of time", "an excluding default", "another name", "settings of a dataset"),
    ("one value alone", "a divider", "a chart that no cross filter reaches"),
]


def test_each_edit_is_made_once() -> None:
    assert sorted(EDITS) == sorted(chain(*MADE_TOGETHER))


@pytest.mark.parametrize("edits", MADE_TOGETHER, ids=" and ".join)
def test_what_pages_of_superset_can_change_is_in_the_files_with_names_and_no_numbers(
    mesh_copy: Path, edits: tuple[str, ...]
) -> None:
    before = load_mesh(mesh_copy)
    there = superset_assets(before)
    for edited in edits:
        EDITS[edited](there)
    assert pull(before, there)
    assert problems(mesh_copy) == []
    again = load_mesh(mesh_copy)
    assert plan(again, there, roles_of(again)) == []
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-|chartId", (mesh_copy / DELIVERIES / "dashboard.yaml").read_text())
    # What is deployed then has what was edited: an edit of it changes nothing more.
    deployed = superset_assets(again)
    assert pull(again, deployed) == {}
    for edited in edits:
        EDITS[edited](deployed)
    assert pull(again, deployed) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.update(theme_uuid="1"), "logistics_core.deliveries: theme_uuid"),
        (lambda found: found.update(slug="mine"), "logistics_core.deliveries: slug 'mine'"),
        (
            lambda found: found["metadata"].update(chart_customization_config=[{"id": 1}]),
            "chart_customization_config",
        ),
        (
            lambda found: found["metadata"]["native_filter_configuration"][1].update(targets=[{}, {}]),
            "filter 'Region': more than one target",
        ),
        (
            lambda found: found["metadata"]["native_filter_configuration"][1].update(targets=[{"datasetUuid": "0"}]),
            "filter 'Region': a dataset that is none of this dashboard",
        ),
    ],
)
def test_what_no_file_can_say_is_refused_by_name_and_nothing_is_written(
    mesh_copy: Path, change: Callable[[Any], Any], said: str
) -> None:
    mesh = load_mesh(mesh_copy)
    there = superset_assets(mesh)
    asset(there, "logistics_core.deliveries.worst_routes")["slice_name"] = "Look here first"
    change(asset(there, "dashboards/logistics_core.deliveries"))
    with pytest.raises(AttentionError, match=re.escape(said)):
        pull(mesh, there)
    assert uncanonical(load_mesh(mesh_copy)) == {}


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
    assert plan(again, there, roles_of(again)) == []
    assert superset_assets(again)["dashboards/logistics_core.deliveries.yaml"]["position"] == position


def test_faulty_sql_and_a_kind_of_chart_without_sql_are_refused(mesh_copy: Path) -> None:
    edit(mesh_copy / DELIVERIES / "charts/violations.yaml", "big_number_total", "deck_arc")
    mesh = load_mesh(mesh_copy)
    with pytest.raises(UsageError, match="no SQL can be written for a deck_arc"):
        chart_sql(mesh.dashboards["logistics_core.deliveries"], "violations")
    (mesh_copy / DELIVERIES / "datasets/deliveries.sql").write_text("select nothing")
    with pytest.raises(ContractError, match=re.escape("datasets/deliveries.sql:1: breaks typical_delay, ")):
        superset_assets(load_mesh(mesh_copy))
