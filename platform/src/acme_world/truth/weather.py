"""The weather at each warehouse for each half of a day: clear, rain, snow or fog, by climate and season."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from math import cos, pi

from acme_world.truth.streams import open_stream

WEATHERS = ("clear", "rain", "snow", "fog")
# The probability that the weather of the morning lasts for the afternoon.
LASTING = 0.6
COLDEST_DAY = 20


@dataclass(frozen=True)
class Climate:
    """Shares of half days: rain and fog over the year, snow in midwinter."""

    rain: float
    fog: float
    snow: float


CLIMATES = {
    "WH-NORTH": Climate(rain=0.26, fog=0.08, snow=0.42),
    "WH-SOUTH": Climate(rain=0.28, fog=0.10, snow=0.02),
    "WH-EAST": Climate(rain=0.27, fog=0.08, snow=0.26),
    "WH-WEST": Climate(rain=0.16, fog=0.06, snow=0.30),
}
OTHER_CLIMATE = Climate(rain=0.25, fog=0.08, snow=0.20)


class Weather:
    """The weather of one warehouse, in history `seed` from `start` on."""

    def __init__(self, warehouse_id: str, seed: int, start: date) -> None:
        self._names = (seed, warehouse_id, start.toordinal())
        self._climate = CLIMATES.get(warehouse_id, OTHER_CLIMATE)
        self._start = start

    def on(self, day_index: int, afternoon: bool) -> str:
        """One of WEATHERS, for one half of the day `day_index` days after the start."""
        return self._draw(day_index)[afternoon]

    def _draw(self, day_index: int) -> tuple[str, str]:
        day = self._start + timedelta(days=day_index)
        winter = cos(2 * pi * (day.timetuple().tm_yday - COLDEST_DAY) / 365.25)
        snow = self._climate.snow * max(0.0, winter)
        morning, afternoon, lasts = open_stream("weather", *self._names, day_index).random(3).tolist()
        first = self._pick(morning, snow)
        return first, first if lasts < LASTING else self._pick(afternoon, snow)

    def _pick(self, luck: float, snow: float) -> str:
        # Snow replaces rain as it gets colder.
        rain = self._climate.rain - snow / 3
        for weather, share in (("rain", rain), ("snow", snow), ("fog", self._climate.fog)):
            if luck < share:
                return weather
            luck -= share
        return "clear"
