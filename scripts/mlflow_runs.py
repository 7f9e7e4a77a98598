"""`make mlflow URI=...`: copies trainings, as `mesh ml list --format json` has them, to MLflow; each becomes one run.

A run that is there already stays as it is, and one that a killed call left unfinished is made again.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

# Numbers become metrics, texts tags.
METRICS = ("loss", "loss_of_baseline", "loss_in_use")
TAGS = ("training", "model_name", "code", "file", "known_until", "judged_until", "published", "reason")


def copy(client: MlflowClient, training: dict[str, Any]) -> bool:
    """Make the run of a training in the experiment of its product; False if it is there already."""
    known = client.get_experiment_by_name(training["product"])
    experiment = known.experiment_id if known else client.create_experiment(training["product"])
    # Another lake has a t1, too.
    same = f"tags.`mesh.training` = '{training['training']}' AND tags.`mesh.file` = '{training['file']}'"
    for run in client.search_runs([experiment], same):
        if run.info.status == "FINISHED":
            return False
        client.delete_run(run.info.run_id)
    at = round(datetime.fromisoformat(training["trained_at"]).timestamp() * 1000)
    tags = {name: str(training[name]) for name in TAGS}
    tags |= {name: json.dumps(training[name], sort_keys=True) for name in ("inputs", "libraries")}
    own = {f"mesh.{name}": value for name, value in tags.items()}
    run_id = client.create_run(experiment, start_time=at, tags=own, run_name=training["training"]).info.run_id
    parameters = {**training["parameters"], "seed": training["seed"], "threads": training["threads"]}
    client.log_batch(
        run_id,
        metrics=[Metric(name, training[name], at, 0) for name in METRICS if training[name] is not None],
        params=[Param(name, str(value)) for name, value in parameters.items()],
        tags=[RunTag("mlflow.note.content", training["reason"])],
    )
    client.set_terminated(run_id, "FINISHED", at)
    return True


def main(uri: str) -> None:
    """Copy the trainings on stdin to the tracking server or database at `uri`, the oldest first."""
    trainings = json.load(sys.stdin)
    client = MlflowClient(tracking_uri=uri)
    new = sum(copy(client, training) for training in reversed(trainings))
    print(json.dumps({"trainings": len(trainings), "new": new}))


if __name__ == "__main__":
    main(sys.argv[1])
