"""Conversion between days and milliseconds since 1970, UTC, the simulation's unit of time."""

from __future__ import annotations

from datetime import date

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_FIRST_DAY = date(1970, 1, 1).toordinal()


def midnight(day: date) -> int:
    """The instant at which the UTC day begins, in ms since 1970."""
    return (day.toordinal() - _FIRST_DAY) * DAY_MS


def day_of(milliseconds: int) -> date:
    """The UTC day of the instant, given in ms since 1970."""
    return date.fromordinal(milliseconds // DAY_MS + _FIRST_DAY)
