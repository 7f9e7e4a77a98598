"""The work of the tasks in DAGs; each function returns what it did.

Each makes the same call as the command line. The lake is imported inside the functions, so that parsing DAGs does not
import it. If a task is interrupted, the next run continues: ingest acknowledges only what is committed, and the lake,
not Airflow, tells what to build.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from mesh_platform.broker import connect, queue_of
from mesh_platform.contract.contract import Contract
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.metadata.run_reports import Report
    from mesh_platform.query.freshness import Age
    from mesh_platform.sql.model import Model

log = logging.getLogger(__name__)
# It logs each file that it opens.
logging.getLogger("pyiceberg").setLevel(logging.WARNING)


def ingest_queue(mesh: Mesh, contract: Contract, max_seconds: float) -> dict[str, Any]:
    """Ingest the product's queue for up to `max_seconds`; return the result, as in `mesh ingest`.

    Skips the task if no message waits. Raises as `mesh_platform.ingest.ingest.ingest` does.
    """
    settings = Settings(root=mesh.root)
    queue = queue_of(contract)
    with connect(settings.broker) as broker:
        broker.declare_to_consume([queue])
        if not broker.depth(queue.name):
            raise AirflowSkipException(f"{queue.name}: nothing waits.")
        from mesh_platform.ingest.ingest import Limits, ingest
        from mesh_platform.lake.catalog import open_catalog
        from mesh_platform.metadata.run_reports import reported_ingest

        consume = partial(
            ingest,
            open_catalog(settings),
            broker,
            [contract],
            settings.now,
            until_empty=True,
            max_seconds=max_seconds,
            progress=lambda written: log.info("%s: %s records written.", queue.name, written),
            limits=Limits(lines=settings.flush_lines, seconds=settings.flush_seconds),
        )
        with _reports(mesh) as report:
            (result,) = reported_ingest(report, [contract], consume)
    if not result.deliveries:
        raise AirflowSkipException(f"{queue.name}: others took what waited.")
    if result.dead_lettered:
        log.warning(
            "%s: %s messages were given up on. mesh ingest %s --dead-letters",
            queue.name,
            result.dead_lettered,
            queue.name,
        )
    return asdict(result)


def stale_tables(mesh: Mesh, names: Sequence[str]) -> list[str]:
    """The tables that a build would change, according to the lake alone."""
    from mesh_platform.build.build import stale_tables as find_stale

    found = find_stale(mesh, _catalog(mesh), names)
    log.info("To be built: %s.", ", ".join(found) or "nothing; all is up to date")
    return found


def build_table(mesh: Mesh, name: str, between: tuple[date, date] | None = None) -> dict[str, Any]:
    """Update one table to its present inputs, and with `between` rebuild these days of it.

    Skips the task if nothing is new. Raises as `mesh_platform.build.build.build` does.
    """
    from mesh_platform.build.build import build
    from mesh_platform.governance.parity.building import spark_runs
    from mesh_platform.lake.catalog import existing_table
    from mesh_platform.query.freshness import newest_event

    catalog = _catalog(mesh)
    with _reports(mesh) as report, spark_runs(Settings(root=mesh.root), mesh) as spark:
        on_run = partial(report, "build")
        (built,) = build(mesh, catalog, [name], between=between, alone=True, on_run=on_run, spark=spark)
    for words in built.remarks:
        log.warning("%s", words)
    if built.mode == "noop":
        raise AirflowSkipException(f"{name}: up to date already.")
    column = mesh.contracts[name].freshness_column
    now = Settings(root=mesh.root).now()
    newest = newest_event(existing_table(catalog, name), column, now)[0] if column else None
    return {**asdict(built), "newest_event": newest.isoformat() if newest else None}


def release(mesh: Mesh) -> str | None:
    """Create a release of all tables, if all are up to date; return its name."""
    from mesh_platform.build.build import release_current

    made = release_current(mesh, _catalog(mesh))
    name = made.name if made else None
    log.info("Release: %s.", name or "none; a table waits to be built, or the newest one is of just this")
    return name


def publish(mesh: Mesh, models: Mapping[str, Model]) -> int | None:
    """Bring OpenMetadata in step; return the number of steps, None where it is not configured.

    Raises what publishing raises.
    """
    settings = Settings(root=mesh.root)
    if not settings.openmetadata_url:
        return None
    from mesh_platform.metadata.graph import mesh_graph
    from mesh_platform.metadata.openmetadata import apply
    from mesh_platform.metadata.openmetadata.client import client_of
    from mesh_platform.metadata.openmetadata.entities import DEFAULT_NAMESPACE, desired
    from mesh_platform.metadata.openmetadata.lake_records import records_of

    wanted = desired(mesh_graph(mesh, models), DEFAULT_NAMESPACE, settings.superset_url)
    records = records_of(settings, mesh, DEFAULT_NAMESPACE)
    done = apply.publish(client_of(settings), wanted, DEFAULT_NAMESPACE, records)
    log.info("OpenMetadata: %s.", counted(len(done), "step") if done else "in step already")
    return len(done)


def train_model(mesh: Mesh, product: str, woken: bool = False) -> dict[str, Any]:
    """Train the model of a product, as `mesh ml train` does; return the training.

    Skips the task if the model is held back, so that nothing waits for it. If new rows have `woken` it, it also skips
    while no training is due, and where `train` raises UsageError, as for a missing library. Raises as
    `mesh_platform.ml.train.train`.
    """
    from mesh_platform.errors import UsageError
    from mesh_platform.ml.train import is_due, train
    from mesh_platform.sql.model import read_models

    catalog, now = _catalog(mesh), Settings(root=mesh.root).now()
    if woken and not is_due(mesh, catalog, product, now):
        raise AirflowSkipException(f"{product}: too few days are new since the newest training.")
    try:
        made = train(mesh, read_models(mesh), catalog, product, now)
    except UsageError as error:
        # Each commit would alert of a library that is missing; the weekly run does.
        if woken:
            raise AirflowSkipException(str(error)) from error
        raise
    if not made.published:
        raise AirflowSkipException(f"{product}: {made.name} is {made.reason}.")
    log.info("%s: %s is published; %s.", product, made.name, made.reason)
    return asdict(made)


def score_model(mesh: Mesh, product: str) -> dict[str, Any]:
    """Score the model in use, as `mesh ml score` does; return the score.

    Skips the task if there is nothing to score yet. Raises AttentionError for a broken promise, which alerts the
    owner, and what `mesh_platform.ml.score.score` raises.
    """
    from mesh_platform.errors import AttentionError
    from mesh_platform.ml.score import broken_promise, score
    from mesh_platform.sql.model import read_models

    found = score(mesh, read_models(mesh), _catalog(mesh), product, Settings(root=mesh.root).now())
    if found is None:
        raise AirflowSkipException(f"{product}: no model is in use, or too few days have passed since it was judged.")
    if not found.kept:
        raise AttentionError(broken_promise(found))
    return asdict(found)


def predict_events(mesh: Mesh, product: str) -> dict[str, Any]:
    """Predict with the model in use and send the events, as `mesh ml predict` does; return what was sent.

    Skips the task if no model is in use. Raises as `mesh_platform.ml.predict.predict`.
    """
    from mesh_platform.lake.trainings import in_use, read_trainings
    from mesh_platform.ml.predict import predict
    from mesh_platform.sql.model import read_models

    settings, catalog = Settings(root=mesh.root), _catalog(mesh)
    if in_use(read_trainings(catalog, product)) is None:
        raise AirflowSkipException(f"{product}: no model is in use.")
    with connect(settings.broker) as broker:
        return asdict(predict(mesh, read_models(mesh), catalog, broker, product, settings.now()))


def maintain_tables(mesh: Mesh, names: Sequence[str]) -> list[dict[str, Any]]:
    """Maintain those of the tables that exist, as `mesh maintain` does.

    Raises UnavailableError for those that failed.
    """
    from mesh_platform.errors import UnavailableError
    from mesh_platform.lake.catalog import find_table
    from mesh_platform.lake.maintain import maintain

    settings, catalog = Settings(root=mesh.root), _catalog(mesh)
    there = [name for name in names if find_table(catalog, name) is not None]
    if not there:
        raise AirflowSkipException(f"{', '.join(names)}: not there yet.")
    with _reports(mesh) as report:
        done = maintain(
            mesh,
            catalog,
            there,
            orphan_age=timedelta(seconds=settings.orphan_age_s),
            on_progress=lambda maintained: report("maintain", maintained.table, maintained),
            on_start=lambda table: report("maintain", table, None),
            now=settings.now(),
        )
    failed = [f"{each.table}: {each.skipped}" for each in done if each.failed]
    if failed:
        raise UnavailableError("\n".join(failed))
    return [asdict(each) for each in done]


def read_ages(mesh: Mesh, contracts: Sequence[Contract]) -> list[dict[str, Any]]:
    """The age of each product and the promise of its contract, in seconds, as in `mesh status`.

    `since` is the time from which the age counts: the newest event, or for a product that promises latency the oldest
    change of its inputs that is not built yet. A product that does not exist yet, or has no rows, is not `fresh`.
    """
    now, catalog = Settings(root=mesh.root).now(), _catalog(mesh)
    rows = []
    for contract in contracts:
        age = _age(catalog, contract, now)
        rows.append(
            {
                "table": contract.identifier,
                "newest_event": age.newest_event.isoformat() if age.newest_event else None,
                "since": age.since.isoformat() if age.since else None,
                "age_s": age.lag_s,
                "promise_s": age.promise_s,
                "fresh": age.fresh,
                "ahead": age.ahead.isoformat() if age.ahead else None,
            }
        )
        log.info("%s: since %s, %s s; promised: %s s.", contract.identifier, age.since, age.lag_s, age.promise_s)
    return rows


def asset_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the result of ingest or a build that goes into the event of the table's asset."""
    names = ["snapshot_id", "deliveries", "quarantined", "duplicates", "dead_lettered"]
    names += ["mode", "partitions", "held", "newest_event"]
    rows = result["appended"] if "appended" in result else result["rows"]
    return {"rows": rows, **{name: result[name] for name in names if name in result}}


