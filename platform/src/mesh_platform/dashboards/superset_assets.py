"""Dashboards as Superset's own import and export has them: one dict for each chart, dataset and dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mesh_platform.dashboards.chart_references import metadata_with_numbers, settings_with_names
from mesh_platform.dashboards.datasets import Column, DatasetColumns, dataset_columns
from mesh_platform.dashboards.superset_ids import DATABASE_ID, asset_id
from mesh_platform.mesh.dashboards import Cell, Chart, Dashboard, Dataset, Filter, chart_key
from mesh_platform.mesh.mesh import Mesh

VERSION = "1.0.0"
# `certification_details` begins so where the mesh has deployed the thing, so that it may delete it too.
MARK = "From "
# An import leaves what it does not name as it was.
USUAL_DATASET: Mapping[str, Any] = {
    "schema": "main",
    "offset": 0,
    "cache_timeout": None,
    "filter_select_enabled": True,
    "default_endpoint": None,
    "fetch_values_predicate": None,
    "template_params": None,
    "params": None,
    "currency_code_column": None,
    "normalize_columns": False,
    "always_filter_main_dttm": False,
    "folders": None,
}


def superset_assets(mesh: Mesh, columns: DatasetColumns | None = None) -> dict[str, dict[str, Any]]:
    """Return all assets of the mesh by their path in an export, such as `charts/<domain>.<dashboard>.<chart>.yaml`.

    `columns` are those of `dataset_columns`, if they are known. Raises ContractError for faulty SQL of a dataset.
    """
    columns = dataset_columns(mesh, mesh.dashboards.values()) if columns is None else columns
    assets: dict[str, dict[str, Any]] = {}
    for dashboard in mesh.dashboards.values():
        team = mesh.domains[dashboard.domain].owners.team
        own = dashboard.identifier
        for name in dashboard.datasets:
            assets[f"datasets/Mesh/{own}.{name}.yaml"] = _dataset(dashboard, name, columns[f"{own}.{name}"], team)
        for name, chart in dashboard.charts.items():
            assets[f"charts/{own}.{name}.yaml"] = _chart(dashboard, name, chart, team)
        assets[f"dashboards/{own}.yaml"] = _dashboard(dashboard, team)
    return assets


def chart_uuid(dashboard: Dashboard, name: str) -> str:
    """Return the UUID of a chart."""
    return dashboard.charts[name].uuid or asset_id("chart", f"{dashboard.identifier}.{name}")


def dataset_uuid(dashboard: Dashboard, name: str) -> str:
    """Return the UUID of a dataset."""
    return dashboard.datasets[name].uuid or asset_id("dataset", f"{dashboard.identifier}.{name}")


def dashboard_uuid(dashboard: Dashboard) -> str:
    """Return the UUID of a dashboard."""
    return asset_id("dashboard", dashboard.identifier)


def certified(dashboard: Dashboard, path: str, team: str) -> dict[str, str]:
    """Return the two fields that say who owns an asset, and that the mesh has deployed it."""
    return {"certified_by": team, "certification_details": f"{MARK}{dashboard.folder}/{path}"}


def _chart(dashboard: Dashboard, name: str, chart: Chart, team: str) -> dict[str, Any]:
    return {
        "slice_name": chart.slice_name,
        "description": chart.description,
        **certified(dashboard, f"charts/{name}.yaml", team),
        "viz_type": chart.viz_type,
        "params": {**chart.params, "viz_type": chart.viz_type},
        "query_context": None,
        "cache_timeout": chart.cache_timeout,
        "uuid": chart_uuid(dashboard, name),
        "version": VERSION,
        "dataset_uuid": dataset_uuid(dashboard, chart.dataset),
    }


def _dataset(dashboard: Dashboard, name: str, columns: Mapping[str, Column], team: str) -> dict[str, Any]:
    dataset = dashboard.datasets[name]
    certificate = certified(dashboard, f"datasets/{name}.yaml", team)
    return {
        # Superset wants it unique in a connection.
        "table_name": f"{dashboard.identifier}.{name}",
        "main_dttm_col": dataset.main_dttm_col,
        "description": dataset.description,
        "sql": dashboard.sql[name],
        "extra": {
            "certification": {
                "certified_by": certificate["certified_by"],
                "details": certificate["certification_details"],
            }
        },
        "columns": [*_columns(dataset, columns)],
        "metrics": [metric_asset(name, each.model_dump(exclude_none=True)) for name, each in dataset.metrics.items()],
        "uuid": dataset_uuid(dashboard, name),
        "version": VERSION,
        "database_uuid": DATABASE_ID,
        **USUAL_DATASET,
        **dataset.settings,
    }


def _columns(dataset: Dataset, columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    for name, column in columns.items():
        yield column_asset(column) | dict(dataset.columns.get(name, {}))
    for name, given in dataset.columns.items():
        if name not in columns:
            yield column_asset(Column(name, "", None)) | dict(given)


def column_asset(column: Column) -> dict[str, Any]:
    """Return a column as Superset has it, if nobody has changed it."""
    return {
        "column_name": column.name,
        "verbose_name": None,
        "is_dttm": column.is_time,
        "is_active": True,
        "type": column.type or None,
        "advanced_data_type": None,
        "groupby": True,
        "filterable": True,
        "expression": None,
        "description": column.description,
        "python_date_format": None,
        "extra": None,
    }


def metric_asset(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metric as Superset has it."""
    default = {"verbose_name": None, "metric_type": None, "description": None, "d3format": None}
    return {"metric_name": name, **default, "currency": None, "extra": None, "warning_text": None, **given}


