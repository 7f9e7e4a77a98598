"""Requests to the servers of a company: how many a commit takes, and what becomes of one that fails or is refused."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from copied_lake import NAME, content, fill, open_lake, states, use
from fault_record import record
from flaky_proxy import KINDS, Faults, Proxy, flaky_proxy
from invariants import landed_ids, violations
from mesh_platform.errors import UnavailableError, UsageError
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.relocate import relocate
from mesh_platform.ingest.ingest import Ingested, Limits
from mesh_platform.lake.catalog import find_table
from mesh_platform.mesh.mesh import Mesh
from native_stack import Stack
from orders import PRODUCT, ids, in_batches, ingest_orders, lines, send, waiting
from pyarrow.fs import S3FileSystem
from spoiled_requests import HOW, Lake, attempt, each_request, forget

from conftest import ROOT, State

__all__ = ["attempt"]

pytestmark = pytest.mark.stack

# Each request in some of these ways; in `make test-thorough` in all ways.
THOROUGH = "THOROUGH" in os.environ
SAMPLE = KINDS if THOROUGH else ("403", "429", "503", "507", "cut", "cut after")
TRIED = HOW if THOROUGH else f"each request of an ingest: {', '.join(SAMPLE)}"
# Requests of a commit, as docs/operations.md names them.
NAMES = {
    r"catalog GET .*/orders_south__raw": "catalog: GET the table",
    r"catalog GET .*/orders_south__removed": "catalog: GET the ledger of rows that a rollback removed",
    r"catalog GET .*/mesh/tables/erasures": "catalog: GET the requests to erase a person",
    r"catalog POST .*/orders_south__raw": "catalog: POST the commit",
    r"store PUT .*/data/.*\.parquet": "store: PUT the data file, one for each day",
    r"store PUT .*/metadata/[^/]*-m0\.avro": "store: PUT the manifest",
    r"store PUT .*/metadata/snap-[^/]*\.avro": "store: PUT the manifest list",
}


@pytest.fixture(scope="module")
def servers(stack: Stack) -> Iterator[Stack]:
    """The servers, without the tables of any test."""
    yield stack
    forget(stack.catalog)


@pytest.fixture(scope="module")
def behind_catalog(servers: Stack) -> Iterator[Lake]:
    with flaky_proxy(servers.catalog["uri"]) as proxy:
        yield lake_of(servers, proxy, "uri")


@pytest.fixture(scope="module")
def behind_store(servers: Stack) -> Iterator[Lake]:
    with flaky_proxy(servers.catalog["s3.endpoint"]) as proxy:
        yield lake_of(servers, proxy, "s3.endpoint")


def lake_of(servers: Stack, proxy: Proxy, name: str) -> Lake:
    return Lake(proxy, lambda folder: servers.catalog, lambda folder: servers.catalog | {name: proxy.url})


def test_a_commit_takes_the_requests_that_the_document_names(
    servers: Stack,
    behind_catalog: Lake,
    behind_store: Lake,
    state: State,
    mesh: Mesh,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget(servers.catalog)
    through = {"uri": behind_catalog.proxy.url, "s3.endpoint": behind_store.proxy.url}
    use(monkeypatch, servers.catalog | through)
    seen: list[str] = []
    for name, lake in (("catalog", behind_catalog), ("store", behind_store)):
        lake.proxy.faults = Faults("watch", times=0, of=watch(seen, name))
    send(state, mesh, in_batches(lines(range(40), minutes=0), 10))
    assert ingest_orders(state, mesh, Limits(lines=1)).appended == 40
    commits = [at for at, request in enumerate(seen) if re.fullmatch(r"catalog POST .*/orders_south__raw", request)]
    assert len(commits) == 4
    # The first commit of a process also connects, and reads what the table has.
    between = seen[commits[0] + 1 : commits[-1] + 1]
    counted = Counter(next((NAMES[each] for each in NAMES if re.fullmatch(each, one)), one) for one in between)
    assert {name: times / 3 for name, times in counted.items()} == documented()


def watch(seen: list[str], server: str) -> Callable[[str, str], bool]:
    def note(method: str, path: str) -> bool:
        seen.append(f"{server} {method} {path.partition('?')[0]}")
        return False

    return note


def documented() -> dict[str, int]:
    """The requests of a commit in docs/operations.md, with how many it takes."""
    rows = re.findall(
        r"^\| ((?:catalog|store): .*?) \| (\d+) \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE
    )
    return {name: int(times) for name, times in rows}


def test_each_request_to_the_catalog_fails(
    behind_catalog: Lake, attempt: Callable[[Lake, Faults], Ingested | None]
) -> None:
    tried = each_request(behind_catalog, attempt, len(KINDS) if THOROUGH else 1, SAMPLE)
    record("a request to the REST catalog fails", f"PostgreSQL and MinIO behind it; {TRIED}", tried)


def test_each_request_to_the_store_fails(
    behind_store: Lake, attempt: Callable[[Lake, Faults], Ingested | None]
) -> None:
    tried = each_request(behind_store, attempt, len(KINDS) if THOROUGH else 2, SAMPLE)
    record("a request to S3 fails", f"MinIO, with a REST catalog; {TRIED}", tried)


@pytest.mark.parametrize(
    ("name", "value"), [("s3.secret-access-key", "of nobody"), ("s3.access-key-id", "nobody"), ("token", "refused")]
)
def test_a_refused_key_or_token_is_named_as_such_and_nothing_is_acknowledged(
    servers: Stack,
    behind_catalog: Lake,
    state: State,
    mesh: Mesh,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    forget(servers.catalog)
    send(state, mesh, in_batches(lines(range(6)), 2))
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    if name == "token":
        # The catalog of the tests takes every token; the proxy answers as one that does not.
        behind_catalog.proxy.faults = Faults("401", times=99)
        use(monkeypatch, behind_catalog.inside(Path()) | {name: value})
    else:
        use(monkeypatch, servers.catalog | {name: value})
    with pytest.raises(UnavailableError, match=r"access is refused .*Give this process the key or token of a user"):
        ingest_orders(state, mesh)
    behind_catalog.proxy.faults = Faults()
    assert waiting(state) == 3
    monkeypatch.delenv("PYICEBERG_CATALOG__MESH__TOKEN", raising=False)
    use(monkeypatch, servers.catalog)
    assert ingest_orders(state, mesh).appended == 6


def test_a_store_whose_disk_is_full_takes_no_rows_and_nothing_is_acknowledged(
    servers: Stack, state: State, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not servers.disk.is_mount():
        pytest.skip("this user may mount no small disk; a proxy answers with 507 in the tests above.")
    forget(servers.catalog)
    use(monkeypatch, servers.catalog)
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    good = lines(range(12))
    sent = send(state, mesh, in_batches(good[:6], 2))
    assert ingest_orders(state, mesh).appended == 6
    sent += send(state, mesh, in_batches(good[6:], 2))
    filler = servers.disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(64 * 1024)):
            pass
    try:
        for _ in range(3):
            with pytest.raises(UnavailableError, match=r"does not take rows .*Nothing was acknowledged"):
                ingest_orders(state, mesh)
            assert waiting(state) == 3
    finally:
        filler.unlink()
    assert eventually(partial(ingest_orders, state, mesh)).appended == 6
    assert violations(state.folder, PRODUCT, sent, catalog=servers.catalog) == []
    assert landed_ids(state.folder, PRODUCT, servers.catalog) == ids(good)
    record("the disk is full", "that of MinIO, behind a REST catalog; three ingests", 3)


def eventually(call: Callable[[], Ingested]) -> Ingested:
    """What an ingest reports, once the store has noticed that its disk has room."""
    for _ in range(20):
        with suppress(UnavailableError):
            return call()
        time.sleep(0.5)
    return call()


def test_a_copied_prefix_that_the_catalog_knows_is_relocated(servers: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(servers.catalog)
    use(monkeypatch, servers.catalog)
    catalog, own = open_lake(), servers.catalog
    fill(catalog)
    said, old = states(catalog), catalog.load_table(NAME).location()
    new = old.replace("/warehouse/", "/copy/")
    files = S3FileSystem(
        endpoint_override=own["s3.endpoint"],
        access_key=own["s3.access-key-id"],
        secret_key=own["s3.secret-access-key"],
        region=own["s3.region"],
    )
    before = content(files, old.removeprefix("s3://"))
    for path, data in before.items():
        with files.open_output_stream(path.replace("/warehouse/", "/copy/")) as copy:
            copy.write(data)
    metadata = catalog.load_table(NAME).metadata_location
    catalog.drop_table(NAME)
    catalog.register_table(NAME, metadata.replace("/warehouse/", "/copy/"))
    with pytest.raises(UsageError, match=f"lies outside of the table's own folder {old}"):
        find_table(open_lake(), NAME)
    (done,) = relocate(open_lake(copied=True))
    assert (done.mode, done.came_from, done.location) == ("relocated", old, new)
    files.delete_dir_contents(old.removeprefix("s3://"))
    assert states(open_lake()) == said
    assert [each.mode for each in relocate(open_lake(copied=True))] == ["noop"]
    table = open_lake().load_table(NAME)
    append_rows(table, pa.table([[9], ["b"]], schema=table.schema().as_arrow()))
    assert len(states(open_lake())) == len(said) + 1
