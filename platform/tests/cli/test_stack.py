"""`mesh up` and `mesh down` make secrets, call Docker Compose, and report what it says of the containers.

No container engine runs here. A stand-in for `docker` records its arguments and answers as the documents of Docker
Compose say (`ps --format json` a JSON object for each container, `logs`, `config --services`). So these tests prove
which commands run and what becomes of the answers; that Docker Compose answers so, and starts the file, they do not.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, State

CORE = ["rabbitmq", "store", "postgres", "catalog-bootstrap", "catalog", "init"]
ENDED = {"State": "exited", "ExitCode": 0, "Health": ""}
STAND_IN = """#!{python} -S
import json, os, sys
from pathlib import Path
here = Path(__file__).parent
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps({{"words": words, "folder": os.getcwd()}}) + chr(10))
for command, answer in json.loads((here / "answers").read_text()).items():
    if command in words:
        print(answer.get("out", ""))
        print(answer.get("err", ""), file=sys.stderr)
        sys.exit(answer.get("code", 0))
sys.exit(f"the stand-in has no answer to {{words}}")
"""

Docker = Callable[..., "Calls"]


class Calls:
    """The stand-in, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = f"{folder}{os.pathsep}{os.environ['PATH']}"

    def of(self, command: str) -> list[list[str]]:
        """The arguments of each call of a command of Docker Compose."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [words for line in lines if command in (words := json.loads(line)["words"])]


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    def make(services: list[str], rows: dict[str, dict[str, Any]], **answers: dict[str, Any]) -> Calls:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "docker").write_text(STAND_IN.format(python=sys.executable))
        (folder / "docker").chmod(0o755)
        healthy = {"State": "running", "ExitCode": 0, "Health": "healthy"}
        lines = [{"Service": name, "Name": f"mesh-{name}-1", **healthy, **rows.get(name, {})} for name in services]
        usual = {
            "version": {"out": "Docker Compose version v2.40.0"},
            "ps": {"out": "\n".join(json.dumps(line) for line in lines if line.get("State"))},
            "config": {"out": "\n".join(services)},
            "up": {},
            "down": {},
        }
        (folder / "answers").write_text(json.dumps({**answers, **usual, **answers}))
        return Calls(folder)

    return make


def test_up_makes_secrets_once_starts_the_profiles_and_waits(state: State, docker: Docker) -> None:
    where = [{"URL": "127.0.0.1", "TargetPort": 5672, "PublishedPort": 5672, "Protocol": "tcp"}]
    started = {"init": ENDED, "catalog-bootstrap": ENDED, "rabbitmq": {"Publishers": where}}
    calls = docker([*CORE, "superset"], started)
    printed = state.mesh("up", "superset", PATH=calls.path).out
    assert re.search(r"^rabbitmq +running, healthy +127\.0\.0\.1:5672$", printed, re.MULTILINE)
    assert re.search(r"^init +exited, exit code 0", printed, re.MULTILINE)
    secrets = state.folder / "compose" / "secrets.env"
    (up,) = calls.of("up")
    assert up[:6] == ["compose", "--env-file", str(secrets), "--profile", "superset", "up"]
    assert {"--detach", "--wait"} <= {*up}
    before = secrets.read_text()
    state.mesh("up", PATH=calls.path)
    assert secrets.read_text() == before


def test_up_makes_every_variable_that_has_no_default_and_only_the_owner_reads_it(
    state: State, docker: Docker
) -> None:
    calls = docker(CORE, {"init": ENDED, "catalog-bootstrap": ENDED})
    state.mesh("up", PATH=calls.path)
    secrets = state.folder / "compose" / "secrets.env"
    assert secrets.stat().st_mode & 0o077 == 0
    made = dict(line.split("=", 1) for line in secrets.read_text().splitlines())
    files = [path.read_text() for path in ROOT.glob("docker-compose*.yml")]
    asked = {name for text in files for name in re.findall(r"\$\{(\w+)(?:\}|:?\?)", text)}
    assert {*made} == asked
    assert len({*made.values()}) == len(made)
    assert all(len(value) >= 32 for value in made.values())
    for name, value in made.items():
        if name.endswith("FERNET_KEY"):
            assert len(base64.urlsafe_b64decode(value)) == 32


def test_up_keeps_secrets_that_are_there_and_adds_those_that_lack(state: State, docker: Docker) -> None:
    secrets = state.folder / "compose" / "secrets.env"
    secrets.parent.mkdir(parents=True)
    secrets.write_text("MESH_STORE_PASSWORD=mine\n")
    calls = docker(CORE, {"init": ENDED, "catalog-bootstrap": ENDED})
    state.mesh("up", PATH=calls.path, MESH_STORE_PASSWORD="")
    assert "MESH_STORE_PASSWORD=mine\n" in secrets.read_text()
    assert "MESH_POSTGRES_PASSWORD=" in secrets.read_text()


def test_a_one_off_that_has_ended_with_0_is_no_failure_whatever_up_says(state: State, docker: Docker) -> None:
    calls = docker(CORE, {"init": ENDED, "catalog-bootstrap": ENDED}, up={"code": 1})
    state.mesh("up", PATH=calls.path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"catalog": {"State": "exited", "ExitCode": 137, "Health": ""}}, "catalog: exited, exit code 137"),
        ({"catalog": {"Health": "unhealthy"}}, "catalog: running, unhealthy"),
        ({"catalog": {"State": "restarting", "ExitCode": 1, "Health": ""}}, "catalog: restarting"),
        ({"init": {"State": "exited", "ExitCode": 3, "Health": ""}}, "init: exited, exit code 3"),
    ],
)
def test_up_names_the_container_that_failed_its_state_and_the_end_of_its_log(
    state: State, docker: Docker, rows: dict[str, dict[str, Any]], said: str
) -> None:
    log = {"out": "starting\nno connection to the database"}
    calls = docker(CORE, {"init": ENDED, "catalog-bootstrap": ENDED, **rows}, up={"code": 1}, logs=log)
    message = state.mesh("up", PATH=calls.path, check=3).err
    assert f"{said}\n    starting\n    no connection to the database\n" in message
    assert "1 of 6 services failed" in message
    (read,) = calls.of("logs")
    assert read[-1] == next(iter(rows))


def test_up_names_a_service_that_has_no_container(state: State, docker: Docker) -> None:
    calls = docker(CORE, {"catalog": {"State": ""}, "init": {"State": ""}}, up={"code": 18})
    message = state.mesh("up", PATH=calls.path, check=3).err
    assert "catalog: has no container" in message
    assert "init: has no container" in message
    assert "docker compose ended with 18" in message


def test_up_says_what_to_do_where_docker_does_not_run(state: State, docker: Docker) -> None:
    calls = docker(CORE, {}, up={"code": 1}, ps={"code": 1, "err": "Cannot connect to the Docker daemon."})
    message = state.mesh("up", PATH=calls.path, check=3).err
    assert "Cannot connect to the Docker daemon. Is Docker running?" in message


def test_up_without_docker_compose_says_what_to_install(state: State, docker: Docker, tmp_path: Path) -> None:
    calls = docker(CORE, {}, version={"code": 1, "err": "docker: 'compose' is not a docker command."})
    for path in (calls.path, str(tmp_path / "empty")):
        message = state.mesh("up", PATH=path, check=3).err
        assert "is not installed" in message
        assert "scripts/stack start" in message


def test_up_refuses_a_profile_that_no_service_has(state: State, docker: Docker) -> None:
    message = state.mesh("up", "airflo", PATH=docker(CORE, {}).path, check=2).err
    assert "no such profile. Did you mean airflow?" in message
    assert not state.folder.exists()


def test_up_starts_no_image_whose_digest_nobody_has_given(state: State, docker: Docker) -> None:
    calls = docker([*CORE, "openmetadata"], {"init": ENDED, "catalog-bootstrap": ENDED})
    message = state.mesh("up", "openmetadata", PATH=calls.path, check=2).err
    assert "MESH_OPENMETADATA_DIGEST: is not set." in message
    assert not (calls.folder / "calls").exists()
    given = {"MESH_OPENMETADATA_DIGEST": f"sha256:{'1' * 64}"}
    state.mesh("up", "openmetadata", PATH=calls.path, **given)


def test_down_ends_the_containers_of_all_profiles_and_keeps_their_volumes(state: State, docker: Docker) -> None:
    calls = docker(CORE, {})
    state.mesh("down", PATH=calls.path)
    (down,) = calls.of("down")
    assert down[3:] == ["--profile", "all", "down"]
    assert not {"--volumes", "-v"} & {*down}
