"""Describe the builds of tables by the state of the lake now: what they read, what is recorded, what they will do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from mesh_platform.build.fingerprint import content_hash, fingerprint, sites_hash
from mesh_platform.build.held import is_kept
from mesh_platform.build.job import Built, Job
from mesh_platform.build.plan import NOT_BUILT, Plan, Reads, plan
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import AttentionError, MeshError
from mesh_platform.iceberg.provenance import Inputs, read_provenance
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import checked_table, ensure_table, find_table, find_tables
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.audit import table_checks
from mesh_platform.sql.by_key import ByKey, by_key
from mesh_platform.sql.lineage import Tracer
from mesh_platform.sql.model import Model, driving_inputs, tables_read
from mesh_platform.sql.relations import SITES, table_schemas, tables_behind
from mesh_platform.sql.unique_keys import determines_partition
from mesh_platform.text import shown

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table


class Jobs:
    """The jobs of a mesh's tables; one for each thread."""

    def __init__(self, mesh: Mesh, catalog: Catalog, models: Mapping[str, Model]) -> None:
        self.mesh, self.catalog, self.models = mesh, catalog, models
        self.schemas = table_schemas(mesh)
        self._opened: dict[str, Table] = {}
        self._opened_at = math.inf

    def open_tables(self, names: Iterable[str]) -> None:
        """Load what the tables `names` are built from and into at once; a build would load each several times.

        So these builds use tables as they are now. If somebody else builds one meanwhile, its commit here conflicts.
        """
        needed = {table for name in names for table in (name, *tables_read(self.mesh, self.models, name))}
        self._opened_at = time.monotonic()
        # A table that cannot be read is reported by its own build.
        with suppress(MeshError):
            self._opened = find_tables(self.catalog, sorted(needed))

    def forget_tables(self) -> None:
        """Load each table again when it is needed."""
        self._opened.clear()
        self._opened_at = math.inf

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer(self.mesh)

    def built_if_current(self, name: str) -> Built | None:
        """Return what the table is built from if a build would do nothing; None if there is something to do."""
        contract = self.mesh.contracts[name]
        if name not in self._opened and find_table(self.catalog, name) is None:
            return None
        job = self.of_model(contract)[0] if name in self.models else self.of_reference(contract)
        return job.built("noop") if job.is_current() else None

    def plan(self, name: str, full: bool, moving: Set[str] = frozenset()) -> Plan:
        """Return what `build` would do if the inputs `moving` are built first. Nothing is written."""
        contract = self.mesh.contracts[name]
        try:
            output = self._present_table(name)
            if output is None:
                return Plan(name, "rebuild", NOT_BUILT)
            if name not in self.models:
                return self.plan_of(self.of_reference(contract, output), None, full)
            job, reads = self.of_model(contract, output, self._present_table)
            return self.plan_of(job, reads, full, moving)
        except AttentionError as error:
            return Plan(name, "blocked", str(error))

    def plan_of(self, job: Job, reads: Reads | None, full: bool, moving: Set[str] = frozenset()) -> Plan:
        """Return what a build of `job` would do if the inputs `moving` are built first; see `plan.plan`."""
        return plan(job, reads, full, lambda: is_kept(self.catalog, job.contract, job.was_held), moving)

    def of_reference(self, contract: Contract, output: Table | None = None) -> Job:
        """Return the job of reference data; `output` is its table if that is loaded."""
        path = self.mesh.domain(contract.domain).reference_path(contract)
        return self._job(contract, {shown(path, self.mesh.root): content_hash(path.read_bytes())}, "", output)

    def of_model(
        self,
        contract: Contract,
        output: Table | None = None,
        open_table: Callable[[str], Table | None] | None = None,
    ) -> tuple[Job, Reads]:
        """Return the job of a model and the tables that it reads, as they are now.

        `open_table` opens an input. By default, a missing input or output is created.
        """
        model, open_table = self.models[contract.identifier], open_table or self._ensured_table
        # The output is loaded before its inputs, so that somebody else's commit in between shows as a conflict.
        output = output or self._ensured_table(contract.identifier)
        behind = {relation: tables_behind(self.mesh, relation) for relation in model.inputs}
        found = {name: open_table(name) for name in sorted({name for names in behind.values() for name in names})}
        tables = {name: table for name, table in found.items() if table is not None}
        inputs: Inputs = {
            name: current_snapshot_id(table) if table is not None else None for name, table in found.items()
        }
        if SITES in model.inputs:
            inputs[SITES] = sites_hash(self.mesh)
        query = model.sql + repr(sorted(behind.items()))
        driving = driving_inputs(model)
        key_anywhere = bool(driving) and not determines_partition(contract.table)
        reads = Reads(
            tables,
            # Planned with, then built by.
            by_key=cache(lambda: self._by_key(model, behind)),
            driving={name: tables[name] for each in driving for name in behind[each] if name in tables},
            lookups={name for each, names in behind.items() if each not in driving for name in names},
        )
        return self._job(contract, inputs, query, output, key_anywhere), reads

    def _by_key(self, model: Model, behind: Mapping[str, Sequence[str]]) -> ByKey | None:
        """Return `by_key` with tables as inputs, instead of relations that consist of the tables `behind` them."""
        found = by_key(self._tracer, model)
        if found is None:
            return None
        # A table that is read in two ways is filtered only if both have the same columns.
        ways: dict[str, set[tuple[str, ...] | None]] = {}
        for relation, names in behind.items():
            for name in names:
                ways.setdefault(name, set()).add(found.inputs.get(relation))
        return replace(found, inputs={name: way for name, (way, *more) in ways.items() if way and not more})

    def _job(
        self,
        contract: Contract,
        inputs: Inputs,
        query: str,
        output: Table | None = None,
        key_anywhere: bool = False,
    ) -> Job:
        output = output or self._ensured_table(contract.identifier)
        checks = table_checks(self.mesh, contract)
        made_by = fingerprint(query, contract.table, checks, key_anywhere)
        began = min(self._opened_at, time.monotonic())
        job = Job(contract, output, inputs, made_by.model, made_by.rules, checks, began)
        noted = read_provenance(output, current_snapshot_id(output))
        if noted is None:
            return job
        snapshot, was = noted
        was_model, was_rules = made_by.recognise(was.model, was.rules)
        return replace(
            job,
            was_inputs=was.inputs,
            was_model=was_model,
            was_rules=was_rules,
            notes_version_1=(was_model, was_rules) != (was.model, was.rules),
            was_held=was.held,
            recorded_at=snapshot,
        )

    def _ensured_table(self, name: str) -> Table:
        return ensure_table(self.catalog, name, self.schemas[name], self._opened.get(name))

    def _present_table(self, name: str) -> Table | None:
        return checked_table(self.catalog, name, self.schemas[name])
