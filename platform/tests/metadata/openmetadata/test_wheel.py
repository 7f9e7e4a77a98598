"""openmetadata-ingestion as a second opinion: its client reads what is published, and `metadata ingest` publishes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from mesh_platform.cli import mesh as command
from mesh_platform.metadata.openmetadata.lake_records import LakeRecords
from mesh_platform.query.state_cache import StateCache

from conftest import missing

from ...small_mesh import START, Place, Sale
from .double import TOKEN
from .published import NAMESPACE, Server, entities_of, owned_mesh, server
from .test_models import PYTHON, REPOSITORY

FACT = "mesh.mesh.core.fact_sales"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment that has openmetadata-ingestion."""
    if not PYTHON.exists():
        missing("no environment with openmetadata-ingestion: make .venv-openmetadata/done")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(REPOSITORY / "platform" / "src")}
    return subprocess.run(words, capture_output=True, text=True, env=env, cwd=folder, check=False)


@pytest.mark.slow
def test_its_client_sees_what_was_published(tmp_path: Path):
    place = owned_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2, item="i2")])
    place.build()
    records = LakeRecords(place.mesh, place.catalog, NAMESPACE, START, StateCache(), tmp_path / "none").all()
    with server() as new:
        new.publish(entities_of(place), records)
        seen = run(tmp_path, str(PYTHON), str(Path(__file__).with_name("wheel_client.py")), new.url, TOKEN, FACT)
    assert seen.returncode == 0, seen.stderr[-3000:]
    found = json.loads(seen.stdout.splitlines()[-1])
    assert found.pop("columns")["amount"] == ["DECIMAL", ["mesh.internal", "core.amount"]]
    assert found.pop("fields")[-2:] == ["producer", "schema_version"]
    assert found == {
        "healthy": True,
        "version": "2.0.6",
        "owners": ["team"],
        "domains": ["core"],
        "products": ["core__fact_sales"],
        "schema": "mesh.mesh.core",
        "experts": ["sam_core"],
        "product": ["core.fact_sales", ["core"]],
        "tasks": ["core.dim_buyer", "core.dim_item", "core.fact_sales", "core.items"],
        "run": "Successful",
        "rules": ["no refunds", "some sales", "one a buyer"],
        "result": "Success",
        "dashboard": ["Sales", "https://superset.example/superset/dashboard/core--sales/", "team"],
        "chart": ["Which items sell", "Table"],
        "shown": [0, 0, 1, 1, 1],
        "upstream": 1,
    }


@pytest.mark.slow
def test_metadata_ingest_creates_what_the_mesh_exports(tmp_path: Path):
    place = owned_mesh(tmp_path / "mesh")
    requests = tmp_path / "requests.json"
    with server() as new:
        exported = call(place, new, "export", "openmetadata", "--out", str(requests))
        assert exported.exit_code == 0, exported.output
        recipe = tmp_path / "ingest.yaml"
        recipe.write_text(yaml.safe_dump(recipe_of(new.url, requests)))
        done = run(tmp_path, str(PYTHON.with_name("metadata")), "ingest", "-c", str(recipe))
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        checked = call(place, new, "catalog", "publish", "--to", "openmetadata", "--check", "--format", "json")
        left = json.loads(checked.stdout)
        assert {step["entity"] for step in left} == {"ports", "table"}
        # Foreign keys wait for the columns that they refer to.
        assert {(*step["fields"],) for step in left if step["entity"] == "table"} == {("tableConstraints",)}
        assert call(place, new, "catalog", "publish", "--to", "openmetadata").exit_code == 0
        assert call(place, new, "catalog", "publish", "--to", "openmetadata", "--check").exit_code == 0


def call(place: Place, new: Server, *words: str) -> Any:
    env = {"MESH_ROOT": str(place.root), "MESH_OPENMETADATA_URL": new.url, "MESH_OPENMETADATA_TOKEN": TOKEN}
    return CliRunner().invoke(command, [*words], env=env)


def recipe_of(url: str, requests: Path) -> dict[str, Any]:
    """As docs/openmetadata.md shows it."""
    shown = (REPOSITORY / "docs" / "openmetadata.md").read_text().split("```yaml\n")[1].split("```")[0]
    recipe: dict[str, Any] = yaml.safe_load(shown)
    recipe["source"]["serviceConnection"]["config"]["connectionOptions"]["requests"] = str(requests)
    server_config = recipe["workflowConfig"]["openMetadataServerConfig"]
    server_config["hostPort"] = f"{url}/api"
    server_config["securityConfig"]["jwtToken"] = TOKEN
    return recipe
