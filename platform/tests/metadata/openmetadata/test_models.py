"""Every request that publishes the whole company is one that OpenMetadata's own models take."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.openmetadata.entities import desired
from mesh_platform.sql.model import read_models

from conftest import missing

from .published import NAMESPACE, server
from .validate import MODELS

REPOSITORY = Path(__file__).parents[4]
PYTHON = REPOSITORY / ".venv-openmetadata" / "bin" / "python"


def refused(bodies: list[tuple[str, Any]]) -> dict[int, str]:
    """The numbers of the bodies that the models refuse, with their messages."""
    script = Path(__file__).with_name("validate.py")
    run = subprocess.run(
        [str(PYTHON), str(script)], input=json.dumps(bodies), capture_output=True, text=True, check=True
    )
    return dict(json.loads(run.stdout))


@pytest.mark.slow
def test_every_request_is_valid_against_the_models_of_the_release():
    if not PYTHON.exists():
        missing("no environment with OpenMetadata's models: make .venv-openmetadata/done")
    mesh = load_mesh(REPOSITORY)
    with server() as new:
        new.publish(desired(mesh_graph(mesh, read_models(mesh)), NAMESPACE))
        bodies = new.double.bodies
        patched = new.double.patched
    assert {kind for kind, _ in bodies} == {*MODELS}
    assert refused(bodies) == {}
    # The models do refuse: a key too many, a type of ours, and a field that is missing.
    wrong = [(kind, {**body, "no_such_field": 1}) for kind, body in bodies]
    assert len(refused(wrong)) == len(wrong)
    table = next(body for kind, body in bodies if kind == "table")
    lower = {**table, "columns": [{**table["columns"][0], "dataType": "timestamptz"}]}
    assert [*refused([("table", lower), ("table", {**table, "name": None})])] == [0, 1]
    assert patched
    # A PATCH sets fields as create requests have them, but for references.
    assert refused([("table", {**table, **fields}) for fields in patched]) == {}
