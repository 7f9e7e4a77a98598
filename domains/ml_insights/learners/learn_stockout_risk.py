"""Risks of empty shelves: boosted trees on stock and expected demand, against how often a shelf was empty soon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh_platform.ml.learner import Frames, Model


@dataclass(frozen=True)
class StockoutRisk:
    """How empty shelves are learned; see `forecasting.risks`."""

    product: str = "ml_insights.stockout_risk"
    model_name: str = "boosted_trees"
    baseline_name: str = "share_of_empty"
    features: Mapping[str, str] = field(
        default_factory=lambda: {"ml_insights.daily_demand": "date", "ml_insights.stock_position": "date"}
    )
    parameters: Mapping[str, Any] = field(default_factory=dict)
    judged_days: int = 7

    def fit(self, frames: Frames, parameters: Mapping[str, Any], seed: int) -> Model:
        """The trees, and the regression that says what will be sold."""
        from ml_insights.forecasting import chances

        return chances.learn_shelves(frames, seed)

    def baseline(self, frames: Frames) -> Model:
        """The share of days before an empty shelf, for each."""
        from ml_insights.forecasting import chances

        return chances.share_of_empty(frames)


learner = StockoutRisk()
