"""The rows that the dimensions and the KPI must have, and the dangling references in facts.

They are computed from reference data and the events that arrived, without a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth import lines
from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.history import Company
from acme_world.truth.lines import Events, no_events
from acme_world.truth.reference import read_error_codes


class Dimensions:
    """The dimensions of a company after the events in `arrived`, by name of the line; `warehouses` has all ids."""

    def __init__(self, root: Path, company: Company, warehouses: set[str], arrived: Mapping[str, Events]) -> None:
        self._company = company
        self._events = {event: arrived.get(event, no_events(line)) for event, line in lines.LINES.items()}
        tracked = self._events[lines.VEHICLE_TRACKING.event]
        updates = self._events[lines.ROUTE_UPDATES.event]
        logistics = company.logistics
        self._known: dict[str, NDArray[np.str_]] = {
            "product_id": company.products.product_id,
            "customer_id": np.unique(self._events[lines.ORDERS.event]["customer_id"]),
            "warehouse_id": np.array(sorted(warehouses)),
            "employee_id": logistics.employees.employee_id,
            "driver_id": logistics.employees.employee_id,
            "vehicle_id": np.union1d(logistics.vehicles.vehicle_id, tracked["vehicle_id"]),
            "route_id": np.union1d(logistics.routes.route_id, updates["route_id"]),
            "error_code": read_error_codes(root),
        }

    def count_dangling(self, events: Events) -> int:
        """The number of rows with a non-null reference that its dimension lacks."""
        lost = np.zeros(len(events), np.bool_)
        for column, known in self._known.items():
            if column in events.columns:
                lost |= (events[column] != "") & ~np.isin(events[column], known)
        return int(lost.sum())

    def tables(self) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
        """The name and figures of each table, and the events it is built from besides reference data."""
        for name, column in (("product", "product_id"), ("warehouse", "warehouse_id"), ("employee", "employee_id")):
            yield f"logistics_core.dim_{name}", self._rows(column), ()
        yield "logistics_core.dim_error_code", self._rows("error_code"), ()
        yield "logistics_core.dim_customer", self._rows("customer_id"), (lines.ORDERS.event,)
        versions = {"rows": self._vehicle_versions() + 1}
        yield "logistics_core.dim_vehicle", versions, (lines.VEHICLE_TRACKING.event,)
        versions = {"rows": self._route_versions() + 1}
        yield "logistics_core.dim_route", versions, (lines.ROUTE_UPDATES.event,)
        moved = (lines.INVENTORY.event, lines.RESTOCKS.event)
        yield "logistics_core.kpi_inventory_available", self._stock(), moved

    def _rows(self, column: str) -> dict[str, Any]:
        """The number of values of a column, with the unknown member."""
        return {"rows": len(self._known[column]) + 1}

    def _vehicle_versions(self) -> int:
        vehicles, events = self._company.logistics.vehicles, self._events[lines.VEHICLE_TRACKING.event]
        normal = np.full(len(vehicles.vehicle_id), "normal")
        return count_versions(
            np.concatenate([vehicles.vehicle_id, events["vehicle_id"]]),
            np.concatenate([_midnights(vehicles.in_service), events.at]),
            len(vehicles.vehicle_id),
            np.concatenate([vehicles.home_route_id, events["home_route_id"]]),
            np.concatenate([normal, events["condition"]]),
        )

    def _route_versions(self) -> int:
        routes, events = self._company.logistics.routes, self._events[lines.ROUTE_UPDATES.event]
        return count_versions(
            np.concatenate([routes.route_id, events["route_id"]]),
            np.concatenate([_midnights(routes.opened), events.at]),
            len(routes.route_id),
            np.concatenate([routes.distance, events["distance_km"]]),
            np.concatenate([routes.promised, events["promised_hours"]]),
            np.concatenate([routes.road_class, events["road_class"]]),
            np.concatenate([np.full(len(routes.route_id), "open"), events["status"]]),
        )

    def _stock(self) -> dict[str, Any]:
        """The stock of each product in each warehouse on each day from its first movement to the last day with any.

        A change counts on its own day and all later ones.
        """
        parts = [
            (events.at // DAY_MS, events["warehouse_id"], events["product_id"], events[change])
            for line, change in ((lines.INVENTORY, "quantity_change"), (lines.RESTOCKS, "quantity"))
            if len(events := self._events[line.event])
        ]
        if not parts:
            return {"rows": 0, "sums": {"inventory_available": 0}}
        day, warehouse, product, change = (np.concatenate(column) for column in zip(*parts, strict=True))
        names, which = np.unique(product, return_inverse=True)
        shelves = np.unique(warehouse, return_inverse=True)[1] * len(names) + which
        place = np.unique(shelves, return_inverse=True)[1]
        days_left = day.max() - day + 1
        longest = np.zeros(place.max() + 1, np.int64)
        np.maximum.at(longest, place, days_left)
        return {
            "rows": int(longest.sum()),
            "sums": {"inventory_available": int((change * days_left).sum())},
        }


def count_versions(key: NDArray[np.str_], at: NDArray[np.int64], begun: int, *state: NDArray[Any]) -> int:
    """The number of versions of all keys. The first `begun` entries are the initial states of keys.

    Entries not later than the initial state of their key do not count; of several at the same instant only the last
    counts, and only if its state differs from the previous one.
    """
    _, keys = np.unique(key, return_inverse=True)
    beginning = np.full(keys.max() + 1, np.iinfo(np.int64).min)
    beginning[keys[:begun]] = at[:begun]
    counts = at > beginning[keys]
    counts[:begun] = True
    order = np.flatnonzero(counts)
    order = order[np.lexsort((order, at[order], keys[order]))]
    keys, at = keys[order], at[order]
    last = np.append((keys[1:] != keys[:-1]) | (at[1:] != at[:-1]), True)
    order, keys = order[last], keys[last]
    new = np.append(True, keys[1:] != keys[:-1])
    for column in state:
        values = column[order]
        new |= np.append(True, values[1:] != values[:-1])
    return int(new.sum())


def _midnights(days: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([midnight(date.fromordinal(day)) for day in days.tolist()], np.int64)
