"""The state of reading one contract: its document, its problems so far, and what could not be read.

The readers of the parts of a contract share it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from mesh_platform.contract.yaml_document import Document, Place
from mesh_platform.errors import Problem

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_FORMS = {str: "a word", list: "a list", bool: "true or false", dict: "a mapping"}

_T = TypeVar("_T")


class Reading:
    """One contract of `domain` while it is read; `problems` are those that the mesh finds beyond ODCS.

    `unread` are the columns with a type that could not be read. `knows_all` is whether the file is ODCS and has the
    schemas of a contract. A fault that only follows from another one, which is already reported, is not reported:
    so references to `unread` columns are no faults, nor is anything that requires `knows_all` where that is false.
    """

    def __init__(self, document: Document, domain: str, is_odcs: bool) -> None:
        self.document, self.data, self.domain, self.is_odcs = document, document.data, domain, is_odcs
        self.unread: set[str] = set()
        self.knows_all = False
        self.problems: list[Problem] = []

    def part(self, read: Callable[..., _T], *arguments: Any) -> _T | None:
        """The result of `read`. Where the file is not ODCS, a part may have any form, and one that fails is None."""
        if self.is_odcs:
            return read(*arguments)
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
            return read(*arguments)
        return None

    def add(self, place: Place, message: str, fix: str) -> None:
        """Report a problem at the line of `place`."""
        self.problems.append(self.document.problem(place, message, fix))

    def add_at(self, line: int, message: str, fix: str) -> None:
        """Report a problem at a line."""
        self.problems.append(Problem(self.document.label, line, message, fix))

    def check_name(self, place: Place, name: str) -> None:
        """Report a name that is not in small letters, digits and single underscores."""
        if not NAME.fullmatch(name):
            self.add((*place, "name"), f"name '{name}'.", "Use small letters, digits and single underscores.")

    def custom(self, owner: Mapping[str, Any], place: Place, known: Mapping[str, type]) -> dict[str, Any]:
        """The custom properties of `owner`, by name; those named `mesh.*` must be `known`, with their types."""
        result: dict[str, Any] = {}
        for i, item in enumerate(owner.get("customProperties") or []):
            name, value = item["property"], item["value"]
            here: Place = (*place, "customProperties", i)
            if name.startswith("mesh.") and name not in known:
                self.add(here, f"'{name}' is not known here.", f"What may stand here is {', '.join(known)}.")
            elif name in result and name in known:
                self.add(here, f"'{name}' stands here twice.", "Keep one of them.")
            elif name in known and not isinstance(value, known[name]):
                self.add(here, f"'{name}' is {value!r}.", f"Give it {_FORMS[known[name]]}.")
                result[name] = None
            else:
                result[name] = value
        return result

    def one_of(
        self, owner: Mapping[str, Any], place: Place, name: str, value: str | None, allowed: tuple[str, ...]
    ) -> str | None:
        """The value of the custom property `name`; reports one that is not `allowed`."""
        if value is not None and value not in allowed:
            self.add(custom_place(owner, place, name), f"{name} is '{value}'.", f"It is one of {', '.join(allowed)}.")
        return value


def read_synonyms(owner: Mapping[str, Any]) -> tuple[str, ...]:
    """The other words for a schema or a property."""
    return tuple(item["synonym"] for item in owner.get("synonyms") or [])


def custom_place(owner: Mapping[str, Any], place: Place, name: str) -> Place:
    """The place of a custom property of `owner`, which is at `place`; `place` itself where it has none."""
    names = [item["property"] for item in owner.get("customProperties") or []]
    return (*place, "customProperties", names.index(name)) if name in names else place
