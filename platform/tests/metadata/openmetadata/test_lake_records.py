"""What the lake says over time: results of rules, runs and sizes, each sent once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mesh_platform.cli import mesh as command
from mesh_platform.errors import MeshError
from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.kinds import Entity, Record
from mesh_platform.metadata.openmetadata.lake_records import LakeRecords, records_of
from mesh_platform.query.state_cache import StateCache
from mesh_platform.settings import Settings

from ...small_mesh import START, Place, Sale
from .double import TOKEN, Double
from .published import NAMESPACE, Server, entities_of, owned_mesh, server, shown

FACT = "mesh.mesh.core.fact_sales"
BUILD = "mesh_pipelines.core__build"
BUILT = ("alpha.sales_alpha", "core.items", "core.dim_item", "core.fact_sales")
# One sale is a refund, which a rule holds back, and one buyer has bought the same twice.
SALES = [
    Sale(1, item="i1", buyer="ann"),
    Sale(2, item="i1", buyer="ann"),
    Sale(3, item="i2", buyer="bob"),
    Sale(4, item="i9", buyer="secretive"),
    Sale(5, item="i2", buyer="zoe", amount=Decimal("-7.77")),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = owned_mesh(tmp_path_factory.mktemp("mesh"))
    place.land("alpha", SALES)
    place.build(*BUILT)
    return place


@pytest.fixture(scope="module")
def full(built: Place) -> Double:
    """A double that holds the mesh, and nothing of its lake."""
    with server() as new:
        new.publish(entities_of(built))
        return new.double


@pytest.fixture
def live(full: Double) -> Iterator[Server]:
    copy = deepcopy(full)
    copy.requests.clear()
    copy.bodies.clear()
    with server(copy) as found:
        yield found


@pytest.fixture(scope="module")
def wanted(built: Place) -> list[Entity]:
    return entities_of(built)


def records(place: Place) -> list[Record]:
    reports = place.root / ".mesh" / "lineage.jsonl"
    return LakeRecords(place.mesh, place.catalog, NAMESPACE, START, StateCache(), reports).all()


def held(double: Double, end: str, kind: str, fqn: str) -> list[dict[str, Any]]:
    """What was sent of an entity, the oldest first."""
    return [each for _, each in sorted(double.series.get((end, double.get(kind, fqn)["id"]), {}).items())]


def result(double: Double, name: str, table: str = FACT) -> dict[str, Any]:
    (found,) = held(double, "testCaseResults", "testCase", f"{table}.{name}")
    return found


def committed(place: Place, table: str) -> int:
    snapshot = place.catalog.load_table(table).current_snapshot()
    assert snapshot is not None
    return snapshot.timestamp_ms


def test_the_results_of_a_build_are_those_of_its_rules(built: Place, live: Server, wanted: list[Entity]):
    live.publish(wanted, records(built))
    at = committed(built, "core.fact_sales")
    refunds = result(live.double, "no refunds")
    assert (refunds["timestamp"], refunds["testCaseStatus"]) == (at, "Failed")
    assert refunds["result"] == "1 row held back"
    count = result(live.double, "some sales")
    assert (count["timestamp"], count["testCaseStatus"]) == (at, "Success")
    pairs = result(live.double, "one a buyer")
    assert pairs["testCaseStatus"] == "Failed"
    assert pairs["testResultValue"] == [{"name": "number", "value": "1"}]
    assert "must be 0" in pairs["result"]
    dangling = result(live.double, "references")
    assert (dangling["testCaseStatus"], dangling["testResultValue"][0]["value"]) == ("Failed", "1")
    refused = result(live.double, "refused events", "mesh.mesh.alpha.sales_alpha__raw")
    assert (refused["testCaseStatus"], refused["result"]) == ("Success", "0 events wait in quarantine")


def test_the_rows_of_a_rule_with_a_semicolon_in_its_name_are_counted(tmp_path: Path):
    place = owned_mesh(tmp_path)
    path = place.root / "domains" / "core" / "contracts" / "fact_sales.odcs.yaml"
    path.write_text(path.read_text().replace("no refunds", "sales; no refunds"))
    place = Place(place.root)
    place.land("alpha", SALES)
    place.build(*BUILT)
    (found,) = [record.body() for record in records(place) if record.of.fqn == f"{FACT}.sales; no refunds"]
    assert (found["testCaseStatus"], found["result"]) == ("Failed", "1 row held back")


def test_a_commit_is_a_run_of_its_pipeline_and_a_size_of_its_table(built: Place, live: Server, wanted: list[Entity]):
    live.publish(wanted, records(built))
    runs = held(live.double, "status", "pipeline", BUILD)
    tasks = {task["name"]: task for run in runs for task in run["taskStatus"]}
    assert {*tasks} == {"core.fact_sales", "core.items", "core.dim_item"}
    assert tasks["core.fact_sales"]["endTime"] == committed(built, "core.fact_sales")
    assert tasks["core.fact_sales"]["metrics"] == {"rowsWritten": 4}
    assert {run["executionStatus"] for run in runs} == {"Successful"}
    (ingested,) = held(live.double, "status", "pipeline", "mesh_pipelines.alpha__ingest")
    assert [task["name"] for task in ingested["taskStatus"]] == ["alpha.sales_alpha"]
    (profile,) = held(live.double, "tableProfile", "table", FACT)
    files = built.catalog.load_table("core.fact_sales").scan().plan_files()
    assert profile == {
        "timestamp": committed(built, "core.fact_sales"),
        "rowCount": 4,
        "columnCount": 6,
        "sizeInByte": sum(task.file.file_size_in_bytes for task in files),
    }


def test_each_is_sent_once(built: Place, live: Server, wanted: list[Entity]):
    live.publish(wanted, records(built))
    live.double.requests.clear()
    assert live.publish(wanted, records(built)) == []
    assert live.double.changing() == []


@pytest.mark.slow
def test_after_another_build_only_what_is_new_is_sent(live: Server, wanted: list[Entity], tmp_path: Path):
    place = owned_mesh(tmp_path)
    place.land("alpha", SALES)
    place.build(*BUILT)
    live.publish(wanted, records(place))
    place.build(*BUILT)
    assert live.publish(wanted, records(place)) == []
    place.land("alpha", [Sale(6, hours=30, item="i1", buyer="eve")])
    place.build(*BUILT)
    sent = {(step.entity, step.fqn) for step in live.publish(wanted, records(place))}
    assert {("testCaseResult", f"{FACT}.no refunds"), ("tableProfile", FACT), ("pipelineStatus", BUILD)} <= sent
    assert not [fqn for _, fqn in sent if "dim_item" in fqn]
    assert len(held(live.double, "tableProfile", "table", FACT)) == 2
    assert live.publish(wanted, records(place)) == []


def test_no_value_of_a_row_is_sent(built: Place, live: Server, wanted: list[Entity]):
    report(built, "FAIL", "core.fact_sales.build", "amount is negative, as in (buyer=secretive, amount=-7.77)")
    try:
        live.publish(wanted, records(built))
    finally:
        (built.root / ".mesh" / "lineage.jsonl").unlink()
    assert live.double.bodies
    text = json.dumps(live.double.bodies)
    assert "secretive" not in text
    assert "7.77" not in text


def report(place: Place, state: str, job: str, message: str = "") -> None:
    event = {
        "eventType": state,
        "eventTime": datetime(2025, 11, 1, 12, tzinfo=UTC).isoformat(),
        "run": {"runId": "run-1", "facets": {"errorMessage": {"message": message}}},
        "job": {"namespace": "mesh", "name": job},
    }
    with (place.root / ".mesh" / "lineage.jsonl").open("a") as file:
        file.write(f"{json.dumps(event)}\n")


def test_a_failed_run_is_read_from_the_run_reports(built: Place, live: Server, wanted: list[Entity]):
    path = built.root / ".mesh" / "lineage.jsonl"
    path.write_text('lf a line", "eventType": "FAIL"}\n')
    report(built, "START", "core.dim_item.build")
    report(built, "FAIL", "core.dim_buyer.build")
    report(built, "FAIL", "core.dim_buyer.maintain")
    report(built, "FAIL", "core.gone.build")
    try:
        live.publish(wanted, records(built))
    finally:
        path.unlink()
    failed = [run for run in held(live.double, "status", "pipeline", BUILD) if run["executionStatus"] == "Failed"]
    assert [(run["executionId"], [task["name"] for task in run["taskStatus"]]) for run in failed] == [
        ("run-1", ["core.dim_buyer"])
    ]


def test_rules_that_the_last_build_has_not_checked_have_no_result(built: Place, live: Server, wanted: list[Entity]):
    path = built.root / "domains/core/contracts/fact_sales.odcs.yaml"
    before = path.read_text()
    path.write_text(before.replace("mustBeGreaterThan: 0", "mustBeGreaterThan: 1"))
    try:
        changed = records(built)
    finally:
        path.write_text(before)
    names = {record.of.fqn for record in changed}
    assert f"{FACT}.some sales" not in names
    assert f"{FACT}.references" in names


def test_a_lost_answer_does_not_send_a_result_twice(built: Place, live: Server, wanted: list[Entity]):
    """The server refuses a second result of the same time, as its database does."""
    found = [record for record in records(built) if record.of.fqn == f"{FACT}.no refunds"]
    assert len(found) == 1
    live.client = Client(live.url, TOKEN, attempts=3)
    live.plan(wanted, found)
    reads = len(live.double.requests)
    live.double.cut, live.double.cut_after, live.double.heal_after = 2 * reads + 1, True, 2 * reads + 1
    assert shown(live.publish(wanted, found))[0][:2] == ("testCaseResult", f"{FACT}.no refunds")
    assert [method for method, _ in live.double.changing()] == ["POST"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "after it is done"])
def test_killed_at_each_record_it_ends_in_the_same_state(
    after: bool, built: Place, full: Double, live: Server, wanted: list[Entity]
):
    found = records(built)
    live.publish(wanted, found)
    end = live.double.state()
    places = [n for n, (method, _) in enumerate(live.double.requests, 1) if method != "GET"]
    assert len(places) > 10
    for place in places:
        copy = deepcopy(full)
        copy.requests.clear()
        copy.cut, copy.cut_after = place, after
        with server(copy) as new:
            with pytest.raises(MeshError):
                new.publish(wanted, found)
            new.double.cut = None
            new.publish(wanted, found)
            assert new.double.state() == end, place


def test_the_command_sends_what_the_lake_says(built: Place, live: Server):
    env = {"MESH_ROOT": str(built.root), "MESH_OPENMETADATA_URL": live.url, "MESH_OPENMETADATA_TOKEN": TOKEN}
    words = ["catalog", "publish", "--to", "openmetadata", "--format", "json"]
    sent = {step["entity"] for step in json.loads(CliRunner().invoke(command, words, env=env).stdout)}
    assert sent == {"pipelineStatus", "tableProfile", "testCaseResult"}
    assert json.loads(CliRunner().invoke(command, [*words, "--check"], env=env).stdout) == []


def test_without_a_lake_there_are_no_records(tmp_path: Path):
    place = owned_mesh(tmp_path)
    assert records_of(Settings(root=place.root), place.mesh, NAMESPACE) == []
