"""What a mesh asks of Airflow: its DAGs are read, stored and scheduled, and figures leave as JSON.

    python -m benchmarks.airflow_load < pools.json    with MESH_ROOT and AIRFLOW_HOME, whose database is migrated

A process of its own, since Airflow reads its settings at import. Of the mesh nothing is imported here but in forked
processes: the DAG processor, too, forks one that knows only Airflow for each file. CPU seconds contain those of the
database, which is SQLite in this process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.assets.manager import AssetManager
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.executors.local_executor import LocalExecutor
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetModel, DagScheduleAssetReference
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import event, func, select

# Of the domains, for what is measured of each on its own.
_TRIED = 5
_LOOPS_AT_MOST = 500


@dataclass
class Meter:
    """CPU seconds and SQL statements of calls, by what they are."""

    figures: dict[str, float] = field(default_factory=dict)
    statements: int = 0

    def measure(self, name: str, call: Callable[[], Any]) -> Any:
        """Call it, and keep `<name>_cpu` and `<name>_statements`."""
        before, self.statements = _cpu(), 0
        result = call()
        self.figures[f"{name}_cpu"], self.figures[f"{name}_statements"] = _cpu() - before, self.statements
        return result

    def count(self, *_given: object) -> None:
        """SQLAlchemy calls it for each statement."""
        self.statements += 1


def main() -> None:
    """Measure, and print the figures after a line of `===`."""
    meter = Meter()
    folders = sorted(Path(os.environ["MESH_ROOT"]).glob("domains/*/dags"))
    tried = [_forked(folder) for folder in folders[:: max(1, len(folders) // _TRIED)]]
    for name in ("cpu", "mb"):
        meter.figures[f"read_one_{name}"] = sorted(each[name] for each in tried)[len(tried) // 2]
    assert settings.engine is not None
    event.listen(settings.engine, "before_cursor_execute", meter.count)
    pools = json.load(sys.stdin)
    with create_session() as session:
        session.add_all(Pool(pool=name, include_deferred=False, slots=1) for name in pools)
    DagBundlesManager().sync_bundles_to_db()
    bags = meter.measure("read_all", lambda: [_bag(folder) for folder in folders])
    meter.measure("store", lambda: [sync_bag_to_db(bag, bag.bundle_name, None) for bag in bags])
    meter.measure("store_again", lambda: [sync_bag_to_db(bag, bag.bundle_name, None) for bag in bags])
    dags = [dag for bag in bags for dag in bag.dags.values()]
    meter.figures |= {"dags": len(dags), "tasks": sum(len(dag.tasks) for dag in dags), "pools": len(pools)}
    with create_session() as session:
        meter.figures["assets"] = session.scalar(select(func.count()).select_from(AssetModel)) or 0
        sizes = select(func.sum(func.length(SerializedDagModel._data)))
        meter.figures["stored_mb"] = float(session.scalar(sizes) or 0) / 1e6
    _schedule(meter)
    print("\n===\n" + json.dumps(meter.figures))


def _schedule(meter: Meter) -> None:
    """The first loops create what the clock asks for; then one DAG of each domain is woken by an asset."""
    runner = SchedulerJobRunner(job=Job(), executors=[LocalExecutor(parallelism=100_000)])
    with create_session() as session:
        session.add(runner.job)
        session.flush()
    loops = meter.measure("first_runs", lambda: _loop_until_idle(runner))
    meter.figures["first_runs_loops"] = loops
    meter.measure("idle_loop", lambda: _loop(runner))
    meter.measure("pool_metrics", runner._emit_pool_metrics)
    woken = meter.measure("events", _emit)
    meter.figures["woken"] = woken
    with create_session() as session:
        before = session.scalar(select(func.count()).select_from(DagRun)) or 0
    meter.figures["wake_loops"] = meter.measure("wake", lambda: _loop_until_idle(runner))
    with create_session() as session:
        meter.figures["wake_runs"] = (session.scalar(select(func.count()).select_from(DagRun)) or 0) - before
    meter.measure("busy_loop", lambda: _loop(runner))


def _emit() -> int:
    """An event of one asset of each DAG that assets wake; how many DAGs these are."""
    with create_session() as session:
        reference = DagScheduleAssetReference
        query = select(reference.dag_id, func.min(reference.asset_id)).group_by(reference.dag_id)
        wanted = {asset_id: dag_id for dag_id, asset_id in session.execute(query).tuples()}
        assets = session.scalars(select(AssetModel).where(AssetModel.id.in_(wanted))).all()
        for asset in assets:
            AssetManager.register_asset_change(asset=asset, session=session)
        return len(wanted)


def _loop_until_idle(runner: SchedulerJobRunner) -> int:
    """Loops until one changes nothing: no task runs, so no run goes beyond its first tasks."""
    last = _state()
    for number in range(1, _LOOPS_AT_MOST):
        _loop(runner)
        now = _state()
        if now == last:
            return number
        last = now
    raise AssertionError(f"the scheduler still finds work after {_LOOPS_AT_MOST} loops")


def _loop(runner: SchedulerJobRunner) -> None:
    with create_session() as session:
        runner._do_scheduling(session)


def _state() -> list[tuple[str, int]]:
    with create_session() as session:
        found = []
        for model in (DagRun, TaskInstance):
            query = select(model.state, func.count()).group_by(model.state)
            found += [(str(state), number) for state, number in session.execute(query).tuples()]
        return sorted(found)


def _bag(folder: Path) -> BundleDagBag:
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=folder.parent.name)
    assert not bag.import_errors, bag.import_errors
    return bag


def _forked(folder: Path) -> dict[str, float]:
    """CPU seconds and peak MB of reading one bundle in a process of its own."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            _bag(folder)
            code = 0
        finally:
            os._exit(code)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, f"{folder}: cannot be read"
    return {"cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss * 1024 / 1e6}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
