"""Assets of Superset as files of a domain: without ids, defaults and what is derived, always the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from mesh_platform.dashboards.chart_references import metadata_with_names, settings_with_names
from mesh_platform.dashboards.datasets import DatasetColumns, dataset_columns
from mesh_platform.dashboards.superset_assets import (
    USUAL_DATASET,
    chart_uuid,
    column_asset,
    dashboard_uuid,
    dataset_uuid,
    metric_asset,
    usual_filter,
)
from mesh_platform.dashboards.superset_ids import asset_id
from mesh_platform.mesh.dashboards import MAIN, Cell, Chart, Dashboard, DashboardFile, Dataset, Filter, Metric
from mesh_platform.mesh.mesh import Mesh

Assets = Mapping[str, Mapping[str, Any]]
# Superset writes these keys of `params` and `metadata` itself, when a chart or dashboard is saved or imported.
_PARAMS = ("datasource", "slice_id", "dashboards", "dashboardId", "viz_type", "url_params", "datasource_name")
_METADATA = (
    *("native_filter_configuration", "positions", "default_filters", "filter_scopes", "shared_label_colors"),
    *("map_label_colors", "color_scheme_domain", "import_time", "remote_id"),
)
# What Superset writes of itself where nobody has chosen.
_USUAL = {"cross_filters_enabled": True, "show_native_filters": True}
# Superset exports them with numbers that only the server has.
_NOT_PORTABLE = ("chart_customization_config",)
_DERIVED = ("uuid", "version", "slug", "certified_by", "certification_details", "position", "metadata")
_CHART = (*Chart.model_fields, *_DERIVED, "query_context", "dataset_uuid", "datasource_name", "datasource_type")
_DATASET = ("table_name", "sql", "extra", "uuid", "version", "database_uuid")
_EMPTY: tuple[Any, ...] = (None, "", [], {}, ())
_LAYOUT = ("ROOT_ID", "GRID_ID", "HEADER_ID", "DASHBOARD_VERSION_KEY")


def files_of(mesh: Mesh, assets: Assets, columns: DatasetColumns | None = None) -> dict[str, str]:
    """Return the files of the mesh's dashboards as `assets` have them, by their path in the repository.

    A dashboard that the assets lack has no files. A chart that is new on one gets a file named after its title.
    `columns` are those of `dataset_columns`, if they are known.
    """
    return {path: text for each in _found(mesh, assets, columns) for path, text in each.texts().items()}


def without_file(mesh: Mesh, assets: Assets, columns: DatasetColumns | None = None) -> list[str]:
    """Return what `assets` say of the mesh's dashboards that no file can: each with the words where it is."""
    return [words for each in _found(mesh, assets, columns) for words in each.without_file()]


def _found(mesh: Mesh, assets: Assets, columns: DatasetColumns | None) -> Iterator[_Files]:
    columns = dataset_columns(mesh, mesh.dashboards.values()) if columns is None else columns
    by_uuid = {str(each["uuid"]): each for each in assets.values() if "uuid" in each}
    for dashboard in mesh.dashboards.values():
        if dashboard_uuid(dashboard) in by_uuid:
            yield _Files(dashboard, by_uuid, columns)


