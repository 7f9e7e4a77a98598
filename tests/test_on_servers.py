"""The whole product on a company's servers: PostgreSQL, MinIO, Iceberg's REST catalog and RabbitMQ, natively."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import TypeVar

import pytest
from daily_commands import use_daily_commands
from invariants import landed_ids
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.relations import interface_unions
from native_stack import Stack, on_servers
from orders import PRODUCT, envelope, ids, in_batches, lines, send
from pyarrow.fs import FileSelector, S3FileSystem
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, ServerError

from conftest import HANG, State, new_state

pytestmark = pytest.mark.stack

T = TypeVar("T")
RAW = f"{PRODUCT}__raw"
NOTE = """      - name: gift_note
        logicalType: string
        physicalType: string
        description: What the customer wrote on the card.
        examples: [Happy birthday]
"""
# Each moment, and each server, has orders of its own. A moment is a number of commits.
_ORDERS, _MOMENTS = 45, (1, 2, 4)
_SERVERS = ("postgres", "store", "catalog")


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> State:
    """Nine days of the company, from producers to facts, on the servers alone."""
    state = on_servers(tmp_path_factory.mktemp("run"), stack)
    outcome = state.mesh("run", "--days", 9, "--format", "json").json
    assert outcome["key_ok"] is True
    return state


def test_a_run_gives_the_answer_key_and_all_of_it_lies_on_the_servers(run: State, stack: Stack, mesh: Mesh) -> None:
    assert not {"broker.db", "catalog.db", "warehouse"} & {path.name for path in run.folder.iterdir()}
    own = stack.catalog
    store = S3FileSystem(
        endpoint_override=own["s3.endpoint"],
        access_key=own["s3.access-key-id"],
        secret_key=own["s3.secret-access-key"],
        region=own["s3.region"],
    )
    found = store.get_file_info(FileSelector("lake/warehouse", recursive=True))
    with_rows = {"/".join(each.path.split("/")[2:4]) for each in found if each.path.endswith(".parquet")}
    assert {name.replace(".", "/", 1) for name in mesh.contracts} <= with_rows


def test_each_product_and_each_union_of_each_domain_has_a_view_with_rows(run: State, mesh: Mesh) -> None:
    names = [*mesh.contracts, *interface_unions(mesh)]
    sql = " union all ".join(f"select '{name}' as name, count(*) as n from {name}" for name in names)
    rows = {row["name"]: row["n"] for row in run.json("query", sql)}
    assert rows.keys() == {*names}
    assert [name for name, count in rows.items() if count == 0] == []


def test_a_view_over_a_table_that_is_gone_has_no_rows(run: State, stack: Stack, tmp_path: Path) -> None:
    catalog = load_catalog("mesh", **stack.catalog)
    table = catalog.load_table("west_warehouse.orders_west")
    catalog.rename_table("west_warehouse.orders_west", "west_warehouse.orders_away")
    try:
        answer = run.mesh("query", "select count(*) as n from west_warehouse.orders_west", "--format", "json")
        assert answer.json == [{"n": 0}]
    finally:
        catalog.rename_table("west_warehouse.orders_away", "west_warehouse.orders_west")
    assert catalog.load_table("west_warehouse.orders_west").metadata.table_uuid == table.metadata.table_uuid


def test_what_a_person_does_with_a_lake_works_on_servers(run: State) -> None:
    use_daily_commands(run)


def test_what_a_rollback_removes_does_not_return(run: State, stack: Stack, mesh: Mesh) -> None:
    head = load_catalog("mesh", **stack.catalog).load_table(RAW).current_snapshot()
    assert head is not None
    before = landed_ids(run.folder, PRODUCT, stack.catalog)
    bodies = in_batches(lines(range(2000, 2010), minutes=0), 5)
    send(run, mesh, bodies)
    run.mesh("ingest", PRODUCT, "--until-empty")
    assert len(landed_ids(run.folder, PRODUCT, stack.catalog)) == len(before) + 10
    run.mesh("rollback", RAW, "--to", head.snapshot_id)
    send(run, mesh, bodies)
    (report,) = run.json("ingest", PRODUCT, "--until-empty")
    assert (report["appended"], report["duplicates"]) == (0, 10)
    assert landed_ids(run.folder, PRODUCT, stack.catalog) == before


@pytest.mark.parametrize("server", _SERVERS)
def test_a_server_that_is_killed_during_ingest_costs_no_order_and_doubles_none(
    stack: Stack, mesh: Mesh, tmp_path: Path, server: str
) -> None:
    state, own = on_servers(tmp_path, stack), stack.catalog
    catalog = answered(lambda: load_catalog("mesh", **own))
    first = 1000 + _ORDERS * len(_MOMENTS) * _SERVERS.index(server)
    good = lines(range(first, first + _ORDERS * len(_MOMENTS)))
    for moment, commits in enumerate(_MOMENTS):
        part = good[_ORDERS * moment : _ORDERS * (moment + 1)]
        assert sorted(ids(send(state, mesh, in_batches(part, 3)))) == ids(part)
        process = ingest_that_committed(state, catalog, commits)
        stack.kill(server)
        stack.start()
        _, told = process.communicate(timeout=HANG)
        assert process.returncode in (0, 3), told
        assert "Traceback" not in told
    # As the catalog finds out request by request which of its connections are gone.
    for _ in range(10):
        again = state.mesh("ingest", PRODUCT, "--until-empty", check=None)
        assert again.code in (0, 3), again.err
        if again.code == 0:
            break
    assert again.code == 0, again.err
    landed = Counter(answered(lambda: landed_ids(state.folder, PRODUCT, own)))
    assert [key for key in ids(good) if landed[key] != 1] == []
    assert max(landed.values()) == 1


def test_an_optional_column_is_added_to_a_table_with_rows(
    run: State, stack: Stack, mesh: Mesh, mesh_copy: Path, tmp_path: Path
) -> None:
    contract = mesh_copy / "domains/south_warehouse/contracts/orders_south.odcs.yaml"
    contract.write_text(
        contract.read_text().replace("      - name: order_time\n", f"{NOTE}      - name: order_time\n")
    )
    state = new_state(tmp_path / "evolved", root=mesh_copy)
    state.environment.update(stack.settings)
    send(state, mesh, [json.dumps(envelope(3000, payload={"gift_note": "Happy birthday"})).encode()])
    refused = state.mesh("ingest", PRODUCT, "--until-empty", check=1).err
    assert f"Run 'mesh evolve {PRODUCT}'" in refused
    assert [row["field"] for row in state.json("evolve", PRODUCT)] == ["gift_note"]
    state.mesh("ingest", PRODUCT, "--until-empty")
    notes = f"select gift_note, count(*) > 1 as more from {RAW} group by gift_note order by gift_note nulls last"
    assert state.json("query", notes) == [
        {"gift_note": "Happy birthday", "more": False},
        {"gift_note": None, "more": True},
    ]


def ingest_that_committed(state: State, catalog: Catalog, commits: int) -> Popen[str]:
    """An ingest that runs and has committed so often. The kill before it may end it: it is then started again."""
    before = answered(partial(snapshots, catalog))
    for _ in range(10):
        process = state.start("ingest", PRODUCT, "--until-empty", MESH_FLUSH_LINES="3")
        while process.poll() is None and answered(partial(snapshots, catalog)) < before + commits:
            time.sleep(0.02)
        if process.poll() != 3:
            break
    assert process.poll() is None, "it ended before the kill"
    return process


def answered(call: Callable[[], T]) -> T:
    """What a call returns, once the catalog has found all of its connections to a PostgreSQL that was killed."""
    for _ in range(10):
        try:
            return call()
        except ServerError:
            time.sleep(0.1)
    return call()


def snapshots(catalog: Catalog) -> int:
    try:
        return len(catalog.load_table(RAW).snapshots())
    except (NoSuchTableError, NoSuchNamespaceError):
        return 0


def test_the_doctor_asks_the_servers_and_names_the_one_that_is_gone(stack: Stack, tmp_path: Path) -> None:
    state = on_servers(tmp_path, stack)
    found = {row["service"]: row for row in state.json("doctor")}
    assert [name for name, row in found.items() if not row["ok"]] == []
    assert found["rabbitmq management"]["says"].startswith("RabbitMQ 3.")
    stack.kill("store")
    try:
        gone = state.mesh("doctor", "--format", "json", check=3).json
    finally:
        stack.start()
    assert [row["service"] for row in gone if not row["ok"]] == ["storage"]
