"""Reading YAML files as plain values with the line of each path, so that problems can name lines."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from mesh_platform.errors import Problem
from mesh_platform.text import shown

Place = tuple[str | int, ...]

_MAX_DEPTH = 50
_MAX_PLACES = 50_000
_SURELY_COMPOSED = 1000


@dataclass(frozen=True)
class Document:
    """A parsed file. `data` is the value, shared between equal files; `label` is the path for messages."""

    label: str
    data: Any
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line, from 1, of a path such as ('schema', 0, 'name'), or of its nearest ancestor."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def problem(self, place: Place, message: str, fix: str = "") -> Problem:
        """A problem at the line of `place`."""
        return Problem(self.label, self.line(place), message, fix)


def read_document(path: Path, root: Path) -> Document | Problem:
    """The document at `path`, or the one problem that keeps it from being read at all."""
    text = read_text(path, root)
    return text if isinstance(text, Problem) else parse(text, shown(path, root))


def read_text(path: Path, root: Path) -> str | Problem:
    """What stands in the file at `path`, or why it cannot be read."""
    label = shown(path, root)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return Problem(label, 1, f"byte {error.start} is not UTF-8.", "Save the file as UTF-8.")
    except OSError as error:
        return Problem(label, 1, f"cannot be read: {error.strerror}.", "Check the file and its permissions.")


# Creating a domain and checking a change read the mesh before and after, and nearly all files are equal.
@lru_cache(maxsize=1024)
def parse(text: str, label: str) -> Document | Problem:
    """The document that `text` is, or the one problem that keeps it from being one."""
    lines: dict[Place, int] = {}
    twice: list[Problem] = []
    try:
        _check_depth(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            # Before construction, which merges the keys of '<<' into the mapping.
            _collect(node, (), lines, twice, label)
        data = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        return Problem(label, mark.line + 1 if mark else 1, f"not valid YAML: {what}.", "Mend the syntax.")
    if twice:
        return twice[0]
    return Document(label, data, lines)


class _Loader(yaml.CSafeLoader):
    """Reports the line of a value that is invalid for its form, such as the date 2025-13-45."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            float(value) if isinstance(value, int) else None
        except (ValueError, ArithmeticError, TypeError, AttributeError, LookupError) as error:
            what = f"'{str(node.value)[:40]}' is no {node.tag.rpartition(':')[2]}"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark) from error
        return value


def _check_depth(text: str) -> None:
    """Reject nesting that would overflow the C stack of libyaml's composer, which has no limit."""
    # Each level takes a bracket or a column. `_collect` reports what is deeper than allowed but safe to compose.
    if text.count("[") + text.count("{") + max(map(len, text.splitlines()), default=0) < _SURELY_COMPOSED:
        return
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            _refuse(depth > _MAX_DEPTH, f"nested more than {_MAX_DEPTH} deep", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse(wrong: bool, what: str, mark: Any) -> None:
    if wrong:
        raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)


def _collect(node: yaml.Node, place: Place, lines: dict[Place, int], twice: list[Problem], label: str) -> None:
    # Aliases may contain themselves or nest, so that a few lines expand to billions of values.
    too_deep = isinstance(node, yaml.CollectionNode) and len(place) >= _MAX_DEPTH
    _refuse(too_deep, f"nested more than {_MAX_DEPTH} deep", node.start_mark)
    _refuse(len(lines) > _MAX_PLACES, f"aliases make it longer than {_MAX_PLACES} values", node.start_mark)
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            _refuse(not isinstance(key, yaml.ScalarNode), "a key is not a word", key.start_mark)
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
