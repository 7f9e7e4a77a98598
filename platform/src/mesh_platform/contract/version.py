"""Versions of contracts: two numbers and what changed between them arrive; the one that it asks for leaves."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = "(0|[1-9][0-9]{0,8})"
_FORM = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_SHORT_FORM = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER})?)?")


@dataclass(frozen=True, order=True)
class Version:
    """MAJOR.MINOR.PATCH as semver.org has it, without words behind it."""

    major: int
    minor: int
    patch: int

    @property
    def line(self) -> tuple[int, int]:
        """What stays the same as long as nothing breaks: the major number, below 1.0.0 the minor one too."""
        return (self.major, 0) if self.major else (0, self.minor)

    def next(self, kind: str) -> Version:
        """The least version after a change that is breaking, additive or cosmetic; itself after none."""
        if kind == "breaking" and self.major:
            return Version(self.major + 1, 0, 0)
        if kind in ("breaking", "additive"):
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1) if kind == "cosmetic" else self

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version | None:
    """The version that `text` names, or None where it is not three numbers."""
    found = _FORM.fullmatch(text)
    return Version(*map(int, found.groups())) if found else None


def read_version(text: str) -> Version | None:
    """As `parse_version`, of one to three numbers: senders shorten 1.0.0 to 1 or 1.0. What is left out is 0."""
    found = _SHORT_FORM.fullmatch(text)
    return Version(*(int(number or 0) for number in found.groups())) if found else None
