"""What the demand model is held against besides last week again: models of statsforecast for each series alone."""

from __future__ import annotations

import numpy as np
from ml_insights.forecasting.forecast import WEEK
from ml_insights.forecasting.panel import Panel
from numpy.typing import NDArray


def exponential_smoothing(panel: Panel, days: int) -> NDArray[np.float64]:
    """ES with errors and seasons as they fit each series, without a trend, which costs ten times as long."""
    from statsforecast.models import AutoETS

    return _each(panel, days, AutoETS(season_length=WEEK, model="ZNZ"))


def arima(panel: Panel, days: int) -> NDArray[np.float64]:
    """statsforecast's AutoARIMA with a weekly season."""
    from statsforecast.models import AutoARIMA

    return _each(panel, days, AutoARIMA(season_length=WEEK))


def _each(panel: Panel, days: int, model: object) -> NDArray[np.float64]:
    import pandas as pd
    from statsforecast import StatsForecast

    count = len(panel.units)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(count), panel.days),
            "ds": np.tile(np.arange(panel.days), count),
            "y": panel.units.ravel(),
        }
    )
    found = StatsForecast(models=[model], freq=1, n_jobs=1).forecast(df=frame, h=days)
    return np.maximum(found.iloc[:, -1].to_numpy(dtype=np.float64).reshape(count, days), 0.0)
