"""Assets of Superset as files of a domain: without ids, defaults and what is derived, always the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from mesh_platform.dashboards.datasets import dataset_columns
from mesh_platform.dashboards.superset_assets import (
    chart_uuid,
    column_asset,
    dashboard_uuid,
    dataset_uuid,
    metric_asset,
)
from mesh_platform.dashboards.superset_ids import asset_id
from mesh_platform.mesh.dashboards import MAIN, Cell, Chart, Dashboard, DashboardFile, Dataset, Filter, Metric
from mesh_platform.mesh.mesh import Mesh

Assets = Mapping[str, Mapping[str, Any]]
# Superset writes these keys of `params` and `metadata` itself, when a chart or dashboard is saved or imported.
_PARAMS = ("datasource", "slice_id", "dashboards", "dashboardId", "viz_type", "url_params", "datasource_name")
_METADATA = (
    *("chart_configuration", "global_chart_configuration", "native_filter_configuration", "positions"),
    *("default_filters", "filter_scopes", "expanded_slices", "timed_refresh_immune_slices", "shared_label_colors"),
    *("map_label_colors", "color_scheme_domain", "show_native_filters", "import_time", "remote_id"),
)
_EMPTY: tuple[Any, ...] = (None, "", [], {}, ())
_LAYOUT = ("ROOT_ID", "GRID_ID", "HEADER_ID", "DASHBOARD_VERSION_KEY")


def files_of(mesh: Mesh, assets: Assets) -> dict[str, str]:
    """Return the files of the mesh's dashboards as `assets` have them, by their path in the repository.

    A dashboard that the assets lack has no files. A chart that is new on one gets a file named after its title.
    """
    columns = dataset_columns(mesh, mesh.dashboards.values())
    by_uuid = {str(each["uuid"]): each for each in assets.values() if "uuid" in each}
    files: dict[str, str] = {}
    for dashboard in mesh.dashboards.values():
        found = by_uuid.get(dashboard_uuid(dashboard))
        if found is not None:
            team = mesh.domains[dashboard.domain].owners.team
            files |= _Files(dashboard, found, by_uuid, team, columns).texts()
    return files


class _Files:
    """The files of one dashboard."""

    def __init__(
        self, dashboard: Dashboard, asset: Mapping[str, Any], by_uuid: Mapping[str, Any], team: str, columns: Any
    ) -> None:
        self.dashboard, self.asset, self.by_uuid, self.team, self.columns = dashboard, asset, by_uuid, team, columns
        self.charts = {chart_uuid(dashboard, name): name for name in dashboard.charts}
        self.datasets = {dataset_uuid(dashboard, name): name for name in dashboard.datasets}

    def texts(self) -> dict[str, str]:
        """Return the text of each file."""
        folder, texts = self.dashboard.folder, {}
        items = [each for each in self.asset["position"].values() if isinstance(each, dict)]
        shown = [each["meta"]["uuid"] for each in items if each.get("type") == "CHART" and "uuid" in each["meta"]]
        for uuid in [uuid for uuid in shown if uuid in self.by_uuid]:
            asset = self.by_uuid[uuid]
            name = _named(self.charts, uuid, asset["slice_name"])
            dataset = self.by_uuid[str(asset["dataset_uuid"])]
            source = _named(self.datasets, str(dataset["uuid"]), dataset["table_name"])
            texts[f"{folder}/charts/{name}.yaml"] = _text(Chart, self._chart(name, asset, source))
        # Also one that no chart reads, such as the source of a filter.
        for uuid, name in self.datasets.items():
            if uuid in self.by_uuid:
                texts[f"{folder}/datasets/{name}.yaml"] = _text(Dataset, self._dataset(name, self.by_uuid[uuid]))
                texts[f"{folder}/datasets/{name}.sql"] = str(self.by_uuid[uuid]["sql"]).rstrip() + "\n"
        texts[f"{folder}/{MAIN}"] = _text(DashboardFile, self._main())
        return texts

    def _chart(self, name: str, asset: Mapping[str, Any], dataset: str) -> dict[str, Any]:
        params = {key: value for key, value in asset["params"].items() if key not in _PARAMS and value not in _EMPTY}
        own = asset_id("chart", f"{self.dashboard.identifier}.{name}")
        return {
            "slice_name": asset["slice_name"],
            "description": asset.get("description"),
            "viz_type": asset["viz_type"],
            "dataset": dataset,
            "params": params,
            "cache_timeout": asset.get("cache_timeout"),
            "uuid": None if asset["uuid"] == own else asset["uuid"],
        }

    def _dataset(self, name: str, asset: Mapping[str, Any]) -> dict[str, Any]:
        known = self.columns.get(f"{self.dashboard.identifier}.{name}", {})
        changed: dict[str, Any] = {}
        for column in asset["columns"]:
            usual = column_asset(known[column["column_name"]]) if column["column_name"] in known else {}
            different = _without(column, usual, ("column_name", "uuid"))
            if different or not usual:
                changed[column["column_name"]] = different
        metrics = {
            each["metric_name"]: _without(each, metric_asset(each["metric_name"], {}), ("metric_name", "uuid"))
            for each in asset["metrics"]
        }
        own = asset_id("dataset", f"{self.dashboard.identifier}.{name}")
        return {
            "description": asset.get("description"),
            "main_dttm_col": asset.get("main_dttm_col"),
            "metrics": {key: _ordered(Metric, value) for key, value in sorted(metrics.items())},
            "columns": dict(sorted(changed.items())),
            "uuid": None if asset["uuid"] == own else asset["uuid"],
        }

    def _main(self) -> dict[str, Any]:
        metadata = self.asset.get("metadata") or {}
        filters = [self._filter(each) for each in metadata.get("native_filter_configuration") or ()]
        rows = self._rows()
        return {
            "dashboard_title": self.asset["dashboard_title"],
            "description": self.asset.get("description"),
            "filters": filters,
            "rows": rows or [],
            "position": None if rows is not None else self._position(),
            "metadata": {
                key: value for key, value in metadata.items() if key not in _METADATA and value not in _EMPTY
            },
            "css": self.asset.get("css") or None,
            "published": None if self.asset.get("published", True) else False,
        }

    def _filter(self, each: Mapping[str, Any]) -> dict[str, Any]:
        target = next(iter(each.get("targets") or [{}]))
        state = (each.get("defaultDataMask") or {}).get("filterState") or {}
        dataset = self.datasets.get(str(target.get("datasetUuid")))
        column = (target.get("column") or {}).get("name")
        found = {"name": each["name"], "dataset": dataset, "column": column, "default": state.get("value")}
        return _ordered(Filter, {key: value for key, value in found.items() if value not in _EMPTY})

    def _rows(self) -> list[list[dict[str, Any]]] | None:
        """Return the rows of charts, or None if the layout has anything else."""
        position = self.asset["position"]
        grid = position.get("GRID_ID")
        if grid is None or position["ROOT_ID"]["children"] != ["GRID_ID"]:
            return None
        rows, seen = [], {*_LAYOUT}
        for row in grid["children"]:
            item = position[row]
            if item["type"] != "ROW" or item["meta"].get("background") != "BACKGROUND_TRANSPARENT":
                return None
            cells = []
            for child in item["children"]:
                meta = position[child]["meta"]
                if (
                    position[child]["type"] != "CHART"
                    or meta.get("sliceNameOverride")
                    or meta["uuid"] not in self.charts
                ):
                    return None
                cells.append({"chart": self.charts[meta["uuid"]], "width": meta["width"], "height": meta["height"]})
            seen |= {row, *item["children"]}
            rows.append([_ordered(Cell, cell) for cell in cells])
        return rows if seen >= position.keys() else None

    def _position(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in sorted(self.asset["position"].items()):
            found[key] = item
            if isinstance(item, dict) and item.get("type") == "CHART":
                kept = {k: v for k, v in item["meta"].items() if k not in ("uuid", "chartId", "sliceName")}
                found[key] = {**item, "meta": kept | {"chart": self.charts[item["meta"]["uuid"]]}}
        return found


def _named(names: dict[str, str], uuid: str, title: str) -> str:
    """Return the name of an asset; a new one is named after its title, and its name is kept in `names`."""
    if uuid not in names:
        slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:50].strip("_")
        slug = slug if slug[:1].isalpha() else f"made_{slug or uuid[:8]}"
        taken = {*names.values()}
        names[uuid] = next(each for each in (slug, *(f"{slug}_{n}" for n in range(2, 999))) if each not in taken)
    return names[uuid]


def _without(given: Mapping[str, Any], usual: Mapping[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    """Return what differs from the usual; an empty value is as good as another."""
    return {
        key: value
        for key, value in given.items()
        if key not in ignored and value != usual.get(key) and not (value in _EMPTY and usual.get(key) in _EMPTY)
    }


def _ordered(model: type[Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys in the order of their model."""
    return {key: found[key] for key in model.model_fields if key in found}


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list, as people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(model: type[Any], found: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in _ordered(model, found).items() if value not in _EMPTY}
    plain = {
        key: _sorted(value) if key in ("params", "metadata", "position", "columns") else value
        for key, value in kept.items()
    }
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
