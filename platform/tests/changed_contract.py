"""A product of the small mesh whose contract changes: `alpha.sales_alpha`."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from mesh_platform.contract.schema_change import Change
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.evolution import evolve, plan_evolution
from mesh_platform.lake.tables import landing_name, landing_schema

from .small_mesh import Place, Sale, add_contract

PRODUCT = "alpha.sales_alpha"
RAW = f"{PRODUCT}__raw"


def say(
    place: Place,
    event: dict[str, str],
    sold: dict[str, str],
    partition: str | None = "month(sold_at)",
    implements: str | None = "sale.v1",
) -> None:
    """Write the contract of `alpha.sales_alpha`."""
    shapes = {"sale_made": event, "sales_alpha": sold}
    add_contract(place, "alpha", "sales_alpha", shapes, partition=partition, implements=implements, roles=["alpha"])


def evolve_alpha(place: Place) -> list[Change]:
    return evolve(place.catalog, place.mesh.contract(PRODUCT))


def plan_alpha(place: Place) -> list[Change]:
    return plan_evolution(place.catalog, place.mesh.contract(PRODUCT))


def land(place: Place, number: int, hours: int = 0, **values: object) -> None:
    contract = place.mesh.contract(PRODUCT)
    shape = landing_schema(contract)
    time = Sale(number, hours).time
    row = {"event_id": f"alpha-{number:04}", "event_time": time, "item_id": "i1", "buyer": "ann", "sold_at": time}
    row |= {"amount": Decimal("1.00"), "producer": "test", "schema_version": "1.0.0", "ingested_at": time, **values}
    table = ensure_table(place.catalog, landing_name(contract), shape)
    append_rows(table, pa.Table.from_pylist([row], schema=arrow_schema(shape)))


def ensure(place: Place) -> None:
    contract = place.mesh.contract(PRODUCT)
    ensure_table(place.catalog, RAW, landing_schema(contract))
    ensure_table(place.catalog, PRODUCT, contract.table)
