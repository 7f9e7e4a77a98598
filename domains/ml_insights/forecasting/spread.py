"""Quantiles around an expectation, from how far earlier forecasts of the same model were off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 5


@dataclass(frozen=True)
class Spread:
    """Quantiles of the errors, in roots of the expectation, for each range of expectations that `edges` divides."""

    edges: NDArray[np.float64]
    errors: NDArray[np.float64]

    def quantiles(self, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """The QUANTILES of what is `expected`, which become the last axis, none below 0."""
        errors = self.errors[np.digitize(expected, self.edges)]
        found: NDArray[np.float64] = np.maximum(0.0, expected[..., None] + errors * _root(expected)[..., None])
        return found


def learn_spread(actual: NDArray[np.float64], expected: NDArray[np.float64], bins: int = BINS) -> Spread:
    """The spread of what happened around what an earlier forecast expected; both arrays have the same shape."""
    off = (actual - expected) / _root(expected)
    edges = np.unique(np.quantile(expected, np.arange(1, bins) / bins))
    which = np.digitize(expected, edges)
    everywhere = np.quantile(off, QUANTILES)
    errors = [
        np.quantile(off[which == index], QUANTILES) if (which == index).any() else everywhere
        for index in range(len(edges) + 1)
    ]
    return Spread(edges, np.array(errors))


def _root(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(np.maximum(expected, 0.05))
    return found
