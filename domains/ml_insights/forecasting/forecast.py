"""A demand model with quantiles: what it says as events, and how wrong it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ml_insights.forecasting.frames import DEMAND, panel_of
from ml_insights.forecasting.panel import Panel, rolled
from ml_insights.forecasting.scores import weighted_quantile_loss
from ml_insights.forecasting.spread import QUANTILES, Spread, learn_spread

HORIZON = 28
WEEK = 7


class Expects(Protocol):
    """A model of a panel that says what to expect of the days after it."""

    @property
    def panel(self) -> Panel:
        """What it was made of."""

    def forecast(self, days: int) -> NDArray[np.float64]:
        """The expected units of each series on each of the `days` days after the panel: series x days."""

    def before(self, days: int, times: int = 1) -> NDArray[np.float64]:
        """What models expected of the last `times` times `days` days, each of the days before them: series x days."""


@dataclass(frozen=True)
class LastWeek:
    """The last week again and again: the baseline."""

    panel: Panel

    def forecast(self, days: int) -> NDArray[np.float64]:
        """The units of the last week, repeated: series x days."""
        return np.tile(self.panel.units[:, -WEEK:], -(-days // WEEK))[:, :days]

    def before(self, days: int, times: int = 1) -> NDArray[np.float64]:
        """The week before, each of the last `times` times `days` days: series x days."""
        return rolled(self.panel, days, times, lambda known: LastWeek(known).forecast(days))


@dataclass(frozen=True)
class Forecast:
    """A model with the spread of its own errors."""

    model: Expects
    spread: Spread

    def predict(self, frames: Mapping[str, pa.Table], now: datetime, run: str) -> pa.Table:
        """The events `demand_forecast_generated` for the HORIZON days from that of `now` on."""
        panel, today = self.model.panel, now.date()
        ahead = (today - panel.first).days - panel.days
        expected = self.model.forecast(ahead + HORIZON)[:, ahead:]
        quantiles = self.spread.quantiles(expected)
        series, day = np.repeat(np.arange(len(expected)), HORIZON), np.tile(np.arange(HORIZON), len(expected))
        warehouse, product = panel.warehouse[series].tolist(), panel.product[series].tolist()
        targets = [today + timedelta(days=n) for n in range(HORIZON)]
        return pa.table(
            {
                "forecast_id": [
                    f"FCT-{run}-{w}-{p}-{n}" for w, p, n in zip(warehouse, product, day.tolist(), strict=True)
                ],
                "product_id": product,
                "warehouse_id": warehouse,
                "target_date": pa.array([targets[n] for n in day.tolist()], pa.date32()),
                "horizon_days": day,
                "predicted_units": expected.ravel(),
                "lower_units": np.minimum(quantiles[..., 0], expected).ravel(),
                "upper_units": np.maximum(quantiles[..., -1], expected).ravel(),
            }
        )

    def loss(self, frames: Mapping[str, pa.Table], first: date, end: date) -> float:
        """The weighted quantile loss over all series and these days."""
        panel = self.model.panel
        begin, stop = (first - panel.first).days, (end - panel.first).days
        actual = panel_of(frames[DEMAND], panel, end).units[:, begin:stop]
        expected = self.model.forecast(stop - panel.days)[:, begin - panel.days :]
        return weighted_quantile_loss(actual, self.spread.quantiles(expected), QUANTILES)


def with_spread(model: Expects, days: int, times: int = 1) -> Forecast:
    """The model with the spread of its errors on the last `times` times `days` days, each time from before them.

    It is fewer times where less than four times `days` would lie before them, and in a history that is shorter than
    five times `days` a fifth of it, once.
    """
    panel = model.panel
    days = min(days, panel.days // 5)
    times = max(1, min(times, panel.days // days - 4))
    return Forecast(model, learn_spread(panel.units[:, panel.days - times * days :], model.before(days, times)))
