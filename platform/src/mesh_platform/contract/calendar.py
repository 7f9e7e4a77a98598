"""The days on which a product gets new rows, so that its age does not count weekends and holidays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Calendar:
    """The `workdays` of each week, as in WEEKDAYS, but for the `holidays`."""

    workdays: frozenset[str] = frozenset(WEEKDAYS)
    holidays: frozenset[date] = frozenset()

    def is_workday(self, day: date) -> bool:
        """Whether new rows are expected on a day."""
        return WEEKDAYS[day.weekday()] in self.workdays and day not in self.holidays

    def worked(self, start: datetime, end: datetime, zone: ZoneInfo) -> timedelta:
        """Return how much of the time from `start` to `end` is on workdays, by the clock of `zone`."""
        total, day = timedelta(), start.astimezone(zone).date()
        while day <= end.astimezone(zone).date():
            if self.is_workday(day):
                total += max(timedelta(), min(end, _midnight(day + _DAY, zone)) - max(start, _midnight(day, zone)))
            day += _DAY
        return total

    def longest(self, worked: timedelta) -> timedelta:
        """Return the longest time of which at most `worked` is on workdays, where no clock is changed."""
        around = sorted(self.holidays) or [date(2000, 1, 1)]
        # Before and after the holidays each week is like the others.
        first, last = around[0] - worked - 14 * _DAY, around[-1] + 7 * _DAY
        starts = (first + number * _DAY for number in range((last - first).days))
        return max(self._longest_from(start, worked) for start in starts)

    def _longest_from(self, day: date, worked: timedelta) -> timedelta:
        total = timedelta()
        while not self.is_workday(day) or worked >= _DAY:
            worked -= _DAY if self.is_workday(day) else timedelta()
            total += _DAY
            day += _DAY
        return total + worked

    def works_whenever(self, other: Calendar) -> bool:
        """Whether each workday of `other` is one of this calendar."""
        extra = (day for day in self.holidays - other.holidays if WEEKDAYS[day.weekday()] in other.workdays)
        return self.workdays >= other.workdays and next(extra, None) is None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # In UTC, because Python subtracts two times of one zone as its clock shows them.
    return datetime.combine(day, time(), zone).astimezone(UTC)
