"""Runs of DAGs without a server: a list of runs arrives as JSON on stdin, what each did leaves.

    python -m dag_runs < [{"dag": "north_warehouse__ingest", "conf": {}}, ...]

Prints after a line of '===' a list: of each run its state, the state of each task, what it returned or raised, the
asset events that it made (asset -> extra), and the deadlines that a run would have now (product -> ISO time).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.serialization.definitions.deadline import SerializedReferenceModels
from airflow.utils.session import create_session
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import Settings
from sqlalchemy import select

SerializedCustomReference = SerializedReferenceModels.SerializedCustomReference
_raised: dict[str, str] = {}


def _note(context: Any) -> None:
    _raised[context["task_instance"].task_id] = str(context["exception"])


def _read(dag_id: str) -> DAG:
    domain = load_mesh(Settings().root).domain(dag_id.partition("__")[0])
    folder = domain.folder / "dags"
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=domain.name)
    assert not bag.import_errors, bag.import_errors
    sync_bag_to_db(bag, domain.name, None)
    return bag.dags[dag_id]


def run(wanted: dict[str, Any]) -> dict[str, Any]:
    """Run one DAG; see the module."""
    _raised.clear()
    dag = _read(wanted["dag"])
    for task in dag.tasks:
        # A retry would wait for half a minute.
        task.retries = 0
        task.on_failure_callback = [*task.on_failure_callback, _note]
    # With deadlines, `dag.test` of Airflow 3.3.2 fails at the end of the run.
    deadlines, dag.deadline = dag.deadline or [], None
    done = dag.test(run_conf=wanted.get("conf"))
    with create_session() as session:
        own = XComModel.dag_id == dag.dag_id, XComModel.run_id == done.run_id, XComModel.key == "return_value"
        results = {
            row.task_id: XComModel.deserialize_value(row) for row in session.scalars(select(XComModel).where(*own))
        }
        query = select(AssetModel.name, AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        events = dict(session.execute(query.where(AssetEvent.source_run_id == done.run_id)).tuples().all())
        asked = {"session": session, "dag_id": dag.dag_id, "run_id": done.run_id}
        times = {
            each.name: SerializedCustomReference(each.reference).evaluate_with(interval=each.interval, **asked)
            for each in deadlines
        }
    return {
        "state": str(done.state),
        "tasks": {instance.task_id: str(instance.state) for instance in done.get_task_instances()},
        "returned": results,
        "raised": dict(_raised),
        "events": events,
        "deadlines": {name: time.isoformat() for name, time in times.items() if time},
    }


def main() -> None:
    """Run what stdin says."""
    DagBundlesManager().sync_bundles_to_db()
    done = [run(wanted) for wanted in json.load(sys.stdin)]
    print("\n===\n" + json.dumps(done, default=str))


if __name__ == "__main__":
    main()
