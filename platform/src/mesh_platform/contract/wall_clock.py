"""Local times and the precision of times: parse them, and resolve those that a clock skips or shows twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The options of a contract for a local time that the clock shows twice, and for one that it never shows.
AMBIGUOUS = ("earlier", "later", "reject")
NONEXISTENT = ("shift", "reject")
TOO_FINE = "has more than six digits of a second"

_SEVEN_DIGITS = re.compile(r"[.,][0-9]{7}")
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_YEAR_OF_EPOCH = 1970


class OddTimeError(ValueError):
    """A local time that names no instant, or two, and the contract does not resolve it."""


@dataclass(frozen=True, slots=True)
class OddTimes:
    """The local times from `start` until before `end`, which a clock shows twice or never because it was set.

    All values are microseconds: `start` and `end` since 1970 on that clock, `before` and `after` its offsets from UTC
    before and after it was set.
    """

    start: int
    end: int
    before: int
    after: int

    @property
    def twice(self) -> bool:
        """Whether the clock shows these times twice; otherwise it never shows them."""
        return self.after < self.before


def is_too_fine(text: str) -> bool:
    """Whether a time has more digits than microseconds, which Python truncates silently."""
    return bool(_SEVEN_DIGITS.search(text))


def read_time(text: str) -> datetime:
    """Parse a time in ISO 8601; the result is aware where `text` has a zone.

    Raises ValueError for other text, and for more than six digits of a second.
    """
    if is_too_fine(text):
        raise ValueError(f"{text!r} {TOO_FINE}")
    return datetime.fromisoformat(text)


def find_instant(local: datetime, zone: ZoneInfo, ambiguous: str, nonexistent: str) -> datetime:
    """The instant, in UTC, at which the clock of `zone` shows `local`.

    `ambiguous` selects the `earlier` or the `later` instant of a time that the clock shows twice. With
    `nonexistent="shift"`, a time that it never shows is read as if the clock had not been set yet. DuckDB's
    `timezone()` behaves as `later` and `shift`. Raises OddTimeError where the option is `reject`.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    before, after = first.utcoffset(), second.utcoffset()
    assert before is not None
    assert after is not None
    if before > after and ambiguous == "reject":
        raise OddTimeError(f"is shown twice by the clock in {zone.key}; mesh.ambiguousTime can say which it is")
    if before < after and nonexistent == "reject":
        raise OddTimeError(f"is never shown by the clock in {zone.key}; mesh.nonexistentTime can let it pass")
    return (second if before > after and ambiguous == "later" else first).astimezone(UTC)


def find_odd(times: NDArray[np.int64], zone: str) -> Iterator[tuple[NDArray[np.bool_], OddTimes]]:
    """Each group of odd times in `times` (local, microseconds since 1970, years 1 to 9999), with its mask."""
    import numpy as np

    if not len(times):
        return
    years = np.unique(times.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + _YEAR_OF_EPOCH)
    for odd in sorted(_of_years(zone, years.tolist()), key=lambda each: each.start):
        found = (times >= odd.start) & (times < odd.end)
        if found.any():
            yield found, odd


def _of_years(zone: str, years: Iterable[int]) -> set[OddTimes]:
    return {odd for year in years for odd in _of_year(zone, year)}


@lru_cache(4096)
def _of_year(zone: str, year: int) -> tuple[OddTimes, ...]:
    """The odd times of a year. zoneinfo does not list its changes, so they are searched for day by day."""
    clock = ZoneInfo(zone)

    def offset(time: datetime) -> int:
        found = time.replace(tzinfo=UTC).astimezone(clock).utcoffset()
        assert found is not None
        return found // _MICROSECOND

    # No clock differs from UTC by more than a day; no clock was set at the ends of Python's calendar.
    first = max(datetime(year, 1, 1), datetime(1, 1, 4)) - 2 * _DAY
    last = datetime(year, 12, 31) + 2 * _DAY if year < datetime.max.year else datetime(year, 12, 29)
    odd = []
    while first < last:
        low, high = first, first + _DAY
        before, after = offset(low), offset(high)
        if before != after:
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            change = (high - _EPOCH) // _MICROSECOND
            start, end = sorted((change + before, change + after))
            odd.append(OddTimes(start, end, before, after))
        first += _DAY
    return tuple(odd)
