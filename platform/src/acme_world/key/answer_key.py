"""Computing the answer key: the rows, sums and counts that each table must have after a run.

They follow from the world and the plan of faults. This module uses no event, encoding or model, so that an error in
those cannot hide in the key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.key.dimensions import Dimensions
from acme_world.truth import lines
from acme_world.truth.anomalies import Anomaly
from acme_world.truth.clock import DAY_MS
from acme_world.truth.lines import LINES, Events, Line, join
from acme_world.truth.site import Site
from acme_world.truth.world import World, open_world
from acme_world.wire.faults import Rates, plan_faults

# The sums of each line, by their column in the product's table: the column of the truth and its decimal places.
MEASURES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    lines.ORDERS.event: {"quantity": ("quantity", 0), "amount_usd": ("amount_usd", 2)},
    lines.RETURNS.event: {"quantity": ("quantity", 0), "refund_amount_usd": ("refund_amount_usd", 2)},
    lines.INVENTORY.event: {"quantity_change": ("quantity_change", 0)},
    lines.RESTOCKS.event: {"quantity": ("quantity", 0)},
    lines.ORDER_ERRORS.event: {"quantity": ("quantity", 0)},
    lines.DISPATCH_LOGS.event: {"package_count": ("package_count", 0), "weight_kg": ("weight_kg", 3)},
    lines.VEHICLE_TRACKING.event: {"distance_km": ("distance_km", 1), "load_kg": ("load_kg", 3)},
    lines.ROUTE_UPDATES.event: {},
    lines.DELIVERY_SLA.event: {"delay_minutes": ("delay_minutes", 0)},
    lines.DEMAND_FORECAST.event: {"predicted_units": ("predicted_units", 3)},
    lines.SLA_RISK.event: {"risk_score": ("risk_score", 4)},
    lines.STOCKOUT_RISK.event: {"risk_score": ("risk_score", 4)},
}
# The facts with one line each; `_facts` has the two facts that combine two lines.
FACTS: Mapping[str, Line] = {
    "logistics_core.fact_orders": lines.ORDERS,
    "logistics_core.fact_returns": lines.RETURNS,
    "logistics_core.fact_dispatch_logs": lines.DISPATCH_LOGS,
    "logistics_core.fact_vehicle_routes": lines.VEHICLE_TRACKING,
    "logistics_core.fact_delivery_sla": lines.DELIVERY_SLA,
    "ml_insights.fact_forecast_demand": lines.DEMAND_FORECAST,
    "ml_insights.fact_sla_risk": lines.SLA_RISK,
    "ml_insights.fact_stockout_risks": lines.STOCKOUT_RISK,
}
MOVEMENTS, ERRORS = "logistics_core.fact_inventory_movements", "logistics_core.fact_order_errors"
SLA_MISSED = "E-501"


def answer_key(
    root: Path,
    sites: Mapping[str, Site],
    feeds: Mapping[str, str],
    tables: Collection[str],
    seed: int,
    start: date,
    days: int,
    rates: Rates,
) -> dict[str, dict[str, Any]]:
    """The key for a world of `days` days, counting events that arrived by the end of the last day.

    `sites` has the site of each domain that has one. `feeds` maps each product for which the world sends events to
    the name of the event. The key only has tables that are in `tables`, all tables of the mesh.

    For each product and fact: `rows` and exact `sums` (decimals as strings), the same `by_month` of the event's UTC
    time, `accepted` events (unique and well-formed, equal to rows) and `all` unique ones, including spoilt ones; for
    facts also `dangling`, the rows with a reference that a dimension lacks, and the planted `anomalies`, if any.
    Dimensions have `rows` including their unknown member, and like the KPI `sources`: the products that they are
    built from. `quarantine` counts spoilt events by product. Raises UsageError as the world does.
    """
    world = open_world(root, seed, start)
    by_product = {
        product: _ProductEvents(world, sites, product, LINES[event], days, rates) for product, event in feeds.items()
    }
    by_line: dict[str, list[_ProductEvents]] = {}
    for each in by_product.values():
        by_line.setdefault(each.line.event, []).append(each)
    arrived = {
        event: join(LINES[event], [each.arrived for each in parts]) if len(parts) > 1 else parts[0].arrived
        for event, parts in by_line.items()
    }
    dimensions = Dimensions(root, world.company, {site.warehouse_id for site in sites.values()}, arrived)
    spoilt = {event: sum(each.spoilt for each in parts) for event, parts in by_line.items()}
    planted = [
        (each, anomaly)
        for domain in sites
        for day in range(days)
        for anomaly in world.anomalies(domain, sites[domain], day)
        for each in by_line.get(anomaly.event, ())
        if each.domain == domain
    ]
    key = {name: _figures(each.line, each.arrived, each.spoilt) for name, each in by_product.items()}
    for name, (line, events, count) in _facts(arrived, spoilt).items():
        if name in tables:
            found = [
                shown for each, anomaly in planted if anomaly.event == line.event and (shown := each.shown(anomaly))
            ]
            key[name] = {
                **_figures(line, events, count),
                "dangling": dimensions.count_dangling(events),
                **({"anomalies": found} if found else {}),
            }
    products = {event: [each.product for each in parts] for event, parts in by_line.items()}
    for name, figures, made_of in dimensions.tables():
        if name in tables:
            key[name] = {**figures, "sources": [product for event in made_of for product in products.get(event, ())]}
    key["quarantine"] = {name: each.spoilt for name, each in by_product.items()}
    return key


class _ProductEvents:
    """The events of one product in the world: those that `arrived`, and the number of spoilt ones."""

    def __init__(
        self, world: World, sites: Mapping[str, Site], product: str, line: Line, days: int, rates: Rates
    ) -> None:
        self.product, self.domain, self.line, self.spoilt = product, product.split(".")[0], line, 0
        parts = []
        for day in range(days):
            events = world.events(line, self.domain, sites, day)
            plan = plan_faults(world.seed, world.start, product, day, len(events), rates)
            self.spoilt += int((plan.malformed > 0).sum())
            parts.append(events.take((plan.malformed == 0) & (day + plan.arrival_delay < days)))
        self.arrived = join(line, parts)

    def shown(self, anomaly: Anomaly) -> dict[str, Any] | None:
        """The anomaly with those of its events that arrived; None without any."""
        of_product = self.arrived["product_id"] == anomaly.product_id if anomaly.product_id else True
        ids = self.arrived[self.line.id_field][np.isin(self.arrived[self.line.id_field], anomaly.ids) & of_product]
        if not len(ids):
            return None
        return {
            "domain": anomaly.domain,
            "date": anomaly.day.isoformat(),
            "kind": anomaly.kind,
            **({"product_id": anomaly.product_id} if anomaly.product_id else {}),
            "ids": sorted(set(ids.tolist())),
        }


def _facts(arrived: Mapping[str, Events], spoilt: Mapping[str, int]) -> dict[str, tuple[Line, Events, int]]:
    """Each fact with a source: the line whose measures it has, its events, and the number of spoilt ones."""
    facts = {
        name: (line, arrived[line.event], spoilt[line.event]) for name, line in FACTS.items() if line.event in arrived
    }
    moved, restocked = arrived.get(lines.INVENTORY.event), arrived.get(lines.RESTOCKS.event)
    failed, delivered = arrived.get(lines.ORDER_ERRORS.event), arrived.get(lines.DELIVERY_SLA.event)
    if moved is not None or restocked is not None:
        parts = (
            [_only(moved, "product_id", "warehouse_id", "employee_id", "quantity_change")]
            if moved is not None
            else []
        )
        if restocked is not None:
            renamed = {**restocked.columns, "quantity_change": restocked["quantity"]}
            parts.append(
                _only(Events(restocked.at, renamed), "product_id", "warehouse_id", "employee_id", "quantity_change")
            )
        count = sum(spoilt.get(line.event, 0) for line in (lines.INVENTORY, lines.RESTOCKS))
        facts[MOVEMENTS] = (lines.INVENTORY, _concatenate(parts), count)
    if failed is not None or delivered is not None:
        parts = [_only(failed, "error_code", "product_id", "quantity")] if failed is not None else []
        if delivered is not None:
            missed = delivered.take(~delivered["sla_met"])
            count = len(missed)
            codes, nothing = np.full(count, SLA_MISSED), np.full(count, "", np.str_)
            parts.append(
                Events(missed.at, {"error_code": codes, "product_id": nothing, "quantity": np.full(count, -1)})
            )
        # A spoilt delivery may have been in time, so only spoilt error events count for this fact.
        facts[ERRORS] = (lines.ORDER_ERRORS, _concatenate(parts), spoilt.get(lines.ORDER_ERRORS.event, 0))
    return facts


def _only(events: Events, *columns: str) -> Events:
    return Events(events.at, {name: events[name] for name in columns})


def _concatenate(parts: list[Events]) -> Events:
    """All events of the parts, unordered."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    return Events(np.concatenate([part.at for part in parts]), columns)


def _figures(line: Line, events: Events, spoilt: int) -> dict[str, Any]:
    months = (events.at // DAY_MS).astype("datetime64[D]").astype("datetime64[M]")
    names, of = np.unique(months, return_inverse=True)
    by_month = {str(name): _totals(line, events.take(of == place)) for place, name in enumerate(names)}
    count = len(events)
    return {**_totals(line, events), "by_month": by_month, "accepted": count, "all": count + spoilt}


def _totals(line: Line, events: Events) -> dict[str, Any]:
    nullable = {field.name for field in line.fields if field.nullable}
    sums: dict[str, int | str] = {}
    for name, (column, scale) in MEASURES[line.event].items():
        values: NDArray[np.int64] = events[column]
        total = int(values[values >= 0].sum() if column in nullable else values.sum())
        sums[name] = write_decimal(total, scale) if scale else total
    return {"rows": len(events), "sums": sums}


def write_decimal(value: int, scale: int) -> str:
    """Write a decimal given in units of its last of `scale` places: -1234 with scale 2 is -12.34."""
    sign, digits = "-" if value < 0 else "", f"{abs(value):0{scale + 1}d}"
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
