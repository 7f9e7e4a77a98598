"""The scores of the backtests as Figures with what is promised, and as a page with a plot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Bench, Figure, table_rows
from benchmarks.ml.anomalies import SHOWN_BY
from benchmarks.ml.backtest import ARIMA_SERIES, DAYS, HORIZON, MODELS, ORIGINS, QUIET_DAYS, SHELF_DAYS, Scores

PAGE, PLOT = Path("docs/ml-figures.md"), Path("docs/ml-figures.svg")
OURS, LAST_WEEK, SMOOTHED = "regression", "last week again", "exponential smoothing"
# At most so much of the loss of last week again, and of exponential smoothing.
MOST = {"product x region": (0.97, 0.97), "category": (0.85, 1.0), "total": (0.85, 1.0)}


def add_seeds(bench: Bench, found: Mapping[int, Scores]) -> None:
    """Add the figures of each simulated world."""
    for seed, scores in found.items():
        about = f"seed {seed}"
        _add_demand(bench, about, scores, tuple(MOST))
        for risk in ("late delivery", "empty shelf"):
            bench.add(f"{about}: {risk}, share", 100 * scores[f"{risk}, share"], "%")
            better = scores[f"{risk}, Brier"] / scores[f"{risk}, Brier of the share"]
            bench.ratio(f"{about}: {risk}, Brier", better, "the share in what was learned", at_most=0.9)
            off = 100 * scores[f"{risk}, calibration error"]
            bench.add(f"{about}: {risk}, calibration error", off, "%", at_most=5)
        _add_anomalies(bench, about, scores)
        few = f"AutoARIMA on {ARIMA_SERIES} of the series"
        seconds = scores["regression, CPU seconds for all"] / scores["AutoARIMA, CPU seconds for all"]
        bench.ratio(f"{about}: CPU of a training", seconds, f"{few}, times their number", at_most=0.5)
        errors = scores["regression, error"] / scores["AutoARIMA, error"]
        bench.ratio(f"{about}: absolute errors of these series", errors, few, at_most=1.0)
        for model in MODELS:
            bench.add(f"{about}: a forecast with its quantiles, {model}", scores[f"{model}, CPU seconds"], "CPU s")


def add_real_orders(bench: Bench, scores: Scores) -> None:
    """Add the figures of the real purchases, which are of one product and so of one category."""
    _add_demand(bench, "real purchases", scores, ("product x region", "total"))


def _add_anomalies(bench: Bench, about: str, scores: Scores) -> None:
    bench.add(f"{about}: anomalies, planted", scores["anomalies, planted"], "days")
    for kind in (*SHOWN_BY, "outage", "rush"):
        bench.add(f"{about}: anomalies, {kind} found", 100 * scores[f"anomalies, {kind} found"], "%")
    bench.add(f"{about}: anomalies, found", 100 * scores["anomalies, found"], "%", at_least=80)
    bench.add(f"{about}: anomalies, alerts that are true", 100 * scores["anomalies, true alerts"], "%", at_least=80)
    false = scores["anomalies, false alerts"]
    bench.add(f"{about}: anomalies, false alerts where none is planted", false, "a region and month", at_most=1)


def _add_demand(bench: Bench, about: str, scores: Scores, levels: Sequence[str]) -> None:
    for level in levels:
        for model in MODELS:
            bench.add(f"{about}: {level}, {model}", 100 * scores[f"{model}, {level}"], "WQL, %")
        for rival, most in zip((LAST_WEEK, SMOOTHED), MOST[level], strict=True):
            ratio = scores[f"{OURS}, {level}"] / scores[f"{rival}, {level}"]
            bench.ratio(f"{about}: {level} by {rival}", ratio, rival, at_most=most)


def write_page(figures: Sequence[Figure]) -> None:
    """Write docs/ml-figures.md and its plot."""
    origins = ", ".join(str(origin) for origin in ORIGINS)
    page = f"""# How well the models predict

`make bench-ml` writes this page; [ml.md](ml.md) says what the models are. They learned from the first
{origins} of {DAYS} simulated days, and were scored on the {HORIZON} days after; a figure is
the mean of these. WQL is the weighted quantile loss at 0.05, 0.25, 0.5, 0.75 and 0.95: twice the mean
pinball loss, in per cent of the units sold. The chance of an empty shelf looks {SHELF_DAYS} days ahead. Anomalies are
what the simulation plants among orders and errors, and half days without orders and days with three fifths more of
them, one in two weeks for each warehouse; false alerts are counted in {QUIET_DAYS} days without any. The models
were chosen on seed 11; the seeds here were only measured. {os.cpu_count()} cores, one thread for each seed.

![The loss of each model at each level]({PLOT.name})

{table_rows(figures)}"""
    PAGE.write_text(page, encoding="utf-8")
    _plot(figures)


def _plot(figures: Sequence[Figure]) -> None:
    import matplotlib

    matplotlib.use("svg")
    # Without random ids and a date, the same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "ml"
    from matplotlib import pyplot

    plot, parts = pyplot.subplots(1, len(MOST), figsize=(10, 3), layout="constrained")
    for part, level in zip(parts, MOST, strict=True):
        for place, model in enumerate(MODELS):
            of_seeds = [each for each in figures if each.name.startswith("seed ")]
            losses = [each.value for each in of_seeds if each.name.endswith(f": {level}, {model}")]
            part.bar(place, sum(losses) / len(losses), color="#3a8f5c" if model == OURS else "#9aa7b4")
            part.plot([place] * len(losses), losses, "k.", markersize=4)
        part.set(title=level, xticks=range(len(MODELS)), xticklabels=[model.replace(" ", "\n") for model in MODELS])
        part.spines[["top", "right"]].set_visible(False)
    parts[0].set_ylabel("WQL in %; dots are seeds")
    pyplot.savefig(PLOT, metadata={"Date": None})
    pyplot.close(plot)
