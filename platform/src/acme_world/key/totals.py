"""The figures of one product or fact, added up day by day: its rows and the sums of its measures, by month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from acme_world.truth import lines
from acme_world.truth.clock import DAY_MS
from acme_world.truth.lines import Events, Line

# The sums of each line, by their column in the product's table: the column of the truth and its decimal places.
MEASURES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    lines.ORDERS.event: {"quantity": ("quantity", 0), "amount_usd": ("amount_usd", 2)},
    lines.RETURNS.event: {"quantity": ("quantity", 0), "refund_amount_usd": ("refund_amount_usd", 2)},
    lines.INVENTORY.event: {"quantity_change": ("quantity_change", 0)},
    lines.RESTOCKS.event: {"quantity": ("quantity", 0)},
    lines.ORDER_ERRORS.event: {"quantity": ("quantity", 0)},
    lines.DISPATCH_LOGS.event: {"package_count": ("package_count", 0), "weight_kg": ("weight_kg", 3)},
    lines.VEHICLE_TRACKING.event: {"distance_km": ("distance_km", 1), "load_kg": ("load_kg", 3)},
    lines.ROUTE_UPDATES.event: {},
    lines.DELIVERY_SLA.event: {"delay_minutes": ("delay_minutes", 0)},
    lines.DEMAND_FORECAST.event: {"predicted_units": ("predicted_units", 3)},
    lines.SLA_RISK.event: {"risk_score": ("risk_score", 4)},
    lines.STOCKOUT_RISK.event: {"risk_score": ("risk_score", 4)},
}


class Totals:
    """The figures of a table with the measures of `line`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._nullable = {field.name for field in line.fields if field.nullable}
        # The number of rows, then the sums, of each month of the event's UTC time.
        self._months: dict[str, list[int]] = {}

    def add(self, events: Events) -> None:
        """Add events that arrived."""
        months = (events.at // DAY_MS).astype("datetime64[D]").astype("datetime64[M]")
        for name in np.unique(months):
            chosen = events.take(months == name)
            found = [len(chosen), *(self._sum(chosen, column) for column, _ in MEASURES[self._line.event].values())]
            before = self._months.get(str(name), [0] * len(found))
            self._months[str(name)] = [one + more for one, more in zip(before, found, strict=True)]

    def figures(self, spoilt: int) -> dict[str, Any]:
        """The figures, as `answer_key` describes them, with `spoilt` events that are in `all` alone."""
        rows = sum(month[0] for month in self._months.values())
        by_month = {name: self._write(self._months[name]) for name in sorted(self._months)}
        return {**self._write(self._add_up()), "by_month": by_month, "accepted": rows, "all": rows + spoilt}

    def _add_up(self) -> Iterable[int]:
        nothing = [0] * (1 + len(MEASURES[self._line.event]))
        return map(sum, zip(nothing, *self._months.values(), strict=True))

    def _sum(self, events: Events, column: str) -> int:
        values = events[column]
        return int(values[values >= 0].sum() if column in self._nullable else values.sum())

    def _write(self, found: Iterable[int]) -> dict[str, Any]:
        rows, *totals = found
        sums: dict[str, int | str] = {
            name: write_decimal(total, scale) if scale else total
            for (name, (_, scale)), total in zip(MEASURES[self._line.event].items(), totals, strict=True)
        }
        return {"rows": rows, "sums": sums}


def write_decimal(value: int, scale: int) -> str:
    """Write a decimal given in units of its last of `scale` places: -1234 with scale 2 is -12.34."""
    sign, digits = "-" if value < 0 else "", f"{abs(value):0{scale + 1}d}"
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
