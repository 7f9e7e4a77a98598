"""The demand model: one Poisson regression over all series.

The logarithm of the expected units is a sum of the series' own level, the weekday of its category in its warehouse,
its response to a discount, and the season of the category and of the warehouse, if a season wins on the last days
before the forecast. Ridge shrinks what the data do not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance

from ml_insights.forecasting.panel import Panel, discounts, promotion_cycle, rolled

RIDGE = 2e-6
# The response of a series to a discount differs less from the common one than its level from the others'.
OWN_DISCOUNT = 4.0
YEAR = 365.25
# With less of a year a season is a trend that ends nowhere.
LEAST_SEASON_DAYS = 364
# A season has to win over the last so many times four weeks, because once is luck.
TRIALS, TRIED_DAYS = 3, 28
LEAST_MEAN = 0.01


@dataclass(frozen=True)
class Trained:
    """A fitted model and the panel that it was fitted on."""

    panel: Panel
    model: PoissonRegressor
    level: NDArray[np.float64]
    discount: NDArray[np.float64]
    cycle: int | None
    has_season: bool

    def forecast(self, days: int) -> NDArray[np.float64]:
        """The expected units of each series on each of the `days` days after the panel: series x days."""
        return self.expected(self.panel.days, self.panel.days + days)

    def before(self, days: int, times: int = 1) -> NDArray[np.float64]:
        """What the same kind of model, with a season if this has one, forecast of the last `times` times `days` days.

        Each time it learned from the days before them, so its errors are those to expect: series x days.
        """
        return rolled(self.panel, days, times, lambda known: _fit(known, self.has_season).forecast(days))

    def expected(self, first: int, end: int) -> NDArray[np.float64]:
        """The expected units of each series on the days from `first` to before `end`, counted from the panel's first.

        Days of the panel have the discounts that were seen, later ones those of a cycle ago; without a cycle, none.
        """
        known, days = self.panel.days, np.arange(first, end)
        discount = np.zeros((len(self.level), len(days)))
        seen = days < known
        discount[:, seen] = self.discount[:, days[seen]]
        if self.cycle is not None:
            discount[:, ~seen] = self.discount[:, known - self.cycle + (days[~seen] - known) % self.cycle]
        expected = self.model.predict(_design(self.panel, discount, days, self.has_season))
        found: NDArray[np.float64] = self.level[:, None] * expected.reshape(discount.shape)
        return found


def train(panel: Panel) -> Trained:
    """Fit the model on all days of the panel, of which there must be 14 at least. It draws no random numbers."""
    if panel.days < 14:
        raise ValueError(f"{panel.days} days: the model needs two weeks at least. Give it a longer history.")
    return _fit(panel, _season_wins(panel))


def _season_wins(panel: Panel) -> bool:
    """Whether a season forecasts the last weeks of the panel better than none, by the deviance that a fit lowers.

    Each trial learns from a year at least; without one there is no season.
    """
    ends = range(panel.days, LEAST_SEASON_DAYS + TRIED_DAYS - 1, -TRIED_DAYS)[:TRIALS]
    with_one, without = (sum(_deviance(panel.until(end), tried) for end in ends) for tried in (True, False))
    return with_one < without


def _deviance(panel: Panel, has_season: bool) -> float:
    """The mean deviance of a forecast of the panel's last TRIED_DAYS from before them."""
    forecast = _fit(panel.until(panel.days - TRIED_DAYS), has_season).forecast(TRIED_DAYS)
    return float(mean_poisson_deviance(panel.units[:, -TRIED_DAYS:].ravel(), forecast.ravel()))


def _fit(panel: Panel, has_season: bool) -> Trained:
    discount = discounts(panel)
    level = np.maximum(panel.units.mean(axis=1), LEAST_MEAN)
    days = np.arange(panel.days)
    model = PoissonRegressor(alpha=RIDGE, max_iter=300, tol=1e-5)
    # Relative to the level and weighted by it, which is the same likelihood with a start near its maximum.
    target = (panel.units / level[:, None]).ravel()
    model.fit(_design(panel, discount, days, has_season), target, sample_weight=np.repeat(level, panel.days))
    return Trained(panel, model, level, discount, promotion_cycle(discount), has_season)


def _design(
    panel: Panel, discount: NDArray[np.float64], days: NDArray[np.int64], has_season: bool
) -> sparse.csr_matrix:
    """The features of each series on each of `days`, counted from the panel's first: a row per series and day."""
    series, day = np.repeat(np.arange(len(panel.units)), len(days)), np.tile(np.arange(len(days)), len(panel.units))
    dates = [panel.first + timedelta(days=index) for index in days.tolist()]
    weekday = np.array([each.weekday() for each in dates])[day]
    turn = 2 * np.pi * np.array([each.timetuple().tm_yday for each in dates])[day] / YEAR
    category = np.unique(panel.category, return_inverse=True)[1]
    group = np.unique(np.char.add(np.char.add(panel.warehouse, "/"), panel.category), return_inverse=True)[1]
    off = discount[series, day]
    blocks = [
        _one_of(series),
        _one_of(group[series] * 7 + weekday, 7 * (int(group.max()) + 1)),
        sparse.csr_matrix(off[:, None]),
        _one_of(series, values=OWN_DISCOUNT * off),
    ]
    if has_season:
        waves = (np.cos(turn), np.sin(turn), np.cos(2 * turn), np.sin(2 * turn))
        blocks += [_one_of(category[series], values=wave) for wave in waves]
        blocks += [_one_of(group[series], values=wave) for wave in waves[:2]]
    return sparse.hstack(blocks, format="csr")


def _one_of(
    column: NDArray[np.int64], columns: int | None = None, values: NDArray[np.float64] | None = None
) -> sparse.csr_matrix:
    """A matrix with one value in each row, 1 by default, at the row's `column`."""
    count = len(column)
    data = np.ones(count) if values is None else values
    return sparse.csr_matrix((data, (np.arange(count), column)), shape=(count, columns or int(column.max()) + 1))
