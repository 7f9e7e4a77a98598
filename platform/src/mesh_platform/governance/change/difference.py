"""One difference between two states of a contract, and its meaning for readers or producers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["breaking", "additive", "cosmetic"]
# Whom a difference concerns: readers of what is published, or producers of the event.
Side = Literal["readers", "producers"]
KINDS: tuple[Kind, ...] = ("cosmetic", "additive", "breaking")


@dataclass(frozen=True)
class Difference:
    """A difference. `reason` is a sentence without full stop. `column` is the old name, or the name of a new column.

    `line` is its line in the new contract.
    """

    kind: Kind
    side: Side
    reason: str
    line: int = 1
    column: str | None = None


def worst(differences: Iterable[Difference]) -> Kind | None:
    """The most severe kind, or None without differences."""
    return max((each.kind for each in differences), key=KINDS.index, default=None)
