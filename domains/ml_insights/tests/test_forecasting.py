"""The models learn what is in the data, and nothing of the days that they are asked about: `make test-ml`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

# `make test-ml`, which the gate runs, has an environment with them.
pytest.importorskip("sklearn", reason="the models' packages are not in this environment: make test-ml")

import pyarrow as pa

from ml_insights.forecasting.demand import train
from ml_insights.forecasting.forecast import LastWeek, with_spread
from ml_insights.forecasting.frames import delivery_columns, panel_of, stock_of
from ml_insights.forecasting.panel import Panel, discounts, promotion_cycle
from ml_insights.forecasting.risks import DELIVERY, SHELF, RiskModel, shelf_columns
from ml_insights.forecasting.spread import QUANTILES, learn_spread

WEEKDAYS = np.array([0.6, 0.8, 1.0, 1.2, 1.6, 1.4, 0.4])
CYCLE, LASTS, OFF = 28, 5, 0.2


def made(days: int = 180, series: int = 12, seed: int = 1, lift: float = 0.8) -> tuple[Panel, np.ndarray]:
    """Sales with weekdays and promotions that come every four weeks, and what was expected of them."""
    draw = np.random.default_rng(seed)
    at = np.arange(days)
    on_offer = (at[None, :] + 7 * np.arange(series)[:, None]) % CYCLE < LASTS
    level = np.linspace(2.0, 20.0, series)[:, None]
    expected = level * WEEKDAYS[(date(2026, 1, 5).weekday() + at) % 7] * np.where(on_offer, 1 + lift, 1.0)
    units = draw.poisson(expected).astype(float)
    price = np.where(units > 0, np.where(on_offer, 1 - OFF, 1.0) * draw.normal(1.0, 0.005, units.shape), np.nan)
    names = np.array([f"P-{n:02d}" for n in range(series)])
    panel = Panel(date(2026, 1, 5), np.full(series, "WH-A"), names, np.full(series, "Toys"), units, price)
    return panel, expected


def test_a_forecast_is_near_what_was_expected_on_days_with_and_without_a_promotion() -> None:
    panel, expected = made()
    forecast = train(panel.until(152)).forecast(28)
    off = np.abs(forecast / expected[:, 152:] - 1)
    usual = panel.units[:, :152].mean(axis=1, keepdims=True) * WEEKDAYS[np.arange(152, 180) % 7]
    on_offer = expected[:, 152:] > 1.5 * usual
    assert on_offer.any()
    assert off.mean() < 0.08
    assert off[on_offer].mean() < 0.12


def test_promotions_are_found_in_the_prices_with_their_cycle() -> None:
    panel, _ = made()
    found = discounts(panel)
    assert ((found == 0) | (np.abs(found - OFF) < 0.03)).all()
    assert promotion_cycle(found) in {CYCLE, 2 * CYCLE, 3 * CYCLE, 4 * CYCLE}
    assert promotion_cycle(np.zeros_like(found)) is None


def test_nothing_after_the_origin_changes_a_forecast() -> None:
    panel, _ = made()
    draw = np.random.default_rng(2)
    later = replace(panel, units=panel.units.copy(), price=panel.price.copy())
    later.units[:, 152:] = draw.poisson(100.0, (12, 28))
    later.price[:, 152:] = 0.1
    assert np.array_equal(train(panel.until(152)).forecast(28), train(later.until(152)).forecast(28))
    # The day before it does.
    later.units[:, 151] = 500
    assert not np.array_equal(train(panel.until(152)).forecast(28), train(later.until(152)).forecast(28))


def test_the_same_panel_gives_the_same_forecast_bit_by_bit() -> None:
    panel, _ = made()
    assert train(panel).forecast(28).tobytes() == train(panel).forecast(28).tobytes()


def test_a_history_of_less_than_two_weeks_is_refused() -> None:
    panel, _ = made()
    with pytest.raises(ValueError, match="13 days: the model needs two weeks"):
        train(panel.until(13))


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_season_is_kept_only_where_it_comes_back(comes_back: bool) -> None:
    draw = np.random.default_rng(5)
    day = np.arange(364 + 140)
    # One rush a year, or one at the beginning and never again.
    rush = np.cos(2 * np.pi * (day - 60) / 365.25) if comes_back else np.exp(-day / 60)
    units = draw.poisson(20 * np.exp(np.tile(rush, (4, 1)))).astype(float)
    names = np.array(["P-1", "P-2", "P-3", "P-4"])
    panel = Panel(
        date(2026, 1, 5), np.full(4, "WH-A"), names, np.full(4, "Toys"), units, np.full(units.shape, np.nan)
    )
    assert train(panel).has_season == comes_back
    # Without a year before the days on which it is tried, there is none.
    assert not train(panel.until(364 + 27)).has_season


def test_the_errors_to_expect_are_those_of_the_same_kind_of_model_from_before_the_last_days() -> None:
    panel, _ = made()
    assert np.array_equal(train(panel).before(28), train(panel.until(panel.days - 28)).forecast(28))


def test_quantiles_hold_as_many_outcomes_as_they_say() -> None:
    draw = np.random.default_rng(3)
    expected = draw.uniform(0.5, 30.0, (100, 56))
    actual = draw.poisson(expected).astype(float)
    spread = learn_spread(actual[:, :28], expected[:, :28])
    held = (actual[:, 28:, None] <= spread.quantiles(expected[:, 28:])).mean(axis=(0, 1))
    assert np.abs(held - np.array(QUANTILES)).max() < 0.08
    assert (np.diff(spread.quantiles(expected), axis=-1) >= 0).all()


def test_a_risk_is_learned_and_calibrated_and_unseen_categories_are_no_error() -> None:
    draw = np.random.default_rng(4)
    count = 20_000
    columns = {name: draw.random(count) for name in DELIVERY}
    columns |= {"vehicle_type": draw.choice(["van", "truck"], count), "route_id": draw.choice(["R-1", "R-2"], count)}
    columns["weather"] = draw.choice(["clear", "snow"], count)
    true = np.where(columns["weather"] == "snow", 0.6, 0.1)
    late = draw.random(count) < true
    model = RiskModel(DELIVERY, columns, late)
    chance = model.chance(columns)
    for weather, share in (("snow", 0.6), ("clear", 0.1)):
        assert chance[columns["weather"] == weather].mean() == pytest.approx(share, abs=0.02)
    unseen = model.chance({**columns, "weather": np.full(count, "hail")})
    assert ((unseen >= 0) & (unseen <= 1)).all()


def test_the_features_of_a_shelf_say_when_goods_come() -> None:
    received = np.array([[0, 5, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0]])
    on_hand = np.full((2, 6), 4)
    columns = shelf_columns(on_hand, received, np.full((2, 6), 2.0))
    assert set(columns) == set(SHELF)
    assert np.array_equal(columns["days_since_restock"][0], [np.nan, 0, 1, 2, 0, 1], equal_nan=True)
    assert columns["usual_restock_days"][0, 5] == 3
    assert np.isnan(columns["usual_restock_days"][1]).all()
    assert (columns["cover_days"] == 2).all()


def demand_rows(*rows: tuple[str, str, int, int, float]) -> pa.Table:
    """Rows of daily demand: product, warehouse, day, units and what was paid for them, at a list price of ten."""
    names = ("product_id", "warehouse_id", "date", "units", "amount_usd")
    columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    columns["date"] = pa.array([date(2026, 1, day) for day in columns["date"]], pa.date32())
    return pa.table({**columns, "category": ["Toys"] * len(rows), "list_price_usd": [10.0] * len(rows)})


def test_rows_of_demand_become_series_with_days_without_a_sale() -> None:
    rows = demand_rows(("P-2", "WH-A", 5, 3, 30.0), ("P-1", "WH-A", 5, 2, 16.0), ("P-1", "WH-A", 8, 1, 10.0))
    panel = panel_of(rows)
    assert (panel.first, panel.product.tolist()) == (date(2026, 1, 5), ["P-1", "P-2"])
    assert panel.units.tolist() == [[2, 0, 0, 1], [3, 0, 0, 0]]
    assert np.array_equal(panel.price, [[0.8, np.nan, np.nan, 1.0], [1.0, np.nan, np.nan, np.nan]], equal_nan=True)
    # Later rows for the same series and first day: another series is left out, and so are days before and after.
    later = demand_rows(("P-1", "WH-A", 4, 9, 90.0), ("P-1", "WH-A", 6, 4, 40.0), ("P-3", "WH-A", 6, 7, 70.0))
    assert panel_of(later, panel, date(2026, 1, 7)).units.tolist() == [[0, 4], [0, 0]]


def test_a_shelf_keeps_what_it_had_on_a_day_without_a_row() -> None:
    panel = panel_of(demand_rows(("P-1", "WH-A", 5, 2, 16.0), ("P-1", "WH-A", 8, 1, 10.0)))
    days = pa.array([date(2026, 1, 5), date(2026, 1, 7)], pa.date32())
    rows = pa.table(
        {"product_id": ["P-1"] * 2, "warehouse_id": ["WH-A"] * 2, "date": days, "on_hand": [7, 2], "received": [5, 0]}
    )
    stock = stock_of(rows, panel, date(2026, 1, 9))
    assert stock.on_hand.tolist() == [[7, 7, 2, 2]]
    assert stock.received.tolist() == [[5, 0, 0, 0]]


def test_what_is_missing_of_a_delivery_is_no_number_or_no_text() -> None:
    left, promised = datetime(2026, 1, 5, 22, 30, tzinfo=UTC), datetime(2026, 1, 6, 4, 0, tzinfo=UTC)
    rows = pa.table(
        {
            "dispatch_ts": pa.array([left], pa.timestamp("us", "UTC")),
            "promised_ts": pa.array([promised], pa.timestamp("us", "UTC")),
            "load_kg": [50.0],
            "capacity_kg": pa.array([None], pa.int32()),
            "weight_kg": [2.5],
            "orders": [3],
            "vehicle_type": pa.array([None], pa.string()),
            "weather": ["rain"],
            "route_id": ["R-1"],
        }
    )
    columns = delivery_columns(rows)
    assert set(columns) == set(DELIVERY)
    assert (columns["promised_hours"][0], columns["hour"][0], columns["vehicle_type"][0]) == (5.5, 22, "")
    assert np.isnan(columns["load_share"][0])


def test_a_forecast_says_as_events_what_it_expects_of_the_days_from_now_on() -> None:
    panel, _ = made(days=56, series=2)
    forecast = with_spread(LastWeek(panel), 28)
    ahead = 3
    now = datetime(2026, 1, 5, 6, tzinfo=UTC) + timedelta(days=56 + ahead)
    rows = forecast.predict({}, now, "t1").to_pylist()
    assert len(rows) == len({row["forecast_id"] for row in rows}) == 2 * 28
    assert rows[0]["target_date"] == now.date()
    # Three days after the week that it repeats, that is its fourth day.
    assert [row["predicted_units"] for row in rows[:7]] == np.roll(panel.units[0, -7:], -ahead).tolist()
    assert all(0 <= row["lower_units"] <= row["predicted_units"] <= row["upper_units"] for row in rows)
