"""Predictions, drawn from the expectations of the simulation until there are models.

Forecasts and risks follow from expected sales, shelves and dispatches, each with a random error. Nothing that happens
later is used, so predictions can be wrong.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import HOUR_MS, MINUTE_MS, midnight
from acme_world.truth.lines import DEMAND_FORECAST, SLA_RISK, STOCKOUT_RISK, Events
from acme_world.truth.logbook import number_events
from acme_world.truth.site import region_of
from acme_world.truth.streams import open_stream

MODEL_NAME, MODEL_VERSION = "acme_world_draw", "0"
FORECAST_AT, STOCKOUT_AT = 3 * HOUR_MS, 3 * HOUR_MS + 10 * MINUTE_MS
STOCKOUT_HORIZON_DAYS = 3
MOST_COVER_DAYS = 999.0
# The common error of all forecasts of a day, and the additional error of each.
COMMON_ERROR, OWN_ERROR = 0.08, 0.15
RISK_ERROR = 0.5
# Nine of ten outcomes are within this many standard deviations of the mean.
NINE_OF_TEN = 1.645
# Sales of a day vary more than those of independent buyers, by this factor of the variance.
SCATTER = 1.6
LEVELS, LEVELS_BEGIN = np.array(["low", "medium", "high"]), (0.3, 0.6)


class Predictions:
    """The predictions for one warehouse, in history `seed` from `start` on."""

    def __init__(self, domain: str, warehouse_id: str, seed: int, start: date) -> None:
        self._names = (seed, domain, start.toordinal())
        self._region, self._warehouse_id, self._start = region_of(domain).upper(), warehouse_id, start

    def forecast_demand(self, day_index: int, product_id: NDArray[np.str_], expected: NDArray[np.float64]) -> Events:
        """Forecasts for the day after UTC day `day_index`, made about 03:00. `expected` has that next day's units.

        A product without expected demand, such as one not yet launched, has no forecast.
        """
        draw = open_stream("forecast", *self._names, day_index)
        error = np.exp(draw.normal(0.0, COMMON_ERROR) + draw.normal(0.0, OWN_ERROR, len(expected)))
        has_demand = expected > 0
        predicted = (expected * error)[has_demand]
        reach = NINE_OF_TEN * np.sqrt(SCATTER * predicted + (OWN_ERROR * predicted) ** 2)
        columns = {
            "product_id": product_id[has_demand],
            "target_date": np.full(len(predicted), self._day(day_index).toordinal() + 1, np.int64),
            "horizon_days": np.ones(len(predicted), np.int64),
            "predicted_units": _scaled(predicted, 3),
            "lower_units": _scaled(np.maximum(0.0, predicted - reach), 3),
            "upper_units": _scaled(predicted + reach, 3),
        }
        at = self._times_from(day_index, FORECAST_AT, len(predicted), draw)
        return number_events(DEMAND_FORECAST, f"FCT-{self._stamp(day_index)}", at, self._signed(columns))

    def rate_stockouts(
        self,
        day_index: int,
        product_id: NDArray[np.str_],
        shelf: NDArray[np.int64],
        expected: NDArray[np.float64],
    ) -> Events:
        """The risk that a shelf is empty within three days, rated shortly after 03:00 of UTC day `day_index`.

        `shelf` has the units on hand when the day begins, `expected` the daily demand in units. A product without
        expected demand is not rated.
        """
        draw = open_stream("stockout", *self._names, day_index)
        noise = draw.normal(0.0, RISK_ERROR, len(expected))
        has_demand = expected > 0
        daily, units = expected[has_demand], shelf[has_demand]
        wanted = daily * STOCKOUT_HORIZON_DAYS
        spare = (units + 0.5 - wanted) / np.sqrt(SCATTER * wanted)
        score = _chance(-1.702 * spare + noise[has_demand])
        columns = {
            "product_id": product_id[has_demand],
            **_risk(score),
            "days_of_cover": _scaled(np.minimum(units / daily, MOST_COVER_DAYS), 2),
            "horizon_days": np.full(len(units), STOCKOUT_HORIZON_DAYS, np.int64),
        }
        at = self._times_from(day_index, STOCKOUT_AT, len(units), draw)
        return number_events(STOCKOUT_RISK, f"STR-{self._stamp(day_index)}", at, self._signed(columns))

    def rate_deliveries(self, day_index: int, dispatches: Events, chance_late: NDArray[np.float64]) -> Events:
        """The risk of a late delivery, rated minutes after each dispatch of one day's `Sent`, or a day later."""
        draw = open_stream("sla", *self._names, day_index)
        known = np.clip(chance_late, 0.001, 0.999)
        score = _chance(np.log(known / (1 - known)) + draw.normal(0.0, RISK_ERROR, len(known)))
        columns = {
            **{name: dispatches[name] for name in ("dispatch_id", "order_id", "vehicle_id", "route_id")},
            **_risk(score),
        }
        at = dispatches.at + draw.integers(MINUTE_MS, 10 * MINUTE_MS, len(dispatches))
        return number_events(SLA_RISK, f"SLR-{self._stamp(day_index)}", at, self._signed(columns))

    def _day(self, day_index: int) -> date:
        return self._start + timedelta(days=day_index)

    def _stamp(self, day_index: int) -> str:
        return f"{self._region}-{self._day(day_index):%Y%m%d}"

    def _times_from(
        self, day_index: int, time_of_day: int, count: int, draw: np.random.Generator
    ) -> NDArray[np.int64]:
        """Times from about `time_of_day` on, some tenths of a second apart."""
        begins = midnight(self._day(day_index)) + time_of_day + int(draw.integers(0, 3 * MINUTE_MS))
        return begins + np.cumsum(draw.integers(20, 400, count))

    def _signed(self, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        count = len(next(iter(columns.values())))
        return {
            **columns,
            "warehouse_id": np.full(count, self._warehouse_id),
            "model_name": np.full(count, MODEL_NAME),
            "model_version": np.full(count, MODEL_VERSION),
        }


def _risk(score: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    # The level depends on the published score, which has four places.
    published = _scaled(score, 4)
    return {
        "risk_score": published,
        "risk_level": LEVELS[np.searchsorted(_scaled(np.array(LEVELS_BEGIN), 4), published, "right")],
    }


def _chance(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    chance: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logit, -50, 50)))
    return chance


def _scaled(number: NDArray[np.float64], places: int) -> NDArray[np.int64]:
    scaled: NDArray[np.int64] = np.round(number * 10**places).astype(np.int64)
    return scaled
