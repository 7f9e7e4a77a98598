"""Risks of late delivery: boosted trees, against the share of late deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh_platform.ml.learner import Frames, Model


@dataclass(frozen=True)
class SlaRisk:
    """How late deliveries are learned; see `forecasting.risks`."""

    product: str = "ml_insights.sla_risk"
    model_name: str = "boosted_trees"
    baseline_name: str = "share_of_late"
    features: Mapping[str, str] = field(default_factory=lambda: {"ml_insights.delivery_features": "dispatch_ts"})
    parameters: Mapping[str, Any] = field(default_factory=dict)
    judged_days: int = 7

    def fit(self, frames: Frames, parameters: Mapping[str, Any], seed: int) -> Model:
        """The trees."""
        from ml_insights.forecasting import chances

        return chances.learn_deliveries(frames, seed)

    def baseline(self, frames: Frames) -> Model:
        """The share of late deliveries, for each."""
        from ml_insights.forecasting import chances

        return chances.share_of_late(frames)


learner = SlaRisk()
