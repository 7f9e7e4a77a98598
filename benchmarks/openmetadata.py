"""OpenMetadata and three thousand products: what it takes to plan that nothing, or everything, is to be done."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time

from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.graph import Graph, mesh_graph
from mesh_platform.metadata.openmetadata.apply import publish
from mesh_platform.metadata.openmetadata.client import Client
from mesh_platform.metadata.openmetadata.entities import DEFAULT_NAMESPACE, desired
from mesh_platform.metadata.openmetadata.plan import make_plan
from mesh_platform.sql.model import read_models

from benchmarks.big_mesh import PRODUCTS, write_big_mesh
from benchmarks.figures import Bench

_PLATFORM = Path(__file__).resolve().parents[1] / "platform"
# The token of the double in the tests, which is no secret.
_TOKEN = "a-token-of-a-bot"


def measure(bench: Bench) -> None:
    """Plan against a double of the server in a process of its own, before and after all of it is published."""
    with bench.scratch() as folder, _double() as url:
        write_big_mesh(folder, bench.size(PRODUCTS, least=50))
        mesh = load_mesh(folder)
        models = read_models(mesh)
        client = Client(url, _TOKEN)
        products = f"OpenMetadata, {len(mesh.contracts):,} products"
        # As the command does: all of it is needed until the end.
        gc.disable()
        try:
            begin = process_time()
            graph = mesh_graph(mesh, models)
            graph.columns.trace(graph.columns.relations)
            bench.add(f"{products}, graph with all lineage, CPU", process_time() - begin, "s")
            steps, cpu = _plan(client, graph)
            bench.add(f"{products}, steps", steps, "")
            bench.add(f"{products}, planned for an empty server, CPU", cpu, "s", at_most=10)
            begin = perf_counter()
            publish(client, desired(graph), DEFAULT_NAMESPACE)
            bench.add(f"{products}, published to a double that takes most of it", perf_counter() - begin, "s")
            left, cpu = _plan(client, graph)
            bench.add(f"{products}, steps of a second run", left, "", at_most=0)
            bench.add(f"{products}, planned for a server that has all, CPU", cpu, "s", at_most=10)
        finally:
            gc.enable()


def _plan(client: Client, graph: Graph) -> tuple[int, float]:
    begin = process_time()
    steps = make_plan(client, desired(graph), DEFAULT_NAMESPACE).steps
    return len(steps), process_time() - begin


@contextmanager
def _double() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.metadata.openmetadata.double_http"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_PLATFORM
    ) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        # It ends with its input.
        process.stdin.close()
