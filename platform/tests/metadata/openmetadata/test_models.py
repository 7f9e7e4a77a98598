"""Every request that publishes the whole company, and its lake, is one that OpenMetadata's own models take."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.openmetadata.entities import desired
from mesh_platform.metadata.openmetadata.lake_records import LakeRecords
from mesh_platform.metadata.openmetadata.requests import MODELS
from mesh_platform.query.state_cache import StateCache
from mesh_platform.sql.model import read_models

from conftest import missing

from ...small_mesh import START, Sale
from .published import NAMESPACE, edit_contract, entities_of, owned_mesh, server

REPOSITORY = Path(__file__).parents[4]
PYTHON = REPOSITORY / ".venv-openmetadata" / "bin" / "python"
# What is sent of entities, by the end of its path.
SENT = {
    "ports": "api.bulkAssets:BulkAssets",
    "tableProfile": "api.data.createTableProfile:CreateTableProfileRequest",
    "status": "entity.data.pipeline:PipelineStatus",
    "testCaseResults": "api.tests.createTestCaseResult:CreateTestCaseResult",
}


def refused(bodies: list[tuple[str, Any]]) -> dict[int, str]:
    """The numbers of the bodies that the models of their kinds refuse, with their messages."""
    if not PYTHON.exists():
        missing("no environment with OpenMetadata's models: make .venv-openmetadata/done")
    script = Path(__file__).with_name("validate.py")
    of_models = [({**MODELS, **SENT}[kind], body) for kind, body in bodies]
    run = subprocess.run(
        [str(PYTHON), str(script)], input=json.dumps(of_models), capture_output=True, text=True, check=True
    )
    return dict(json.loads(run.stdout))


@pytest.mark.slow
def test_every_request_is_valid_against_the_models_of_the_release():
    mesh = load_mesh(REPOSITORY)
    with server() as new:
        new.publish(desired(mesh_graph(mesh, read_models(mesh)), NAMESPACE))
        bodies = new.double.bodies
        patched = new.double.patched
    assert {kind for kind, _ in bodies} == {*MODELS, "ports"}
    assert refused(bodies) == {}
    # The models do refuse: a key too many, a type of ours, and a field that is missing.
    wrong = [(kind, {**body, "no_such_field": 1}) for kind, body in bodies]
    assert len(refused(wrong)) == len(wrong)
    table = next(body for kind, body in bodies if kind == "table")
    lower = {**table, "columns": [{**table["columns"][0], "dataType": "timestamptz"}]}
    assert [*refused([("table", lower), ("table", {**table, "name": None})])] == [0, 1]
    assert {kind for kind, _ in patched} == {"table"}
    # A PATCH sets fields as create requests have them, but for references.
    assert refused([("table", {**table, **fields}) for _, fields in patched]) == {}


@pytest.mark.slow
def test_every_record_and_each_field_that_is_changed_is_valid_against_the_models(tmp_path: Path):
    place = owned_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2)])
    place.build()
    found = LakeRecords(place.mesh, place.catalog, NAMESPACE, START, StateCache(), tmp_path / "none").all()
    with server() as new:
        new.publish(entities_of(place), found)
        records = [(kind, body) for kind, body in new.double.bodies if kind in SENT]
        assert {kind for kind, _ in records} == {*SENT}
        assert refused(records) == {}
        # Everything in a contract and its rules that a PATCH can set.
        for table in ("fact_sales", "dim_buyer"):
            edit_contract(place, f"core/contracts/{table}", _changed)
        for each in new.double.of("testCase"):
            each["testDefinition"] = {"id": str(uuid4()), "type": "testDefinition", "fullyQualifiedName": "other"}
        new.publish(entities_of(place))
        bodies = {kind: body for kind, body in new.double.bodies if kind in ("dataContract", "testCase")}
        patched = [(kind, fields) for kind, fields in new.double.patched if kind in bodies]
    assert {name for _, fields in patched for name in fields} >= {
        "description", "displayName", "schema", "odcsQualityRules", "sla", "parameterValues", "testDefinition",
    }  # fmt: skip
    named = {"testCase": {"testDefinition": "other"}, "dataContract": {}}
    assert refused([(kind, {**bodies[kind], **fields, **named[kind]}) for kind, fields in patched]) == {}


def _changed(contract: dict[str, Any]) -> None:
    contract["version"] = "1.1.0"
    contract["description"] = {"purpose": "Another."}
    contract["slaProperties"] = [{"property": "retention", "value": 2, "unit": "y"}]
    contract["schema"][-1]["properties"][-1]["description"] = "Another."
    rules = contract["schema"][-1].setdefault("quality", [])
    for rule in rules:
        if "mustBeGreaterThan" in rule:
            rule["mustBeGreaterThan"] = 2
    rules.append({"metric": "rowCount", "name": "many", "mustBeBetween": [1, 9]})
