"""The goods of a warehouse: the catalogue, and a few products too new for it.

Shelves and sales refer to goods by their index in these arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.reference import Products

NEWCOMERS = ("P-9001", "P-9002", "P-9003", "P-9004", "P-9005")
NEWCOMER_PRICE, NEWCOMER_WEIGHT = 2500, 1000


@dataclass(frozen=True)
class Goods:
    """The first `known` are the catalogue in file order. `list_price` is in US cents, `weight` in grams per unit."""

    known: int
    product_id: NDArray[np.str_]
    category: NDArray[np.str_]
    list_price: NDArray[np.int64]
    weight: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.product_id)


def list_goods(products: Products) -> Goods:
    """The catalogue's products, then the newcomers, which have no category."""
    new = len(NEWCOMERS)
    return Goods(
        known=len(products.product_id),
        product_id=np.concatenate([products.product_id, np.array(NEWCOMERS)]),
        category=np.concatenate([products.category, np.full(new, "")]),
        list_price=np.concatenate([products.list_price, np.full(new, NEWCOMER_PRICE)]),
        weight=np.concatenate([products.unit_weight, np.full(new, NEWCOMER_WEIGHT)]),
    )
