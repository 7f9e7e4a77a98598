"""Write rows as a table for people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from textwrap import fill
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh_platform.cli.output import to_plain

# Where the output is no terminal and COLUMNS does not say.
_WIDTH = 120
_GAP = 2


def write_table(
    rows: Sequence[Mapping[str, Any]],
    title: str | None = None,
    columns: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> list[str]:
    """Write rows as a table for people; numbers right-aligned, null as a dash.

    Where the terminal is too narrow, the columns `optional` are left out, the first of them first. Returns these.
    """
    names = list(columns) or list(rows[0] if rows else ())
    left_out = _too_many(rows, names, optional)
    names = [name for name in names if name not in left_out]
    table = Table(box=None, pad_edge=False, header_style="bold")
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
            if title:
                console.print(_text(title), style="bold")
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
    if not rows:
        click.echo("(no rows)")
    return left_out


def wrapped(text: str, indent: int = 0) -> str:
    """`text` for the terminal, broken between words, with `indent` spaces before each further line.

    Where the output is no terminal, lines are not broken, so that programs and searches find them whole.
    """
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    return fill(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _too_many(rows: Sequence[Mapping[str, Any]], names: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The first columns of `optional` that must be left out for the others to fit the terminal."""
    widths = {
        name: _GAP + max(len(each) for each in (name, *(_cell(row[name]).plain for row in rows)))
        for name in (names if optional else ())
    }
    most, wide = shutil.get_terminal_size((_WIDTH, 24)).columns, sum(widths.values()) - _GAP
    left_out = []
    for name in optional:
        if wide > most and name in widths:
            left_out.append(name)
            wide -= widths[name]
    return left_out


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
