"""Values as words for people: times, numbers, spans of time, values of rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from mesh_platform.contract.types import shown_value
from mesh_platform.text import counted

_LONGEST = 120


def value_text(value: object) -> str | None:
    """Return a value of a row as text for people, shortened; None for null."""
    match value:
        case None:
            return None
        case datetime():
            text = moment(value) if value.tzinfo else f"{value:%Y-%m-%d %H:%M:%S}"
        case date():
            text = value.isoformat()
        case bool():
            text = "yes" if value else "no"
        case Decimal():
            text = f"{value:f}"
        case float():
            text = shown_value(value)
        case bytes():
            text = counted(len(value), "byte")
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def moment(at: datetime) -> str:
    """Return a time for people, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def number(value: float) -> str:
    """Return a number for people, with commas; no digit is lost."""
    return f"{value:,}"


def span(seconds: int | None) -> str | None:
    """Return a span of time for people, rounded to two digits or so: 40 s, 12 min, 26 h, 9 days."""
    if seconds is None:
        return None
    for size, unit in ((172_800, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{round(seconds / {'days': 86_400, 'h': 3_600, 'min': 60}[unit])} {unit}"
    return f"{seconds} s"
