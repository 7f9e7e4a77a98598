"""Order anomalies: what the query finds on weeks that are made up here, and that it sees published facts alone."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from mesh_platform.engine.duckdb import own_database
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import find_root
from mesh_platform.sql.model import read_models

TABLE, FIRST, DAYS = "ml_insights.fact_order_anomalies", date(2026, 1, 5), 70
WEEKDAYS = np.array([0.6, 0.8, 1.0, 1.2, 2.2, 2.4, 0.4])
QUERY = (Path(__file__).parents[1] / "models" / "fact_order_anomalies.sql").read_text(encoding="utf-8")


def judged(orders: np.ndarray) -> dict[tuple[str, date], tuple[float | None, bool]]:
    """The score of each warehouse's orders on each day, and whether it is an anomaly, of warehouses x days."""
    rows = [
        {
            "warehouse_id": f"WH-{place}",
            "order_date": FIRST + timedelta(days=day),
            "order_id": f"{place}-{day}-{number}",
        }
        for (place, day), count in np.ndenumerate(orders)
        for number in range(count)
    ]
    lines = pa.Table.from_pylist(rows)
    with own_database() as session:
        session.register("lines", lines)
        session.execute("CREATE SCHEMA logistics_core")
        for name, select in {
            "fact_orders": "*, 'P-1' AS product_id, 1 AS quantity, 9.0 AS unit_price_usd FROM lines",
            "dim_product": "'P-1' AS product_id, 10.0 AS list_price_usd",
            "fact_order_errors": "'' AS warehouse_id, '' AS source, now() AS error_ts, today() AS error_date LIMIT 0",
        }.items():
            session.execute(f"CREATE TABLE logistics_core.{name} AS SELECT {select}")
        found = session.execute(f"SELECT * FROM ({QUERY}) WHERE measure = 'orders'").fetchall()
    return {(place, day): (score, anomaly) for place, day, _, _, _, score, anomaly in found}


def usual(seed: int = 1, growth: float = 0.01) -> np.ndarray:
    """Orders of two warehouses with weekdays, and a season that goes up."""
    day = np.arange(DAYS)
    return np.random.default_rng(seed).poisson(150 * WEEKDAYS[day % 7] * np.exp(growth * day) * np.ones((2, 1)))


def test_a_day_of_half_the_orders_and_one_of_twice_are_found_and_no_other() -> None:
    orders = usual()
    orders[0, 60] //= 2
    orders[1, 41] *= 2
    found = {place for place, (_, anomaly) in judged(orders).items() if anomaly}
    assert found == {("WH-0", FIRST + timedelta(days=60)), ("WH-1", FIRST + timedelta(days=41))}


def test_weekdays_and_a_rising_season_are_no_anomaly_and_the_first_two_weeks_are_not_judged() -> None:
    found = judged(usual(seed=2))
    assert not any(anomaly for _, anomaly in found.values())
    judged_from = min(day for (_, day), (score, _) in found.items() if score is not None)
    assert judged_from == FIRST + timedelta(days=14)


def test_a_last_day_that_is_not_over_is_no_anomaly_before_another_begins() -> None:
    orders = usual()
    orders[:, -1] //= 4
    last = FIRST + timedelta(days=DAYS - 1)
    assert not judged(orders)["WH-0", last][1]
    assert judged(np.column_stack([orders, [[9], [9]]]))["WH-0", last][1]


def test_nothing_later_changes_what_is_said_of_a_day() -> None:
    orders = usual()
    later = orders.copy()
    later[:, 50:] *= 3
    before = [
        {place: what for place, what in judged(each).items() if place[1] < FIRST + timedelta(days=50)}
        for each in (orders, later)
    ]
    assert before[0] == before[1]
    assert len(before[0]) == 100


def test_it_reads_published_tables_of_orders_and_no_personal_data() -> None:
    models = read_models(load_mesh(find_root(Path(__file__))))
    read = {"logistics_core.fact_orders", "logistics_core.fact_order_errors", "logistics_core.dim_product"}
    assert set(models[TABLE].inputs) == read
    assert "customer_id" not in QUERY
