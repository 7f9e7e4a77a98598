"""The stock of one warehouse, and everything that changes it: suppliers, sales, counts, damage and returns.

For each day it decides which wanted lines are available, and returns the movements and restocks at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from acme_world.truth.clock import DAY_MS, midnight
from acme_world.truth.goods import Goods
from acme_world.truth.lines import INVENTORY, RESTOCKS, Events
from acme_world.truth.mishaps import pick_delays
from acme_world.truth.pool import Columns, Pool, number_events
from acme_world.truth.shelf import Changes, admit, empty_shelf, post
from acme_world.truth.site import Site, region_of
from acme_world.truth.staff import Staff
from acme_world.truth.supply import Orders, Supply

_NUMBERS, _TEXT = np.zeros(0, np.int64), np.zeros(0, np.str_)
# The changes of the shelf: `movement_type` is '' for promises and orders to suppliers, which move nothing, and for
# restocks, which are separate events.
_LEDGER = {
    **dict.fromkeys(("at", "product", "on_hand", "promised", "incoming"), _NUMBERS),
    **dict.fromkeys(("movement_type", "reason", "order_id"), _TEXT),
}
_ARRIVALS = {**dict.fromkeys(("at", "product", "quantity"), _NUMBERS), "supplier_id": _TEXT}


@dataclass(frozen=True)
class Wants:
    """Lines that need goods from the shelf, one entry each; `at` is in ms since 1970, UTC."""

    at: NDArray[np.int64]
    product: NDArray[np.int64]
    quantity: NDArray[np.int64]
    order_id: NDArray[np.str_]


@dataclass(frozen=True)
class Losses:
    """Units found missing or broken, or (above 0) found again, and the `reason` of the movement."""

    at: NDArray[np.int64]
    product: NDArray[np.int64]
    change: NDArray[np.int64]
    reason: NDArray[np.str_]


@dataclass(frozen=True)
class Taken:
    """For each of some Wants: whether it is available, when it is picked, and if not, how many units there were."""

    had: NDArray[np.bool_]
    picked_at: NDArray[np.int64]
    left: NDArray[np.int64]


class Stockroom:
    """The stock, day by day: begin a day, take from it once, end it."""

    def __init__(self, goods: Goods, domain: str, site: Site, staff: Staff) -> None:
        self._goods, self._staff, self._site = goods, staff, site
        self._region = region_of(domain).upper()
        self._supply = Supply(domain, goods)
        self._safety: NDArray[np.int64] | None = None
        self._ledger, self._arrivals = Pool(_LEDGER), Pool(_ARRIVALS)
        self.shelf = empty_shelf(len(goods))

    def begin(self, day: date, expected: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.int64]:
        """Order from suppliers for the `expected` sales of the coming days; the first day fills the shelves.

        Returns the units on hand when the day begins, including the first filling.
        """
        if self._safety is None:
            self._safety = self._supply.safety_stock(expected)
            filled = self._supply.open(day, expected)
            self._order(filled)
            first = self.shelf.on_hand.copy()
            first[filled.product] += filled.quantity
            return first
        self._order(self._supply.review(day, self.shelf, expected, draw))
        return self.shelf.on_hand.copy()

    def take(self, day: date, wants: Wants, losses: Losses, draw: np.random.Generator) -> Taken:
        """Promise the available goods in the course of the day, and book losses up to the units on hand."""
        bound = self._ledger.take_until(midnight(day) + DAY_MS)
        self._ledger.add(bound)
        gains = np.flatnonzero(bound["on_hand"] > 0)
        count, lost = len(wants.at), len(losses.at)
        applied, left = admit(
            self.shelf.free,
            np.concatenate([wants.at, losses.at, bound["at"][gains]]),
            np.concatenate([wants.product, losses.product, bound["product"][gains]]),
            np.concatenate([-wants.quantity, losses.change, bound["on_hand"][gains]]),
            np.arange(count + lost + len(gains)) >= count,
        )
        had = applied[:count] < 0
        picked_at = wants.at + pick_delays(count, draw)
        product, quantity = wants.product[had], wants.quantity[had]
        self._book(wants.at[had], product, promised=quantity)
        self._book(
            picked_at[had],
            product,
            -quantity,
            -quantity,
            movement_type="pick",
            reason="order",
            order_id=wants.order_id[had],
        )
        changed = np.flatnonzero(applied[count : count + lost])
        self._book(
            losses.at[changed],
            losses.product[changed],
            applied[count + changed],
            movement_type="adjustment",
            reason=losses.reason[changed],
        )
        return Taken(had, picked_at, left[:count])

    def put_away(self, at: NDArray[np.int64], product: NDArray[np.int64], quantity: NDArray[np.int64]) -> None:
        """Put goods back on the shelf, on a day that has not begun."""
        self._book(at, product, quantity, movement_type="adjustment", reason="return_putaway")

    def end(self, day: date, micro_usd: int, draw: np.random.Generator) -> tuple[Events, Events]:
        """The movements and the restocks of the day. A US dollar is `micro_usd` millionths of the currency's unit."""
        end = midnight(day) + DAY_MS
        rows = self._ledger.take_until(end)
        after = post(
            self.shelf, Changes(*(rows[name] for name in ("at", "product", "on_hand", "promised", "incoming")))
        )
        moved = np.flatnonzero(rows["movement_type"] != "")
        product = rows["product"][moved]
        assert self._safety is not None
        movements = {
            "at": rows["at"][moved],
            "product_id": self._goods.product_id[product],
            "quantity_change": rows["on_hand"][moved],
            **{name: rows[name][moved] for name in ("movement_type", "reason", "order_id")},
            "employee_id": self._staff.on_shift("picker", rows["at"][moved], draw),
            "inventory_available": after.on_hand[moved],
            "safety_stock": self._safety[product],
            "promised": after.promised[moved],
            "incoming": after.incoming[moved],
            "warehouse_id": np.full(len(moved), self._site.warehouse_id),
        }
        return (
            number_events(INVENTORY, f"MOV-{self._region}", movements, end),
            number_events(RESTOCKS, f"RST-{self._region}", self._restocks(end, micro_usd, draw), end),
        )

    def _restocks(self, end: int, micro_usd: int, draw: np.random.Generator) -> Columns:
        rows = self._arrivals.take_until(end)
        unit_cost = self._supply.unit_cost(rows["product"], micro_usd)
        return {
            "at": rows["at"],
            "product_id": self._goods.product_id[rows["product"]],
            "supplier_id": rows["supplier_id"],
            "employee_id": self._staff.on_shift("clerk", rows["at"], draw),
            "quantity": rows["quantity"],
            "unit_cost": unit_cost,
            "currency": np.full(len(unit_cost), self._site.currency),
            "warehouse_id": np.full(len(unit_cost), self._site.warehouse_id),
        }

    def _order(self, orders: Orders) -> None:
        self._book(orders.ordered_at, orders.product, incoming=orders.quantity)
        self._book(orders.arrives_at, orders.product, orders.quantity, incoming=-orders.quantity)
        self._arrivals.add(
            {
                "at": orders.arrives_at,
                "product": orders.product,
                "quantity": orders.quantity,
                "supplier_id": orders.supplier_id,
            }
        )

    def _book(
        self,
        at: NDArray[np.int64],
        product: NDArray[np.int64],
        on_hand: NDArray[np.int64] | int = 0,
        promised: NDArray[np.int64] | int = 0,
        incoming: NDArray[np.int64] | int = 0,
        movement_type: str = "",
        reason: NDArray[np.str_] | str = "",
        order_id: NDArray[np.str_] | str = "",
    ) -> None:
        columns = {
            "at": at,
            "product": product,
            "on_hand": on_hand,
            "promised": promised,
            "incoming": incoming,
            "movement_type": movement_type,
            "reason": reason,
            "order_id": order_id,
        }
        self._ledger.add({name: np.broadcast_to(np.asarray(value), at.shape) for name, value in columns.items()})
