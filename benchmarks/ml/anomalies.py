"""How well fact_order_anomalies finds what is planted, by the simulation and here. Its SQL reads three tables."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np

from benchmarks.ml.world import Facts

MODEL = Path(__file__).parents[2] / "domains" / "ml_insights" / "models" / "fact_order_anomalies.sql"
# What shows an anomaly of the simulation. Those of stock are no order's.
SHOWN_BY = {"bulk_order": "largest_line", "price_glitch": "lowest_price", "error_storm": "errors"}
# Planted here, one in two weeks for each warehouse: half a day without orders, or three fifths more of them.
EVERY, OUTAGE_HOURS, RUSH_TENTHS = 14, 12, 6
# The days before are too few to judge by. A month is so long.
FROM, MONTH = 28, 30.4375

# What was found or planted: a warehouse, a day and a measure.
Days = set[tuple[str, date, str]]


def anomaly_scores(facts: Facts, quiet: Facts, seed: int) -> dict[str, float]:
    """Shares of planted anomalies that were found, of found ones that were planted, and false alerts in `quiet`.

    `quiet` is a world without anomalies; its false alerts are for a region and month.
    """
    first = facts.panel.first + timedelta(days=FROM)
    session = _load(facts)
    planted = {
        kind: {(warehouse, day, measure) for warehouse, day, planted_kind in facts.planted if planted_kind == kind}
        for kind, measure in SHOWN_BY.items()
    }
    planted |= _plant(session, first, facts.panel.days - FROM, seed)
    planted = {kind: {each for each in days if each[1] >= first} for kind, days in planted.items()}
    found = _found(session, first)
    everything = set().union(*planted.values())
    months = len(set(quiet.panel.warehouse)) * (quiet.panel.days - FROM) / MONTH
    return {
        **{f"anomalies, {kind} found": len(found & days) / len(days) for kind, days in planted.items()},
        "anomalies, planted": len(everything),
        "anomalies, found": len(found & everything) / len(everything),
        "anomalies, true alerts": len(found & everything) / len(found),
        "anomalies, false alerts": len(_found(_load(quiet), first)) / months,
    }


def _load(facts: Facts) -> duckdb.DuckDBPyConnection:
    """A session with the tables that the model reads."""
    session = duckdb.connect(config={"threads": 1})
    session.execute("SET enable_progress_bar = false")
    session.register("orders", facts.orders)
    session.register("errors", facts.errors)
    session.execute("CREATE SCHEMA logistics_core")
    for name, select in {
        "fact_orders": "* EXCLUDE placed_at, make_timestamp(placed_at * 1000) AS order_ts, "
        "CAST(order_ts AS date) AS order_date FROM orders",
        "fact_order_errors": "warehouse_id, source, make_timestamp(failed_at * 1000) AS error_ts, "
        "CAST(error_ts AS date) AS error_date FROM errors",
        "dim_product": f"product_id, list_price_usd FROM read_csv('{_products()}')",
    }.items():
        session.execute(f"CREATE TABLE logistics_core.{name} AS SELECT {select}")
    return session


def _products() -> Path:
    return MODEL.parents[2] / "logistics_core" / "reference" / "products.csv"


def _plant(session: duckdb.DuckDBPyConnection, first: date, days: int, seed: int) -> dict[str, Days]:
    """Change the orders of one day of each warehouse in every `EVERY`."""
    draw = np.random.default_rng(seed)
    planted: dict[str, Days] = {"outage": set(), "rush": set()}
    warehouses = session.execute("SELECT DISTINCT warehouse_id FROM logistics_core.fact_orders ORDER BY 1").fetchall()
    for (warehouse,) in warehouses:
        for begin in range(0, days - EVERY + 1, EVERY):
            day = first + timedelta(days=begin + int(draw.integers(0, EVERY)))
            kind, hour = ("outage", "rush")[int(draw.integers(0, 2))], int(draw.integers(0, 25 - OUTAGE_HOURS))
            planted[kind].add((warehouse, day, "orders"))
            where = "FROM logistics_core.fact_orders WHERE warehouse_id = ? AND order_date = ?"
            if kind == "outage":
                session.execute(
                    f"DELETE {where} AND hour(order_ts) >= ? AND hour(order_ts) < ?",
                    [warehouse, day, hour, hour + OUTAGE_HOURS],
                )
            else:
                again = f"SELECT * REPLACE (order_id || '-again' AS order_id) {where} AND hash(order_id) % 10 < ?"
                session.execute(f"INSERT INTO logistics_core.fact_orders {again}", [warehouse, day, RUSH_TENTHS])
    return planted


def _found(session: duckdb.DuckDBPyConnection, first: date) -> Days:
    found = (
        f"SELECT warehouse_id, order_date, measure FROM ({MODEL.read_text()}) WHERE is_anomaly AND order_date >= ?"
    )
    return set(session.execute(found, [first]).fetchall())
