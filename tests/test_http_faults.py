"""Requests to S3 and to a REST catalog fail in every way: what was acknowledged is there, once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count, cycle
from pathlib import Path

import pytest
from fault_record import record
from flaky_proxy import KINDS, STATUSES, Faults, Proxy, flaky_proxy
from invariants import landed_ids, quarantine, violations
from lake_services import object_store, rest_catalog
from mesh_platform.broker import connect
from mesh_platform.errors import MeshError
from mesh_platform.iceberg.connection import TIMEOUTS
from mesh_platform.ingest.ingest import Ingested, ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, envelope, in_batches, lines, send, waiting
from pyiceberg.catalog import load_catalog

from conftest import State

pytestmark = pytest.mark.slow

RAW = f"{PRODUCT}__raw"
GOOD = lines(range(12), minutes=50)
BODIES = [*in_batches(GOOD, 3), GOOD[2], json.dumps(envelope(90, payload={"quantity": -1})).encode(), b"no json"]
S3 = {"s3.access-key-id": "a", "s3.secret-access-key": "b", "s3.region": "us-east-1"}
HOW = f"each request of an ingest: {', '.join(STATUSES)}, cut, stalled; before it took effect, and after"
COMMIT = f"/tables/{RAW.split('.')[1]}"


@dataclass(frozen=True)
class Lake:
    """A lake behind a proxy: pyiceberg's properties past the proxy and through it, each by a state folder."""

    proxy: Proxy
    outside: Callable[[Path], dict[str, str]]
    inside: Callable[[Path], dict[str, str]]


@pytest.fixture(scope="module")
def behind_rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with rest_catalog(tmp_path_factory.mktemp("rest")) as url, flaky_proxy(url) as proxy:

        def properties(url: str) -> Callable[[Path], dict[str, str]]:
            return lambda folder: {"type": "rest", "uri": url}

        yield Lake(proxy, properties(url), properties(proxy.url))


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with object_store(tmp_path_factory.mktemp("s3")) as url, flaky_proxy(url) as proxy:

        def properties(url: str) -> Callable[[Path], dict[str, str]]:
            return lambda folder: {
                "type": "sql",
                "uri": f"sqlite:///{folder}/catalog.db?timeout=60",
                "warehouse": f"s3://lake/{folder.name}",
                "s3.endpoint": url,
                **S3,
            }

        yield Lake(proxy, properties(url), properties(proxy.url))


@pytest.fixture
def attempt(
    state: State, mesh: Mesh, tmp_path: Path, make_state: Callable[..., State], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Lake, Faults], Ingested | None]:
    """One ingest with faults and one without, in a state of their own: the promises hold. The first one's report."""
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    sent = send(state, mesh, BODIES)
    numbers = count()

    def configure(properties: dict[str, str]) -> None:
        for name, value in properties.items():
            variable = name.upper().replace(".", "__").replace("-", "_")
            monkeypatch.setenv(f"PYICEBERG_CATALOG__MESH__{variable}", value)

    def attempt(lake: Lake, faults: Faults) -> Ingested | None:
        own = make_state(tmp_path / f"{tmp_path.name}-{next(numbers)}")
        own.folder.mkdir()
        for file in state.folder.glob("broker.db*"):
            shutil.copy(file, own.folder)
        configure(lake.inside(own.folder))
        # Only what stalls is given up soon: a busy machine is no fault.
        configure(dict.fromkeys(TIMEOUTS, "1" if "stall" in faults.kind else "60"))
        outside = lake.outside(own.folder)
        forget(outside)
        runs = []
        lake.proxy.faults = faults
        with suppress(MeshError):
            runs.append(run(own, mesh))
        assert runs or faults.spoiled
        lake.proxy.faults = Faults()
        configure(dict.fromkeys(TIMEOUTS, "60"))
        last = run(own, mesh)
        tried = (faults.kind, faults.at, faults.spoiled)
        reports = [[asdict(each)] for each in (*runs, last)]
        assert (waiting(own), violations(own.folder, PRODUCT, sent, runs=reports, catalog=outside)) == (0, []), tried
        landed = landed_ids(own.folder, PRODUCT, outside)
        assert landed == sorted(json.loads(line)["event_id"] for line in GOOD), tried
        assert len(quarantine(own.folder, PRODUCT, outside)) == 2, tried
        shutil.rmtree(own.folder)
        return runs[0] if runs else None

    return attempt


def run(state: State, mesh: Mesh) -> Ingested:
    """Ingest in this process until the queue is empty. Raises MeshError."""
    with connect(state.settings.broker) as broker:
        contracts = [mesh.contract(PRODUCT)]
        (result,) = ingest(
            open_catalog(state.settings), broker, contracts, lambda: datetime.now(UTC), until_empty=True
        )
    return result


def forget(properties: dict[str, str]) -> None:
    """Drop the tables of an attempt before."""
    catalog = load_catalog("mesh", **properties)
    for (namespace,) in catalog.list_namespaces():
        for table in catalog.list_tables(namespace):
            catalog.drop_table(table)


def snapshots(lake: Lake) -> int:
    return len(load_catalog("mesh", **lake.outside(Path())).load_table(RAW).snapshots())


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_over_rest_ends_badly(
    behind_rest: Lake, attempt: Callable[[Lake, Faults], Ingested | None], kind: str
) -> None:
    faults = Faults(kind, of=lambda method, path: method == "POST" and path.endswith(COMMIT))
    report = attempt(behind_rest, faults)
    assert len(faults.spoiled) == 1
    # It goes on by itself; and what took effect is found, not done again.
    assert report is not None
    assert (report.appended, report.duplicates, snapshots(behind_rest)) == (12, 1, 1)


@pytest.mark.parametrize("kind", ["503", "cut", "500 after"])
def test_s3_fails_longer_than_its_client_tries(
    on_s3: Lake, attempt: Callable[[Lake, Faults], Ingested | None], kind: str
) -> None:
    # The client itself tries three times.
    faults = Faults(kind, times=4, of=lambda method, path: method == "POST" and "parquet?uploadId" in path)
    report = attempt(on_s3, faults)
    assert len(faults.spoiled) >= 3
    assert report is None or (report.appended, report.duplicates) == (12, 1)


@pytest.mark.slow
def test_each_request_to_a_rest_catalog_fails(
    behind_rest: Lake, attempt: Callable[[Lake, Faults], Ingested | None]
) -> None:
    tried = each_request(behind_rest, attempt, ways=len(KINDS))
    record("a request to the REST catalog fails", HOW, tried)


@pytest.mark.slow
def test_each_request_to_s3_fails(on_s3: Lake, attempt: Callable[[Lake, Faults], Ingested | None]) -> None:
    tried = each_request(on_s3, attempt, ways=1)
    record("a request to S3 fails", HOW, tried)


def each_request(lake: Lake, attempt: Callable[[Lake, Faults], Ingested | None], ways: int) -> int:
    """Spoil each request of a run in so many ways, the next ones at the next request; how many were spoiled."""
    kinds, times = cycle(KINDS), cycle((1, 1, 4))
    tried = 0
    for at in count(1):
        found = [Faults(next(kinds), at, next(times)) for _ in range(ways)]
        for faults in found:
            attempt(lake, faults)
            tried += len(faults.spoiled)
        if not any(faults.spoiled for faults in found):
            break
    assert tried > 2 * len(KINDS), "this run has shown little"
    return tried
