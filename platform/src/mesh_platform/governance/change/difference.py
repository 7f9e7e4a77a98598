"""One difference between two states of a contract, and what it means for those who rely on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["breaking", "additive", "cosmetic"]
# Whom a difference concerns: those who read what is published, or those who send the event.
Side = Literal["readers", "producers"]
KINDS: tuple[Kind, ...] = ("cosmetic", "additive", "breaking")


@dataclass(frozen=True)
class Difference:
    """`reason` is a sentence without its full stop. `column` is its name before, or the new name of a new one.

    `line` is where the contract has it now.
    """

    kind: Kind
    side: Side
    reason: str
    line: int = 1
    column: str | None = None


def worst(differences: Iterable[Difference]) -> Kind | None:
    """The kind that counts, or None where nothing differs."""
    return max((each.kind for each in differences), key=KINDS.index, default=None)
