"""Ingest of the one product that tests send orders for, and its counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from invariants import PARTS
from mesh_platform.broker import Broker
from mesh_platform.ingest.ingest import Ingested, ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT

from conftest import State


def ingest_product(state: State, mesh: Mesh, broker: Broker, **options: Any) -> Ingested:
    """Ingest the product in this process, by default until its queue is empty."""
    options = {"until_empty": True} | options
    contracts = [mesh.contract(PRODUCT)]
    (result,) = ingest(open_catalog(state.settings), broker, contracts, lambda: datetime.now(UTC), **options)
    return result


def figures(result: Ingested) -> dict[str, int]:
    """Return the counts of a run that are not 0."""
    return {name: number for name in ("deliveries", *PARTS) if (number := getattr(result, name))}
