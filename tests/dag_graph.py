"""The whole graph of DAGs: bundles are read as Airflow reads them; ids, tasks, schedules and assets leave as JSON.

python -m dag_graph    prints after a line of '===' an object: text, pools, errors, seconds, loaded
python -m dag_graph write    writes the graph to dag_graph.txt, which a reviewer reads and a test compares
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule
from mesh_platform.settings import Settings

SNAPSHOT = Path(__file__).with_name("dag_graph.txt")
HEAVY = ("pyiceberg", "duckdb", "pyarrow", "openmetadata", "metadata")


def describe(dag: DAG) -> dict[str, Any]:
    """What a reviewer wants to know of a DAG."""
    timetable = dag.timetable
    assets = getattr(timetable, "asset_condition", None)
    wakes = sorted(asset.name for asset in assets.objects) if assets else []
    if isinstance(timetable, AssetOrTimeSchedule):
        timetable = timetable.timetable
    return {
        "every": getattr(timetable, "expression", None),
        "woken_by": wakes,
        "owner": dag.owner,
        "tags": sorted(dag.tags),
        "params": sorted(dag.params),
        "deadlines": dict(sorted((alert.name, str(alert.interval)) for alert in dag.deadline or [])),
        "tasks": {task.task_id: _describe_task(task) for task in sorted(dag.tasks, key=lambda task: task.task_id)},
    }


def _describe_task(task: Any) -> dict[str, Any]:
    found = {
        "after": sorted(task.upstream_task_ids),
        "reads": sorted(asset.name for asset in task.inlets if isinstance(asset, Asset)),
        "writes": [asset.name for asset in task.outlets],
        "pool": task.pool if task.pool != "default_pool" else None,
        "rule": task.trigger_rule.value if task.trigger_rule != "all_success" else None,
    }
    return {name: value for name, value in found.items() if value}


def render(dags: dict[str, Any]) -> str:
    """The graph as a reviewer reads it: a block for each DAG, a line for each task."""
    lines = [
        "# What the DAGs are, by `python -m dag_graph write` (PYTHONPATH=tests). A change here is a change to review."
    ]
    for name, dag in dags.items():
        lines += [
            "",
            f"{name}: {dag['owner']}; tags {', '.join(dag['tags'])}; every {dag['every'] or 'time it is asked for'}",
        ]
        lines += [f"  woken by {asset}" for asset in dag["woken_by"]]
        lines += [f"  asks for {', '.join(dag['params'])}"] if dag["params"] else []
        lines += [f"  deadline {product}: {span}" for product, span in dag["deadlines"].items()]
        for task, found in dag["tasks"].items():
            words = [
                f"{what} {value if isinstance(value, str) else ', '.join(value)}" for what, value in found.items()
            ]
            lines.append(f"  task {task}" + (f": {'; '.join(words)}" if words else ""))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the graph, or write it."""
    begin = time.perf_counter()
    dags: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for folder in sorted((Settings().root / "domains").glob("*/dags")):
        bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=folder.parent.name)
        errors |= bag.import_errors
        dags |= {name: describe(bag.dags[name]) for name in sorted(bag.dags)}
    seconds = time.perf_counter() - begin
    if sys.argv[1:] == ["write"]:
        SNAPSHOT.write_text(render(dags), encoding="utf-8")
    pools = sorted({task["pool"] for dag in dags.values() for task in dag["tasks"].values() if "pool" in task})
    loaded = [name for name in HEAVY if name in sys.modules]
    print(
        "\n===\n"
        + json.dumps({"errors": errors, "text": render(dags), "pools": pools, "seconds": seconds, "loaded": loaded})
    )


if __name__ == "__main__":
    main()
