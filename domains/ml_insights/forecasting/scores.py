"""How predictions are scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def levels(units: Numbers, category: NDArray[np.str_]) -> dict[str, Numbers]:
    """Series x days, and its sums by category and over all."""
    by_category = np.stack([units[category == each].sum(axis=0) for each in np.unique(category)])
    return {"product x region": units, "category": by_category, "total": units.sum(axis=0, keepdims=True)}


def weighted_quantile_loss(actual: Numbers, quantiles: Numbers, at: tuple[float, ...]) -> float:
    """Twice the mean pinball loss over the quantiles `at`, the last axis of `quantiles`, by the sum of `actual`."""
    off = actual[..., None] - quantiles
    share = np.array(at)
    return float(2 * np.maximum(share * off, (share - 1) * off).sum() / len(at) / actual.sum())


def brier(chance: Numbers, happened: NDArray[np.bool_]) -> float:
    """The mean squared difference of a chance and what happened."""
    return float(((chance - happened) ** 2).mean())


def calibration_error(chance: Numbers, happened: NDArray[np.bool_], bins: int = 10) -> float:
    """The mean distance of the mean chance from the share that happened, over bins of equal width by their sizes."""
    which = np.minimum((chance * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(chance[which == each].mean() - happened[which == each].mean()) * (which == each).mean()
            for each in np.unique(which)
        )
    )
