"""The company as the tests of the simulation know it: four sites, and the source of each of the thirty products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from acme_world.key.answer_key import answer_key
from acme_world.truth.lines import Events, Line
from acme_world.truth.world import World
from acme_world.wire import sources
from acme_world.wire.faults import Rates
from acme_world.wire.sources import Source
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
NO_FAULTS = Rates(0, 0, 0)


@dataclass(frozen=True)
class Place:
    warehouse_id: str
    time_zone: str
    currency: str = "USD"


SITES = {
    "north_warehouse": Place("WH-NORTH", "America/Toronto", "CAD"),
    "south_warehouse": Place("WH-SOUTH", "America/Chicago"),
    "east_warehouse": Place("WH-EAST", "America/New_York"),
    "west_warehouse": Place("WH-WEST", "America/Los_Angeles"),
}
FIFTH = {"harbour_warehouse": Place("WH-HARBOUR", "Europe/Lisbon")}
_CLIENT, _STAFF = {"customer_id": "client_no"}, {"employee_id": "staff_no"}
SOURCES: dict[str, Source] = {
    "north_warehouse.orders_north": sources.orders(),
    "north_warehouse.returns_north": sources.returns(),
    "north_warehouse.inventory_north": sources.inventory(),
    "north_warehouse.restocks_north": sources.restocks(),
    "north_warehouse.order_errors_north": sources.order_errors(),
    "north_warehouse.dispatch_logs_north": sources.dispatch_logs(),
    "south_warehouse.orders_south": sources.orders(rename=_CLIENT),
    "south_warehouse.returns_south": sources.returns(rename=_CLIENT),
    "south_warehouse.inventory_south": sources.inventory(_STAFF, counted="cases", available="less_safety_stock"),
    "south_warehouse.restocks_south": sources.restocks(rename=_STAFF),
    "south_warehouse.order_errors_south": sources.order_errors(),
    "south_warehouse.dispatch_logs_south": sources.dispatch_logs(rename=_STAFF),
    "east_warehouse.orders_east": sources.orders(local_time=True),
    "east_warehouse.returns_east": sources.returns(local_time=True),
    "east_warehouse.inventory_east": sources.inventory({}, True, counted="direction", available="less_promised"),
    "east_warehouse.restocks_east": sources.restocks(local_time=True),
    "east_warehouse.order_errors_east": sources.order_errors(local_time=True),
    "east_warehouse.dispatch_logs_east": sources.dispatch_logs(local_time=True),
    "west_warehouse.orders_west": sources.orders(extra=["loyalty_tier"]),
    "west_warehouse.returns_west": sources.returns(extra=["loyalty_tier"]),
    "west_warehouse.inventory_west": sources.inventory(counted="before_after", available="plus_incoming"),
    "west_warehouse.restocks_west": sources.restocks(),
    "west_warehouse.order_errors_west": sources.order_errors(),
    "west_warehouse.dispatch_logs_west": sources.dispatch_logs(extra=["dock_door"]),
    "logistics_core.vehicle_tracking": sources.vehicle_tracking(),
    "logistics_core.routes": sources.route_updates(),
    "logistics_core.delivery_sla": sources.delivery_sla(),
    "ml_insights.demand_forecast": sources.demand_forecast(),
    "ml_insights.sla_risk": sources.sla_risk(),
    "ml_insights.stockout_risk": sources.stockout_risk(),
}
FEEDS = {product: source.line.event for product, source in SOURCES.items()}
TABLES = (
    *(f"logistics_core.fact_{name}" for name in ("orders", "returns", "inventory_movements", "vehicle_routes")),
    *(f"logistics_core.fact_{name}" for name in ("dispatch_logs", "order_errors", "delivery_sla")),
    *(f"ml_insights.fact_{name}" for name in ("forecast_demand", "stockout_risks", "sla_risk")),
    *(f"logistics_core.dim_{name}" for name in ("product", "warehouse", "customer", "date")),
    *(f"logistics_core.dim_{name}" for name in ("employee", "error_code", "vehicle", "route")),
    "logistics_core.kpi_inventory_available",
)


def key_of(
    start: date,
    days: int,
    rates: Rates = NO_FAULTS,
    seed: int = 7,
    sites: Mapping[str, Place] = SITES,
    feeds: Mapping[str, str] = FEEDS,
) -> dict[str, dict[str, Any]]:
    """The key of the whole company."""
    return answer_key(ROOT, sites, feeds, TABLES, seed, start, days, rates)


def arrivals(
    product: str, day: int, rates: Rates, start: date, seed: int = 7, sites: Mapping[str, Place] = SITES
) -> list[bytes]:
    """The lines of a product that arrive on a day."""
    source = SOURCES[product]
    return source.arrivals(
        product.split(".")[0],
        sites,
        root=ROOT,
        seed=seed,
        start=start,
        day=day,
        rates=rates,
        product=product,
        event_type=source.line.event,
        producer="produce_orders",
        schema_version="1.0.0",
    )


def told(world: World, line: Line, domain: str, days: int) -> list[Events]:
    """The events of a line on each of the first days."""
    return [world.events(line, domain, SITES, day) for day in range(days)]


def column(days: list[Events], name: str) -> NDArray[Any]:
    """One column of all days; `at` is the event time."""
    return np.concatenate([events.at if name == "at" else events[name] for events in days])
