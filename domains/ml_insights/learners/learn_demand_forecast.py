"""Forecasts of demand: one Poisson regression over all series, against last week again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh_platform.ml.learner import Frames, Model


@dataclass(frozen=True)
class DemandForecast:
    """How demand is learned; see `forecasting.demand`.

    Its quantiles come from its errors on the last `spread_times` times `spread_days` days.
    """

    product: str = "ml_insights.demand_forecast"
    model_name: str = "poisson_regression"
    baseline_name: str = "last_week_again"
    features: Mapping[str, str] = field(default_factory=lambda: {"ml_insights.daily_demand": "date"})
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"spread_days": 28, "spread_times": 3})
    judged_days: int = 7

    def fit(self, frames: Frames, parameters: Mapping[str, Any], seed: int) -> Model:
        """The regression; it draws nothing."""
        from ml_insights.forecasting import demand, forecast
        from ml_insights.forecasting import frames as features

        panel = features.panel_of(frames[features.DEMAND])
        return forecast.with_spread(demand.train(panel), parameters["spread_days"], parameters["spread_times"])

    def baseline(self, frames: Frames) -> Model:
        """Last week again, with quantiles from its own errors."""
        from ml_insights.forecasting import forecast
        from ml_insights.forecasting import frames as features

        panel = features.panel_of(frames[features.DEMAND])
        days, times = self.parameters["spread_days"], self.parameters["spread_times"]
        return forecast.with_spread(forecast.LastWeek(panel), days, times)


learner = DemandForecast()
