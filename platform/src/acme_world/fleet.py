"""How a warehouse's orders reach its customers.

Reference data and the loads of each day arrive; dispatches, the reports of vehicles on the road, and deliveries
leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from acme_world.lines import Events
from acme_world.reference import Logistics


@dataclass(frozen=True)
class Loads:
    """Orders to be sent, one entry an order. `weight` is in grams; `ready_at`, ms since 1970 in UTC, ends its picking."""

    order_id: NDArray[np.str_]
    customer_id: NDArray[np.str_]
    weight: NDArray[np.int64]
    packages: NDArray[np.int64]
    ready_at: NDArray[np.int64]


@dataclass(frozen=True)
class Sent:
    """What followed from the waves of one UTC day. No event lies before that day or after the day that follows it.

    `chance_late` has, for each of `dispatches`, how probable a late delivery is by what is known when it leaves.
    """

    dispatches: Events
    tracking: Events
    deliveries: Events
    chance_late: NDArray[np.float64]


class Fleet:
    """Vehicles, routes and drivers of one warehouse.

    One that has no vehicles or no routes in the reference data rents: `rents` is true, and it draws from all of the
    company's. Days are to be sent one after the other from day 0 on, for what does not fit on a vehicle waits.
    """

    def __init__(
        self, logistics: Logistics, domain: str, warehouse_id: str, time_zone: str, seed: int, start: date
    ) -> None:
        self.rents = not (logistics.vehicles.warehouse_id == warehouse_id).any()

    def send(self, day_index: int, loads: Loads) -> Sent:
        """The waves that leave on UTC day `day_index`, with the orders of `loads` and those that still wait.

        An order leaves in the first wave of its customer's route whose loading begins (LOADING_MS before departure)
        when it is ready, which may be on a later day: give each order once, on any day that does not end before
        it is ready. Raises ValueError where a day is left out or comes again.
        """
        raise NotImplementedError

    def route_updates(self, day_index: int) -> Events:
        """The changes of this warehouse's routes that begin on UTC day `day_index`; of any day, none where it rents."""
        raise NotImplementedError
