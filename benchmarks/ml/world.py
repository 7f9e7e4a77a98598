"""The facts that the models learn from, on the simulated days of one seed.

They are the truth, which the answer key proves equal to the tables; a lake would take half an hour for its events.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from acme_world.companion import sites_of
from acme_world.truth import anomalies, lines
from acme_world.truth.clock import DAY_MS, HOUR_MS, midnight
from acme_world.truth.lines import Events, Line, join
from acme_world.truth.world import World
from mesh_platform.mesh.mesh import load_mesh
from ml_insights.forecasting.panel import Panel
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
START = date(2025, 10, 1)


@dataclass(frozen=True)
class Facts:
    """What happened to the catalogue's products: sales, shelves (series x days, at the day's end), and deliveries.

    `orders` has a row for each order line, `errors` for each failed order and system issue. `planted` has the
    warehouse, day and kind of each anomaly.
    """

    panel: Panel
    on_hand: NDArray[np.int64]
    received: NDArray[np.int64]
    deliveries: dict[str, NDArray[Any]]
    orders: pa.Table
    errors: pa.Table
    planted: list[tuple[str, date, str]]


def simulate_quiet(seed: int, days: int) -> Facts:
    """The same without anomalies: one in more days than anybody simulates."""
    with patch.object(anomalies, "ONE_IN_DAYS", 10**9):
        return simulate(seed, days)


def simulate(seed: int, days: int) -> Facts:
    """The first `days` days of the company with `seed`."""
    mesh = load_mesh(ROOT)
    sites, world = sites_of(mesh), World(ROOT, seed, START)
    goods = world.company.goods
    known, index = goods.known, {product: n for n, product in enumerate(goods.product_id.tolist())}
    names = sorted(sites)
    units, paid, on_hand, received = (np.zeros((len(names), known, days)) for _ in range(4))
    deliveries: list[dict[str, NDArray[Any]]] = []
    orders: list[pa.Table] = []
    errors: list[pa.Table] = []
    planted: list[tuple[str, date, str]] = []
    for place, domain in enumerate(names):
        house = world.warehouse(domain, sites[domain])
        parts: dict[Line, list[Events]] = {
            line: [] for line in (lines.DISPATCH_LOGS, lines.VEHICLE_TRACKING, lines.DELIVERY_SLA)
        }
        for day in range(days):
            truth = house.day(day)
            for event, column, into in (
                (lines.ORDERS.event, "quantity", units),
                (lines.ORDERS.event, "amount_usd", paid),
                (lines.RESTOCKS.event, "quantity", received),
            ):
                events = truth.events[event]
                which = np.array([index[each] for each in events["product_id"].tolist()], np.int64)
                into[place, :, day] = np.bincount(which, events[column], len(goods))[:known]
            on_hand[place, :, day] = truth.on_hand[:known]
            for line in parts:
                parts[line].append(truth.events[line.event])
            orders.append(_order_lines(sites[domain].warehouse_id, truth.events[lines.ORDERS.event]))
            errors.append(_errors(sites[domain].warehouse_id, truth.events[lines.ORDER_ERRORS.event]))
            planted += [(sites[domain].warehouse_id, each.day, each.kind) for each in truth.anomalies]
        deliveries.append(_sent(world, *(join(line, found) for line, found in parts.items())))
    shape = (len(names) * known, days)
    list_price = np.tile(goods.list_price[:known], len(names))[:, None]
    units, paid = units.reshape(shape), paid.reshape(shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(units > 0, paid / units / list_price, np.nan)
    panel = Panel(
        first=START,
        warehouse=np.repeat(np.array([sites[name].warehouse_id for name in names]), known),
        product=np.tile(goods.product_id[:known], len(names)),
        category=np.tile(goods.category[:known], len(names)),
        units=units,
        price=price,
    )
    joined = {name: np.concatenate([each[name] for each in deliveries]) for name in deliveries[0]}
    return Facts(
        panel,
        on_hand.reshape(shape).astype(int),
        received.reshape(shape).astype(int),
        joined,
        pa.concat_tables(orders),
        pa.concat_tables(errors),
        planted,
    )


def _order_lines(warehouse: str, sold: Events) -> pa.Table:
    columns = {name: sold[name] for name in ("order_id", "product_id", "quantity")}
    price = sold["amount_usd"] / sold["quantity"] / 100
    return pa.table({**columns, "unit_price_usd": price, "placed_at": sold.at, **_at(warehouse, sold)})


def _errors(warehouse: str, failed: Events) -> pa.Table:
    source = np.where(failed["order_id"] == "", "system", "order")
    return pa.table({"source": source, "failed_at": failed.at, **_at(warehouse, failed)})


def _at(warehouse: str, events: Events) -> dict[str, pa.Array]:
    return {"warehouse_id": pa.repeat(pa.scalar(warehouse, pa.string()), len(events))}


def _sent(world: World, dispatches: Events, tracking: Events, delivered: Events) -> dict[str, NDArray[Any]]:
    """What was known of each delivered dispatch when it left, and whether it was late."""
    vehicles = world.company.logistics.vehicles
    capacity = dict(zip(vehicles.vehicle_id.tolist(), vehicles.capacity.tolist(), strict=True))
    kind = dict(zip(vehicles.vehicle_id.tolist(), vehicles.vehicle_type.tolist(), strict=True))
    # The first report of a trip is that of its departure.
    trips, reports = np.unique(tracking["trip_id"], return_index=True)
    late_of = dict(zip(delivered["dispatch_id"].tolist(), (~delivered["sla_met"]).tolist(), strict=True))
    arrived = np.array([each in late_of for each in dispatches["dispatch_id"].tolist()], np.bool_)
    sent = dispatches.take(arrived & np.isin(dispatches["trip_id"], trips))
    report = tracking.take(reports[np.searchsorted(trips, sent["trip_id"])])
    _, trip, orders = np.unique(sent["trip_id"], return_inverse=True, return_counts=True)
    by = sent["vehicle_id"].tolist()
    return {
        "day": sent.at // DAY_MS - midnight(world.start) // DAY_MS,
        "promised_hours": (sent["promised_time"] - sent.at) / HOUR_MS,
        "load_share": report["load_kg"] / np.array([capacity[each] for each in by]),
        "weight_kg": sent["weight_kg"] / 1000,
        "orders": orders[trip],
        "hour": sent.at // HOUR_MS % 24,
        "vehicle_type": np.array([kind[each] for each in by]),
        "weather": report["weather"],
        "route_id": sent["route_id"],
        "late": np.array([late_of[each] for each in sent["dispatch_id"].tolist()], np.bool_),
    }
