"""Predictions come in time, use only what is known, and have plausible errors."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from acme_world.truth.clock import DAY_MS, HOUR_MS, MINUTE_MS, midnight
from acme_world.truth.demand import Demand
from acme_world.truth.lines import DISPATCH_LOGS, LINES, Events, arrange
from acme_world.truth.predictions import MODEL_NAME, Predictions
from acme_world.truth.reference import read_products
from numpy.typing import NDArray

ROOT = Path(__file__).parents[3]
START = date(2025, 10, 1)
PRODUCTS = read_products(ROOT)
SEEDS = (0, 1, 42)


def predictions(seed: int = 7) -> Predictions:
    return Predictions("north_warehouse", "WH-NORTH", seed, START)


def expected(day: int) -> NDArray[np.float64]:
    return 400 * Demand("north_warehouse", PRODUCTS).expect(START + timedelta(days=day), day)


def some_dispatches(count: int, at: int) -> Events:
    named = {field.name: np.array([f"{field.name}-{n:04d}" for n in range(count)]) for field in DISPATCH_LOGS.fields}
    named["dock_door"] = np.full(count, "D-01")
    return arrange(DISPATCH_LOGS, at + np.arange(count), named)


def check_form(event: str, events: Events) -> None:
    assert set(LINES[event].truth) <= events.columns.keys()
    assert (np.diff(events.at) >= 0).all()
    ids = events[LINES[event].id_field].tolist()
    assert ids == sorted(set(ids))
    assert set(events["model_name"].tolist()) == {MODEL_NAME}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_forecast_is_told_before_its_day_and_misses_by_some(seed: int) -> None:
    errors, within = [], []
    truth = np.random.default_rng(seed)
    for day in range(28):
        wanted = expected(day + 1)
        told = predictions(seed).forecast_demand(day, PRODUCTS.product_id, wanted)
        check_form("demand_forecast_generated", told)
        first = midnight(START) + day * DAY_MS
        assert (told.at >= first + 3 * HOUR_MS).all()
        assert (told.at < first + 3 * HOUR_MS + 5 * MINUTE_MS).all()
        assert set(told["target_date"].tolist()) == {(START + timedelta(days=day + 1)).toordinal()}
        assert told["product_id"].tolist() == PRODUCTS.product_id[wanted > 0].tolist()
        low, middle, high = (told[name] for name in ("lower_units", "predicted_units", "upper_units"))
        assert ((low >= 0) & (low < middle) & (middle < high)).all()
        units = truth.poisson(wanted[wanted > 0]) * 1000
        within += ((low <= units) & (units <= high)).tolist()
        errors += (middle / 1000 / wanted[wanted > 0] - 1).tolist()
    assert 0.05 < np.std(errors) < 0.3
    assert abs(np.mean(errors)) < 0.1
    assert np.mean(within) > 0.85


def test_a_product_to_be_launched_tomorrow_has_a_forecast_and_one_of_later_none() -> None:
    launched = dict(zip(PRODUCTS.product_id.tolist(), PRODUCTS.launched.tolist(), strict=True))
    newcomer = next(name for name, day in launched.items() if day == date(2025, 10, 20).toordinal())
    for day, told in ((17, False), (18, True)):
        forecast = predictions().forecast_demand(day, PRODUCTS.product_id, expected(day + 1))
        assert (newcomer in forecast["product_id"]) is told


def test_an_emptier_shelf_is_at_greater_risk() -> None:
    wanted = np.full(400, 6.0)
    names = np.array([f"P-{n:04d}" for n in range(400)])
    shelf = np.repeat(np.array([0, 10, 20, 60], np.int64), 100)
    told = predictions().rate_stockouts(4, names, shelf, wanted)
    check_form("stockout_risk_predicted", told)
    first = midnight(START) + 4 * DAY_MS
    assert ((told.at >= first + 3 * HOUR_MS) & (told.at < first + 4 * HOUR_MS)).all()
    scores = [told["risk_score"][shelf == units].mean() / 10_000 for units in (0, 10, 20, 60)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.95
    assert scores[-1] < 0.05
    assert told["days_of_cover"][shelf == 10].tolist() == [167] * 100
    assert told["risk_level"].tolist() == [level(score) for score in told["risk_score"].tolist()]
    asked = np.where(np.arange(400) % 2 == 0, 6.0, 0.0)
    assert len(predictions().rate_stockouts(4, names, np.full(400, 10**9), asked)) == 200
    assert predictions().rate_stockouts(4, names, np.full(400, 10**9), asked)["days_of_cover"].max() == 99_900


def level(score: int) -> str:
    return "high" if score >= 6000 else "medium" if score >= 3000 else "low"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_risk_of_lateness_follows_its_dispatch_and_the_chance(seed: int) -> None:
    sent = some_dispatches(2000, midnight(START) + DAY_MS - 2000)
    chance = np.random.default_rng(seed).random(2000)
    chance[:2] = 0.0, 1.0
    told = predictions(seed).rate_deliveries(0, sent, chance)
    check_form("sla_risk_predicted", told)
    assert set(told["dispatch_id"].tolist()) == set(sent["dispatch_id"].tolist())
    numbers = np.array([int(name[-4:]) for name in told["dispatch_id"].tolist()])
    after = told.at - sent.at[numbers]
    assert ((after >= MINUTE_MS) & (after < 10 * MINUTE_MS)).all()
    assert np.corrcoef(told["risk_score"], chance[numbers])[0, 1] > 0.9
    assert ((told["risk_score"] >= 0) & (told["risk_score"] <= 10_000)).all()
    assert told["risk_level"].tolist() == [level(score) for score in told["risk_score"].tolist()]
    assert [order[-4:] for order in told["order_id"].tolist()] == [each[-4:] for each in told["dispatch_id"].tolist()]


def test_predictions_repeat_and_differ_by_seed_and_day() -> None:
    def units(seed: int, day: int) -> list[int]:
        told = predictions(seed).forecast_demand(day, PRODUCTS.product_id, expected(10))
        found: list[int] = told["predicted_units"].tolist()
        return found

    assert units(7, 3) == units(7, 3) != units(8, 3)
    assert units(7, 3) != units(7, 4)


def test_without_dispatches_nothing_is_predicted() -> None:
    none = some_dispatches(0, 0)
    assert len(predictions().rate_deliveries(0, none, np.zeros(0))) == 0
