"""OpenLineage events of the runs of ingest, builds and maintenance: one run for each table.

Names follow https://openlineage.io/docs/spec/naming: the namespace of a dataset is that of its store, and no name
begins with a slash. `run_reports` sends the events.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    documentation_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    ownership_dataset,
    ownership_job,
    parent_run,
    schema_dataset,
    sql_job,
    storage_dataset,
)
from openlineage.client.uuid import generate_new_uuid, generate_static_uuid

from mesh_platform.broker import queue_of
from mesh_platform.build.job import Built
from mesh_platform.contract.contract import Contract
from mesh_platform.ingest.ingest import Ingested
from mesh_platform.lake.maintain import Maintained
from mesh_platform.lake.tables import held_name, quarantine_name, table_named
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.columns import Columns
from mesh_platform.settings import Settings
from mesh_platform.sql.bound_plan import How, Sources
from mesh_platform.sql.model import Model, find_models
from mesh_platform.sql.relations import SITES, tables_behind
from mesh_platform.text import shown

Kind = Literal["ingest", "build", "maintain"]
# How a run went: None when it starts, then its result or what stopped it.
Outcome = Ingested | Built | Maintained | BaseException | None

_PRODUCER = "urn:mesh-platform"
_TRANSFORMATIONS: Mapping[How, tuple[str, str]] = {
    "copied": ("DIRECT", "IDENTITY"),
    "computed": ("DIRECT", "TRANSFORMATION"),
    "filtered": ("INDIRECT", "FILTER"),
    "joined": ("INDIRECT", "JOIN"),
    "grouped": ("INDIRECT", "GROUP_BY"),
}
_JOB_TYPES: Mapping[Kind, str] = {"ingest": "INGEST", "build": "MODEL", "maintain": "MAINTENANCE"}


@dataclass(frozen=True)
class AirflowTask:
    """The attempt of a task of Airflow that runs something here. `instant` is the logical date of its DAG's run."""

    dag: str
    task: str
    instant: datetime
    attempt: int
    map_index: int = -1
    cleared: int = 0

    def facet(self) -> parent_run.ParentRunFacet:
        """Return it as the parent, with the run of its DAG as the root.

        Their ids are those that Airflow's own OpenLineage provider gives them, so that both tell of the same runs.
        """
        variables = ("AIRFLOW__OPENLINEAGE__NAMESPACE", "OPENLINEAGE_NAMESPACE")
        namespace = next((os.environ[name] for name in variables if os.environ.get(name)), "default")

        def run_id(*parts: object) -> str:
            return str(generate_static_uuid(self.instant, ".".join(map(str, (namespace, *parts))).encode()))

        own = run_id(self.dag, self.task, self.attempt, self.map_index)
        root = parent_run.Root(
            parent_run.RootRun(run_id(self.dag, self.cleared)), parent_run.RootJob(namespace, self.dag)
        )
        return parent_run.ParentRunFacet(
            parent_run.Run(own), parent_run.Job(namespace, f"{self.dag}.{self.task}"), root
        )


