"""The servers of a company's lake for a test, by scripts/stack: PostgreSQL, a store, a REST catalog and RabbitMQ."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rabbit_node import is_free

from conftest import HANG, ROOT, State, missing, new_state


@dataclass(frozen=True)
class Stack:
    """Servers that run. `settings` are the variables that `mesh` reads to use them as the platform."""

    environment: Mapping[str, str]
    settings: Mapping[str, str]
    # Where the store keeps its objects.
    disk: Path

    @property
    def catalog(self) -> dict[str, str]:
        """pyiceberg's properties of the catalog."""
        return catalog_properties(self.settings)

    def database(self, name: str) -> str:
        """Make a database in PostgreSQL. Return its address, postgresql://user:password@host:port/name."""
        return _run("database", name, environment=self.environment).strip()

    def kill(self, name: str) -> None:
        """End one as a crash would: postgres, store or catalog."""
        _run("kill", name, environment=self.environment)

    def start(self) -> None:
        """Start those that do not run."""
        _run("start", environment=self.environment)


def on_servers(folder: Path, stack: Stack) -> State:
    """A state in `folder` whose broker and lake are these servers."""
    state = new_state(folder)
    state.environment.update(stack.settings)
    return state


@contextmanager
def native_stack(store: str = "minio", disk_mb: int | None = None, **variables: str) -> Iterator[Stack]:
    """Servers of this test's own, with their data in a temporary folder; they are ended with it.

    With `disk_mb` the store has a disk of this size for itself, if this machine lets the test mount one. `variables`
    are more settings of scripts/stack. PostgreSQL runs as a user of its own, which may enter no folder of pytest's.
    """
    with ExitStack() as claims, tempfile.TemporaryDirectory(prefix="mesh-stack-") as folder:
        port = next(port for port in range(6200, 12000, 20) if _claimed(claims, port))
        Path(folder).chmod(0o755)
        environment = {
            **os.environ,
            "MESH_STATE": folder,
            "MESH_STACK_STORE": store,
            "MESH_STACK_PORT": str(port + 1),
            "MESH_RABBITMQ_PORT": str(port),
            **variables,
        }
        disk = Path(folder, "stack", store, "data")
        disk.mkdir(parents=True)
        mounted = disk_mb is not None and _mounted(disk, disk_mb)
        try:
            printed = _run("start", environment=environment)
            settings = dict(re.findall(r"^export (\w+)=(.*)$", printed, re.MULTILINE))
            yield Stack(environment, settings, disk)
        finally:
            _run("stop", environment=environment)
            if mounted:
                subprocess.run(["umount", str(disk)], check=True)


def _mounted(disk: Path, megabytes: int) -> bool:
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    return subprocess.run(words, capture_output=True).returncode == 0


def _run(*words: str, environment: Mapping[str, str]) -> str:
    script = [str(ROOT / "scripts" / "stack"), *words]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=HANG)
    if done.returncode == 3:
        missing(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _claimed(claims: ExitStack, port: int) -> bool:
    """Whether the ports from this one on are free, and no other process is about to use them."""
    # Its name is gone with the process that holds it.
    claim = claims.enter_context(socket.socket(socket.AF_UNIX))
    try:
        claim.bind(f"\0mesh-stack-{port}")
    except OSError:
        return False
    return all(map(is_free, _taken(port)))


def _taken(port: int) -> list[int]:
    return [port, port + 1, port + 2, port + 3, port + 10000, port + 15000, port + 20000]


def catalog_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """pyiceberg's properties of the catalog that these variables name."""
    prefix = "PYICEBERG_CATALOG__MESH__"
    own = {name.removeprefix(prefix): value for name, value in environment.items() if name.startswith(prefix)}
    return {name.lower().replace("__", ".").replace("_", "-"): value for name, value in own.items()}
