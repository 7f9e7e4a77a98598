"""The DAGs of the repository's own mesh: what they are, and what their tasks do to a real lake, without a server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_home import AirflowHome
from mesh_platform.broker import connect
from mesh_platform.mesh.mesh import load_mesh

from conftest import ROOT, State, new_state

SNAPSHOT = ROOT / "tests" / "dag_graph.txt"
DAYS = 2


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as Airflow begins with it."""
    return AirflowHome(new_state(tmp_path_factory.mktemp("migrated"))).migrate()


@pytest.fixture(scope="module")
def home(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    """An Airflow beside a broker with events of some days, of which a part is malformed."""
    home = AirflowHome(new_state(tmp_path_factory.mktemp("home")))
    home.copy_database(migrated)
    home.state.mesh("run", "--days", DAYS, "--rates", "malformed=0.01", "--publish-only")
    return home


@pytest.fixture(scope="module")
def runs(home: AirflowHome) -> dict[str, Any]:
    """What runs of the DAGs of one domain did, in this order."""
    days = {"table": "orders_north", "first_day": "2025-10-01", "last_day": "2025-10-01"}
    wanted = {
        "early": {"dag": "north_warehouse__freshness"},
        "ingest": {"dag": "north_warehouse__ingest"},
        "build": {"dag": "north_warehouse__build"},
        "ingest again": {"dag": "north_warehouse__ingest"},
        "build again": {"dag": "north_warehouse__build"},
        "maintain": {"dag": "north_warehouse__maintain"},
        "backfill": {"dag": "north_warehouse__backfill", "conf": days},
        "freshness": {"dag": "north_warehouse__freshness"},
        "anomalies": {"dag": "ml_insights__anomalies"},
    }
    return dict(zip(wanted, home.run(*wanted.values()), strict=True))


def test_the_graph_is_the_reviewed_one_and_reading_it_loads_nothing_of_the_lake(
    tmp_path: Path, make_state: Callable[..., State]
) -> None:
    home = AirflowHome(make_state(tmp_path))
    found = home.graph()
    assert found["errors"] == {}
    assert found["loaded"] == []
    assert found["text"] == SNAPSHOT.read_text(encoding="utf-8"), "see tests/dag_graph.py on how to write it anew"
    assert home.deployment("bundles") == home.bundles()
    # A task whose pool is not there waits for ever.
    assert set(found["pools"]) <= home.deployment("pools").keys()


def test_a_broken_contract_is_the_import_error_of_every_bundle(
    mesh_copy: Path, make_state: Callable[..., State]
) -> None:
    contract = mesh_copy / "domains/east_warehouse/contracts/orders_east.odcs.yaml"
    contract.write_text(contract.read_text().replace("name: orders_east", "nam: orders_east", 1))
    errors = AirflowHome(make_state(mesh_copy / "state", mesh_copy)).graph()["errors"]
    assert {*errors} == {file.name for file in (mesh_copy / "domains").glob("*/dags/*.py")}
    for error in errors.values():
        assert "domains/east_warehouse/contracts/orders_east.odcs.yaml:" in error


@pytest.mark.slow
def test_a_dag_of_a_domains_own_tells_of_rows_also_before_there_are_any(runs: dict[str, Any]) -> None:
    assert runs["anomalies"]["state"] == "success", runs["anomalies"]["raised"]


@pytest.mark.slow
def test_ingest_lands_each_queue_and_counts_what_is_malformed(home: AirflowHome, runs: dict[str, Any]) -> None:
    run = runs["ingest"]
    assert run["state"] == "success", run["raised"]
    status = {row["table"]: row for row in home.state.json("status")}
    landed = {name: event for name, event in run["events"].items() if name.endswith("__raw")}
    assert "north_warehouse.orders_north__raw" in landed
    for name, event in landed.items():
        table = status[name]
        assert (event["snapshot_id"], event["rows"]) == (table["snapshot_id"], table["rows"])
        assert event["deliveries"] == event["rows"] + event["quarantined"] + event["duplicates"]
        assert event["quarantined"] == status[name.replace("__raw", "__rejected")]["rows"]
    assert sum(event["quarantined"] for event in landed.values()) > 0
    assert sum(event["duplicates"] for event in landed.values()) > 0


@pytest.mark.slow
def test_an_empty_queue_skips_and_wakes_nobody(runs: dict[str, Any]) -> None:
    run = runs["ingest again"]
    assert run["state"] == "success"
    assert {*run["tasks"].values()} == {"skipped"}
    assert run["events"] == {}


@pytest.mark.slow
def test_build_makes_what_the_command_line_would_make_and_nothing_twice(
    home: AirflowHome, runs: dict[str, Any]
) -> None:
    run = runs["build"]
    assert run["state"] == "success", run["raised"]
    assert run["tasks"]["orders_north"] == "success"
    assert run["events"]["north_warehouse.orders_north"]["rows"] == status_of(home, "orders_north")["rows"] > 0
    # Nobody told of new events: what there is to do, the lake says.
    again = runs["build again"]
    assert {state for task, state in again["tasks"].items() if task not in ("what_changed", "release")} == {"skipped"}
    assert again["events"] == {}
    modes = {row["table"]: row["mode"] for row in home.state.json("build", "north_warehouse.orders_north")}
    assert modes["north_warehouse.orders_north"] == "noop"


@pytest.mark.slow
def test_a_backfill_builds_the_days_of_one_table_anew(home: AirflowHome, runs: dict[str, Any]) -> None:
    run = runs["backfill"]
    assert run["state"] == "success", run["raised"]
    assert {task for task, state in run["tasks"].items() if state == "success"} == {"which_table", "orders_north"}
    event = run["events"]["north_warehouse.orders_north"]
    assert (event["mode"], event["partitions"]) == ("rebuild", 1)
    assert event["snapshot_id"] != runs["build"]["events"]["north_warehouse.orders_north"]["snapshot_id"]
    rows = home.state.json("query", "select count(*) as n from north_warehouse.orders_north")
    assert rows[0]["n"] == runs["build"]["events"]["north_warehouse.orders_north"]["rows"]


@pytest.mark.slow
def test_maintain_maintains_each_table_once(runs: dict[str, Any]) -> None:
    run = runs["maintain"]
    assert run["state"] == "success", run["raised"]
    maintained = [row["table"] for rows in run["returned"].values() for row in rows]
    assert len(maintained) == len(set(maintained))
    assert {"north_warehouse.orders_north", "north_warehouse.orders_north__raw"} <= set(maintained)
    assert "north_warehouse.orders_north__rejected" in maintained


@pytest.mark.slow
def test_a_deadline_counts_from_the_newest_event_that_was_built(home: AirflowHome, runs: dict[str, Any]) -> None:
    promise = timedelta(days=1)
    row = status_of(home, "orders_north")
    left = datetime.fromisoformat(runs["freshness"]["deadlines"]["north_warehouse.orders_north"]) - datetime.now(UTC)
    # The state's clock stands still, the machine's does not.
    assert timedelta(0) <= promise - timedelta(seconds=row["lag_s"]) - left < timedelta(hours=1)
    # What nobody has built yet has the promised time from when Airflow came to know it.
    begun = datetime.fromisoformat(runs["early"]["deadlines"]["north_warehouse.orders_north"]) - datetime.now(UTC)
    assert timedelta(0) <= promise - begun < timedelta(hours=1)
    (age,) = [
        row for row in runs["freshness"]["returned"]["read_ages"] if row["table"] == "north_warehouse.orders_north"
    ]
    assert (age["fresh"], age["age_s"]) == (True, row["lag_s"])


@pytest.mark.slow
def test_an_owner_is_told_of_a_stale_product_once_and_not_of_one_that_is_fresh(
    home: AirflowHome, runs: dict[str, Any]
) -> None:
    alerts = home.state.folder / "stale.jsonl"
    now = datetime.fromisoformat((home.state.folder / "clock").read_text())
    owners = load_mesh(ROOT).domain("north_warehouse").owners.model_dump()
    code = "from mesh_platform.dags.alert import tell_of_stale_product; tell_of_stale_product({!r}, {!r})"
    tell = code.format("north_warehouse.orders_north", owners)
    told = {"MESH_ALERTS": f"file:{alerts}"}
    home.python(tell, **told)
    assert not alerts.exists()
    for hours in (25, 49):
        home.python(tell, MESH_CLOCK=(now + timedelta(hours=hours)).isoformat(), **told)
        (alert,) = map(json.loads, alerts.read_text().splitlines())
    assert alert["subject"] == "north_warehouse.orders_north"
    assert re.search("the newest event is 25[.0-9]* hours old; its contract promises 24 hours", alert["message"])
    assert (alert["owner"], alert["on_call"]) == ("North Ops", "#north-ops-on-call")


@pytest.mark.slow
def test_each_run_is_told_by_openlineage_as_a_part_of_its_task(home: AirflowHome, runs: dict[str, Any]) -> None:
    assert runs["build"]["state"] == "success"
    events = [json.loads(line) for line in (home.state.folder / "lineage.jsonl").read_text().splitlines()]
    of_job: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        of_job.setdefault(event["job"]["name"], []).append(event)
    landing, product = (of_job[f"north_warehouse.orders_north{run}"] for run in ("__raw.ingest", ".build"))
    # The build that had nothing to do was skipped before its task began; the backfill is another run.
    for run in (landing[:2], product[:2]):
        assert [event["eventType"] for event in run] == ["START", "COMPLETE"]
        assert run[0]["run"] == run[1]["run"]
    parents = [event["run"]["facets"]["parent"]["job"]["name"] for event in (landing[0], product[0], product[-1])]
    tasks = [f"north_warehouse__{kind}.orders_north" for kind in ("ingest", "build", "backfill")]
    assert parents == tasks
    assert "north_warehouse.orders_north.maintain" in of_job
    assert [(found["name"], found["namespace"][:6]) for found in landing[1]["inputs"]] == [
        ("north_warehouse.orders_north", "sqlite")
    ]
    assert {found["name"] for found in product[1]["inputs"]} >= {
        "north_warehouse.exchange_rates",
        "north_warehouse.orders_north__raw",
    }
    facets = product[1]["outputs"][0]["facets"]
    assert [owner["name"] for owner in facets["ownership"]["owners"]] == ["North Ops", "Ada Okafor"]
    sources = {
        (found["name"], found["field"]) for found in facets["columnLineage"]["fields"]["amount_usd"]["inputFields"]
    }
    assert ("north_warehouse.orders_north__raw", "amount") in sources


def status_of(home: AirflowHome, table: str) -> dict[str, Any]:
    """The row of `mesh status` of a table of the domain."""
    return next(row for row in home.state.json("status") if row["table"] == f"north_warehouse.{table}")


@pytest.mark.slow
def test_a_table_that_does_not_match_its_contract_is_red_and_acknowledges_nothing(
    migrated: Path, mesh_copy: Path, make_state: Callable[..., State]
) -> None:
    state = make_state(mesh_copy / ".mesh", mesh_copy)
    home = AirflowHome(state)
    home.copy_database(migrated)
    for days in (1, 2):
        state.mesh("run", "--days", days, "--domain", "south_warehouse", "--publish-only")
        if days == 1:
            state.mesh("ingest", "south_warehouse.orders_south", "--until-empty")
    contract = mesh_copy / "domains/south_warehouse/contracts/orders_south.odcs.yaml"
    note = "- {name: note, logicalType: string, physicalType: string, required: true, description: X., examples: [x]}"
    contract.write_text(contract.read_text().replace("    properties:\n", f"    properties:\n      {note}\n", 1))
    waiting = depth(state, "south_warehouse.orders_south")
    (run,) = home.run({"dag": "south_warehouse__ingest"}, MESH_ALERTS="file:alerts.jsonl")
    assert run["state"] == "failed"
    assert (run["tasks"]["orders_south"], run["tasks"]["inventory_south"]) == ("failed", "success")
    assert "orders_south__raw: the table lacks note (string), which is required" in run["raised"]["orders_south"]
    assert "Put the contract back as it was, or publish the change as version 2" in run["raised"]["orders_south"]
    assert depth(state, "south_warehouse.orders_south") == waiting > 0
    (alert,) = map(json.loads, (state.folder / "alerts.jsonl").read_text().splitlines())
    assert alert["subject"] == "south_warehouse__ingest.orders_south"
    assert run["raised"]["orders_south"] in alert["message"]


def depth(state: State, queue: str) -> int:
    """How many messages wait in a queue."""
    with connect(state.settings.broker) as broker:
        return broker.depth(queue)