class Events:
    """Makes the events of the runs of one process; the events of one run have the same id."""

    def __init__(self, settings: Settings, mesh: Mesh, parent: AirflowTask | None = None) -> None:
        self._broker, self._mesh, self._parent = settings.broker, mesh, parent
        self._namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "mesh"
        self._open: dict[tuple[Kind, str], str] = {}

    @cached_property
    def _models(self) -> Mapping[str, Model]:
        return find_models(self._mesh)[0]

    @cached_property
    def _built(self) -> Columns:
        return Columns(self._mesh, self._models)

    @cached_property
    def _sent(self) -> Columns:
        # No model has to be parsed for the lineage of landing tables.
        return Columns(self._mesh, {})

    @property
    def unfinished(self) -> list[tuple[Kind, str]]:
        """The runs that have started and not ended."""
        return [*self._open]

    def event(self, kind: Kind, table: str, outcome: Outcome) -> RunEvent:
        """Return the event that the run of `kind` for a table starts, or ends with `outcome`."""
        run_id = self._open.setdefault((kind, table), str(generate_new_uuid()))
        run_facets: dict[str, Any] = {"parent": self._parent.facet()} if self._parent else {}
        if outcome is not None:
            del self._open[kind, table]
        fault = _fault(outcome)
        if fault is not None:
            run_facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(fault, "PYTHON")
        done = outcome if fault is None else None
        return RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            producer=_PRODUCER,
            run=Run(run_id, run_facets),
            job=self._job(kind, table),
            eventType=_state(outcome),
            inputs=self._inputs(kind, table, done),
            outputs=self._outputs(kind, table, done),
        )

    def _job(self, kind: Kind, table: str) -> Job:
        facets: dict[str, Any] = {"jobType": job_type_job.JobTypeJobFacet("BATCH", "MESH", _JOB_TYPES[kind])}
        if contract := self._contract(table):
            owners = [ownership_job.Owner(name, role) for name, role in self._owners(contract)]
            facets["ownership"] = ownership_job.OwnershipJobFacet(owners)
        if kind == "build" and table in self._models:
            facets["sql"] = sql_job.SQLJobFacet(self._models[table].sql, "duckdb")
        return Job(self._namespace, f"{table}.{kind}", facets)

    def _inputs(self, kind: Kind, table: str, done: Outcome) -> list[InputDataset]:
        """The datasets that a run reads; never none, because servers drop a run without inputs."""
        if kind == "maintain":
            return [InputDataset(self._namespace, table)]
        read = done.inputs if isinstance(done, Built) else {}
        found = [
            InputDataset(*place, facets=_version(read.get(place[1])))
            for relation in self._columns(kind).relations[table].inputs
            for place in self._datasets(relation)
        ]
        if isinstance(done, Ingested):
            counted = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=done.deliveries)
            for dataset in found:
                dataset.inputFacets = {"inputStatistics": counted}
        return found or [InputDataset("file", self._models[table].path)]

    def _outputs(self, kind: Kind, table: str, done: Outcome) -> list[OutputDataset]:
        rows: int | None = None
        if isinstance(done, Ingested | Built):
            rows = done.appended if isinstance(done, Ingested) else done.rows
        snapshot: int | None = getattr(done, "snapshot_id", None)
        found = [self._output(table, rows, snapshot, self._column_lineage(kind, table))]
        contract = self._contract(table)
        if contract and kind == "ingest":
            found.append(self._output(quarantine_name(contract), getattr(done, "quarantined", None)))
        if contract and isinstance(done, Built) and done.held:
            found.append(self._output(held_name(contract), done.held))
        return found

    def _output(
        self,
        table: str,
        rows: int | None,
        snapshot: int | None = None,
        lineage: column_lineage_dataset.ColumnLineageDatasetFacet | None = None,
    ) -> OutputDataset:
        facets: dict[str, Any] = {
            "storage": storage_dataset.StorageDatasetFacet("iceberg", "parquet"),
            **_version(snapshot),
        }
        if known := table_named(self._mesh, table):
            fields = known.schema.fields
            facets["schema"] = schema_dataset.SchemaDatasetFacet(
                [schema_dataset.SchemaDatasetFacetFields(f.name, f.type.name, f.description) for f in fields]
            )
            facets["documentation"] = documentation_dataset.DocumentationDatasetFacet(known.schema.description)
            owners = [ownership_dataset.Owner(name, role) for name, role in self._owners(known.contract)]
            facets["ownership"] = ownership_dataset.OwnershipDatasetFacet(owners)
        if lineage:
            facets["columnLineage"] = lineage
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        counted = {} if rows is None else {"outputStatistics": statistics(rowCount=rows)}
        return OutputDataset(self._namespace, table, counted, facets=facets)

    def _column_lineage(self, kind: Kind, table: str) -> column_lineage_dataset.ColumnLineageDatasetFacet | None:
        """The sources of each column and of the rows; of an interface, the columns of every table behind it.

        Maintenance computes no value.
        """
        if kind == "maintain":
            return None
        found = self._columns(kind).lineage(table)
        columns = {
            column: column_lineage_dataset.Fields(fields)
            for column, sources in found.columns.items()
            if (fields := self._fields(sources))
        }
        if not columns and not found.rows:
            return None
        return column_lineage_dataset.ColumnLineageDatasetFacet(columns, self._fields(found.rows))

    def _fields(self, sources: Sources) -> list[column_lineage_dataset.InputField]:
        found: dict[tuple[str, str, str], list[column_lineage_dataset.Transformation]] = {}
        for source in sorted(source for source in sources if source.relation != SITES):
            made = column_lineage_dataset.Transformation(*_TRANSFORMATIONS[source.how])
            for place in self._datasets(source.relation):
                found.setdefault((*place, source.column), []).append(made)
        return [column_lineage_dataset.InputField(*field, transformations=made) for field, made in found.items()]

    def _columns(self, kind: Kind) -> Columns:
        return self._built if kind == "build" else self._sent

    def _datasets(self, relation: str) -> list[tuple[str, str]]:
        """The namespace and name of each dataset that a relation consists of."""
        kind, _, name = relation.partition(":")
        if kind == "file":
            return [("file", name)]
        if kind == "queue":
            return [(_broker_namespace(self._broker), queue_of(self._mesh.contract(name)).name)]
        if relation == SITES:
            sited = (domain for domain in self._mesh.domains.values() if domain.site)
            return [("file", shown(domain.folder / "domain.yaml", self._mesh.root)) for domain in sited]
        return [(self._namespace, table) for table in tables_behind(self._mesh, relation)]

    def _contract(self, table: str) -> Contract | None:
        known = table_named(self._mesh, table)
        return known.contract if known else None

    def _owners(self, contract: Contract) -> Iterable[tuple[str, str]]:
        owners = self._mesh.domains[contract.domain].owners
        return (owners.team, "team"), (owners.steward, "steward")


def _state(outcome: Outcome) -> RunState:
    if outcome is None:
        return RunState.START
    if isinstance(outcome, KeyboardInterrupt | SystemExit):
        return RunState.ABORT
    return RunState.COMPLETE if _fault(outcome) is None else RunState.FAIL


def _fault(outcome: Outcome) -> str | None:
    if isinstance(outcome, BaseException):
        return str(outcome) or type(outcome).__name__
    return (outcome.skipped or "failed") if isinstance(outcome, Maintained) and outcome.failed else None


def _version(state: int | str | None) -> dict[str, Any]:
    """The version of a dataset: the snapshot of a table, the hash of a file."""
    return {} if state is None else {"version": dataset_version_dataset.DatasetVersionDatasetFacet(str(state))}


def _broker_namespace(url: str) -> str:
    """The broker's address without user and password; of a file its name alone, as its folder is a machine's own."""
    parts = urlsplit(url)
    if not parts.hostname:
        return f"{parts.scheme}://{Path(parts.path).name}"
    return f"{parts.scheme}://{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
