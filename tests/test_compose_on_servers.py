"""What docker-compose.yml says of servers, tried where they run natively: health checks, and what init makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import boto3
import pytest
import yaml
from native_stack import Stack, native_stack

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


class Polaris(BaseHTTPRequestHandler):
    """Stands in for a server that does not run here; it answers as its documents say, and notes what it is asked."""

    asked: list[tuple[str, Any]]
    there: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/api/catalog/v1/oauth/tokens":
            form = {key: value for key, (value,) in parse_qs(body).items()}
            granted = form["client_id"] == "root" and form["client_secret"] == "secret"
            self._answer(200 if granted else 401, {"access_token": "a-token"})
            return
        allowed = self.headers["Authorization"] == "Bearer a-token" and self.headers["Polaris-Realm"] == "mesh"
        self.asked.append((f"{self.command} {self.path}", json.loads(body)))
        known = self.path in self.there
        self.there.add(self.path)
        self._answer(401 if not allowed else 409 if known and self.command == "POST" else 201, {})

    do_PUT = do_POST

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def polaris() -> Iterator[tuple[int, type[Polaris]]]:
    handler = type("Asked", (Polaris,), {"asked": [], "there": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], handler
        server.shutdown()


def test_init_makes_bucket_queues_users_and_rights_and_asks_for_the_catalog(stack: Stack, tmp_path: Path) -> None:
    state: State = new_state(tmp_path)
    admin = stack.settings["MESH_RABBITMQ_ADMIN_URL"].rstrip("/")
    with polaris() as (port, catalog):
        given = {
            **stack.settings,
            "PYICEBERG_CATALOG__MESH__WAREHOUSE": "s3://ocean/warehouse",
            "MESH_RABBITMQ_ADMIN_URL": f"{admin}/mesh",
            "MESH_CATALOG_ADMIN_URL": f"http://root:secret@127.0.0.1:{port}",
        }
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
        asked = dict(catalog.asked)
    store = boto3.client(
        "s3",
        endpoint_url=given["PYICEBERG_CATALOG__MESH__S3__ENDPOINT"],
        region_name=given["PYICEBERG_CATALOG__MESH__S3__REGION"],
        aws_access_key_id=given["PYICEBERG_CATALOG__MESH__S3__ACCESS_KEY_ID"],
        aws_secret_access_key=given["PYICEBERG_CATALOG__MESH__S3__SECRET_ACCESS_KEY"],
    )
    assert "ocean" in {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    assert (state.folder / "credentials" / "mesh.env").exists()
    assert (state.folder / "credentials" / "north_warehouse.env").exists()
    made = asked["POST /api/management/v1/catalogs"]["catalog"]
    assert made["name"] == "mesh"
    assert made["properties"] == {"default-base-location": "s3://ocean/warehouse"}
    assert made["storageConfigInfo"]["allowedLocations"] == ["s3://ocean/warehouse"]
    assert asked["PUT /api/management/v1/catalogs/mesh/catalog-roles/catalog_admin/grants"] == {
        "grant": {"type": "catalog", "privilege": "CATALOG_MANAGE_CONTENT"}
    }
