"""Requests to S3 and to a REST catalog fail in every way: what was acknowledged is there, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_record import record
from flaky_proxy import KINDS, Faults, flaky_proxy
from lake_services import object_store, rest_catalog
from mesh_platform.ingest.ingest import Ingested
from orders import PRODUCT
from pyiceberg.catalog import load_catalog
from spoiled_requests import HOW, Lake, attempt, each_request

__all__ = ["attempt"]

pytestmark = pytest.mark.slow

RAW = f"{PRODUCT}__raw"
S3 = {"s3.access-key-id": "a", "s3.secret-access-key": "b", "s3.region": "us-east-1"}
COMMIT = f"/tables/{RAW.split('.')[1]}"


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
    faults = Faults(kind, times=4, of=lambda method, path: method == "PUT" and path.endswith(".parquet"))
    report = attempt(on_s3, faults)
    assert len(faults.spoiled) >= 3
    assert report is None or (report.appended, report.duplicates) == (12, 1)


@pytest.mark.thorough
def test_each_request_to_a_rest_catalog_fails(
    behind_rest: Lake, attempt: Callable[[Lake, Faults], Ingested | None]
) -> None:
    # All ways at each request are those of `make test-thorough`, see test_faults_on_servers.py.
    tried = each_request(behind_rest, attempt, ways=14)
    record("a request to the REST catalog fails", HOW, tried)


@pytest.mark.thorough
def test_each_request_to_s3_fails(on_s3: Lake, attempt: Callable[[Lake, Faults], Ingested | None]) -> None:
    tried = each_request(on_s3, attempt, ways=1)
    record("a request to S3 fails", HOW, tried)
