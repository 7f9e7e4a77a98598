"""Run dbt in the environment that has it, on an exported project."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import ROOT, missing

_DBT = ROOT / ".venv-dbt" / "bin" / "dbt"


@dataclass(frozen=True)
class Project:
    """An exported project and the DuckDB file with its sources."""

    folder: Path
    database: Path

    @property
    def marts(self) -> Path:
        """The file in which dbt makes its tables."""
        return self.folder / "marts.duckdb"

    def dbt(self, *words: str, check: int = 0, **environment: str) -> str:
        """Run dbt and return what it prints. Without its environment the test is skipped (see `missing`)."""
        if not (_DBT.parent.parent / "done").exists():
            missing("no environment with dbt: make .venv-dbt/done")
        # Nothing that dbt needs comes from the outside but these.
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "MESH_DUCKDB": str(self.database), **environment}
        done = subprocess.run(
            [str(_DBT), "--no-use-colors", *words],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == check, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    def read(self, artifact: str) -> Any:
        """Return a JSON file that dbt wrote below target/."""
        return json.loads((self.folder / "target" / artifact).read_text(encoding="utf-8"))

    def verdicts(self) -> dict[str, str]:
        """Return how each test and model of the last run ended, by its name: pass, warn, fail, success, ..."""
        nodes = self.read("manifest.json")["nodes"]
        # A dashboard is listed too, and is not run.
        done = [each for each in self.read("run_results.json")["results"] if each["unique_id"] in nodes]
        return {nodes[each["unique_id"]]["name"]: each["status"] for each in done}
