"""The chance of a late delivery or an empty shelf: boosted trees on columns that were known when the risk is told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

# Of a delivery, when it leaves. Text columns are categories.
DELIVERY = ("promised_hours", "load_share", "weight_kg", "orders", "hour", "vehicle_type", "weather", "route_id")
# Of a shelf, when a day begins; `expected_units` of the days ahead is the demand model's.
SHELF = ("on_hand", "expected_units", "cover_days", "spare", "days_since_restock", "usual_restock_days")
SEED = 19

Columns = Mapping[str, NDArray[np.generic]]


class RiskModel:
    """A chance from the columns `names`. A category that training did not see counts as missing."""

    def __init__(
        self, names: tuple[str, ...], columns: Columns, happened: NDArray[np.bool_], seed: int = SEED
    ) -> None:
        """Fit the model; each of the columns has an entry for each entry of `happened`."""
        self._names = names
        self._categories = {name: np.unique(columns[name]) for name in names if columns[name].dtype.kind == "U"}
        self._model = HistGradientBoostingClassifier(
            max_iter=120,
            learning_rate=0.06,
            max_leaf_nodes=15,
            min_samples_leaf=200,
            l2_regularization=10.0,
            categorical_features=[name in self._categories for name in names],
            early_stopping=False,
            random_state=seed,
        )
        self._model.fit(self._features(columns), happened)

    def chance(self, columns: Columns) -> NDArray[np.float64]:
        """The chance of each entry, 0 to 1."""
        found: NDArray[np.float64] = self._model.predict_proba(self._features(columns))[:, 1]
        return found

    def _features(self, columns: Columns) -> NDArray[np.float64]:
        return np.column_stack([self._numbers(name, columns[name]) for name in self._names])

    def _numbers(self, name: str, values: NDArray[np.generic]) -> NDArray[np.float64]:
        if name not in self._categories:
            return values.astype(np.float64)
        known = self._categories[name]
        at = np.minimum(np.searchsorted(known, values), len(known) - 1)
        return np.where(known[at] == values, at, np.nan)


def shelf_columns(
    on_hand: NDArray[np.int64], received: NDArray[np.int64], expected: NDArray[np.float64]
) -> dict[str, NDArray[np.generic]]:
    """The SHELF columns of series x days from the units `on_hand` and `received` until the day before.

    `expected` has the units expected in the days ahead. All three are of one shape, and so is each column.
    """
    days = np.arange(on_hand.shape[1])
    came = np.maximum.accumulate(np.where(received > 0, days, -1), axis=1)
    since = np.where(came < 0, np.nan, days - came)
    count = np.cumsum(received > 0, axis=1)
    first = np.argmax(received > 0, axis=1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = np.where(count > 1, (came - first) / (count - 1), np.nan)
    spare = (on_hand + 0.5 - expected) / np.sqrt(np.maximum(expected, 0.05))
    return {
        "on_hand": on_hand,
        "expected_units": expected,
        "cover_days": on_hand / np.maximum(expected, 0.05),
        "spare": spare,
        "days_since_restock": since,
        "usual_restock_days": usual,
    }
