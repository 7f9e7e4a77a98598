"""Helpers for commands: options, settings, tables for people, JSON for programs, progress, a clean stop."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mesh_platform.contract.types import number_words
from mesh_platform.errors import UsageError
from mesh_platform.settings import Settings
from mesh_platform.text import counted

errors = Console(stderr=True, highlight=False)

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json: one JSON value on stdout.",
)


def read_settings() -> Settings:
    """Read the settings. Raises UsageError, which names each wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"MESH_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{wrong}. Correct or unset it.") from None


def to_plain(value: Any) -> Any:
    """Convert a value to JSON types: decimals as strings, times as ISO 8601 in UTC with Z, bytes as text.

    NaN and infinities, which JSON lacks, become the strings of `number_words`.
    """
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
        case time():
            return value.isoformat()
        case date() | Path():
            return value.isoformat() if isinstance(value, date) else str(value)
        case bytes():
            return value.decode("utf-8", "replace")
        case float():
            return number_words(value) or value
        case Mapping():
            return {str(key): to_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [to_plain(item) for item in value]
        case _:
            return value


def write_json(value: Any) -> None:
    """Write one JSON value to stdout."""
    click.echo(json.dumps(to_plain(value), indent=1, ensure_ascii=False))


def write_table(rows: Sequence[Mapping[str, Any]], title: str | None = None, columns: Sequence[str] = ()) -> None:
    """Write rows as a table for people; numbers right-aligned, null as a dash."""
    names = list(columns) or list(rows[0] if rows else ())
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold"
    )
    for name in names:
        numeric = any(isinstance(row[name], int | float | Decimal) for row in rows) and not any(
            isinstance(row[name], bool) for row in rows
        )
        table.add_column(_text(name), justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    if names:
        # A terminal wraps long lines; a truncated number would be a different one.
        console = Console(highlight=False, width=100_000)
        with console.capture() as printed:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
    if not rows:
        click.echo("(no rows)")


def _cell(value: Any) -> Text:
    match value:
        case None:
            return Text("-")
        case bool():
            return Text("yes" if value else "no")
        case _:
            return _text(str(to_plain(value)))


def _text(words: str) -> Text:
    # Values from events must take effect neither as markup nor as control characters of the terminal.
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words))


def tell(message: str) -> None:
    """Write one message to stderr, above a visible progress bar.

    Lines are not broken: a terminal wraps them, and text can be copied and searched as a whole.
    """
    errors.print(message, markup=False, soft_wrap=True)


class _Amount(ProgressColumn):
    """The count, with the total if known, and the unit: `1 event`, `3/20 events`."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        done, total = int(task.completed), task.total
        if total is None:
            return Text(counted(done, self._unit))
        return Text(f"{done}/{counted(int(total), self._unit)}")


@contextmanager
def progress_bar(label: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, which counts in `unit`; the yielded function advances it. None if `total` is 0."""
    if total == 0:
        yield lambda steps: None
        return
    columns = (
        TextColumn("{task.description:<32}"),
        BarColumn(),
        _Amount(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=False) as progress:
        task = progress.add_task(label, total=total)
        yield lambda steps: progress.update(task, advance=steps)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Handle Ctrl-C and SIGTERM as a clean stop, which the yielded function reports. A second signal interrupts."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("Stopping; what is under way is finished first.", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
