"""Ingest while requests to the store or the catalog fail: what was acknowledged is there, once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count, cycle
from pathlib import Path

import pytest
from copied_lake import use
from flaky_proxy import KINDS, STATUSES, Faults, Proxy
from invariants import landed_ids, quarantine, violations
from mesh_platform.errors import MeshError
from mesh_platform.iceberg.connection import TIMEOUTS
from mesh_platform.ingest.ingest import Ingested
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, envelope, in_batches, ingest_orders, lines, send, waiting
from pyiceberg.catalog import load_catalog

from conftest import State

GOOD = lines(range(12), minutes=50)
BODIES = [*in_batches(GOOD, 3), GOOD[2], json.dumps(envelope(90, payload={"quantity": -1})).encode(), b"no json"]
HOW = f"each request of an ingest: {', '.join(STATUSES)}, cut, stalled; before it took effect, and after"


@dataclass(frozen=True)
class Lake:
    """A lake behind a proxy: pyiceberg's properties past the proxy and through it, each by a state folder."""

    proxy: Proxy
    outside: Callable[[Path], dict[str, str]]
    inside: Callable[[Path], dict[str, str]]


@pytest.fixture
def attempt(
    state: State, mesh: Mesh, tmp_path: Path, make_state: Callable[..., State], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Lake, Faults], Ingested | None]:
    """One ingest with faults and one without, in a state of their own: the promises hold. The first one's report."""
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    sent = send(state, mesh, BODIES)
    numbers = count()

    def attempt(lake: Lake, faults: Faults) -> Ingested | None:
        own = make_state(tmp_path / f"{tmp_path.name}-{next(numbers)}")
        own.folder.mkdir()
        for file in state.folder.glob("broker.db*"):
            shutil.copy(file, own.folder)
        use(monkeypatch, lake.inside(own.folder))
        # Only what stalls is given up soon: a busy machine is no fault.
        use(monkeypatch, dict.fromkeys(TIMEOUTS, "1" if "stall" in faults.kind else "60"))
        outside = lake.outside(own.folder)
        forget(outside)
        runs = []
        lake.proxy.faults = faults
        with suppress(MeshError):
            runs.append(ingest_orders(own, mesh))
        assert runs or faults.spoiled
        lake.proxy.faults = Faults()
        use(monkeypatch, dict.fromkeys(TIMEOUTS, "60"))
        last = ingest_orders(own, mesh)
        tried = (faults.kind, faults.at, faults.spoiled)
        reports = [[asdict(each)] for each in (*runs, last)]
        assert (waiting(own), violations(own.folder, PRODUCT, sent, runs=reports, catalog=outside)) == (0, []), tried
        landed = landed_ids(own.folder, PRODUCT, outside)
        assert landed == sorted(json.loads(line)["event_id"] for line in GOOD), tried
        assert len(quarantine(own.folder, PRODUCT, outside)) == 2, tried
        shutil.rmtree(own.folder)
        return runs[0] if runs else None

    return attempt


def forget(properties: dict[str, str]) -> None:
    """Drop the tables of an attempt before."""
    catalog = load_catalog("mesh", **properties)
    for (namespace,) in catalog.list_namespaces():
        for table in catalog.list_tables(namespace):
            catalog.drop_table(table)


def each_request(
    lake: Lake, attempt: Callable[[Lake, Faults], Ingested | None], ways: int, kinds: Sequence[str] = KINDS
) -> int:
    """Spoil each request of a run in so many ways, the next ones at the next request; how many were spoiled."""
    of_each, times = cycle(kinds), cycle((1, 1, 4))
    tried = 0
    for at in count(1):
        found = [Faults(next(of_each), at, next(times)) for _ in range(ways)]
        for faults in found:
            attempt(lake, faults)
            tried += len(faults.spoiled)
        if not any(faults.spoiled for faults in found):
            break
    assert tried > 2 * len(kinds), "this run has shown little"
    return tried
