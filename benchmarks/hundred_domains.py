"""What Airflow and the catalog have to do for the six domains, and for a hundred domains and three thousand products.

CPU seconds, since they hold on a busy machine too; see `airflow_load` and `counted_command` for what is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.figures import Bench
from benchmarks.governance import DOMAINS, write_mesh

ROOT = Path(__file__).resolve().parent.parent
_QUERY = "select count(*) from logistics_core.fact_orders"
_AIRFLOW = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    # The first file fills the cache for all.
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:1/execution/",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
}


def measure(bench: Bench) -> None:
    """All figures of one mesh, then of the other."""
    with bench.scratch() as folder:
        domains = bench.size(DOMAINS, least=2)
        large = folder / "large"
        write_mesh(large, domains)
        for what, root in (("six domains", ROOT), (f"{domains} domains", large)):
            environment = {**os.environ, "MESH_ROOT": str(root), "MESH_STATE": str(folder / f"state of {what}")}
            _measure_airflow(
                bench, what, environment | _AIRFLOW | {"AIRFLOW_HOME": str(folder / f"airflow of {what}")}
            )
            _measure_catalog(bench, what, folder / "figures.json", environment)


def _measure_airflow(bench: Bench, what: str, environment: dict[str, str]) -> None:
    deployment = "mesh_platform.dags.deployment"
    environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = _run(environment, "-m", deployment, "bundles")
    pools = _run(environment, "-m", deployment, "pools")
    _run(environment, "-m", "airflow", "db", "migrate")
    said = _run(environment, "-m", "benchmarks.airflow_load", given=pools)
    found: dict[str, float] = json.loads(said.rpartition("\n===\n")[2])
    for name in ("dags", "tasks", "assets", "pools"):
        bench.add(f"Airflow, {what}: {name}", found[name], "")
    for name, figure, unit in (
        ("a process reads one domain, CPU", "read_one_cpu", "s"),
        ("a process reads one domain, memory", "read_one_mb", "MB"),
        ("one process reads all domains, CPU", "read_all_cpu", "s"),
        ("store all DAGs, CPU", "store_cpu", "s"),
        ("the same DAGs again, CPU", "store_again_cpu", "s"),
        ("stored DAGs", "stored_mb", "MB"),
        ("a scheduler's loop without work, CPU", "idle_loop_cpu", "s"),
        ("a scheduler's loop without work, SQL", "idle_loop_statements", "statements"),
        ("from an asset's event to tasks, CPU a run", "wake_cpu", "s"),
        ("from an asset's event to tasks, SQL a run", "wake_statements", "statements"),
    ):
        runs = found["wake_runs"] if figure.startswith("wake") else 1
        bench.add(f"Airflow, {what}: {name}", found[figure] / runs, unit)


def _measure_catalog(bench: Bench, what: str, file: Path, environment: dict[str, str]) -> None:
    for name, words in (
        ("make tables", ["tables"]),
        ("first build", ["build"]),
        ("build with nothing to do", ["build"]),
        ("status", ["status"]),
        ("query of one table", ["query", _QUERY]),
    ):
        _run(environment, "-m", "benchmarks.counted_command", str(file), *words)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        bench.add(f"catalog, {what}: {name}, CPU", found["cpu"], "s")
        bench.add(f"catalog, {what}: {name}, SQL", found["statements"], "statements")


def _run(environment: dict[str, str], *words: str, given: str = "") -> str:
    command = [sys.executable, *words]
    done = subprocess.run(
        command, env=environment, input=given, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
