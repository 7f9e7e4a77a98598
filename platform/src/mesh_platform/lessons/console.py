"""Commands in Markdown: a block ```` ```console ```` has commands after `$ `, and below each what it prints.

`> ` begins the next line of a command. In what is printed, a line `...` stands for any lines, and `...` within a line
for any part of it. The number of spaces does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_BLOCK = re.compile(r"^```console\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command of a document, and the lines that stand below it."""

    text: str
    expected: Sequence[str]

    def prints(self, output: str) -> bool:
        """Whether `output` is what the document shows; a document that shows nothing allows anything."""
        return not self.expected or re.fullmatch(pattern(self.expected), squeezed(output)) is not None


def parts(document: str) -> Iterator[str | Command]:
    """The text and the commands of a document, in order."""
    for number, part in enumerate(_BLOCK.split(document)):
        if number % 2:
            yield from _commands(part)
        elif part.strip():
            yield part.strip("\n")


def _commands(block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        first, *lines = part.rstrip("\n").split("\n")
        more = [line[2:] for line in lines if line.startswith(">")]
        yield Command("\n".join([first, *more]), lines[len(more) :])


def pattern(lines: Sequence[str]) -> str:
    """The regular expression of what is printed where a document shows `lines`."""
    return "".join(
        "(?:.*\n)*?" if line == "..." else re.escape(squeezed(line)[:-1]).replace(r"\.\.\.", ".*") + "\n"
        for line in lines
    )


def squeezed(text: str) -> str:
    """`text` with one space where there are several, and none at the ends of lines."""
    return "".join(" ".join(line.split()) + "\n" for line in text.splitlines())
