"""Rolling origins: at each, models learn from the days before it alone, and are scored on the four weeks after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from time import process_time

import numpy as np
from ml_insights.forecasting import demand
from ml_insights.forecasting.forecast import Expects, LastWeek
from ml_insights.forecasting.panel import Panel, rolled
from ml_insights.forecasting.risks import DELIVERY, SHELF, RiskModel, shelf_columns
from ml_insights.forecasting.scores import brier, calibration_error, levels, weighted_quantile_loss
from ml_insights.forecasting.spread import QUANTILES, learn_spread
from numpy.typing import NDArray

from benchmarks.ml.anomalies import anomaly_scores
from benchmarks.ml.rivals import arima, exponential_smoothing
from benchmarks.ml.world import Facts, simulate, simulate_quiet

DAYS, HORIZON, ORIGINS = 484, 28, (400, 428, 456)
QUIET_DAYS = 240
# The quantiles come from the errors on the last three times HORIZON.
TIMES = 3
# The days that the chance of an empty shelf looks ahead, and those that its model learns from.
SHELF_DAYS, LEARN_DAYS = 3, 180
# AutoARIMA takes two to three seconds of CPU for one series: twenty minutes for all.
ARIMA_SERIES = 4
Scores = dict[str, float]
Both = tuple[NDArray[np.float64], NDArray[np.float64]]


def _twice(make: Callable[[Panel], Expects]) -> Callable[[Panel, int], Both]:
    def both(panel: Panel, days: int) -> Both:
        model = make(panel)
        return model.before(days, TIMES), model.forecast(days)

    return both


def _smoothing(panel: Panel) -> Callable[[Panel, int], Both]:
    # Origins have most of their cuts in common.
    @cache
    def smoothed(known_days: int, days: int) -> NDArray[np.float64]:
        return exponential_smoothing(panel.until(known_days), days)

    def both(known: Panel, days: int) -> Both:
        return rolled(known, days, TIMES, lambda each: smoothed(each.days, days)), smoothed(known.days, days)

    return both


# For a panel, what each model forecasts of the last days of a cut of it, from before them, and of those after it.
MODELS: dict[str, Callable[[Panel], Callable[[Panel, int], Both]]] = {
    "last week again": lambda panel: _twice(LastWeek),
    "exponential smoothing": _smoothing,
    "regression": lambda panel: _twice(demand.train),
}


def backtest(seed: int) -> Scores:
    """The scores of all models in the world of `seed`, means over the origins, by what they score."""
    facts = simulate(seed, DAYS)
    each = [_risk_scores(facts, origin) for origin in ORIGINS]
    means = {name: float(np.mean([scores[name] for scores in each])) for name in each[0]}
    found = anomaly_scores(facts, simulate_quiet(seed, QUIET_DAYS), seed)
    return {**means, **found, **demand_scores(facts.panel, ORIGINS), **_beside_arima(facts.panel)}


def demand_scores(panel: Panel, origins: Sequence[int]) -> Scores:
    """The loss of each model by level, and the CPU seconds of the first forecast with its quantiles.

    `origins` are in days from the panel's first.
    """
    found: dict[str, list[float]] = {}
    for name, make in MODELS.items():
        model = make(panel)
        for origin in origins:
            begun = process_time()
            before, ahead = (levels(each, panel.category) for each in model(panel.until(origin), HORIZON))
            # Later ones have fits of it.
            found.setdefault(f"{name}, CPU seconds", [process_time() - begun])
            was, came = (
                levels(panel.units[:, begin:end], panel.category)
                for begin, end in ((origin - TIMES * HORIZON, origin), (origin, origin + HORIZON))
            )
            for level, expected in ahead.items():
                # Each model's quantiles are from its own errors.
                spread = learn_spread(was[level], before[level], 1 if level == "total" else 5)
                loss = weighted_quantile_loss(came[level], spread.quantiles(expected), QUANTILES)
                found.setdefault(f"{name}, {level}", []).append(loss)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _beside_arima(panel: Panel) -> Scores:
    """One training on all series against AutoARIMA: CPU seconds, and the absolute errors of a few series.

    AutoARIMA takes each series alone, so all take as long as the few, times their number.
    """
    origin = ORIGINS[0]
    few = np.arange(0, len(panel.units), len(panel.units) // ARIMA_SERIES)
    known, actual = panel.until(origin), panel.units[few, origin : origin + HORIZON]
    begun = process_time()
    ours = demand.train(known).forecast(HORIZON)[few]
    between = process_time()
    theirs = arima(known.take(few), HORIZON)
    ended = process_time()
    return {
        "regression, CPU seconds for all": between - begun,
        "AutoARIMA, CPU seconds for all": (ended - between) * len(panel.units) / len(few),
        "regression, error": float(np.abs(actual - ours).sum() / actual.sum()),
        "AutoARIMA, error": float(np.abs(actual - theirs).sum() / actual.sum()),
    }


def _risk_scores(facts: Facts, origin: int) -> Scores:
    """Brier scores of the models and of the shares in what they learned from, and calibration errors."""
    scores: Scores = {}
    sent = facts.deliveries
    # What left on the last days may not have arrived when the model learns.
    learn = (sent["day"] < origin - 2) & (sent["day"] >= origin - LEARN_DAYS)
    test = (sent["day"] >= origin) & (sent["day"] < origin + HORIZON)
    model = RiskModel(DELIVERY, {name: sent[name][learn] for name in DELIVERY}, sent["late"][learn])
    chance = model.chance({name: sent[name][test] for name in DELIVERY})
    _add(scores, "late delivery", chance, sent["late"][test], float(sent["late"][learn].mean()))

    known = demand.train(facts.panel.until(origin))
    shelves, empty = _shelves(facts, known, origin + HORIZON - SHELF_DAYS + 1)
    past = slice(origin - LEARN_DAYS, origin - SHELF_DAYS + 1)
    ahead = slice(origin, origin + HORIZON - SHELF_DAYS + 1)
    happened = empty[:, past].ravel()
    model = RiskModel(SHELF, {name: values[:, past].ravel() for name, values in shelves.items()}, happened)
    chance = model.chance({name: values[:, ahead].ravel() for name, values in shelves.items()})
    _add(scores, "empty shelf", chance, empty[:, ahead].ravel(), float(happened.mean()))
    return scores


def _shelves(
    facts: Facts, known: demand.Trained, end: int
) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.bool_]]:
    """The features of each shelf at the beginning of each day before `end`, and whether it was empty soon after."""
    daily = known.expected(0, end + SHELF_DAYS)
    expected = np.stack([daily[:, day : day + SHELF_DAYS].sum(axis=1) for day in range(end)], axis=1)
    # A day begins with what the day before left.
    before = [np.concatenate([each[:, :1], each[:, : end - 1]], axis=1) for each in (facts.on_hand, facts.received)]
    empty = np.stack(
        [(facts.on_hand[:, day : day + SHELF_DAYS] == 0).any(axis=1) for day in range(end)],
        axis=1,
    )
    return shelf_columns(before[0], before[1], expected), empty


def _add(scores: Scores, what: str, chance: NDArray[np.float64], happened: NDArray[np.bool_], base: float) -> None:
    scores[f"{what}, share"] = float(happened.mean())
    scores[f"{what}, Brier"] = brier(chance, happened)
    scores[f"{what}, Brier of the share"] = brier(np.full(len(chance), base), happened)
    scores[f"{what}, calibration error"] = calibration_error(chance, happened)
