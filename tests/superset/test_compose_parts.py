"""The parts of the profile `superset` of docker-compose.yml, run natively in their order, from an empty lake."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.dashboards.superset_server import Server
from mesh_platform.errors import MeshError
from mesh_platform.mesh.mesh import Mesh
from rabbit_node import is_free
from superset_server import chart_data, wait_until

from conftest import HANG, ROOT, State, missing, new_state

pytestmark = pytest.mark.superset
PASSWORD = "a password of this test"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
ASSETS = ROOT / "platform/src/mesh_platform/dashboards/assets"


def part(name: str, state: State, url: str) -> tuple[list[str], dict[str, str]]:
    """The command of a service and its variables, with the places of this machine for those of a container."""
    service = SERVICES[name]
    home = state.folder / "superset"
    places = {"/mesh/scripts": str(ROOT / "scripts"), "/app/superset.sh": str(ROOT / "scripts/compose/superset.sh")}
    words = [*service.get("entrypoint", ()), *service["command"]]
    for there, here in places.items():
        words = [word.replace(there, here) for word in words]
    here = {
        "MESH_ROOT": str(ROOT),
        "MESH_STATE": str(state.folder),
        "MESH_SUPERSET_HOME": str(home),
        "MESH_SUPERSET_URL": url,
        "MESH_SUPERSET_DATABASE": f"sqlite:///{state.folder}/superset.db?timeout=30",
        "MESH_SUPERSET_SECRET_KEY": "a key of this test",
        "MESH_SUPERSET_PASSWORD": PASSWORD,
        "SUPERSET_CONFIG_PATH": str(ASSETS / "superset_config.py"),
        "TZ": "UTC",
    }
    given = {key: here[key] for key in service["environment"] if key in here}
    image = ".venv-superset" if "superset" in service["image"] else ".venv"
    path = f"{ROOT / image / 'bin'}:{state.environment['PATH']}"
    kept = {key: value for key, value in state.environment.items() if not key.startswith("MESH_")}
    return words, {**kept, **given, "PATH": path, "TMPDIR": str(state.folder)}


@contextmanager
def running(words: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process that goes on meanwhile."""
    with log.open("w") as out:
        process = subprocess.Popen(words, env=environment, stdout=out, stderr=out)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def test_they_lead_from_an_empty_lake_to_dashboards_that_show_each_commit(mesh: Mesh, tmp_path: Path) -> None:
    gunicorn = ROOT / ".venv-superset" / "bin" / "gunicorn"
    if not gunicorn.exists():
        missing("Superset is not installed: make .venv-superset/done")
    state = new_state(tmp_path / "state")
    (state.folder / "credentials").mkdir(parents=True)
    (state.folder / "credentials" / "mesh.env").write_text("OF_THE_PLATFORM=1\n")
    (state.folder / "superset").mkdir()
    port = next(port for port in range(9900, 9999) if is_free(port))
    url = f"http://127.0.0.1:{port}"
    for name in ("superset-files", "superset-migrate"):
        words, environment = part(name, state, url)
        # Both may run again.
        for _ in range(2):
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=HANG)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    with ExitStack() as parts:
        environment = part("superset-migrate", state, url)[1]
        words = [str(gunicorn), "--bind", f"127.0.0.1:{port}", "--threads", "8", "superset.app:create_app()"]
        parts.enter_context(running(words, environment, tmp_path / "server.log"))
        wait_until(lambda: logged_in(url, "admin", PASSWORD), "the server")
        words, environment = part("superset-follow", state, url)
        parts.enter_context(running(words, environment, tmp_path / "follow.log"))
        check = SERVICES["superset-follow"]["healthcheck"]["test"]
        deployed = Path(check[-1].replace("/tmp", str(state.folder)))
        assert check[:3] == ["CMD", "test", "-e"]
        wait_until(deployed.exists, "the dashboards")
        passwords = json.loads((state.folder / "superset" / "secrets.json").read_text())["passwords"]
        assert passwords["admin"] == PASSWORD
        dashboard = mesh.dashboards["logistics_core.orders_and_returns"]
        with (
            Server(url, "admin", passwords["admin"]) as admin,
            Server(url, "WH-NORTH", passwords["WH-NORTH"]) as north,
        ):
            assert len(admin.numbers("dashboard")) == len(mesh.dashboards)
            numbers = admin.numbers("dataset")

            def sold() -> Any:
                return chart_data(north, numbers, dashboard, "revenue_total")[0]["revenue_usd"]

            assert not sold()
            state.mesh("run", "--days", 1, "--format", "json")
            wait_until(lambda: bool(sold()), "the first day")


def logged_in(url: str, user: str, password: str) -> bool:
    try:
        Server(url, user, password)
    except MeshError:
        return False
    return True
