"""What tests of ingest share: a broker, and ingest of one product in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from mesh_platform.broker import Broker, connect
from mesh_platform.ingest.ingest import Ingested
from mesh_platform.mesh.mesh import Mesh

from conftest import State

from .one_product import ingest_product


@pytest.fixture
def broker(state: State) -> Iterator[Broker]:
    with connect(state.settings.broker) as broker:
        yield broker


@pytest.fixture
def run(state: State, mesh: Mesh, broker: Broker) -> Callable[..., Ingested]:
    """Ingest the product in this process, by default until its queue is empty."""
    return partial(ingest_product, state, mesh, broker)
