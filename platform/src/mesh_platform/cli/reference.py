"""The reference of the command line: it reads the click commands and returns Markdown.

`make docs` writes it into docs/cli.md below MARK. What is above MARK is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from textwrap import fill

import click

from mesh_platform.cli import mesh
from mesh_platform.settings import find_root

PAGE = Path("docs") / "cli.md"
MARK = "<!-- `make docs` writes everything below from the help texts of the commands. -->\n"


def render(root: click.Group) -> str:
    """An index of all commands under `root`, and a section for each."""
    found = list(commands(root))
    names = [context.command_path for _command, context in found]
    index = "".join(
        f"- [`{name}`](#{name.replace(' ', '-')}): {command.get_short_help_str(999)}\n"
        for name, (command, _context) in zip(names, found, strict=True)
    )
    return f"\n## Commands\n\n{index}" + "".join(_section(command, context) for command, context in found)


def page(text: str, root: click.Group) -> str:
    """The page `text` with its generated part as the commands have it now."""
    return text.partition(MARK)[0] + MARK + render(root)


def commands(
    group: click.Group, parent: click.Context | None = None
) -> Iterator[tuple[click.Command, click.Context]]:
    """Each command under `group`, those of its groups too, with the context that gives its full name."""
    above = parent or click.Context(group, info_name=group.name)
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        context = click.Context(command, above, name)
        if isinstance(command, click.Group):
            yield from commands(command, context)
        else:
            yield command, context


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    paragraphs = cleandoc(command.help or "").split("\n\n")
    options = [record for param in command.params if (record := param.get_help_record(context)) and record[1]]
    parts = [f"### {context.command_path}", f"    {usage}", *map(_paragraph, paragraphs)]
    if options:
        parts.append("\n".join(f"- `{names}`: {' '.join(text.split())}" for names, text in options))
    return "\n" + "\n\n".join(parts) + "\n"


def _paragraph(text: str) -> str:
    # click prints a paragraph that begins with \b line by line: it holds examples.
    if text.startswith("\b\n"):
        return "\n".join(f"    {line}" for line in text.splitlines()[1:])
    return fill(" ".join(text.split()), 140, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    path = find_root(Path.cwd()) / PAGE
    path.write_text(page(path.read_text(encoding="utf-8"), mesh), encoding="utf-8")
    print(f"{PAGE} is written.", file=sys.stderr)
