"""The stock, histories and dangling of the answer key equal those computed here row by row."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from datetime import date
from typing import Any

import numpy as np
import pytest
from acme_world.key.totals import write_decimal
from acme_world.key.versions import find_versions
from acme_world.truth import lines
from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.world import WAREHOUSE_LINES, open_world
from acme_world.wire.faults import Rates, plan_faults
from hypothesis import given
from hypothesis import strategies as st

from ..company import FEEDS, NO_FAULTS, ROOT, SITES, TABLES, key_of

START = date(2025, 10, 25)
DAYS = 16
RATES = Rates(0.1, 0.1, 0.05)


def arrived(product: str, rates: Rates) -> list[dict[str, Any]]:
    """The well-formed events of a product that arrived in DAYS days, as rows."""
    world, line = open_world(ROOT, 7, START), lines.LINES[FEEDS[product]]
    found = []
    for day in range(DAYS):
        events = world.events(line, product.split(".")[0], SITES, day)
        plan = plan_faults(7, START, product, day, len(events), rates)
        columns = {"at": events.at, **events.columns}
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        for place, row in enumerate(rows):
            if plan.malformed[place] == 0 and day + plan.arrival_delay[place] < DAYS:
                found.append(dict(zip(columns, row, strict=True)))
    return found


def of_line(line: lines.Line, rates: Rates) -> list[dict[str, Any]]:
    return [row for product, event in FEEDS.items() if event == line.event for row in arrived(product, rates)]


def all_moves(rates: Rates) -> list[dict[str, Any]]:
    """Movements and restocks in order of time."""
    return sorted([*of_line(lines.INVENTORY, rates), *of_line(lines.RESTOCKS, rates)], key=lambda row: row["at"])


def test_without_faults_the_kpi_is_the_shelf_at_each_days_end() -> None:
    key = key_of(START, DAYS)["logistics_core.kpi_inventory_available"]
    world = open_world(ROOT, 7, START)
    shelves = np.array([[world.warehouse(d, s).day(day).on_hand for day in range(DAYS)] for d, s in SITES.items()])
    assert key["sums"]["inventory_available"] == int(shelves.sum()) > 0
    moved = {(row["warehouse_id"], row["product_id"]): row["at"] // DAY_MS for row in reversed(all_moves(NO_FAULTS))}
    end = midnight(START) // DAY_MS + DAYS
    assert key["rows"] == sum(end - first for first in moved.values()) > DAYS * 400


def test_the_kpi_of_what_arrived_is_what_a_ledger_says() -> None:
    key = key_of(START, DAYS, RATES)["logistics_core.kpi_inventory_available"]
    changes: dict[tuple[str, str], defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in all_moves(RATES):
        by_day = changes[row["product_id"], row["warehouse_id"]]
        by_day[row["at"] // DAY_MS] += row["quantity_change"] if "quantity_change" in row else row["quantity"]
    last = max(day for days in changes.values() for day in days)
    rows = total = 0
    for days in changes.values():
        on_hand = 0
        for day in range(min(days), last + 1):
            on_hand += days[day]
            total, rows = total + on_hand, rows + 1
    assert key == {
        "rows": rows,
        "sums": {"inventory_available": total},
        "sources": [name for name, event in FEEDS.items() if event in ("inventory_movement",)]
        + [name for name, event in FEEDS.items() if event == "inventory_restock_event"],
    }


def versions(beginnings: dict[str, tuple[int, tuple[Any, ...]]], told: list[tuple[str, int, tuple[Any, ...]]]) -> int:
    """Count versions by walking through each key's states in order of time; the last of an instant counts."""
    count = 0
    for name in beginnings.keys() | {name for name, _, _ in told}:
        start, state = beginnings.get(name, (-1, None))
        count += state is not None
        at_once = {at: told_state for other, at, told_state in told if other == name and at > start}
        for _, next_state in sorted(at_once.items()):
            count += next_state != state
            state = next_state
    return count


def test_versions_of_vehicles_and_routes_are_those_of_what_arrived() -> None:
    key, logistics = key_of(START, DAYS, RATES), open_world(ROOT, 7, START).company.logistics
    fleet, network = logistics.vehicles, logistics.routes
    homes = {
        vehicle: (midnight(date.fromordinal(day)), (home, "normal"))
        for vehicle, home, day in zip(
            fleet.vehicle_id.tolist(), fleet.home_route_id.tolist(), fleet.in_service.tolist(), strict=True
        )
    }
    reports = [
        (row["vehicle_id"], row["at"], (row["home_route_id"], row["condition"]))
        for row in of_line(lines.VEHICLE_TRACKING, RATES)
    ]
    assert key["logistics_core.dim_vehicle"]["rows"] == versions(homes, reports) + 1 > len(homes) + 20
    plans = {
        route: (midnight(date.fromordinal(day)), (distance, promised, road, "open"))
        for route, distance, promised, road, day in zip(
            *(values.tolist() for values in (network.route_id, network.distance, network.promised)),
            *(values.tolist() for values in (network.road_class, network.opened)),
            strict=True,
        )
    }
    updates = [
        (row["route_id"], row["at"], (row["distance_km"], row["promised_hours"], row["road_class"], row["status"]))
        for row in of_line(lines.ROUTE_UPDATES, RATES)
    ]
    assert key["logistics_core.dim_route"]["rows"] == versions(plans, updates) + 1 > len(plans) + 10


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 1), st.integers(0, 1)), max_size=25),
)
def test_versions_are_counted_as_one_by_one(beginnings: list[int], told: list[tuple[int, int, int, int]]) -> None:
    begun = {f"V{number}": (at, (0, 0)) for number, at in enumerate(beginnings)}
    states = [(f"V{number}", at, (one, other)) for number, at, one, other in told]
    columns = [[*begun, *(name for name, _, _ in states)], [*beginnings, *(at for _, at, _ in states)]]
    parts = [np.array([0] * len(begun) + [state[part] for _, _, state in states]) for part in (0, 1)]
    found = len(find_versions(np.array(columns[0]), np.array(columns[1]), len(begun), *parts))
    assert found == versions(begun, states)


