"""Airflow with a scheduler of its own: messages arrive at the broker, facts are there, and nobody lent a hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from acme_world.companion import compute_keys
from acme_world.key.key_check import compare
from acme_world.progress_file import read_progress
from airflow_server import Server, airflow_server, wait_until
from mesh_platform.broker import connect, queue_of
from mesh_platform.ingest.ingest import ensure_tables
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import load_mesh
from native_stack import native_stack, on_servers

from conftest import HANG, ROOT, State, missing

pytestmark = pytest.mark.e2e

# Ten times what a machine of two cores takes that does nothing else.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Airflow with the LocalExecutor on servers: RabbitMQ, the lake on S3 and REST, its own state in PostgreSQL."""
    with native_stack() as stack, pytest.MonkeyPatch.context() as patch:
        state = on_servers(tmp_path_factory.mktemp("airflow"), stack)
        for name, value in stack.settings.items():
            patch.setenv(name, value)
        own = stack.database("airflow").replace("postgresql:", "postgresql+psycopg2:")
        with airflow_server(
            state,
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=own,
            MESH_ALERTS="log file:alerts.jsonl",
        ) as server:
            yield server


def test_a_burst_over_all_queues_becomes_facts(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    published = server.state.json("run", "--days", 3, "--rates", "malformed=0.01", "--publish-only")["published"]
    last_publish = datetime.now(UTC)
    settle(server)
    assert differences(server.state) == []
    ended = [task["end_date"] for task in server.tasks("logistics_core__build", "success") if is_fact(task)]
    seconds = (max(map(datetime.fromisoformat, ended)) - last_publish).total_seconds()
    with capsys.disabled():
        print(f"\n{published} events over 30 queues: {seconds:.0f} s from the last publish to the last fact")
    for domain in load_mesh(ROOT).domains:
        for dag in (f"{domain}__ingest", f"{domain}__build"):
            assert {run["state"] for run in server.runs(dag)} == {"success"}, dag
            # Woken by what came, not by the clock.
            assert "asset_triggered" in {run["run_type"] for run in server.runs(dag)}, dag


def test_a_poisoned_queue_is_green_and_counted(server: Server) -> None:
    asset = server.get("assets?name_pattern=north_warehouse.orders_north__raw")["assets"][0]
    (event, *_) = server.get(f"assets/events?asset_id={asset['id']}&source_task_id=orders_north")["asset_events"]
    rejected = "select count(*) as n from north_warehouse.orders_north__rejected"
    assert event["extra"]["quarantined"] == server.state.json("query", rejected)[0]["n"] > 0


def test_its_pages_show_dags_a_graph_and_the_way_from_a_queue_to_a_fact(server: Server) -> None:
    # Late, because every run of any tests imports this file, and selenium takes long.
    from airflow_ui import DRIVER, look

    if not Path(DRIVER).exists():
        missing(f"no browser at {DRIVER}: install Debian's chromium and chromium-driver.")
    pictures = look(server.url, "admin", server.password, ROOT / "build" / "airflow")
    assert [picture.stat().st_size > 10_000 for picture in pictures] == [True, True, True]


def test_a_scheduler_that_is_killed_loses_and_doubles_nothing(server: Server) -> None:
    server.state.mesh("run", "--days", 4, "--publish-only")
    builds = [f"{domain}__build" for domain in load_mesh(ROOT).domains]
    wait_until("a build runs", lambda: any(server.tasks(dag, "running") for dag in builds), HANG)
    server.kill_scheduler()
    killed = server.heartbeat()
    wait_until("another scheduler", lambda: server.heartbeat() > killed, HANG)
    settle(server)
    assert differences(server.state) == []


def test_the_owner_of_a_product_that_grew_old_is_told(server: Server) -> None:
    # A freshness run between a publish, which moves the clock by a day, and its build may have alerted before.
    before = len(alerts_of(server, "north_warehouse.orders_north"))
    clock = server.state.folder / "clock"
    stands = clock.read_text()
    clock.write_text((datetime.fromisoformat(stands) + timedelta(days=3)).isoformat())
    server.trigger("north_warehouse__freshness")
    try:
        wait_until("an alert", lambda: len(alerts_of(server, "north_warehouse.orders_north")) > before, HANG)
    finally:
        clock.write_text(stands)
    alert = alerts_of(server, "north_warehouse.orders_north")[before]
    assert (alert["owner"], alert["contact"]) == ("North Ops", "north-ops@acme.example")
    assert "days old; its contract promises 24 hours" in alert["message"]


def test_without_a_broker_of_its_own_and_stopped_whole(tmp_path: Path, make_state: Callable[..., State]) -> None:
    state = make_state(tmp_path / "state")
    with airflow_server(state) as server:
        state.mesh("produce", "east_warehouse.orders_east", "burst", "--rate", 100, "--count", 50)
        table = "east_warehouse.orders_east"
        wait_until("the product is built", lambda: rows_of(state, table) > 0, HANG)
        settle(server)
        state.mesh("run", "--days", 1, "--publish-only")
        wait_until("a task runs", lambda: bool(server.tasks("~", "running")), HANG)
        members = server.members()
        assert members
    assert [pid for pid in members if runs(pid)] == []


def alerts_of(server: Server, table: str) -> list[dict[str, str]]:
    """The alerts that were sent about a table, oldest first."""
    alerts = server.state.folder / "alerts.jsonl"
    lines = alerts.read_text().splitlines() if alerts.exists() else []
    return [alert for alert in map(json.loads, lines) if alert["subject"] == table]


def runs(pid: int) -> bool:
    """Whether a process is there, and not just a zombie that its parent has not asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def settle(server: Server) -> None:
    """Wait until the queues are empty and no run is under way, and stays so."""
    mesh = load_mesh(ROOT)
    queues = [queue_of(contract).name for contract in mesh.ingested()]
    quiet = 0

    def is_settled() -> bool:
        nonlocal quiet
        with connect(server.state.settings.broker) as broker:
            waiting = sum(broker.depths(queues).values())
        quiet = quiet + 1 if waiting == 0 and server.is_idle() else 0
        # What woke nobody yet does so within some seconds.
        return quiet >= 8

    time.sleep(5)
    wait_until("all is built", is_settled, HANG)


def differences(state: State) -> list[dict[str, Any]]:
    """What the tables hold otherwise than the answer key has it."""
    settings = state.settings
    mesh = load_mesh(settings.root)
    keys = compute_keys(settings.root, mesh, read_progress(settings, None, None, None))
    assert "logistics_core.fact_orders" in keys[0]
    catalog = open_catalog(settings)
    # A queue in which nothing came has no tables yet.
    ensure_tables(catalog, *mesh.ingested())
    return [asdict(found) for key in keys for found in compare(mesh, catalog, key, {})[1]]


def rows_of(state: State, table: str) -> int:
    """How many rows a table has, 0 where it is not there."""
    return next((int(row["rows"]) for row in state.json("status") if row["table"] == table), 0)


def is_fact(task: dict[str, Any]) -> bool:
    """Whether a task instance builds a fact."""
    return str(task["task_id"]).startswith("fact_")
