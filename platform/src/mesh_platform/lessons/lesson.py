"""Reading the lessons: each is a Markdown file `lessons/<number>-<name>.md`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mesh_platform.errors import UsageError
from mesh_platform.lessons.console import Command, parts

FOLDER = "lessons"
# What each lesson has, in this order.
SECTIONS = ("Predict", "Break", "See", "Mend")


@dataclass(frozen=True)
class Lesson:
    """One lesson: its title without the number, and its text and commands in order."""

    number: int
    title: str
    parts: Sequence[str | Command]

    @property
    def commands(self) -> list[Command]:
        """Its commands in order."""
        return [part for part in self.parts if isinstance(part, Command)]


def read_lessons(root: Path) -> dict[int, Lesson]:
    """The lessons of the repository at `root`, by number. Raises UsageError where there is none."""
    lessons = {}
    for path in sorted((root / FOLDER).glob("[0-9]*-*.md")):
        text = path.read_text(encoding="utf-8")
        title, _, rest = text.partition("\n")
        number = int(path.name.partition("-")[0])
        lessons[number] = Lesson(number, re.sub(r"^#\s*\d*\.?\s*", "", title), [*parts(rest)])
    if not lessons:
        raise UsageError(f"{root / FOLDER}: has no lesson. Set MESH_ROOT to a repository that has them.")
    return lessons
