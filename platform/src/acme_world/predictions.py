"""What the models will say one day, drawn for now from what the world itself expects.

Expected sales, shelves and dispatches arrive; forecasts and risks leave, each with an error of its own.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from acme_world.lines import Events

MODEL_NAME, MODEL_VERSION = "acme_world_draw", "0"


class Predictions:
    """What is predicted for one warehouse, in history `seed` from `start` on."""

    def __init__(self, domain: str, warehouse_id: str, seed: int, start: date) -> None:
        self._names = (seed, domain, start.toordinal())

    def forecast_demand(self, day_index: int, product_id: NDArray[np.str_], expected: NDArray[np.float64]) -> Events:
        """Demand of the day after UTC day `day_index`, told about 03:00. `expected` are that next day's units."""
        raise NotImplementedError

    def rate_stockouts(
        self,
        day_index: int,
        product_id: NDArray[np.str_],
        shelf: NDArray[np.int64],
        expected: NDArray[np.float64],
    ) -> Events:
        """Risk of an empty shelf, told shortly after 03:00 of UTC day `day_index`.

        `shelf` are units on hand when the day begins, `expected` units asked for in a day.
        """
        raise NotImplementedError

    def rate_deliveries(self, day_index: int, dispatches: Events, chance_late: NDArray[np.float64]) -> Events:
        """Risk of a late delivery, told minutes after each dispatch of `Sent`, perhaps on the day after."""
        raise NotImplementedError
