"""An Airflow of a test's own: a state folder arrives; what its DAGs are, and what a run of one did, leaves.

Airflow is imported in processes of its own, which read the settings that they begin with.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import HANG, State

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class AirflowHome:
    """Airflow's home in the folder of a state, on the mesh of that state."""

    state: State

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to run Airflow here."""
        kept = {name: value for name, value in self.state.environment.items() if not name.startswith("AIRFLOW")}
        return {
            **kept,
            "AIRFLOW_HOME": str(self.state.folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(self.bundles()),
            "PYTHONPATH": os.pathsep.join([str(_HERE), os.environ.get("PYTHONPATH", "")]),
        }

    def bundles(self) -> list[dict[str, Any]]:
        """The value of Airflow's setting; of a mesh with faults too, whose DAGs then say what they are."""
        folders = sorted((self.state.root / "domains").glob("*/dags"))
        kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
        return [{"name": each.parent.name, "classpath": kind, "kwargs": {"path": str(each)}} for each in folders]

    def graph(self) -> Any:
        """The DAGs of all bundles, and what reading them took; see dag_graph.py."""
        return self._call([sys.executable, "-m", "dag_graph"])

    def run(self, *runs: dict[str, Any], **environment: str) -> list[Any]:
        """Run DAGs, one after the other, by `dag.test()`; see dag_runs.py for what a run is and what comes of it."""
        return list(self._call([sys.executable, "-m", "dag_runs"], json.dumps(runs), **environment))

    def copy_database(self, migrated: Path) -> None:
        """Begin with a database that is migrated already."""
        folder = self.state.folder / "airflow"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated, folder / "airflow.db")

    def migrate(self) -> Path:
        """Make the database; its file."""
        self._call([str(Path(sys.executable).with_name("airflow")), "db", "migrate"], reads=False)
        return self.state.folder / "airflow" / "airflow.db"

    def deployment(self, word: str) -> Any:
        """What `python -m mesh_platform.dags.deployment` prints."""
        command = [sys.executable, "-m", "mesh_platform.dags.deployment", word]
        done = subprocess.run(command, env=self.state.environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def python(self, code: str, **environment: str) -> str:
        """What a Python with this home prints."""
        command = [sys.executable, "-c", code]
        environment = {**self.environment, **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def _call(self, command: list[str], given: str = "", reads: bool = True, **environment: str) -> Any:
        environment = {**self.environment, **environment}
        done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, timeout=HANG)
        assert done.returncode == 0, (
            f"{command}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
        # Airflow logs to stdout, too.
        return json.loads(done.stdout.rpartition("\n===\n")[2]) if reads else None
