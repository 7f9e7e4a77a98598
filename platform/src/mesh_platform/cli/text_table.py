"""Write rows as a table for people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from textwrap import fill
from typing import Any

import click
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh_platform.cli.output import to_plain
from mesh_platform.cli.progress import tell
from mesh_platform.text import counted

# Where the output is no terminal and COLUMNS does not say.
_WIDTH = 120
_GAP = 2
# Shorter texts are not cut: what is left would tell them apart no more.
_SHORTEST = 24


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


def write_cut_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as `write_table` does, in lines that fit the terminal; stderr says what is cut.

    The longest texts are cut first, then the last columns are left out. Where the output is no terminal, everything
    is written.
    """
    if not sys.stdout.isatty():
        write_table(rows, columns=columns)
        return
    texts = {name for name in columns if all(isinstance(row[name], str | list | dict | None) for row in rows)}
    widths = _widths(rows, columns)
    kept = [*columns]
    while len(kept) > 1 and _wide(kept, widths, texts, _SHORTEST) > _room():
        kept.pop()
    most = next(
        (most for most in range(_room(), _SHORTEST, -1) if _wide(kept, widths, texts, most) <= _room()), _SHORTEST
    )
    cut = [name for name in kept if name in texts and any(_cell(row[name]).cell_len > most for row in rows)]
    write_table(
        [{**row, **{name: cut_to(_cell(row[name]).plain, most) for name in cut}} for row in rows], columns=kept
    )
    left_out = columns[len(kept) :]
    said = [f"{counted(len(cut), 'column')} cut: {', '.join(cut)}."] if cut else []
    if left_out:
        said.append(f"{counted(len(left_out), 'column')} not shown: {', '.join(left_out)}.")
    if said:
        tell(wrapped(f"{' '.join(said)} '--wide' and '--format json' have everything."))


def _wide(names: Sequence[str], widths: Mapping[str, int], texts: Collection[str], most: int) -> int:
    """How long a line is if the columns `texts` are cut to `most` characters."""
    cut = [min(widths[name], max(most, cell_len(name)) + _GAP) if name in texts else widths[name] for name in names]
    return sum(cut) - _GAP


def wrapped(text: str, indent: int = 0) -> str:
    """`text` for the terminal, broken between words, with `indent` spaces before each further line.

    Where the output is no terminal, lines are not broken, so that programs and searches find them whole.
    """
    if not sys.stdout.isatty():
        return text
    return fill(text, _room(), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _too_many(rows: Sequence[Mapping[str, Any]], names: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The first columns of `optional` that must be left out for the others to fit the terminal."""
    if not optional:
        return []
    widths, most = _widths(rows, names), _room()
    wide = sum(widths.values()) - _GAP
    left_out = []
    for name in optional:
        if wide > most and name in widths:
            left_out.append(name)
            wide -= widths[name]
    return left_out


def _widths(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, int]:
    """How many places of a line each column takes, with the gap to the next one."""
    return {name: _GAP + max(cell_len(name), *(_cell(row[name]).cell_len for row in rows), 0) for name in names}


def cut_to(text: str, most: int) -> str:
    """`text` in one line of at most `most` places of a terminal, of which a wide character takes two."""
    line = " ".join(text.split())
    return line if cell_len(line) <= most else f"{set_cell_size(line, most - 1).rstrip()}…"


def _room() -> int:
    """How many places for characters a line of the terminal has."""
    return shutil.get_terminal_size((_WIDTH, 24)).columns


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
