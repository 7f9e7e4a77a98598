"""The DAGs of a domain, derived from its contracts: ingest, build, maintain, freshness and backfill.

A domain with models that learn has two more, train and predict.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    AssetAny,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    DeadlineAlert,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    SyncCallback,
    get_current_context,
    task,
)

from mesh_platform.contract.contract import Contract
from mesh_platform.dags import docs, tasks
from mesh_platform.dags.alert import look_at_ages, tell_of_failure, tell_of_stale_product
from mesh_platform.dags.assets import landing_asset, model_asset, queue_asset, table_asset
from mesh_platform.dags.newest_event import NewestEvent
from mesh_platform.errors import ContractError, Problem
from mesh_platform.lake.tables import EVENT_TABLES, held_name, landing_name, tables_of
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.mesh.schedule import CRON, WITHIN
from mesh_platform.metadata.pipelines import dag_id, pipelines_of
from mesh_platform.ml.learner import learners_of
from mesh_platform.sql.model import Model, build_order, tables_read, upstream

# No retry repairs a contract, its SQL, a table that does not match it, or a wrong name.
_NO_USE = [f"mesh_platform.errors.{name}" for name in ("ContractError", "AttentionError", "UsageError")]


_OWN_TASKS = ("what_changed", "which_table", "release", "read_ages")
_WHAT_CHANGED = "Asks the lake which tables a build would change; the others are skipped."


class Pipelines:
    """Creates the DAGs of one domain of a mesh."""

    def __init__(self, mesh: Mesh, models: dict[str, Model], domain: Domain) -> None:
        self.mesh, self.models, self.domain = mesh, models, domain
        own = [contract.identifier for contract in domain.contracts.values()]
        self.contracts = [mesh.contracts[name] for name in build_order(mesh, models, own)]
        if taken := [contract for contract in self.contracts if contract.table.name in _OWN_TASKS]:
            fix = f"Choose another than {', '.join(_OWN_TASKS)}."
            message = "the table has the name of a task that every domain's DAGs have."
            raise ContractError([Problem(each.path, each.table.line, message, fix) for each in taken])
        # The products with tasks, for each kind of DAG.
        self.products = pipelines_of(self.contracts, models)

    def all(self) -> dict[str, DAG]:
        """Every DAG that the domain needs, by id."""
        makers: dict[str, Callable[[], DAG]] = {
            "ingest": self.ingest,
            "build": self.build,
            "maintain": self.maintain,
            "freshness": self.freshness,
            "backfill": self.backfill,
            "train": self.train,
            "predict": self.predict,
        }
        return {self._id(kind): make() for kind, make in makers.items() if self.products[kind]}

    def ingest(self) -> DAG:
        """A task for each queue; triggered by waiting messages in any of them."""
        what = (
            "Ingests the events of every queue of the domain. Triggered by messages in any of them, and every hour."
        )
        sent = self.products["ingest"]
        with self._dag("ingest", what, AssetAny(*(queue_asset(self.mesh, contract) for contract in sent))) as dag:
            for contract in sent:
                self._ingest_task(contract)
        return dag

    def build(self) -> DAG:
        """A task for each table, after those of its inputs in the domain; triggered by writes to other inputs."""
        own = {contract.identifier for contract in self.contracts}
        tables = {table for name in own for table in tables_read(self.mesh, self.models, name)}
        assets = [table_asset(self.mesh, name) for name in sorted(tables - own)]
        what = "Builds the tables with changed inputs. Triggered by any table that they read, and every hour."
        with self._dag("build", what, AssetAny(*assets) if assets else None) as dag:
            choose = self._choice("what_changed", _WHAT_CHANGED, partial(tasks.stale_tables, self.mesh, sorted(own)))
            made = {contract.identifier: self._build_task(contract) for contract in self.contracts}
            for name, operator in made.items():
                before = [made[other] for other in upstream(self.mesh, self.models, name) if other in own]
                [choose, *before] >> operator
            self._release([*made.values()])
        return dag

    def maintain(self) -> DAG:
        """Two tasks for a product with an event, else one: each maintains the tables of one pool."""
        with self._dag("maintain", "Compacts tables, expires old snapshots, removes orphans, every night.") as dag:
            for contract in self.products["maintain"]:
                groups = [(contract.identifier, [contract.identifier, held_name(contract)])]
                if contract.event:
                    landed = [table.name for table in tables_of(contract) if table.kind in EVENT_TABLES]
                    groups.append((landing_name(contract), landed))
                for pool, names in groups:
                    self._task(
                        pool.partition(".")[2],
                        partial(tasks.maintain_tables, self.mesh, names),
                        None,
                        pool=pool,
                        doc_md=f"Maintains {', '.join(f'`{name}`' for name in names)}.",
                    )
        return dag

    def freshness(self) -> DAG:
        """A check of each product's age, and a deadline from the newest event for each that promises freshness."""
        promising, owners = self.products["freshness"], self.domain.owners.model_dump()
        dated = [contract for contract in promising if contract.freshness_column]
        alerts = [
            DeadlineAlert(
                name=contract.identifier,
                reference=NewestEvent(contract.identifier),
                interval=contract.freshness,
                callback=SyncCallback(tell_of_stale_product, {"table": contract.identifier, "owners": owners}),
            )
            for contract in dated
        ]
        what = "Every 15 minutes, alerts the owner of a product that is older than its contract promises."
        with self._dag("freshness", what, deadline=alerts) as dag:
            self._task("read_ages", partial(look_at_ages, self.mesh, promising, owners), None, doc_md=what)
        return dag

    def backfill(self) -> DAG:
        """Rebuild days of one table, as requested in the UI."""
        dated = self.products["backfill"]
        params = {
            "table": Param(
                dated[0].table.name, enum=[c.table.name for c in dated], description="The table to rebuild."
            ),
            "first_day": Param(type="string", format="date", description="The first day to rebuild, UTC."),
            "last_day": Param(type="string", format="date", description="The last day to rebuild, UTC."),
        }
        what = "Rebuilds some days of one table. Runs only when you trigger it and choose the days."
        with self._dag("backfill", what, params=params) as dag:
            choose = self._choice(
                "which_table", "Takes the table that the run was asked for.", lambda: [_wanted("table")]
            )
            for contract in dated:
                choose >> self._build_task(contract, days=True)
        return dag

    def train(self) -> DAG:
        """A task for each model that learns, woken by its features; skipped if too few days are new."""
        what = (
            "Trains the models of the domain, and publishes those that are better. Triggered by the tables that they "
            "learn from, once these have enough new days, and every Monday."
        )
        learned = self.products["train"]
        features = {name: [*each.learner.features] for name, each in learners_of(self.mesh, self.domain).items()}
        wake = {name for contract in learned for name in features.get(contract.identifier, ())}
        assets = [table_asset(self.mesh, name) for name in sorted(wake)]

        def run(product: str) -> dict[str, Any]:
            woken = get_current_context()["dag_run"].run_type == "asset_triggered"
            return tasks.train_model(self.mesh, product, woken)

        with self._dag("train", what, AssetAny(*assets) if assets else None) as dag:
            for contract in learned:
                self._task(
                    contract.table.name,
                    partial(run, contract.identifier),
                    None,
                    inlets=[table_asset(self.mesh, name) for name in features.get(contract.identifier, ())],
                    outlets=[model_asset(self.mesh, contract)],
                    doc_md=f"Trains the model of `{contract.identifier}`; skipped if too few days are new since the "
                    "newest training, or if the model is held back.",
                )
        return dag

    def predict(self) -> DAG:
        """Two tasks for each model that learns: one scores it, one sends predictions; woken by a model's publication.

        A score that breaks the promise fails its task, which alerts the owner, and the baseline predicts.
        """
        learned = self.products["predict"]
        models = AssetAny(*(model_asset(self.mesh, contract) for contract in learned))
        what = "Scores the models in use and predicts with them. Triggered by a new model, and every morning."
        with self._dag("predict", what, models) as dag:
            for contract in learned:
                scored = self._task(
                    f"score_{contract.table.name}",
                    partial(tasks.score_model, self.mesh, contract.identifier),
                    None,
                    doc_md=f"Scores the model of `{contract.identifier}`; fails if it breaks its promise.",
                )
                scored >> self._task(
                    contract.table.name,
                    partial(tasks.predict_events, self.mesh, contract.identifier),
                    None,
                    inlets=[model_asset(self.mesh, contract)],
                    trigger_rule="all_done",
                    doc_md=f"Sends predictions to the queue of `{contract.identifier}`; skipped without a model.",
                )
        return dag

    def _ingest_task(self, contract: Contract) -> Any:
        return self._task(
            contract.table.name,
            partial(tasks.ingest_queue, self.mesh, contract, WITHIN["ingest"].total_seconds() / 2),
            landing_asset(self.mesh, contract),
            inlets=[queue_asset(self.mesh, contract)],
            doc_md=docs.event_page(self.mesh, contract),
        )

    def _release(self, operators: list[Any]) -> None:
        """A task after all of them, even failed ones, that makes a release and keeps OpenMetadata in step.

        As a teardown it does not affect the state of the run, which is that of the other tasks.
        """

        def run() -> str | None:
            made = tasks.release(self.mesh)
            tasks.publish(self.mesh, self.models)
            return made

        what = (
            "Makes a release, if all tables of the mesh are up to date. Keeps OpenMetadata in step, if it is set up."
        )
        operators >> self._task("release", run, None, doc_md=what, retries=1).as_teardown()

    def _build_task(self, contract: Contract, days: bool = False) -> Any:
        name = contract.identifier

        def run() -> dict[str, Any]:
            asked = [date.fromisoformat(_wanted(day)) for day in ("first_day", "last_day")] if days else []
            return tasks.build_table(self.mesh, name, (asked[0], asked[1]) if asked else None)

        read = tables_read(self.mesh, self.models, name)
        return self._task(
            contract.table.name,
            run,
            table_asset(self.mesh, name),
            # A backfill is not part of the path from a queue to a fact, which the graph of assets shows.
            inlets=[] if days else [table_asset(self.mesh, other) for other in read],
            doc_md=docs.table_page(self.mesh, contract),
            trigger_rule="none_failed",
        )

    def _id(self, kind: str) -> str:
        return dag_id(self.domain, kind)

    def _dag(self, kind: str, what: str, wakes: AssetAny | None = None, **more: Any) -> DAG:
        name, owners = self.domain.name, self.domain.owners
        net = CronTriggerTimetable(CRON[kind], timezone="UTC") if kind in CRON else None
        related = [self._id(other) for other, products in self.products.items() if products and other != kind]
        return DAG(
            self._id(kind),
            description=what,
            doc_md=docs.dag_page(self.domain, what, self.products[kind], related),
            schedule=AssetOrTimeSchedule(timetable=net, assets=wakes) if wakes and net else net,
            catchup=False,
            max_active_runs=1,
            tags={name, self.domain.kind, kind},
            owner_links={owners.team: f"mailto:{owners.contact}"} if "@" in owners.contact else {},
            default_args={
                "owner": owners.team,
                "retries": 4,
                "retry_delay": timedelta(seconds=30),
                "retry_exponential_backoff": 2.0,
                "max_retry_delay": timedelta(minutes=15),
                "retry_policy": ExceptionRetryPolicy([RetryRule(_NO_USE, RetryAction.FAIL)]),
                "execution_timeout": WITHIN[kind],
                "on_failure_callback": partial(tell_of_failure, owners.model_dump()),
            },
            **more,
        )

    def _task(self, name: str, run: Callable[[], Any], outlet: Asset | None, **more: Any) -> Any:
        """A task that writes the table of `outlet`, if any, as its only writer, and adds its results to the asset."""

        def call() -> Any:
            result = run()
            if outlet:
                get_current_context()["outlet_events"][outlet].extra = tasks.asset_facts(result)
            return result

        pool = {"pool": outlet.name, "outlets": [outlet]} if outlet else {}
        return task(task_id=name, multiple_outputs=False, **pool, **more)(call)()

    def _choice(self, name: str, what: str, choose: Callable[[], list[str]]) -> Any:
        """A task that runs the downstream tasks whose tables `choose` returns, and skips the others."""

        def call() -> list[str]:
            return [table.partition(".")[2] or table for table in choose()]

        return task.branch(task_id=name, doc_md=what)(call)()


def _wanted(name: str) -> str:
    return str(get_current_context()["params"][name])
