"""What OpenLineage is told of runs, and that a transport which fails or hangs affects no run."""

from __future__ import annotations

import copy
import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mesh_platform.broker import connect, queue_of
from mesh_platform.build.build import build
from mesh_platform.errors import AttentionError
from mesh_platform.events.producer import batch, publish
from mesh_platform.ingest.ingest import ingest
from mesh_platform.lake.maintain import maintain
from mesh_platform.metadata import run_reports as reports
from mesh_platform.metadata.openlineage import AirflowTask
from mesh_platform.metadata.run_reports import reported_ingest, run_reports
from mesh_platform.settings import Settings
from openlineage.client.uuid import generate_static_uuid

from ..openlineage_schema import faults
from ..small_mesh import Place, Sale, small_mesh

Event = dict[str, Any]


@pytest.fixture(autouse=True)
def no_transport(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    # The client copies OPENLINEAGE_URL to variables of other names.
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        del os.environ[name]


def sent(place: Place) -> list[Event]:
    lines = (place.root / ".mesh" / "lineage.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def ended(events: list[Event], job: str) -> Event:
    (event,) = [event for event in events if event["job"]["name"] == job and event["eventType"] != "START"]
    return event


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, list[Event], dict[str, Any]]:
    """A mesh after ingest, builds and maintenance; what was told of them, and their results."""
    place = small_mesh(tmp_path_factory.mktemp("told"))
    place.land("beta", [Sale(1), Sale(2, item="i2")])
    settings, results = Settings(root=place.root), {}
    contract = place.mesh.contracts["alpha.sales_alpha"]
    line = {"event_id": "01992f2a-0000-7000-8000-000000000001"}
    with connect(settings.broker) as broker, run_reports(settings, place.mesh, print, into_file=True) as report:
        broker.declare([queue_of(contract)])
        publish(broker, contract, batch([json.dumps(line).encode()], 1), lambda steps: None)
        consume = partial(
            ingest, place.catalog, broker, [contract], lambda: datetime(2025, 10, 3, tzinfo=UTC), until_empty=True
        )
        for result in reported_ingest(report, [contract], consume):
            results[result.table, "ingest"] = result
        for built in build(place.mesh, place.catalog, on_run=partial(report, "build")):
            results[built.table, "build"] = built
        for done in maintain(
            place.mesh,
            place.catalog,
            on_start=lambda table: report("maintain", table, None),
            on_progress=lambda each: report("maintain", each.table, each),
        ):
            results[done.table, "maintain"] = done
    return place, sent(place), results


def test_each_event_is_valid_and_one_that_is_not_is_noticed(told: tuple[Place, list[Event], Any]) -> None:
    assert [fault for event in told[1] for fault in faults(event)] == []
    event = ended(told[1], "core.fact_sales.build")
    for spoil in (
        lambda e: e.pop("producer"),
        lambda e: e.update(eventType="DONE"),
        lambda e: e["outputs"][0].update(rows=1),
        lambda e: e["outputs"][0]["facets"]["columnLineage"]["fields"]["amount"].pop("inputFields"),
        lambda e: e["outputs"][0]["facets"]["schema"]["fields"][0].update(name=1),
        lambda e: e["run"]["facets"].update(schema=e["outputs"][0]["facets"]["schema"]),
        lambda e: e["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="2"),
    ):
        spoilt = copy.deepcopy(event)
        spoil(spoilt)
        assert faults(spoilt)


def test_each_run_has_a_start_and_an_end_of_one_id(told: tuple[Place, list[Event], dict[str, Any]]) -> None:
    _, events, results = told
    runs: dict[str, list[Event]] = {}
    for event in events:
        runs.setdefault(str(UUID(event["run"]["runId"])), []).append(event)
    assert {tuple(event["eventType"] for event in run) for run in runs.values()} == {("START", "COMPLETE")}
    assert sorted(run[0]["job"]["name"] for run in runs.values()) == sorted(map(".".join, results))
    for start, end in runs.values():
        assert start["job"] == end["job"]
        assert start["eventTime"] <= end["eventTime"]


def test_names_are_those_that_lineage_servers_resolve(told: tuple[Place, list[Event], Any]) -> None:
    for event in told[1]:
        assert event["inputs"]
        assert event["outputs"]
        for dataset in (*event["inputs"], *event["outputs"]):
            namespace, name = dataset["namespace"], dataset["name"]
            assert namespace in ("mesh", "file", "sqlite://broker.db")
            assert not name.startswith("/")
            assert namespace != "mesh" or name.count(".") == 1
            assert namespace != "file" or (told[0].root / name).is_file()


def test_columns_lead_through_unions_to_tables_with_how_they_depend(told: tuple[Place, list[Event], Any]) -> None:
    (output,) = ended(told[1], "core.fact_sales.build")["outputs"]
    copied = {"type": "DIRECT", "subtype": "IDENTITY"}
    assert [
        (each["name"], each["field"], each["transformations"])
        for each in output["facets"]["columnLineage"]["fields"]["amount"]["inputFields"]
    ] == [(f"{shop}.sales_{shop}", "amount", [copied]) for shop in ("alpha", "beta")]
    lineage = ended(told[1], "core.dim_buyer.build")["outputs"][0]["facets"]["columnLineage"]
    assert lineage["fields"]["total"]["inputFields"][0]["transformations"] == [
        {"type": "DIRECT", "subtype": "TRANSFORMATION"}
    ]
    assert [(each["field"], each["transformations"]) for each in lineage["dataset"]] == [
        ("buyer", [{"type": "INDIRECT", "subtype": "GROUP_BY"}])
    ]
    landing = ended(told[1], "alpha.sales_alpha__raw.ingest")["outputs"][0]["facets"]["columnLineage"]["fields"]
    (source,) = landing["amount"]["inputFields"]
    assert (source["namespace"], source["name"], source["field"]) == (
        "sqlite://broker.db", "alpha.sales_alpha", "amount",
    )  # fmt: skip


def test_rows_and_snapshots_are_those_of_the_lake(told: tuple[Place, list[Event], dict[str, Any]]) -> None:
    _, events, results = told
    for (table, kind), result in results.items():
        event = ended(events, f"{table}.{kind}")
        output = event["outputs"][0]
        version = output["facets"].get("version", {}).get("datasetVersion")
        assert version == (None if result.snapshot_id is None else str(result.snapshot_id))
        if kind == "build":
            assert output["outputFacets"]["outputStatistics"]["rowCount"] == result.rows
            read = {
                each["name"]: each["facets"]["version"]["datasetVersion"]
                for each in event["inputs"]
                if each.get("facets", {}).get("version")
            }
            states = {name: str(state) for name, state in result.inputs.items() if name != "mesh.sites" and state}
            assert read == states
    ingested = ended(events, "alpha.sales_alpha__raw.ingest")
    rows = [each["outputFacets"]["outputStatistics"]["rowCount"] for each in ingested["outputs"]]
    assert (rows, ingested["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"]) == ([0, 1], 1)


def test_what_fails_is_told_as_failed_and_the_rest_as_done(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(1)])
    with (
        pytest.raises(AttentionError),
        run_reports(Settings(root=place.root), place.mesh, print, into_file=True) as report,
    ):
        build(place.mesh, place.catalog, on_run=partial(report, "build"))
    failed = ended(sent(place), "alpha.sales_alpha.build")
    assert failed["eventType"] == "FAIL"
    assert "event_id" in failed["run"]["facets"]["errorMessage"]["message"]
    assert ended(sent(place), "beta.sales_beta.build")["eventType"] == "COMPLETE"
    assert [fault for event in sent(place) for fault in faults(event)] == []


@pytest.mark.parametrize(("error", "state"), [(ValueError("torn"), "FAIL"), (KeyboardInterrupt(), "ABORT")])
def test_runs_that_an_exception_ends_are_told_as_ended(tmp_path: Path, error: BaseException, state: str) -> None:
    place = small_mesh(tmp_path)
    (tmp_path / ".mesh").mkdir()

    def work() -> None:
        with run_reports(Settings(root=place.root), place.mesh, print, into_file=True) as report:
            report("ingest", "alpha.sales_alpha__raw", None)
            raise error

    with pytest.raises(type(error)):
        work()
    assert [event["eventType"] for event in sent(place)] == ["START", state]


def test_a_task_of_airflow_is_the_parent_by_the_ids_of_its_own_provider(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    (tmp_path / ".mesh").mkdir()
    task = AirflowTask("core__build", "fact_sales", datetime(2025, 10, 1, tzinfo=UTC), attempt=2)
    with run_reports(Settings(root=place.root), place.mesh, print, task, into_file=True) as report:
        report("build", "core.fact_sales", None)
    (event,) = sent(place)
    parent = event["run"]["facets"]["parent"]
    assert faults(event) == []
    assert (parent["job"]["namespace"], parent["job"]["name"]) == ("default", "core__build.fact_sales")
    assert parent["root"]["job"]["name"] == "core__build"
    # As OpenLineageAdapter of apache-airflow-providers-openlineage computes them.
    assert parent["run"]["runId"] == str(generate_static_uuid(task.instant, b"default.core__build.fact_sales.2.-1"))
    assert parent["root"]["run"]["runId"] == str(generate_static_uuid(task.instant, b"default.core__build.0"))


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def listening_server() -> Iterator[tuple[str, list[Event]]]:
    """The URL of a server of lineage, and what it has received."""
    received: list[Event] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


@pytest.mark.parametrize("transport", ["http", "async_http"])
def test_a_server_has_every_event_when_the_process_ends(
    tmp_path: Path, listening_server: tuple[str, list[Event]], monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    url, received = listening_server
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps({"type": transport, "url": url}))
    place, said = small_mesh(tmp_path), list[str]()
    with run_reports(Settings(root=place.root), place.mesh, said.append) as report:
        built = build(place.mesh, place.catalog, on_run=partial(report, "build"))
    assert (len(received), said) == (2 * len(built), [])
    assert [fault for event in received for fault in faults(event)] == []


def test_a_transport_that_hangs_is_left_and_said_once(
    tmp_path: Path, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PATIENCE", 0.2)
    monkeypatch.setenv("OPENLINEAGE_URL", silent_server)
    place, said = small_mesh(tmp_path), list[str]()
    with run_reports(Settings(root=place.root), place.mesh, said.append) as report:
        for outcome in (None, ValueError("x")):
            report("build", "core.fact_sales", outcome)
    assert said == ["OpenLineage: 2 events were not sent within 0.2 s. Rows and tables are not affected."]


def test_a_transport_that_fails_is_said_once_and_the_build_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "no folder"
    config = {"type": "file", "log_file_path": str(blocked / "lineage.jsonl"), "append": True}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(config))
    place, said = small_mesh(tmp_path), list[str]()
    with run_reports(Settings(root=place.root), place.mesh, said.append) as report:
        built = build(place.mesh, place.catalog, on_run=partial(report, "build"))
    assert len(built) == len(place.mesh.contracts)
    assert len(said) == 1
    assert said[0].startswith("OpenLineage: events are not sent:")


@pytest.mark.slow
def test_the_commands_tell_where_a_transport_is_configured_and_only_there(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1)])
    config = {"type": "file", "log_file_path": str(tmp_path / "sent.jsonl"), "append": True}
    place.state.mesh("build")
    assert not (tmp_path / ".mesh" / "lineage.jsonl").exists()
    counts = []
    for command in (("ingest", "--until-empty"), ("build",), ("maintain", "alpha"), ("maintain", "--dry-run")):
        place.state.mesh(*command, OPENLINEAGE__TRANSPORT=json.dumps(config))
        counts.append(len((tmp_path / "sent.jsonl").read_text().splitlines()))
    # A start and an end: of two queues, six products, and the three tables that alpha has by now.
    assert counts == [4, 16, 22, 22]
