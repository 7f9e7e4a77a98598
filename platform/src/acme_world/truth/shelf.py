"""The shelves of one warehouse: the units on hand, promised to orders, and on the way from suppliers.

This module decides which changes of a day are possible, and computes the state of the shelf after each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Shelf:
    """Units of each of the goods: on hand, promised to orders not yet picked, ordered from suppliers.

    Promised units never exceed those on hand, because only free units are promised.
    """

    on_hand: NDArray[np.int64]
    promised: NDArray[np.int64]
    incoming: NDArray[np.int64]

    @property
    def free(self) -> NDArray[np.int64]:
        """The units that can still be promised."""
        return self.on_hand - self.promised


@dataclass(frozen=True)
class Changes:
    """Changes of a shelf, one entry each: the time (ms), the goods, and the change of each quantity in units."""

    at: NDArray[np.int64]
    product: NDArray[np.int64]
    on_hand: NDArray[np.int64]
    promised: NDArray[np.int64]
    incoming: NDArray[np.int64]


@dataclass(frozen=True)
class After:
    """The state of the changed goods after each of some changes, in their order."""

    on_hand: NDArray[np.int64]
    promised: NDArray[np.int64]
    incoming: NDArray[np.int64] = field(repr=False)


def empty_shelf(goods: int) -> Shelf:
    """A shelf with nothing on hand, promised or on the way."""
    return Shelf(np.zeros(goods, np.int64), np.zeros(goods, np.int64), np.zeros(goods, np.int64))


def admit(
    free: NDArray[np.int64],
    at: NDArray[np.int64],
    product: NDArray[np.int64],
    change: NDArray[np.int64],
    divisible: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The possible part of each `change`, in order of time, so that free units never fall below 0; and the units that
    were free where a change was not possible, else -1.

    A gain is always possible. A loss is reduced to the free units if it is `divisible`, else refused completely.
    """
    applied, left = change.copy(), np.full(len(change), -1, np.int64)
    losses = np.zeros(len(free), np.int64)
    np.add.at(losses, product, np.minimum(change, 0))
    # Only goods without enough free units for all of the day's losses need a check of each change.
    tight = np.flatnonzero((free + losses < 0)[product])
    # At the same instant, gains come first.
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
    """Apply the changes; return the state after each. At the same instant, gains come first."""
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
