"""Files and server, one as the other: plan, apply, pull, and edits in the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.dashboards.superset_assets import (
    chart_uuid,
    dashboard_uuid,
    dataset_uuid,
    superset_assets,
)
from mesh_platform.dashboards.superset_ids import asset_id
from mesh_platform.dashboards.superset_server import Server
from mesh_platform.mesh.mesh import Mesh, load_mesh
from superset_server import Superset

pytestmark = pytest.mark.superset


def content(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.glob("domains/*/dashboards/**/*") if path.is_file()}


def test_twenty_round_trips_change_no_byte_and_nothing_is_planned(superset: Superset) -> None:
    before = content(superset.state.root)
    for _ in range(20):
        assert superset.mesh("dashboards", "apply") == []
        assert superset.mesh("dashboards", "pull") == []
    # What is there is imported all the same.
    with superset.session("admin") as admin:
        admin.import_assets(superset_assets(load_mesh(superset.state.root)))
    assert superset.mesh("dashboards", "plan") == []
    assert superset.mesh("dashboards", "pull") == []
    assert content(superset.state.root) == before


def test_superset_itself_imports_the_bundle(superset: Superset, tmp_path: Path) -> None:
    bundle = tmp_path / "dashboards.zip"
    superset.state.mesh("dashboards", "bundle", bundle)
    with superset.session("admin") as admin:
        number = admin.numbers("dashboard")[asset_id("dashboard", "logistics_core.deliveries")]
        admin.delete("dashboard", number)
        content = {"bundle": ("dashboards.zip", bundle.read_bytes())}
        admin.send("POST", "assets/import/", data={"sparse": "true"}, files=content)
    assert superset.mesh("dashboards", "plan") == []


def test_an_edit_in_the_page_becomes_one_line_of_a_file_and_apply_takes_it_back(
    superset: Superset, mesh: Mesh
) -> None:
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    before = content(superset.state.root)
    with superset.session("admin") as admin:
        number = admin.numbers("chart")[chart_uuid(dashboard, "violations")]
        admin.send("PUT", f"chart/{number}", json={"slice_name": "Broken promises"})
    step = {"action": "change", "kind": "chart", "name": "logistics_core.deliveries.violations"}
    planned = superset.mesh("dashboards", "plan", check=1)
    assert [{key: each[key] for key in step} for each in planned] == [step]
    file = f"{dashboard.folder}/charts/violations.yaml"
    assert superset.mesh("dashboards", "pull") == [{"file": file, "done": "written"}]
    after = content(superset.state.root)
    changed = [path for path in after if after[path] != before.get(path)]
    assert changed == [str(superset.state.root / file)]
    lines = zip(before[changed[0]].splitlines(), after[changed[0]].splitlines(), strict=True)
    assert [new for old, new in lines if old != new] == [b"slice_name: Broken promises"]
    (superset.state.root / file).write_bytes(before[changed[0]])
    assert [each["action"] for each in superset.mesh("dashboards", "apply")] == ["change"]
    assert superset.mesh("dashboards", "plan") == []


def test_what_left_the_files_is_deleted_and_what_people_made_stays(superset: Superset, mesh: Mesh) -> None:
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    folder = superset.state.root / dashboard.folder
    kept = superset.state.root.parent / "kept"
    with superset.session("admin") as admin:
        source = admin.numbers("dataset")[dataset_uuid(dashboard, "deliveries")]
        own = {"slice_name": "Mine", "datasource_id": source, "datasource_type": "table", "viz_type": "table"}
        orders = mesh.dashboards["logistics_core.orders_and_returns"]
        source = admin.numbers("dataset")[dataset_uuid(orders, "returns")]
        number = admin.send("POST", "chart/", json=own | {"datasource_id": source, "params": "{}"}).json()["id"]
        shutil.move(folder, kept)
        try:
            planned = superset.mesh("dashboards", "plan", check=1)
            assert {each["action"] for each in planned} == {"delete"}
            assert len(planned) == 1 + len(dashboard.charts) + len(dashboard.datasets)
            superset.mesh("dashboards", "apply")
            assert superset.mesh("dashboards", "plan") == []
            assert not {dataset_uuid(dashboard, "deliveries")} & admin.numbers("dataset").keys()
            assert number in admin.numbers("chart").values()
        finally:
            shutil.move(kept, folder)
        superset.mesh("dashboards", "apply")
        admin.delete("chart", number)
    assert superset.mesh("dashboards", "plan") == []


def edit_filters(admin: Server, mesh: Mesh) -> None:
    """Change filters and scopes of the deliveries as a page does: each kind of filter, and all that parts them."""
    dashboard = mesh.dashboards["logistics_core.deliveries"]
    number = admin.numbers("dashboard")[dashboard_uuid(dashboard)]
    charts, datasets = admin.numbers("chart"), admin.numbers("dataset")
    chart = {name: charts[chart_uuid(dashboard, name)] for name in dashboard.charts}
    dataset = datasets[dataset_uuid(dashboard, "deliveries")]
    metadata = json.loads(admin.send("GET", f"dashboard/{number}").json()["result"]["json_metadata"])
    everywhere = {"rootPath": ["ROOT_ID"], "excluded": []}
    empty = {"extraFormData": {}, "filterState": {}}

    def made(name: str, kind: str, column: str | None = None, **more: Any) -> dict[str, Any]:
        target = {"datasetId": dataset} | ({"column": {"name": column}} if column else {})
        usual = {"id": f"NATIVE_FILTER-{name}", "name": name, "type": "NATIVE_FILTER", "filterType": kind}
        usual |= {"targets": [target], "scope": everywhere, "cascadeParentIds": [], "defaultDataMask": empty}
        return {**usual, "controlValues": {"enableEmptyFilter": False}, "description": "", **more}

    north = {
        "extraFormData": {"filters": [{"col": "region", "op": "NOT IN", "val": ["north"]}]},
        "filterState": {"value": ["north"], "label": "north (excluded)", "excludeFilterValues": True},
    }
    narrow = {"rootPath": ["ROOT_ID"], "excluded": [chart["worst_routes"], chart["violations"]]}
    period, region = metadata["native_filter_configuration"]
    region |= {
        "name": "Région «ü»",
        "defaultDataMask": north,
        "scope": narrow,
        "chartsInScope": [chart["violations"]],
    }
    region["controlValues"] = {"multiSelect": False, "enableEmptyFilter": True, "sortAscending": False}
    metadata["native_filter_configuration"] = [
        period,
        region,
        {"id": "NATIVE_FILTER_DIVIDER-1", "type": "DIVIDER", "title": "More", "description": "Of routes."},
        made("Delay", "filter_range", "delay_minutes", description="Minutes."),
        made("Grain", "filter_timegrain"),
        made("Which time", "filter_timecolumn"),
        made("Destination", "filter_select", "destination", cascadeParentIds=[region["id"]], scope=narrow),
    ]
    metadata |= {
        "global_chart_configuration": {"scope": {**everywhere, "excluded": [chart["typical_delay"]]}},
        "chart_configuration": {
            str(chart["violations_by_weather"]): {
                "id": chart["violations_by_weather"],
                "crossFilters": {"scope": narrow, "chartsInScope": [chart["violations_by_day"]]},
            }
        },
        "timed_refresh_immune_slices": [chart["violations"]],
        "expanded_slices": {str(chart["violations"]): True},
        "refresh_frequency": 60,
    }
    admin.send("PUT", f"dashboard/{number}", json={"json_metadata": json.dumps(metadata), "css": ".a { color: red }"})
    metric = {
        "metric_name": "violations",
        "expression": "count(*) filter (where not sla_met)",
        "warning_text": "Careful",
    }
    known = admin.send("GET", f"dataset/{dataset}").json()["result"]["metrics"]
    kept = [{key: each[key] for key in ("id", "metric_name", "expression")} for each in known]
    metrics = [each | (metric if each["metric_name"] == "violations" else {}) for each in kept]
    admin.send("PUT", f"dataset/{dataset}", json={"metrics": metrics, "fetch_values_predicate": "region <> 'x'"})


def test_edits_of_filters_scopes_and_datasets_survive_twenty_round_trips_and_can_be_taken_back(
    superset: Superset, mesh: Mesh
) -> None:
    before = content(superset.state.root)
    with superset.session("admin") as admin:
        edit_filters(admin, mesh)
        changed = superset.mesh("dashboards", "pull")
        folder = mesh.dashboards["logistics_core.deliveries"].folder
        assert {each["file"] for each in changed} == {
            f"{folder}/dashboard.yaml",
            f"{folder}/datasets/deliveries.yaml",
        }
        after = content(superset.state.root)
        file = (superset.state.root / folder / "dashboard.yaml").read_text(encoding="utf-8")
        kinds = ("filter_range", "filter_timegrain", "filter_timecolumn", "DIVIDER", "- Région «ü»", "- worst_routes")
        assert [kind for kind in kinds if kind not in file] == []
        assert superset.mesh("check", "--rule", "domain-files", "--rule", "charts") == []
        for _ in range(20):
            # All of it goes to the server and comes back, also where nothing differs.
            admin.import_assets(superset_assets(load_mesh(superset.state.root)))
            assert superset.mesh("dashboards", "pull") == []
        assert content(superset.state.root) == after
        for path, text in before.items():
            Path(path).write_bytes(text)
        assert {each["action"] for each in superset.mesh("dashboards", "apply")} == {"change"}
        assert superset.mesh("dashboards", "plan") == []
        assert superset.mesh("dashboards", "pull") == []
        assert content(superset.state.root) == before
