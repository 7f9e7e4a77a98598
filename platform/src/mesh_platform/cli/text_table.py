"""Write rows as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh_platform.cli.output import to_plain


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