class _Files:
    """The files of one dashboard."""

    def __init__(self, dashboard: Dashboard, by_uuid: Mapping[str, Any], columns: DatasetColumns) -> None:
        self.dashboard, self.by_uuid, self.columns = dashboard, by_uuid, columns
        self.asset = by_uuid[dashboard_uuid(dashboard)]
        self.charts = {chart_uuid(dashboard, name): name for name in dashboard.charts}
        self.datasets = {dataset_uuid(dashboard, name): name for name in dashboard.datasets}

    def texts(self) -> dict[str, str]:
        """Return the text of each file."""
        folder, texts = self.dashboard.folder, {}
        for asset in self._shown():
            uuid = asset["uuid"]
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

    def _placed(self) -> list[Mapping[str, Any]]:
        """Return what the layout says of each chart."""
        items = [each for each in self.asset["position"].values() if isinstance(each, dict)]
        return [each["meta"] for each in items if each.get("type") == "CHART" and "uuid" in each["meta"]]

    def _shown(self) -> list[Mapping[str, Any]]:
        """Return the chart of each place that has one."""
        return [self.by_uuid[each["uuid"]] for each in self._placed() if each["uuid"] in self.by_uuid]

    def without_file(self) -> Iterator[str]:
        """Yield what no file can say. The names of charts are those of `texts`."""
        own, dashboard = self.dashboard, self.asset
        yield from _unknown(f"{own.identifier}", dashboard, (*DashboardFile.model_fields, *_DERIVED))
        if dashboard.get("slug") != own.slug:
            yield f"{own.identifier}: slug '{dashboard.get('slug')}', which follows from its name"
        for key in _NOT_PORTABLE:
            if dashboard["metadata"].get(key) not in _EMPTY:
                yield f"{own.identifier}: {key} in its metadata"
        for each in dashboard["metadata"].get("native_filter_configuration") or ():
            where, targets = f"{own.identifier}, filter '{each.get('name')}'", each.get("targets") or ()
            if len(targets) > 1:
                yield f"{where}: more than one target"
            for target in targets[:1]:
                if target.get("datasetUuid") and target["datasetUuid"] not in self.datasets:
                    yield f"{where}: a dataset that is none of this dashboard"
        for chart in self._shown():
            yield from _unknown(f"{own.identifier}, chart '{chart['slice_name']}'", chart, _CHART)
            source = self.by_uuid[str(chart["dataset_uuid"])]
            if not source.get("sql"):
                yield f"{own.identifier}, chart '{chart['slice_name']}': it reads a table, {source['table_name']}"

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
        settings = _without(asset, USUAL_DATASET, (*Dataset.model_fields, *_DATASET))
        extra = {key: value for key, value in (asset.get("extra") or {}).items() if key != "certification"}
        return {
            "settings": settings | ({"extra": extra} if extra else {}),
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
            "roles": [*self.dashboard.file.roles],
            "filters": filters,
            "rows": rows or [],
            "position": None if rows is not None else self._position(),
            "metadata": {
                key: value
                for key, value in metadata_with_names(metadata, self._name).items()
                if key not in _METADATA and value not in _EMPTY and value != _USUAL.get(key)
            },
            "css": self.asset.get("css") or None,
            "published": None if self.asset.get("published", True) else False,
        }

    def _name(self, number: Any) -> str | None:
        """Return the name of the chart that the layout calls by a number; None for one that has left it."""
        placed = {str(each.get("chartId")): each["uuid"] for each in self._placed()}
        return self.charts.get(placed.get(str(number), ""))

    def _filter(self, each: Mapping[str, Any]) -> dict[str, Any]:
        filters = self.asset["metadata"]["native_filter_configuration"]
        names = {other.get("id"): other.get("name") or other.get("title") for other in filters}
        target = next(iter(each.get("targets") or [{}]))
        state = (each.get("defaultDataMask") or {}).get("filterState") or {}
        dataset = self.datasets.get(str(target.get("datasetUuid")))
        column = (target.get("column") or {}).get("name")
        found = Filter(name=names[each["id"]], dataset=dataset, column=column, default=state.get("value"))
        usual = usual_filter(self.dashboard, found)
        mask = each.get("defaultDataMask") or {}
        if mask != usual["defaultDataMask"] and any(value not in _EMPTY for value in mask.values()):
            # More than a value was chosen.
            found = found.model_copy(update={"default": None})
            usual = usual_filter(self.dashboard, found)
        else:
            usual |= {"defaultDataMask": mask}
        settings = settings_with_names(_without(each, usual, ("name", "title", "targets")), self._name, names.get)
        kept = found.model_copy(update={"settings": _sorted(settings)}).model_dump()
        return _ordered(Filter, {key: value for key, value in kept.items() if value not in _EMPTY})

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


def _unknown(where: str, asset: Mapping[str, Any], known: Iterable[str]) -> Iterator[str]:
    for key, value in asset.items():
        if key not in known and value not in (*_EMPTY, False):
            yield f"{where}: {key}"


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
        key: _sorted(value) if key in ("params", "metadata", "position", "columns", "settings") else value
        for key, value in kept.items()
    }
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