def _age(catalog: Catalog, contract: Contract, now: datetime) -> Age:
    from mesh_platform.lake.catalog import find_table
    from mesh_platform.query.freshness import Age, age_of

    table = find_table(catalog, contract.identifier)
    if table is None:
        promise = contract.freshness or contract.latency
        return Age(promise_s=int(promise.total_seconds()) if promise else None)
    return age_of(contract, table, contract.freshness_column, now, partial(find_table, catalog))


def _reports(mesh: Mesh) -> AbstractContextManager[Report]:
    """Report runs to OpenLineage, as parts of the task that this process runs."""
    from airflow.sdk import get_current_context

    from mesh_platform.metadata.openlineage import AirflowTask
    from mesh_platform.metadata.run_reports import run_reports

    context = get_current_context()
    task, run = context["ti"], context["dag_run"]
    parent = AirflowTask(
        task.dag_id,
        task.task_id,
        run.logical_date or run.run_after,
        task.try_number,
        -1 if task.map_index is None else task.map_index,
        getattr(run, "clear_number", 0),
    )
    return run_reports(Settings(root=mesh.root), mesh, log.warning, parent, into_file=True)


def _catalog(mesh: Mesh) -> Catalog:
    from mesh_platform.lake.catalog import open_catalog

    return open_catalog(Settings(root=mesh.root))
