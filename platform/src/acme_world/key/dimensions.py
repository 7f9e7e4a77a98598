"""The rows that the dimensions and the KPI must have, and the dangling references in facts.

They are computed day by day from reference data and the events that arrived, without a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.key.versions import Versions
from acme_world.truth import lines
from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.history import Company
from acme_world.truth.lines import Events
from acme_world.truth.reference import Logistics, read_error_codes

# The references that a row lacks, by column and value.
_Lost = tuple[tuple[str, str], ...]


class Dimensions:
    """The dimensions of a company; `warehouses` has the ids of all."""

    def __init__(self, root: Path, company: Company, warehouses: set[str]) -> None:
        logistics = company.logistics
        employees = set(logistics.employees.employee_id.tolist())
        self._known: dict[str, set[str]] = {
            "product_id": set(company.products.product_id.tolist()),
            "customer_id": set(),
            "warehouse_id": warehouses,
            "employee_id": employees,
            "driver_id": employees,
            "vehicle_id": set(logistics.vehicles.vehicle_id.tolist()),
            "route_id": set(logistics.routes.route_id.tolist()),
            "error_code": set(read_error_codes(root).tolist()),
        }
        self._dangling: dict[str, Counter[_Lost]] = {}
        self._vehicles, self._routes = _vehicle_versions(logistics), _route_versions(logistics)
        self._stock = _Stock()

    def add(self, arrived: Mapping[str, Events], settled: int) -> None:
        """Add the events of a day, by name of the line; no event before `settled` (ms) arrives after them."""
        for line, column in (
            (lines.ORDERS, "customer_id"),
            (lines.VEHICLE_TRACKING, "vehicle_id"),
            (lines.ROUTE_UPDATES, "route_id"),
        ):
            if line.event in arrived:
                self._known[column].update(arrived[line.event][column].tolist())
        for line, versions in ((lines.VEHICLE_TRACKING, self._vehicles), (lines.ROUTE_UPDATES, self._routes)):
            if line.event in arrived:
                versions.add(arrived[line.event], settled)
        for line, change in ((lines.INVENTORY, "quantity_change"), (lines.RESTOCKS, "quantity")):
            if line.event in arrived:
                self._stock.add(arrived[line.event], change)

    def add_fact(self, name: str, events: Events) -> None:
        """Add rows of a fact, after the day's events; a non-null reference that its dimension lacks is noted."""
        lost = self._dangling.setdefault(name, Counter())
        columns = {column: events[column].tolist() for column in self._known if column in events.columns}
        rows: list[list[tuple[str, str]]] = [[] for _ in range(len(events))]
        for column, values in columns.items():
            known = self._known[column]
            for row, value in zip(rows, values, strict=True):
                if value not in known and value:
                    row.append((column, value))
        lost.update(tuple(row) for row in rows if row)

    def count_dangling(self, name: str) -> int:
        """The number of rows of a fact with a reference that its dimension still lacks."""
        lost = self._dangling.get(name, Counter())
        for references in [each for each in lost if all(value in self._known[column] for column, value in each)]:
            del lost[references]
        return lost.total()

    def tables(self) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
        """The name and figures of each table, and the events it is built from besides reference data."""
        for name, column in (("product", "product_id"), ("warehouse", "warehouse_id"), ("employee", "employee_id")):
            yield f"logistics_core.dim_{name}", self._rows(column), ()
        yield "logistics_core.dim_error_code", self._rows("error_code"), ()
        yield "logistics_core.dim_customer", self._rows("customer_id"), (lines.ORDERS.event,)
        versions = {"rows": self._vehicles.count() + 1}
        yield "logistics_core.dim_vehicle", versions, (lines.VEHICLE_TRACKING.event,)
        versions = {"rows": self._routes.count() + 1}
        yield "logistics_core.dim_route", versions, (lines.ROUTE_UPDATES.event,)
        moved = (lines.INVENTORY.event, lines.RESTOCKS.event)
        yield "logistics_core.kpi_inventory_available", self._stock.figures(), moved

    def _rows(self, column: str) -> dict[str, Any]:
        """The number of values of a column, with the unknown member."""
        return {"rows": len(self._known[column]) + 1}


class _Stock:
    """The stock of each product in each warehouse on each day from its first movement to the last day with any.

    A change counts on its own day and all later ones.
    """

    def __init__(self) -> None:
        # The day of each shelf's first change, by warehouse and product.
        self._first: dict[tuple[str, str], int] = {}
        self._last = self._change = self._change_by_day = 0

    def add(self, events: Events, column: str) -> None:
        """Add changes, in units of `column`."""
        if not len(events):
            return
        day, change = events.at // DAY_MS, events[column]
        self._last = max(self._last, int(day.max()))
        self._change += int(change.sum())
        self._change_by_day += int((change * day).sum())
        shelves = zip(events["warehouse_id"].tolist(), events["product_id"].tolist(), strict=True)
        for shelf, when in zip(shelves, day.tolist(), strict=True):
            self._first[shelf] = min(when, self._first.get(shelf, when))

    def figures(self) -> dict[str, Any]:
        """The rows, and the sum of the stock over them."""
        end = self._last + 1
        return {
            "rows": end * len(self._first) - sum(self._first.values()),
            "sums": {"inventory_available": end * self._change - self._change_by_day},
        }


def _vehicle_versions(logistics: Logistics) -> Versions:
    vehicles = logistics.vehicles
    begun = {
        "vehicle_id": vehicles.vehicle_id,
        "at": _midnights(vehicles.in_service),
        "home_route_id": vehicles.home_route_id,
        "condition": np.full(len(vehicles.vehicle_id), "normal"),
    }
    return Versions(lines.VEHICLE_TRACKING, "vehicle_id", ("home_route_id", "condition"), begun)


def _route_versions(logistics: Logistics) -> Versions:
    routes = logistics.routes
    begun = {
        "route_id": routes.route_id,
        "at": _midnights(routes.opened),
        "distance_km": routes.distance,
        "promised_hours": routes.promised,
        "road_class": routes.road_class,
        "status": np.full(len(routes.route_id), "open"),
    }
    return Versions(lines.ROUTE_UPDATES, "route_id", ("distance_km", "promised_hours", "road_class", "status"), begun)


def _midnights(days: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([midnight(date.fromordinal(day)) for day in days.tolist()], np.int64)
