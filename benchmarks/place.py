"""Where a benchmark works: a state folder of its own with the repository's mesh, and a RabbitMQ node of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mesh_platform.contract.contract import Contract
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog

ROOT = Path(__file__).parents[1]
PRODUCT = "north_warehouse.orders_north"
_NODE = ROOT / "scripts" / "rabbitmq"


@dataclass(frozen=True)
class Place:
    """The repository's mesh with a state folder and a lake of its own; `broker` is a URL, empty for the embedded."""

    state: Path
    broker: str = ""

    @cached_property
    def settings(self) -> Settings:
        return Settings(root=ROOT, state=self.state, broker_url=self.broker)

    @cached_property
    def mesh(self) -> Mesh:
        return load_mesh(ROOT)

    @cached_property
    def catalog(self) -> Catalog:
        return open_catalog(self.settings)

    @property
    def contract(self) -> Contract:
        """The product that most benchmarks fill."""
        return self.mesh.contracts[PRODUCT]

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to work in this place."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "PYICEBERG_"))}
        return kept | {"MESH_ROOT": str(ROOT), "MESH_STATE": str(self.state), "MESH_BROKER_URL": self.broker}

    def start(self, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """`mesh <words>` as a process, quiet."""
        command = [str(Path(sys.executable).parent / "mesh"), *words]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=dict(self.environment), cwd=ROOT, **silent)


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    """The URL of a node that lives as long as the block, with its state in `folder`."""
    port = _free_port()
    environment = os.environ | {"MESH_STATE": str(folder), "MESH_RABBITMQ_PORT": str(port)}
    started = subprocess.run([_NODE, "start"], env=environment, stdout=subprocess.PIPE, text=True)
    if started.returncode:
        sys.exit(started.returncode)
    try:
        yield started.stdout.strip()
    finally:
        subprocess.run([_NODE, "stop"], env=environment)


def _free_port() -> int:
    # The node also takes those 15,000 and 20,000 above.
    return next(port for port in range(25672, 45000, 7) if all(map(_is_free, (port, port + 15_000, port + 20_000))))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