def test_dangling_rows_and_missed_deliveries_are_counted_row_by_row() -> None:
    key, world = key_of(START, DAYS, RATES), open_world(ROOT, 7, START)
    products = set(world.company.products.product_id.tolist())
    customers = {row["customer_id"] for row in of_line(lines.ORDERS, RATES)}
    back = of_line(lines.RETURNS, RATES)
    lost = sum(row["product_id"] not in products or row["customer_id"] not in customers for row in back)
    assert key["logistics_core.fact_returns"]["dangling"] == lost > 0
    moved = all_moves(RATES)
    fact = key["logistics_core.fact_inventory_movements"]
    assert (fact["rows"], fact["dangling"]) == (len(moved), sum(row["product_id"] not in products for row in moved))
    failed = of_line(lines.ORDER_ERRORS, RATES)
    missed = [row for row in of_line(lines.DELIVERY_SLA, RATES) if not row["sla_met"]]
    fact = key["logistics_core.fact_order_errors"]
    assert fact["rows"] == len(failed) + len(missed)
    assert fact["sums"] == {"quantity": sum(row["quantity"] for row in failed if row["quantity"] != -1)}
    assert sum(part["rows"] for part in fact["by_month"].values()) == fact["rows"]
    assert key["logistics_core.fact_delivery_sla"]["dangling"] == 0


def test_what_was_planted_is_told_as_far_as_it_arrived() -> None:
    plain, struck, none = (key_of(START, DAYS, rates) for rates in (NO_FAULTS, RATES, Rates(0, 0, 1)))
    facts = [f"logistics_core.fact_{name}" for name in ("orders", "inventory_movements", "order_errors")]
    found = [each for name in facts for each in plain[name].get("anomalies", [])]
    assert len({each["kind"] for each in found}) >= 3
    assert len(found) >= 5
    ids = {one for each in found for one in each["ids"]}
    fewer = {one for name in facts for each in struck[name].get("anomalies", []) for one in each["ids"]}
    assert fewer < ids
    assert not any("anomalies" in none[name] for name in facts)
    assert not any("anomalies" in figures for name, figures in plain.items() if name not in facts)


def test_the_key_has_what_the_mesh_has() -> None:
    whole = key_of(START, 3)
    assert whole.keys() == {*FEEDS, *TABLES, "quarantine"} - {"logistics_core.dim_date"}
    sites = {name: site for name, site in SITES.items() if name != "west_warehouse"}
    feeds = {name: event for name, event in FEEDS.items() if name.split(".")[0] in sites}
    fewer = key_of(START, 3, feeds=feeds, sites=sites)
    assert "west_warehouse.orders_west" not in fewer
    assert "ml_insights.fact_sla_risk" not in fewer
    assert fewer["north_warehouse.orders_north"] == whole["north_warehouse.orders_north"]
    assert fewer["logistics_core.dim_warehouse"]["rows"] == 4
    assert (
        fewer["logistics_core.dim_vehicle"]["rows"]
        == len(open_world(ROOT, 7, START).company.logistics.vehicles.vehicle_id) + 1
    )


def test_every_event_of_every_line_is_in_the_key() -> None:
    world, days, key = open_world(ROOT, 7, START), 5, key_of(START, 5)
    for line in lines.LINES.values():
        domains = list(SITES) if line in WAREHOUSE_LINES else ["logistics_core"]
        happened = sum(len(world.events(line, domain, SITES, day)) for domain in domains for day in range(days))
        assert sum(key[name]["rows"] for name, event in FEEDS.items() if event == line.event) == happened


@pytest.mark.parametrize(
    ("value", "scale", "text"), [(0, 2, "0.00"), (-5, 2, "-0.05"), (1234, 3, "1.234"), (-120, 1, "-12.0")]
)
def test_decimals_are_written_with_all_their_places(value: int, scale: int, text: str) -> None:
    assert write_decimal(value, scale) == text


def test_the_key_knows_nothing_of_events() -> None:
    check = (
        "import sys, acme_world.key.answer_key; print([m for m in sys.modules if m.startswith(('mesh_', 'acme_'))])"
    )
    loaded = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout
    assert "acme_world.truth.world" in loaded
    for module in (
        "mesh_platform.events.event",
        "acme_world.wire.sources",
        "acme_world.wire.dialect",
        "acme_world.wire.spoiling",
    ):
        assert f"'{module}'" not in loaded
