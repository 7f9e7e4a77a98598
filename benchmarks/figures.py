"""What was measured: figures arrive, a table, `bench.json` and a plot leave."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

# A pipe has no width of its own.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


@dataclass(frozen=True)
class Figure:
    """One figure. Of a ratio `against` says what it is held against. `at_least` or `at_most` is what is promised."""

    name: str
    value: float
    unit: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.value <= self.at_most if self.at_most is not None else None

    @property
    def promise(self) -> str:
        """The promise in words."""
        if self.at_least is not None:
            return f"at least {_shown(self.at_least)}"
        return f"at most {_shown(self.at_most)}" if self.at_most is not None else ""


@dataclass
class Bench:
    """One run: how large, where its files go, and what it has measured so far.

    At scale 1 everything has the size that the promises speak of; a small scale shows that a benchmark works.
    `long` also measures what takes longer than all the rest together. `folder` is removed at the end.
    """

    scale: float
    long: bool
    folder: Path
    figures: list[Figure] = field(default_factory=list)

    def size(self, whole: int, least: int = 1) -> int:
        """`whole` at this scale."""
        return max(least, round(whole * self.scale))

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        against: str | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Figure:
        """Keep a figure, and print it at once: the whole run takes minutes."""
        figure = Figure(name, float(value), unit, against, at_least, at_most)
        if any(other.name == name for other in self.figures):
            raise ValueError(f"{name}: there is a figure of that name already. Give it another.")
        self.figures.append(figure)
        console.print(" ".join(filter(None, _row(figure))), markup=False)
        return figure

    def ratio(
        self,
        name: str,
        value: float,
        against: str,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Figure:
        """As `add`, of a ratio: `value` is the ratio itself, `against` names what it is held against."""
        return self.add(name, value, "ratio", against, at_least, at_most)

    def value(self, name: str) -> float | None:
        """A figure that was measured before, or None where that benchmark was left out."""
        return next((figure.value for figure in self.figures if figure.name == name), None)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the disk of the results, emptied at the end of the block."""
        with TemporaryDirectory(dir=self.folder) as name:
            yield Path(name)


def median(measure: Callable[[], float], times: int = 3) -> float:
    """The median of so many calls."""
    return statistics.median(measure() for _ in range(times))


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print a table of a benchmark's own, such as where the time goes; it is not kept."""
    if not rows:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(_shown(value) if isinstance(value, int | float) else str(value) for value in row.values()))
    console.print(table)


def show_figures(figures: Sequence[Figure]) -> None:
    """Print all figures as one table."""
    table = Table(box=None, pad_edge=False)
    for name in ("figure", "value", "unit", "against", "promise", ""):
        table.add_column(name, justify="right" if name == "value" else "left")
    for figure in figures:
        table.add_row(*_row(figure))
    console.print(table)


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """Write a list of `{name, value, unit, against?, at_least?, at_most?}`."""
    rows = [{name: value for name, value in vars(figure).items() if value is not None} for figure in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def write_page(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as a page for people to read, with when and on how many cores they were measured."""
    page = f"""# How fast it is

`make bench` writes this page. One run measured all figures, {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores,
with the broker on the same machine. Rates depend on the machine, and on a shared machine also on the minute. A ratio
compares two figures that were measured side by side. `benchmarks/` defines each figure; `docs/decisions/` says what
limits it.

{table_rows(figures)}"""
    path.write_text(page, encoding="utf-8")


def table_rows(figures: Sequence[Figure]) -> str:
    """A table of figures in Markdown, with its head."""
    rows = [" | ".join(("", *_row(figure), "")).strip() for figure in figures]
    return "\n".join(("| figure | value | unit | against | promise | |", "|---|---:|---|---|---|---|", *rows, ""))


def write_plot(figures: Sequence[Figure], path: Path) -> None:
    """Draw rates as bars, and each promise as the share of it that was reached: what passes the line is kept."""
    # A second to import, and only this needs it.
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    rates = [figure for figure in figures if figure.unit == "events/s"]
    promises = [figure for figure in figures if figure.kept is not None]
    heights = [max(1, len(rates)), max(1, len(promises))]
    plot, (left, right) = pyplot.subplots(
        2, 1, figsize=(11, 1.6 + 0.34 * sum(heights)), height_ratios=heights, layout="constrained"
    )
    left.barh([figure.name for figure in rates], [figure.value for figure in rates], color="#4878a8")
    for place, figure in enumerate(rates):
        left.text(figure.value, place, f" {_shown(figure.value)}", va="center")
    left.set(xscale="log", title="Events a second")
    shares = [_share(figure) for figure in promises]
    colours = ["#3a8f5c" if figure.kept else "#c0504d" for figure in promises]
    right.barh([figure.name for figure in promises], shares, color=colours)
    for place, (figure, share) in enumerate(zip(promises, shares, strict=True)):
        right.text(share, place, f" {_shown(figure.value)} ({figure.promise})", va="center")
    right.axvline(1.0, color="black", linewidth=1)
    right.set(title="Promises: how far each is kept; 1 is just kept", xlim=(0, max([*shares, 1.0]) * 1.25))
    for part in (left, right):
        part.invert_yaxis()
        part.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    pyplot.savefig(path)
    pyplot.close(plot)


def _share(figure: Figure) -> float:
    # Far beyond its promise one bar would leave nothing to see of the others.
    if figure.at_least is not None:
        return min(figure.value / figure.at_least, 3.0)
    assert figure.at_most is not None
    return min(figure.at_most / figure.value, 3.0) if figure.value else 3.0


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = {True: "kept", False: "NOT KEPT", None: ""}[figure.kept]
    return figure.name, _shown(figure.value), figure.unit, figure.against or "", figure.promise, verdict


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"
