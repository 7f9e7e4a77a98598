"""A RabbitMQ node of a test's own, by scripts/rabbitmq: started, stopped, killed, and told what rabbitmqctl can tell.

A folder arrives, the node leaves; other nodes of the machine are left alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import HANG, ROOT, missing


@dataclass(frozen=True)
class Node:
    """One node; `environment` is that of its script."""

    folder: Path
    environment: dict[str, str]

    def start(self) -> str:
        """Start it where it does not run; its URL."""
        return self._run("start")

    def stop(self) -> None:
        """End it as its owner would; queues and messages stay."""
        self._run("stop")

    def kill(self) -> None:
        """End it as a crash would."""
        os.kill(int((self.folder / "rabbitmq" / "pid").read_text()), signal.SIGKILL)

    def ctl(self, *words: str) -> None:
        """What `rabbitmqctl` does."""
        self._run("ctl", *words)

    def _run(self, *words: str) -> str:
        script = [str(ROOT / "scripts" / "rabbitmq"), *words]
        done = subprocess.run(script, env=self.environment, capture_output=True, text=True, timeout=HANG)
        if done.returncode == 3:
            missing(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def rabbit_node(folder: Path) -> Iterator[Node]:
    """A node with its state in `folder`, not started; it is stopped in the end."""
    port = next(port for port in range(6200, 12000) if all(map(is_free, (port, port + 15000, port + 20000))))
    node = Node(folder, {**os.environ, "MESH_STATE": str(folder), "MESH_RABBITMQ_PORT": str(port)})
    try:
        yield node
    finally:
        node.stop()


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
