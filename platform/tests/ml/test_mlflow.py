"""The record of trainings is copied to MLflow, each training once, by MLflow's own client and store."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.lake.trainings import read_trainings
from mesh_platform.ml.train import train

from conftest import missing

from .guessing import NOW, PRODUCT, guessing_mesh, models, write_learner

REPOSITORY = Path(__file__).parents[3]
PYTHON = REPOSITORY / ".venv-mlflow/bin/python"
# What the store has, as its client reads it; and with an argument, leaves the run of that name unfinished.
LOOK = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiments = client.search_experiments()
runs = client.search_runs([each.experiment_id for each in experiments])
for run in runs:
    if run.info.run_name in sys.argv[2:]:
        client.update_run(run.info.run_id, status="RUNNING")
names = {each.experiment_id: each.name for each in experiments}
print(json.dumps([[names[run.info.experiment_id], run.info.run_name, run.info.status, run.info.start_time,
    run.data.metrics, run.data.params, run.data.tags] for run in runs]))
"""


def look(store: str, *unfinished: str) -> list[list[Any]]:
    found = subprocess.run([PYTHON, "-c", LOOK, store, *unfinished], capture_output=True, text=True, check=True)
    return sorted(json.loads(found.stdout), key=lambda run: str(run[1]))


@pytest.mark.slow
def test_each_training_is_a_run_and_a_second_call_copies_what_is_new_or_unfinished(tmp_path: Path) -> None:
    if not PYTHON.exists():
        missing("no environment with MLflow: make .venv-mlflow/done")

    def copied() -> dict[str, int]:
        trainings = place.state.mesh("ml", "list", "--format", "json").out
        script = REPOSITORY / "scripts/mlflow_runs.py"
        done = subprocess.run([PYTHON, script, store], input=trainings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    place, store = guessing_mesh(tmp_path), f"sqlite:///{tmp_path / 'mlflow.db'}"
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    assert copied() == {"trainings": 1, "new": 1}
    write_learner(place, times=5)
    train(place.mesh, models(place), place.catalog, PRODUCT, NOW)
    assert copied() == {"trainings": 2, "new": 1}
    assert copied() == {"trainings": 2, "new": 0}
    runs = look(store, "t2")
    for run, training in zip(runs, reversed(read_trainings(place.catalog)), strict=True):
        experiment, name, status, started, metrics, parameters, tags = run
        assert (experiment, name, status) == (PRODUCT, training.name, "FINISHED")
        assert started == training.trained_at.timestamp() * 1000
        assert metrics["loss"] == training.loss
        assert metrics.get("loss_in_use") == training.loss_in_use
        assert parameters == {"times": str(training.parameters["times"]), "seed": "1", "threads": "1"}
        assert json.loads(tags["mesh.inputs"]) == training.inputs
        assert (tags["mesh.file"], tags["mesh.published"]) == (training.file, str(training.published))
    # A call that was killed in between left it so.
    assert copied() == {"trainings": 2, "new": 1}
    assert [run[1:3] for run in look(store)] == [["t1", "FINISHED"], ["t2", "FINISHED"]]
