"""What it takes Airflow to read the DAGs of all domains, beyond its own import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.figures import Bench

ROOT = Path(__file__).resolve().parent.parent
TIMES = 3


def measure(bench: Bench) -> None:
    """Read all bundles in a new process, some times; see tests/dag_graph.py."""
    with bench.scratch() as folder:
        paths = {"PYTHONPATH": str(ROOT / "tests"), "AIRFLOW_HOME": str(folder), "MESH_ROOT": str(ROOT)}
        seconds = [_read({**os.environ, **paths}) for _ in range(TIMES)]
    bench.add("Airflow reads the DAGs of six domains", median(seconds), "s", at_most=5)


def _read(environment: dict[str, str]) -> float:
    command = [sys.executable, "-m", "dag_graph"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.rpartition("\n===\n")[2])["seconds"])
