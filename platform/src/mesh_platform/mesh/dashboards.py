"""The dashboards of a domain: `dashboards/<name>/` as a `Dashboard` with its charts and datasets.

The keys are those of Superset's own YAML. What can be derived is left out of the files: ids, the connection, columns
and their types, owners, and the place of a chart in its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from mesh_platform.contract.yaml_model import FileModel, Word, read_model
from mesh_platform.errors import Problem
from mesh_platform.text import counted, offer, shown

FOLDER, MAIN = "dashboards", "dashboard.yaml"
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]


class Metric(FileModel):
    """A figure of a dataset, which charts call by its name: an SQL expression that aggregates."""

    expression: Word
    verbose_name: Word | None = None
    description: Word | None = None
    d3format: Word | None = None
    currency: Mapping[str, Any] | None = None
    warning_text: Word | None = None
    extra: Mapping[str, Any] | None = None


class Dataset(FileModel):
    """What charts read: `datasets/<name>.yaml`, with its SELECT beside it. `main_dttm_col` is filtered by time.

    `columns` has what was changed of a column, or a computed one; `settings` are other keys of Superset; `uuid` is of
    a dataset that was made in Superset.
    """

    description: Word
    main_dttm_col: Word | None = None
    metrics: Mapping[_Name, Metric] = Field(min_length=1)
    columns: Mapping[str, Mapping[str, Any]] = {}
    settings: Mapping[str, Any] = {}
    uuid: str | None = None


class Chart(FileModel):
    """One chart: `charts/<name>.yaml`. `slice_name` is its title, `params` are Superset's."""

    slice_name: Word
    description: Word | None = None
    viz_type: Word
    dataset: Word
    params: Mapping[str, Any]
    cache_timeout: int | None = None
    uuid: str | None = None


class Cell(FileModel):
    """A chart in a row: of twelve columns, and so many units of 8 pixels high."""

    chart: _Name
    width: int = Field(ge=1, le=12)
    height: int = Field(ge=5, le=400)


class Filter(FileModel):
    """A filter of a dashboard: of the values of a column of a dataset, or of time without one, over all charts.

    `settings` are Superset's own keys where they say otherwise, such as `filterType`, a `scope` with the names of the
    charts that are `excluded`, or `cascadeParentIds` with the names of other filters.
    """

    name: Word
    dataset: _Name | None = None
    column: Word | None = None
    default: Any = None
    settings: Mapping[str, Any] = {}


