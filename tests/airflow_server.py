"""A running Airflow of a test's own, by scripts/airflow: a state arrives; what its scheduler did leaves, by REST.

Other servers of the machine are left alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rabbit_node import is_free

from conftest import HANG, State


@dataclass(frozen=True)
class Server:
    """An Airflow that runs the mesh of a state; `token` is that of its user."""

    state: State
    environment: dict[str, str]
    url: str
    password: str
    token: str

    def get(self, path: str) -> Any:
        """What GET /api/v2/<path> answers."""
        return _call(f"{self.url}/api/v2/{path}", self.token)

    def trigger(self, dag: str, conf: dict[str, str] | None = None) -> None:
        """Ask for a run of a DAG."""
        _call(f"{self.url}/api/v2/dags/{dag}/dagRuns", self.token, {"logical_date": None, "conf": conf or {}})

    def is_idle(self) -> bool:
        """Whether no run of a DAG is under way or waits."""
        return bool(self.get("dags/~/dagRuns?state=running&state=queued&limit=1")["total_entries"] == 0)

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The runs of a DAG, newest first."""
        return list(self.get(f"dags/{dag}/dagRuns?order_by=-run_after&limit=100")["dag_runs"])

    def tasks(self, dag: str, state: str) -> list[dict[str, Any]]:
        """The task instances of a DAG that are in a state."""
        return list(self.get(f"dags/{dag}/dagRuns/~/taskInstances?state={state}&limit=100")["task_instances"])

    def kill_scheduler(self) -> None:
        """End the scheduler as a crash would; its executor's processes are left to notice."""
        for pid in self.members():
            # Its forkserver has the same words before others.
            if b"\0scheduler\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError("no scheduler runs")

    def heartbeat(self) -> str:
        """When the scheduler was last heard of, ISO."""
        return str(self.get("monitor/health")["scheduler"]["latest_scheduler_heartbeat"])

    def members(self) -> list[int]:
        """The processes that belong to it: those of its session, of tasks too."""
        leader = (self.state.folder / "airflow" / "pid").read_text().strip()
        found = subprocess.run(["pgrep", "-s", leader], capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split()]


@contextmanager
def airflow_server(state: State, **environment: str) -> Iterator[Server]:
    """Airflow on the mesh of a state, started; it is stopped in the end."""
    # Another run of the tests looks for a port at the same moment: it starts elsewhere.
    port = next(port for port in range(8100 + os.getpid() % 800, 9000) if is_free(port))
    own = {**state.environment, "MESH_AIRFLOW_PORT": str(port), **environment}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}"
    try:
        _script(state, own, "start")
        users = json.loads((state.folder / "airflow" / "simple_auth_manager_passwords.json.generated").read_text())
        url = f"http://127.0.0.1:{port}"
        given = {"username": "admin", "password": users["admin"]}
        yield Server(state, own, url, users["admin"], _call(f"{url}/auth/token", None, given)["access_token"])
    finally:
        _script(state, own, "stop")


def wait_until(what: str, is_so: Callable[[], bool], seconds: float) -> None:
    """Look until something is so; fails with `what` where it is not in time."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"after {seconds:g} s: not yet {what}"
        time.sleep(1)


def _script(state: State, environment: dict[str, str], word: str) -> None:
    script = [str(state.root / "scripts" / "airflow"), word]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, f"scripts/airflow {word}: {done.stdout}{done.stderr}"


def _call(url: str, token: str | None, given: dict[str, Any] | None = None) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(given).encode() if given is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)
