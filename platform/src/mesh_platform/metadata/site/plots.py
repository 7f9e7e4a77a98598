"""Small plots of a number over time, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

_WIDTH, _HEIGHT, _EDGE = 240, 56, 4
# More points than pixels show nothing more.
MOST = 120


class Series(NamedTuple):
    """A number over time: `points` are (seconds since 1970, value), oldest first; `unit` follows the value."""

    title: str
    unit: str
    points: Sequence[tuple[float, float]]
    limit: float | None = None


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most MOST points, the first and the last among them."""
    if len(points) <= MOST:
        return [*points]
    step = (len(points) - 1) / (MOST - 1)
    return [points[round(number * step)] for number in range(MOST)]


def plot(series: Series) -> Markup:
    """Draw a series as a line with a dot at its end, and its promise as a dashed line.

    Points keep their order but stand at equal distances: commits come in bursts, which would hide each other.
    """
    values = [value for _, value in series.points]
    limits = [] if series.limit is None else [series.limit]
    low, high = min([*values, *limits, 0]), max([*values, *limits])
    span = (high - low) or 1.0

    def y(value: float) -> str:
        return f"{_HEIGHT - _EDGE - (value - low) / span * (_HEIGHT - 2 * _EDGE):.1f}".removesuffix(".0")

    step = (_WIDTH - 2 * _EDGE) / max(1, len(values) - 1)
    xs = [f"{_EDGE + number * step:.1f}".removesuffix(".0") for number in range(len(values))]
    line = " ".join(f"{x},{y(value)}" for x, value in zip(xs, values, strict=True))
    limit = f'<path class=limit d="M0 {y(series.limit)}H{_WIDTH}"/>' if series.limit is not None else ""
    area = f'<polygon points="{xs[0]},{y(low)} {line} {xs[-1]},{y(low)}"/>' if len(values) > 1 else ""
    # All parts are numbers of ours.
    return Markup(
        f'<svg class=plot viewBox="0 0 {_WIDTH} {_HEIGHT}" width={_WIDTH} height={_HEIGHT} aria-hidden=true>{area}'
        f'{limit}<polyline points="{line}"/><circle cx="{xs[-1]}" cy="{y(values[-1])}" r=3 /></svg>'
    )
