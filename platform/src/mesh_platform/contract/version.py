"""Versions of contracts, and the version that a change requires."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = "(0|[1-9][0-9]{0,8})"
_FORM = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_SHORT_FORM = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER})?)?")


@dataclass(frozen=True, order=True)
class Version:
    """MAJOR.MINOR.PATCH as on semver.org, without suffixes."""

    major: int
    minor: int
    patch: int

    @property
    def line(self) -> tuple[int, int]:
        """The numbers that only a breaking change raises: the major, and below 1.0.0 the minor too."""
        return (self.major, 0) if self.major else (0, self.minor)

    def next(self, kind: str) -> Version:
        """The lowest version after a change that is breaking, additive or cosmetic; this version for other kinds."""
        if kind == "breaking" and self.major:
            return Version(self.major + 1, 0, 0)
        if kind in ("breaking", "additive"):
            return Version(self.major, self.minor + 1, 0)
        return Version(self.major, self.minor, self.patch + 1) if kind == "cosmetic" else self

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version | None:
    """Parse a version; None where `text` is not three numbers."""
    found = _FORM.fullmatch(text)
    return Version(*map(int, found.groups())) if found else None


def read_version(text: str) -> Version | None:
    """Parse a version of one to three numbers, as senders shorten 1.0.0 to 1 or 1.0; missing numbers are 0."""
    found = _SHORT_FORM.fullmatch(text)
    return Version(*(int(number or 0) for number in found.groups())) if found else None
