"""The filters of a page without a server: their choices, and the rows that a chart has under each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from math import prod

from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.mesh.dashboards import Dashboard, Filter

# A page has each chart once for each choice of its filters.
_MOST = 400
_LATEST_DAYS = (7, 28)


@dataclass(frozen=True)
class PageFilter:
    """A filter with its choices, the first of all rows; each with a condition for each dataset it touches."""

    name: str
    choices: Sequence[tuple[str, Mapping[str, str]]]
    excluded: Sequence[str]

    def touches(self, dashboard: Dashboard, chart: str) -> bool:
        """Return whether the filter changes what a chart shows."""
        return chart not in self.excluded and any(
            dashboard.charts[chart].dataset in conditions for _, conditions in self.choices
        )


def page_filters(dashboard: Dashboard, session: Connection) -> list[PageFilter]:
    """Return the filters of values and of time, as far as a page has room for their choices.

    `session` has the rows of each dataset as a table, by `dataset_table`. As in Superset, a filter of a column
    concerns all datasets that have the column, and one of time those that say which column is their time.
    """
    columns = {
        name: {row[0] for row in session.execute(f"DESCRIBE {dataset_table(name)}").fetchall()}
        for name in dashboard.datasets
    }
    found: list[PageFilter] = []
    for each in dashboard.file.filters:
        kind = each.settings.get("filterType") or ("filter_select" if each.column else "filter_time")
        choices: list[tuple[str, Mapping[str, str]]] = [("All", {})]
        if kind == "filter_select" and each.column and each.dataset:
            choices += _values(each.dataset, each.column, columns, session)
        elif kind == "filter_time" and each.settings.get("type") != "DIVIDER":
            choices += _periods(dashboard, session)
        if len(choices) > 1 and prod(len(other.choices) for other in found) * len(choices) <= _MOST:
            found.append(PageFilter(each.name, choices, _excluded(each)))
    return found


def dataset_table(name: str) -> str:
    """Return the quoted name of the table with the rows of a dataset."""
    return quoted(f"dataset {name}")


def choices_of(dashboard: Dashboard, chart: str, filters: Sequence[PageFilter]) -> Iterator[tuple[str, str]]:
    """Yield each choice of the filters that touch a chart, and the SELECT of the rows of its dataset under it.

    A choice has the number of its value for each filter, or * for one that does not matter; the first is all rows.
    """
    dataset = dashboard.charts[chart].dataset
    numbers = [range(len(each.choices)) if each.touches(dashboard, chart) else None for each in filters]
    for chosen in product(*(each or [0] for each in numbers)):
        pairs = zip(filters, chosen, strict=True)
        conditions = [each.choices[number][1].get(dataset) for each, number in pairs]
        where = " AND ".join(f"({each})" for each in conditions if each)
        words = [str(number) if each else "*" for each, number in zip(numbers, chosen, strict=True)]
        yield " ".join(words), f"FROM {dataset_table(dataset)}" + (f" WHERE {where}" if where else "")


def _excluded(each: Filter) -> Sequence[str]:
    scope = each.settings.get("scope")
    return tuple(scope.get("excluded") or ()) if isinstance(scope, Mapping) else ()


def _values(
    dataset: str, column: str, columns: Mapping[str, set[str]], session: Connection
) -> Iterator[tuple[str, Mapping[str, str]]]:
    rows = session.execute(
        f"SELECT DISTINCT {quoted(column)} FROM {dataset_table(dataset)} WHERE {quoted(column)} IS NOT NULL "
        f"ORDER BY 1 LIMIT {_MOST}"
    ).fetchall()
    for (value,) in rows:
        condition = f"CAST({quoted(column)} AS VARCHAR) = {literal(str(value))}"
        yield str(value), {name: condition for name, own in columns.items() if column in own}


def _periods(dashboard: Dashboard, session: Connection) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the last days, counted from the newest one, and each month."""
    times = {name: quoted(each.main_dttm_col) for name, each in dashboard.datasets.items() if each.main_dttm_col}
    days: set[date] = set()
    for name, column in times.items():
        asked = f"SELECT DISTINCT CAST({column} AS DATE) FROM {dataset_table(name)} WHERE {column} IS NOT NULL"
        days |= {row[0] for row in session.execute(asked).fetchall()}
    if not days:
        return
    newest = max(days)
    spans = [(newest - timedelta(number - 1), newest) for number in _LATEST_DAYS]
    for year, month in sorted({(day.year, day.month) for day in days}, reverse=True):
        after = date(year + month // 12, month % 12 + 1, 1)
        spans.append((date(year, month, 1), after - timedelta(1)))
    for first, last in spans:
        end = last + timedelta(1)
        conditions = {
            name: f"{column} >= DATE '{first}' AND {column} < DATE '{end}'" for name, column in times.items()
        }
        yield f"{first} to {last}", conditions
