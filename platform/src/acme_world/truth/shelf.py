"""The shelves of one warehouse: what lies there, what is promised of it, what is on its way.

What is wanted, found missing, put back or delivered in one day arrives; what of it can be, and the state of the shelf
after each change, leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Shelf:
    """Units of each of the goods: physically there, promised to orders not yet picked, ordered from suppliers.

    What is promised is never more than what is there: a line is promised only out of what is free.
    """

    on_hand: NDArray[np.int64]
    promised: NDArray[np.int64]
    incoming: NDArray[np.int64]

    @property
    def free(self) -> NDArray[np.int64]:
        """Units that may still be promised."""
        return self.on_hand - self.promised


@dataclass(frozen=True)
class Changes:
    """Changes of a shelf, one entry each: when (ms), of which goods, and by how many units what."""

    at: NDArray[np.int64]
    product: NDArray[np.int64]
    on_hand: NDArray[np.int64]
    promised: NDArray[np.int64]
    incoming: NDArray[np.int64]


@dataclass(frozen=True)
class After:
    """The state of the changed goods' shelf after each of some changes, in their order."""

    on_hand: NDArray[np.int64]
    promised: NDArray[np.int64]
    incoming: NDArray[np.int64] = field(repr=False)


def empty_shelf(goods: int) -> Shelf:
    """Nothing there, nothing promised, nothing on its way."""
    return Shelf(np.zeros(goods, np.int64), np.zeros(goods, np.int64), np.zeros(goods, np.int64))


def admit(
    free: NDArray[np.int64],
    at: NDArray[np.int64],
    product: NDArray[np.int64],
    change: NDArray[np.int64],
    divisible: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What of each `change` can be, in order of time, so that the free units of no goods fall below 0; and how many
    were free when one could not be, else -1.

    A gain always can. A loss is cut to what is free where it is `divisible`, else refused whole.
    """
    applied, left = change.copy(), np.full(len(change), -1, np.int64)
    losses = np.zeros(len(free), np.int64)
    np.add.at(losses, product, np.minimum(change, 0))
    # Goods of which enough is free for all of the day's losses need no look at each.
    tight = np.flatnonzero((free + losses < 0)[product])
    # Gains first among changes of one instant.
    tight = tight[np.lexsort((change[tight] < 0, at[tight]))]
    now = free.tolist()
    for entry, which, by in zip(tight.tolist(), product[tight].tolist(), change[tight].tolist(), strict=True):
        if now[which] + by < 0:
            left[entry] = now[which]
            by = -now[which] if divisible[entry] else 0
            applied[entry] = by
        now[which] += by
    return applied, left


def post(shelf: Shelf, changes: Changes) -> After:
    """Make the changes, and tell the shelf after each. Gains come first among changes of one instant."""
    order = np.lexsort((changes.on_hand < 0, changes.at, changes.product))
    product = changes.product[order]
    first = np.flatnonzero(np.r_[True, product[1:] != product[:-1]]) if len(product) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(first, len(product)))
    states = []
    for state, change in (
        (shelf.on_hand, changes.on_hand[order]),
        (shelf.promised, changes.promised[order]),
        (shelf.incoming, changes.incoming[order]),
    ):
        running = np.cumsum(change)
        before = np.repeat(running[first] - change[first], lengths)
        after = np.empty(len(order), np.int64)
        after[order] = running - before + state[product]
        states.append(after)
        np.add.at(state, product, change)
    return After(*states)
