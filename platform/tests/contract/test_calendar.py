"""Time on workdays, by the clock of a place."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.contract.calendar import WEEKDAYS, Calendar

NEW_YORK = ZoneInfo("America/New_York")
HOUR = timedelta(hours=1)
WEEK = Calendar(frozenset(WEEKDAYS[:5]), frozenset({date(2025, 12, 25)}))
DAYS = st.dates(date(2025, 10, 20), date(2025, 11, 20))
CALENDARS = st.builds(Calendar, st.frozensets(st.sampled_from(WEEKDAYS), min_size=1), st.frozensets(DAYS, max_size=4))
TIMES = st.datetimes(datetime(2025, 10, 20), datetime(2025, 11, 20)).map(
    lambda time: time.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        # From Friday noon to Monday noon, over a weekend.
        ("2025-10-03T12:00-04:00", "2025-10-06T12:00-04:00", 24),
        # From Saturday to Sunday, and over the Friday's midnight of New York, not of UTC.
        ("2025-10-04T01:00-04:00", "2025-10-05T23:00-04:00", 0),
        ("2025-10-03T20:00-04:00", "2025-10-05T23:00-04:00", 4),
        # A holiday.
        ("2025-12-24T12:00-05:00", "2025-12-26T12:00-05:00", 24),
        # Sunday and the Monday after, on which no hour is odd; the Sunday has 25 hours.
        ("2025-11-02T00:00-04:00", "2025-11-03T00:00-05:00", 0),
    ],
)
def test_weekends_and_holidays_do_not_count(start: str, end: str, hours: int) -> None:
    found = WEEK.worked(datetime.fromisoformat(start), datetime.fromisoformat(end), NEW_YORK)
    assert found == hours * HOUR


@given(CALENDARS, TIMES, TIMES)
def test_hours_are_those_of_workdays(calendar: Calendar, one: datetime, other: datetime) -> None:
    start, end = sorted((one, other))
    hours = [start + number * HOUR for number in range((end - start) // HOUR)]
    wanted = sum(calendar.is_workday(hour.astimezone(NEW_YORK).date()) for hour in hours)
    assert calendar.worked(start, end, NEW_YORK) == wanted * HOUR


@given(CALENDARS, st.integers(1, 100))
def test_the_longest_time_is_reached_and_never_exceeded(calendar: Calendar, promised: int) -> None:
    longest, utc = calendar.longest(promised * HOUR), ZoneInfo("UTC")
    starts = [datetime(2025, 10, 1, tzinfo=UTC) + number * HOUR for number in range(0, 60 * 24, 6)]
    assert max(calendar.worked(start, start + longest, utc) for start in starts) >= promised * HOUR
    assert min(calendar.worked(start, start + longest + HOUR, utc) for start in starts) > promised * HOUR


@given(CALENDARS, CALENDARS)
def test_a_calendar_works_whenever_another_does_if_it_has_each_of_its_days(one: Calendar, other: Calendar) -> None:
    days = [date(2025, 10, 1) + timedelta(days=number) for number in range(60)]
    wanted = all(one.is_workday(day) for day in days if other.is_workday(day))
    assert one.works_whenever(other) == wanted
