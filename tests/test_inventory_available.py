"""`inventory_available` by its one definition: the SQL against a few lines of Python, over random movements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from mesh_platform.mesh.mesh import load_mesh
from model_rows import ModelRows

from conftest import ROOT, draws

FIRST = date(2025, 10, 1)
# The calendar goes on before and after.
CALENDAR = [{"date": FIRST + timedelta(days=number)} for number in range(-5, 40)]
TYPES = {"restock": st.integers(1, 500), "pick": st.integers(-20, -1), "adjustment": st.integers(-50, 50)}
movement = st.sampled_from(sorted(TYPES)).flatmap(
    lambda kind: st.tuples(
        st.sampled_from(["P-1", "P-2", "P-3"]),
        st.sampled_from(["WH-NORTH", "WH-SOUTH"]),
        st.integers(0, 30),
        st.just(kind),
        TYPES[kind],
    )
)
Movement = tuple[str, str, int, str, int]


@cache
def kpi() -> ModelRows:
    return ModelRows(load_mesh(ROOT), "logistics_core.kpi_inventory_available")


def by_definition(movements: list[Movement]) -> list[dict[str, Any]]:
    """Each product and warehouse from its first movement to the last day with any: all movements until then."""
    rows = []
    last = max((day for _, _, day, _, _ in movements), default=0)
    for product, warehouse in sorted({(product, warehouse) for product, warehouse, *_ in movements}):
        own = [(day, kind, change) for p, w, day, kind, change in movements if (p, w) == (product, warehouse)]
        for today in range(min(day for day, _, _ in own), last + 1):
            of_today = {kind: sum(c for day, k, c in own if (day, k) == (today, kind)) for kind in TYPES}
            rows.append(
                {
                    "product_id": product,
                    "warehouse_id": warehouse,
                    "date": FIRST + timedelta(days=today),
                    "inventory_available": sum(change for day, _, change in own if day <= today),
                    "received": of_today["restock"],
                    "picked": -of_today["pick"],
                    "adjusted": of_today["adjustment"],
                }
            )
    return rows


def by_sql(movements: list[Movement]) -> list[dict[str, Any]]:
    facts: list[Mapping[str, Any]] = [
        {
            "event_id": f"e{number}",
            "product_id": product,
            "warehouse_id": warehouse,
            "movement_type": kind,
            "movement_date": FIRST + timedelta(days=day),
            "quantity_change": change,
        }
        for number, (product, warehouse, day, kind, change) in enumerate(movements)
    ]
    return kpi().run({"logistics_core.fact_inventory_movements": facts, "logistics_core.dim_date": CALENDAR})


@settings(max_examples=draws(50))
@given(movements=st.lists(movement, max_size=40))
@example(movements=[("P-1", "WH-NORTH", 3, "pick", -5), ("P-1", "WH-NORTH", 9, "restock", 2)]).via("below nothing")
@example(movements=[("P-1", "WH-NORTH", 0, "restock", 5), ("P-2", "WH-SOUTH", 30, "pick", -1)]).via("a long silence")
@example(movements=[("P-1", "WH-NORTH", 2, "restock", 5), ("P-1", "WH-NORTH", 2, "restock", 5)]).via("equal ones")
def test_each_day_has_the_sum_of_all_movements_until_it_ends(movements: list[Movement]) -> None:
    assert by_sql(movements) == by_definition(movements)


@settings(max_examples=draws(50))
@given(movements=st.lists(movement, max_size=20), late=movement)
def test_a_late_movement_changes_its_day_and_those_after_it_alone(movements: list[Movement], late: Movement) -> None:
    product, warehouse, day, _, change = late
    # A movement on the last day, so that the calendar of the other products stays as long as it was.
    movements = [*movements, ("P-9", "WH-NORTH", 30, "restock", 1)]
    before, after = available(movements), available([*movements, late])
    for number in range(day, 31):
        key = (product, warehouse, FIRST + timedelta(days=number))
        assert after.pop(key) == before.pop(key, 0) + change
    assert after == before


def available(movements: list[Movement]) -> dict[tuple[Any, ...], int]:
    return {
        (row["product_id"], row["warehouse_id"], row["date"]): row["inventory_available"] for row in by_sql(movements)
    }
