"""A small plot of numbers by day, as text of at most 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

# Newest days, each two letters wide beside the scale.
MOST_DAYS = 35
_HEIGHT = 6
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def plot_days(values: Sequence[tuple[date, int]], title: str, plain: bool = False) -> list[str]:
    """The lines of a plot of `values`, one column for each day, of the newest `MOST_DAYS`; no line without values.

    The scale begins at 0. `plain` writes whole cells of `#` alone, for where blocks may not be shown.
    """
    shown = [*values][-MOST_DAYS:]
    if not shown:
        return []
    top = max(1, *(value for _, value in shown))
    scale = max(len(f"{top:,}"), len("0"))
    lines = [title]
    for row in reversed(range(_HEIGHT)):
        cells = "".join(f"{_cell(value / top * _HEIGHT - row, plain)} " for _, value in shown)
        label = f"{top:,}" if row == _HEIGHT - 1 else "0" if row == 0 else ""
        lines.append(f"{label:>{scale}} {'|' if plain else '│'}{cells}".rstrip())
    first, last = (f"{day:%Y-%m-%d}" for day in (shown[0][0], shown[-1][0]))
    gap = max(1, 2 * len(shown) - 1 - len(first) - len(last))
    days = first if len(shown) == 1 else f"{first}{' ' * gap}{last}"
    return [*lines, f"{'':{scale}}  {days}"]


def _cell(height: float, plain: bool) -> str:
    """What fills the cell of a row of which a column covers `height`, from 0 or less to 1 or more."""
    filled = min(1.0, max(0.0, height))
    if plain:
        return "#" if filled >= 0.5 else " "
    return _EIGHTHS[round(filled * 8)]
