"""Transmission faults: a plan for each event of a day, which arrives late, twice, or spoilt.

The plan depends on rates and the day, not on the truth, so rates never change what happened.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date

import numpy as np
from mesh_platform.errors import UsageError
from numpy.typing import NDArray

from acme_world.truth.streams import open_stream

MAX_LATE_DAYS = 3
MAX_DUPLICATE_DAYS = 2
# In a plan, 0 means well-formed, and k means SPOILT[k - 1].
SPOILT = (
    "missing_field",
    "wrong_type",
    "unknown_field",
    "truncated_json",
    "invalid_utf8",
    "id_time_mismatch",
    "out_of_range",
    "word_not_allowed",
    "number_of_40_digits",
    "other_event_type",
)


@dataclass(frozen=True)
class Rates:
    """The share of events, 0 to 1, with each fault."""

    late: float = 0.02
    duplicate: float = 0.01
    malformed: float = 0.005

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise UsageError(f"rate {field.name}={value} is not a share. Give a number from 0 to 1.")

    def as_option(self) -> str:
        """As text for `--rates`."""
        return ",".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


def parse_rates(text: str) -> Rates:
    """Parse text such as `late=0.1,duplicate=0`; missing rates keep their defaults. Raises UsageError."""
    rates: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            rates[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--rates {text}: {part!r} has no number. Write late=0.02,duplicate=0.01.") from None
    if unknown := rates.keys() - {field.name for field in fields(Rates)}:
        raise UsageError(
            f"--rates {text}: no fault is called {', '.join(sorted(unknown))}; there are late, duplicate, malformed."
        )
    return Rates(**rates)


@dataclass(frozen=True)
class FaultPlan:
    """The faults of each event of one day, in order.

    `arrival_delay`: days between event and arrival, 0 or 1..3. `duplicate_delay`: days from the arrival to that of
    its copy, -1 for none. `malformed`: 0, or a kind of SPOILT counted from 1; such an event arrives on its day, once,
    and never well-formed.
    """

    arrival_delay: NDArray[np.int64]
    duplicate_delay: NDArray[np.int64]
    malformed: NDArray[np.int64]


def plan_faults(seed: int, start: date, product: str, day_index: int, events: int, rates: Rates) -> FaultPlan:
    """The plan for the number of `events` of `product` (`<domain>.<product>`) on day `day_index`.

    One random number per event and fault is compared with the rate, so a higher rate includes the faults of a lower.
    """
    draw = open_stream("faults", seed, product, start.toordinal(), day_index)
    late, duplicate, malformed = (
        draw.random(events) < rate for rate in (rates.late, rates.duplicate, rates.malformed)
    )
    late_days = draw.integers(1, MAX_LATE_DAYS + 1, events)
    duplicate_days = draw.integers(0, MAX_DUPLICATE_DAYS + 1, events)
    kind = draw.integers(1, len(SPOILT) + 1, events)
    return FaultPlan(
        arrival_delay=np.where(late & ~malformed, late_days, 0),
        duplicate_delay=np.where(duplicate & ~malformed, duplicate_days, -1),
        malformed=np.where(malformed, kind, 0),
    )