class DashboardFile(FileModel):
    """`dashboard.yaml`. `rows` are the charts from top to bottom; else `position` is Superset's own layout.

    `roles` are those that get the dashboard; without any, all do.
    """

    dashboard_title: Word
    description: Word
    roles: tuple[Word, ...] = ()
    filters: tuple[Filter, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    position: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = {}
    css: str | None = None
    published: bool = True


@dataclass(frozen=True)
class Dashboard:
    """One dashboard of a domain. `sql` is by the names of `datasets`; `folder` is relative to the repository."""

    domain: str
    name: str
    folder: str
    file: DashboardFile
    charts: Mapping[str, Chart]
    datasets: Mapping[str, Dataset]
    sql: Mapping[str, str]

    @property
    def identifier(self) -> str:
        """`<domain>.<name>`, unique in the mesh."""
        return f"{self.domain}.{self.name}"

    @property
    def slug(self) -> str:
        """The last part of its address in Superset."""
        return self.identifier.replace("_", "-").replace(".", "--")

    def page(self, chart: str | None = None) -> str:
        """Return its address in Superset, without the host; that with a chart scrolls to it."""
        return f"/superset/dashboard/{self.slug}/" + (f"#{chart_key(chart)}" if chart else "")

    def is_for(self, role: str) -> bool:
        """Return whether a role gets the dashboard."""
        return role in self.file.roles or not self.file.roles


def chart_key(chart: str) -> str:
    """Return the key of a chart in the layout of a dashboard."""
    return f"CHART-{chart}"


def read_dashboards(folder: Path, root: Path) -> tuple[dict[str, Dashboard], list[Problem]]:
    """Read the dashboards of the domain in `folder`; return the valid ones by name, and the problems of all."""
    found: dict[str, Dashboard] = {}
    problems: list[Problem] = []
    for path in sorted((folder / FOLDER).glob("*/")):
        dashboard, wrong = _read(path, folder.name, root)
        problems += wrong
        if dashboard is not None and not wrong:
            found[path.name] = dashboard
    return found, problems


def _read(path: Path, domain: str, root: Path) -> tuple[Dashboard | None, list[Problem]]:
    file, problems = read_model(DashboardFile, path / MAIN, root)
    charts: dict[str, Chart] = {}
    datasets: dict[str, Dataset] = {}
    sql: dict[str, str] = {}
    for place in sorted(path.glob("charts/*.yaml")):
        chart, wrong = read_model(Chart, place, root)
        problems += wrong
        if chart is not None:
            charts[place.stem] = chart
    for place in sorted(path.glob("datasets/*.yaml")):
        dataset, wrong = read_model(Dataset, place, root)
        problems += wrong
        text = place.with_suffix(".sql")
        if not text.exists():
            fix = "Write its SELECT there."
            problems.append(Problem(shown(text, root), 1, "the dataset has no SQL.", fix, rule="domain-files"))
        elif dataset is not None:
            datasets[place.stem], sql[place.stem] = dataset, text.read_text(encoding="utf-8")
    if file is None:
        return None, problems
    found = Dashboard(domain, path.name, shown(path, root), file, charts, datasets, sql)
    return found, problems or [*_loose_ends(found)]


def _loose_ends(found: Dashboard) -> Iterator[Problem]:
    """Yield the names in the files that name nothing, and charts that no row shows."""
    main = f"{found.folder}/{MAIN}"

    def problem(path: str, message: str, fix: str) -> Problem:
        return Problem(path, 1, message, fix, rule="domain-files")

    placed = [cell.chart for row in found.file.rows for cell in row]
    for name in placed:
        if name not in found.charts:
            yield problem(main, f"there is no charts/{name}.yaml.", offer(name, found.charts))
    for name, chart in found.charts.items():
        path = f"{found.folder}/charts/{name}.yaml"
        if chart.dataset not in found.datasets:
            yield problem(path, f"there is no datasets/{chart.dataset}.yaml.", offer(chart.dataset, found.datasets))
        if found.file.position is None and placed.count(name) != 1:
            yield problem(
                path, f"stands {counted(placed.count(name), 'time')} in the rows.", f"Put it into {main} once."
            )
    for each in found.file.filters:
        if each.dataset is not None and each.dataset not in found.datasets:
            fix = offer(each.dataset, found.datasets)
            yield problem(main, f"filter '{each.name}': there is no datasets/{each.dataset}.yaml.", fix)
        filters = dict.fromkeys(other.name for other in found.file.filters)
        for name in each.settings.get("cascadeParentIds") or ():
            if name not in filters:
                message = f"filter '{each.name}' depends on '{name}', which is no filter."
                yield problem(main, message, offer(name, filters))
    for where, name in _charts_referred_to(found.file):
        if name not in found.charts:
            yield problem(main, f"{where}: there is no charts/{name}.yaml.", offer(name, found.charts))


def _charts_referred_to(file: DashboardFile) -> Iterator[tuple[str, str]]:
    """Yield each chart that filters and metadata name, with where."""

    def excluded(where: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if isinstance(scope := given.get("scope"), Mapping):
            yield from ((where, str(name)) for name in scope.get("excluded") or ())

    for each in file.filters:
        yield from excluded(f"filter '{each.name}'", each.settings)
    for key in ("timed_refresh_immune_slices", "expanded_slices", "chart_configuration"):
        yield from ((key, str(name)) for name in file.metadata.get(key) or ())
    yield from excluded("global_chart_configuration", file.metadata.get("global_chart_configuration") or {})
    for given in (file.metadata.get("chart_configuration") or {}).values():
        yield from excluded("chart_configuration", given.get("crossFilters") or {})
