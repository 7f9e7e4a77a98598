"""What docker-compose.yml says of servers, tried where they run natively: health checks, and what init makes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pyarrow as pa
import pytest
import yaml
from native_stack import Stack, native_stack
from pyiceberg.catalog import load_catalog

from conftest import ROOT, State, new_state

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with native_stack() as running:
        yield running


def health(service: str) -> list[str]:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    words: list[str] = services[service]["healthcheck"]["test"]
    return words


def test_the_store_answers_at_the_path_of_its_health_check(stack: Stack) -> None:
    asked = urlsplit(health("store")[-1])
    place = stack.settings["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"]
    with urlopen(f"{place}{asked.path}", timeout=10) as answer:
        assert answer.status == 200


def test_postgresql_is_ready_by_the_command_of_its_health_check(stack: Stack) -> None:
    _, program, *words = health("postgres")
    found = shutil.which(program) or str(next(Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
    port = urlsplit(stack.settings["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"]).port
    assert port
    for offset, code in ((1, 0), (9, 2)):
        done = subprocess.run([found, *words, "--port", str(port + offset)], timeout=30)
        assert done.returncode == code


def test_rabbitmq_is_ready_by_the_command_of_its_health_check(stack: Stack) -> None:
    _, program, *words = health("rabbitmq")
    port = int(stack.environment["MESH_RABBITMQ_PORT"])
    found = shutil.which(f"/usr/lib/rabbitmq/bin/{program}") or shutil.which(program)
    assert found
    # Where the node of scripts/rabbitmq has its cookie and its names.
    there = {
        **os.environ,
        "HOME": f"{stack.environment['MESH_STATE']}/rabbitmq",
        "ERL_EPMD_PORT": str(port + 15000),
        "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    node = ["--node", f"mesh-{port}@localhost"]
    done = subprocess.run([found, *words, *node], env=there, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_init_makes_bucket_queues_catalog_users_and_rights(tmp_path: Path) -> None:
    state: State = new_state(tmp_path)
    with native_stack(MESH_STACK_CATALOG="polaris") as stack:
        given = {
            **stack.settings,
            "MESH_INIT_WAREHOUSE": "s3://ocean/warehouse",
            "PYICEBERG_CATALOG__MESH__WAREHOUSE": "ocean",
            "MESH_RABBITMQ_ADMIN_URL": f"{stack.settings['MESH_RABBITMQ_ADMIN_URL'].rstrip('/')}/mesh",
        }
        # What a container has for a credential is what init has written.
        del given["PYICEBERG_CATALOG__MESH__CREDENTIAL"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        for _ in range(2):
            subprocess.run(
                [sys.executable, str(ROOT / "scripts" / "compose" / "init.py")],
                env={**state.environment, **given, "PATH": path},
                cwd=ROOT,
                check=True,
                timeout=300,
            )
        assert state.mesh("grants", "--check", "--format", "json", **given).json == []
        north = dotenv(state.folder / "credentials" / "north_warehouse.env")
        own = {
            name.removeprefix("PYICEBERG_CATALOG__MESH__").replace("__", ".").replace("_", "-").lower(): value
            for name, value in (given | north).items()
            if name.startswith("PYICEBERG_CATALOG__MESH__")
        }
        table = load_catalog("own", **own).create_table("north_warehouse.tried", pa.schema([("a", pa.int64())]))
        table.append(pa.table({"a": [1]}))
        assert table.location().startswith("s3://ocean/warehouse/")
        assert table.scan().to_arrow().num_rows == 1


def dotenv(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE))
