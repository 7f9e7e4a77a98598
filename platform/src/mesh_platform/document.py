"""A YAML file that remembers its lines: text arrives, a plain value and the line of each path in it leave."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mesh_platform.errors import Problem, shown

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """`data` is the parsed value; `label` is the path as people read it."""

    label: str
    data: Any
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of a path such as ('schema', 0, 'name'), or of its nearest ancestor; counts from 1."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, place: Place, message: str, fix: str = "") -> Problem:
        """A problem at the line of `place`."""
        return Problem(self.label, self.line(place), message, fix)


def read_document(path: Path, root: Path) -> Document | Problem:
    """The document at `path`, or the one problem that keeps it from being read at all."""
    label = shown(path, root)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return Problem(label, 1, f"byte {error.start} is not UTF-8.", "Save the file as UTF-8.")
    except OSError as error:
        return Problem(label, 1, f"cannot be read: {error.strerror}.", "Check the file and its permissions.")
    try:
        loader = yaml.CSafeLoader(text)
        node = loader.get_single_node()
        data = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        return Problem(label, mark.line + 1 if mark else 1, f"not valid YAML: {what}.", "Mend the syntax.")
    lines: dict[Place, int] = {}
    twice: list[Problem] = []
    if node is not None:
        _collect(node, (), lines, twice, label)
    if twice:
        return twice[0]
    return Document(label, data, lines)


def _collect(node: yaml.Node, place: Place, lines: dict[Place, int], twice: list[Problem], label: str) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if key.value in seen:
                twice.append(
                    Problem(label, key.start_mark.line + 1, f"key '{key.value}' stands twice.", "Keep one of them.")
                )
            seen.add(key.value)
            lines[(*place, key.value)] = key.start_mark.line + 1
            _collect(value, (*place, key.value), lines, twice, label)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect(item, (*place, index), lines, twice, label)