def _dashboard(dashboard: Dashboard, team: str) -> dict[str, Any]:
    file = dashboard.file
    return {
        "dashboard_title": file.dashboard_title,
        "description": file.description,
        "css": file.css,
        "slug": dashboard.slug,
        **certified(dashboard, "dashboard.yaml", team),
        "published": file.published,
        "uuid": dashboard_uuid(dashboard),
        "position": position_of(dashboard),
        "metadata": {
            **metadata_with_numbers(file.metadata, dashboard_numbers(dashboard)),
            "native_filter_configuration": [filter_asset(dashboard, each) for each in file.filters],
        },
        "version": VERSION,
    }


def position_of(dashboard: Dashboard) -> dict[str, Any]:
    """Return the layout of a dashboard as Superset has it: rows below each other, or what its file says itself."""
    if dashboard.file.position is not None:
        return _with_charts(dashboard)
    rows = [f"ROW-{number}" for number, _ in enumerate(dashboard.file.rows, 1)]
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": rows, "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": dashboard.file.dashboard_title}},
    }
    for row, cells in zip(rows, dashboard.file.rows, strict=True):
        ids = [chart_key(cell.chart) for cell in cells]
        above = ["ROOT_ID", "GRID_ID"]
        meta = {"background": "BACKGROUND_TRANSPARENT"}
        position[row] = {"type": "ROW", "id": row, "children": ids, "parents": above, "meta": meta}
        for cell, own in zip(cells, ids, strict=True):
            parents = [*above, row]
            position[own] = {
                "type": "CHART",
                "id": own,
                "children": [],
                "parents": parents,
                "meta": _cell(dashboard, cell),
            }
    return position


def _cell(dashboard: Dashboard, cell: Cell) -> dict[str, Any]:
    return {
        "width": cell.width,
        "height": cell.height,
        "sliceName": dashboard.charts[cell.chart].slice_name,
        "uuid": chart_uuid(dashboard, cell.chart),
        # Superset puts its own number in its place.
        "chartId": _number(dashboard, cell.chart),
    }


def _number(dashboard: Dashboard, chart: str) -> int:
    return 1 + [*dashboard.charts].index(chart)


def _with_charts(dashboard: Dashboard) -> dict[str, Any]:
    """Return the layout in the file, whose charts are called by their names, with ids and titles."""
    found: dict[str, Any] = {}
    for key, item in (dashboard.file.position or {}).items():
        found[key] = item
        if isinstance(item, dict) and item.get("type") == "CHART":
            name = item["meta"]["chart"]
            meta = {name_: value for name_, value in item["meta"].items() if name_ != "chart"}
            own = {"sliceName": dashboard.charts[name].slice_name, "uuid": chart_uuid(dashboard, name)}
            found[key] = {**item, "meta": {**meta, **own, "chartId": _number(dashboard, name)}}
    return found


def filter_asset(dashboard: Dashboard, each: Filter) -> dict[str, Any]:
    """Return a filter as Superset has it."""
    found = usual_filter(dashboard, each)
    settings = settings_with_names(each.settings, dashboard_numbers(dashboard), filter_id)
    if settings.get("type") == "DIVIDER":
        return {"id": filter_id(each.name), "title": each.name, "scope": found["scope"], **settings}
    return {**found, **settings}


def usual_filter(dashboard: Dashboard, each: Filter) -> dict[str, Any]:
    """Return a filter as Superset has it without further settings, over all charts of the dashboard."""
    found: dict[str, Any] = {
        "id": filter_id(each.name),
        "name": each.name,
        "type": "NATIVE_FILTER",
        "filterType": "filter_select" if each.column else "filter_time",
        "description": "",
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": []},
        "controlValues": {"enableEmptyFilter": False},
        "targets": [{}],
        "defaultDataMask": {"extraFormData": {}, "filterState": {}},
    }
    if each.dataset:
        column = {"column": {"name": each.column}} if each.column else {}
        found["targets"] = [{"datasetUuid": dataset_uuid(dashboard, each.dataset), **column}]
    if each.column:
        found["controlValues"] |= {"multiSelect": True, "searchAllOptions": False, "inverseSelection": False}
    if each.default is not None:
        state = {"value": each.default}
        chosen = (
            {"filters": [{"col": each.column, "op": "IN", "val": each.default}]}
            if each.column
            else {"time_range": each.default}
        )
        found["defaultDataMask"] = {"extraFormData": chosen, "filterState": state}
    return found


def filter_id(name: str) -> str:
    """Return Superset's id of the filter of this name."""
    return f"NATIVE_FILTER-{''.join(letter if letter.isalnum() else '_' for letter in name.lower())}"


def dashboard_numbers(dashboard: Dashboard) -> Callable[[str], int]:
    """Return the function from the name of a chart to the number by which the assets of its dashboard call it."""
    return lambda name: _number(dashboard, name)
