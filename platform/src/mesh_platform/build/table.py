"""Bring one table up to date with its inputs, in at most one new snapshot.

Each output snapshot records its provenance (`iceberg/provenance.py`). A build learns from that alone what is already
built, so it also repairs what an earlier build left that was killed, run twice or rolled back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from functools import cached_property, partial
from typing import TYPE_CHECKING

import pyarrow as pa

from mesh_platform import faults
from mesh_platform.build.difference import differing_rows, rows_beside
from mesh_platform.build.held import append_held, as_held, read_held, replace_held
from mesh_platform.build.job import Built, Job, Mode
from mesh_platform.build.jobs import Jobs
from mesh_platform.build.model_run import in_contract_types, optional_schema, run_model
from mesh_platform.build.partition_times import check_partition_times
from mesh_platform.build.past import with_past
from mesh_platform.build.plan import Reads
from mesh_platform.build.reference import read_reference
from mesh_platform.contract.contract import Contract
from mesh_platform.engine.duckdb import DuckDBError, connect, explain_duckdb, registered, set_threads
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.rows import are_rows, count, without
from mesh_platform.engine.sql import days_between, has_days, has_key, in_partitions, partition_values, quoted, scan
from mesh_platform.errors import AttentionError, ConflictError, MeshError
from mesh_platform.iceberg.commit import replace_files
from mesh_platform.iceberg.provenance import note_properties
from mesh_platform.iceberg.retention import kept_from, without_expired
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import (
    all_files,
    changed_files,
    current_snapshot_id,
    files_in,
    has_snapshot,
    partitions_of,
    read_files,
    rows_in_files,
)
from mesh_platform.lake.catalog import arrow_schema, find_tables
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.audit import Audited, audit_rows
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import (
    create_schemas,
    interface_unions,
    union_select,
)
from mesh_platform.sql.unique_keys import keys_that_stay

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table

    from mesh_platform.build.spark_run import SparkRuns

_ATTEMPTS = 5
_GIVEN_UP = "{}: others keep building it. Build again."


class Builder:
    """Builds single tables of a mesh. It owns a DuckDB connection, so each thread needs its own builder.

    With `spark`, whole queries run there.
    """

    def __init__(
        self, mesh: Mesh, catalog: Catalog, models: Mapping[str, Model], spark: SparkRuns | None = None
    ) -> None:
        self.mesh, self.catalog, self.models, self.spark = mesh, catalog, models, spark
        self.jobs = Jobs(mesh, catalog, models)

    @cached_property
    def connection(self) -> Connection:
        # Opened on first use: that is most of the time of a build with nothing to do.
        connection = connect(self.catalog.properties)
        create_schemas(connection, self.mesh)
        return connection

    def build(self, name: str, full: bool) -> Built:
        """Bring one table up to date with its inputs as they are now; `full` rebuilds it.

        Raises AttentionError and ContractError if its rows cannot be published, ConflictError if others keep
        committing, and UnavailableError.
        """
        contract = self.mesh.contracts[name]
        build = self._build_model if name in self.models else self._build_reference

        return self._until_first(name, lambda: build(contract, full))

    def build_between(self, name: str, first: date, last: date) -> Built:
        """Bring one table up to date, then rebuild its partitions by time that overlap the days `first` to `last`.

        Both days are included, in UTC. The table must have `has_days`. Raises what `build` raises.
        """
        contract = self.mesh.contracts[name]

        def attempt() -> Built:
            self._build_model(contract, False)
            job, reads = self.jobs.of_model(contract)
            if not job.is_current():
                raise ConflictError(f"{name}: its inputs moved on.")
            return self._redo_between(job, reads.tables, first, last)

        return self._until_first(name, attempt)

    def _until_first(self, name: str, attempt: Callable[[], Built]) -> Built:
        """Return the result of the first attempt after which nobody else has committed first."""

        def attempt_anew() -> Built:
            try:
                return attempt()
            except ConflictError:
                self.jobs.forget_tables()
                raise

        return on_conflict(_ATTEMPTS, attempt_anew, _GIVEN_UP.format(name))

    def has_days(self, name: str) -> bool:
        """Whether the table has a model and partitions by time."""
        return name in self.models and has_days(self.mesh.contracts[name].table)

    def _build_reference(self, contract: Contract, full: bool) -> Built:
        job = self.jobs.of_reference(contract)
        if self.jobs.plan_of(job, None, full).mode == "noop":
            return self._keep_rows(job)
        return self._replace_all(job, read_reference(self.mesh, contract), full)

    def _build_model(self, contract: Contract, full: bool) -> Built:
        model, (job, reads) = self.models[contract.identifier], self.jobs.of_model(contract)
        match self.jobs.plan_of(job, reads, full).mode:
            case "noop":
                return self._keep_rows(job)
            case "incremental" if reads.driving:
                return self._apply_changes(job, model, reads)
            case "incremental":
                return self._apply_keys(job, model, reads)
        if not full and self._has_lost_old_rows_alone(job, reads.tables):
            self._note(job)
            return job.built("noop")
        return self._rebuild(job, model, reads.tables, full)

    def _has_lost_old_rows_alone(self, job: Job, tables: Mapping[str, Table]) -> bool:
        """Whether all that changed is that retention removed rows of inputs."""
        changed = job.changed_inputs()
        if not changed or job.was_rules != job.rules or not changed <= tables.keys():
            return False
        inputs = {name: tables[name] for name in changed}
        if not all(has_snapshot(table, job.recorded(name)) for name, table in inputs.items()):
            return False
        if not any(
            kept_from(table) and changed_files(table, job.recorded(name))[0] for name, table in inputs.items()
        ):
            return False
        removed, added = self._changed_rows(job, inputs)
        return not any(rows.num_rows for rows in (*removed.values(), *added.values()))

    def _show(self, relation: str, source: str, condition: str) -> None:
        columns = ", ".join(quoted(field.name) for field in self.jobs.schemas[relation].fields)
        query = f"SELECT {columns} FROM {source} AS input WHERE {condition}"
        self.connection.execute(f"CREATE OR REPLACE VIEW {quoted(relation)} AS {query}")

    def _show_unions(self, model: Model) -> None:
        for name, (interface, implementations) in interface_unions(self.mesh).items():
            if name in model.inputs:
                query = union_select(interface, {c.identifier: {} for c in implementations})
                self.connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS {query}")

    def _run(
        self,
        job: Job,
        model: Model,
        tables: Mapping[str, Table],
        instead: Mapping[str, pa.Table] | None = None,
        condition: str = "true",
        conditions: Mapping[str, str] | None = None,
    ) -> pa.Table:
        """Return the rows of a model's query, in the contract's columns and types; required columns are not checked.

        The query reads `tables`, or the rows `instead` for the inputs that have some: a table takes longer to open.
        `condition` selects rows of the result, as `made`; `conditions` select rows of inputs, as `input`.
        """
        given = instead or {}
        rows = [given[name].num_rows if name in given else rows_in_files(table) for name, table in tables.items()]
        # A rule of the whole table reads the rows that stay, too.
        set_threads(self.connection, sum(rows) + rows_in_files(job.output))
        try:
            with ExitStack() as stack:
                for number, (name, table) in enumerate(tables.items()):
                    source = f"mesh_input_{number}" if name in given else scan(table.metadata_location)
                    stack.enter_context(registered(self.connection, f"mesh_input_{number}", given.get(name)))
                    self._show(name, source, (conditions or {}).get(name, "true"))
                self._show_unions(model)
                return without_expired(job.output, run_model(self.connection, model, condition))
        except DuckDBError as error:
            raise explain_duckdb(error, f"{job.contract.identifier}: its inputs") or AttentionError(
                f"{job.contract.identifier}: DuckDB cannot open its inputs: {error}. Nothing was committed. "
                "Mend what it names, such as the path of the state folder, and build again."
            ) from error

    def _apply_changes(self, job: Job, model: Model, reads: Reads) -> Built:
        """Apply the changed rows of the driving inputs: append if rows were only added, else rebuild partitions."""
        tables, driving = reads.tables, reads.driving
        removed, added = self._changed_rows(job, driving)
        if job.was_rules == job.rules and not any(rows.num_rows for rows in (*removed.values(), *added.values())):
            self._note(job)
            return job.built("noop")
        rows = {name: pa.concat_tables([removed[name], added[name]]) for name in driving}
        touched_rows = self._run(job, model, tables, rows)
        touched = partitions_of(job.output, touched_rows)
        files = files_in(job.output, touched)
        if files is None:
            return self._rebuild(job, model, tables, False)
        here, elsewhere = files
        kept = _published(job)
        # Changed rules have not seen the rows that stay.
        recheck = job.was_rules != job.rules
        if not touched_rows.num_rows or not any(rows.num_rows for rows in removed.values()):
            existing = keys_that_stay(self.connection, job.output, job.contract.table, touched_rows, here, elsewhere)
            checks = job.checks if touched_rows.num_rows or recheck else ()
            audited = audit_rows(self.connection, job.contract, checks, touched_rows, existing, kept, recheck)
            faults.point("build.computed")
            held = append_held(self.catalog, job.contract, job.was_held, audited.held)
            if job.was_inputs == job.inputs:
                self._note(job)
            else:
                self._commit(job, [], audited.rows, held)
            mode: Mode = "incremental" if touched_rows.num_rows else "noop"
            return job.built(mode, len(touched), audited)
        return self._redo(job, tables, touched_rows, files, recheck)

    def _apply_keys(self, job: Job, model: Model, reads: Reads) -> Built:
        """Compute the keys of changed rows again, and rewrite the partitions in which their rows differ."""
        keyed, changed = reads.by_key(), job.changed_inputs()
        assert keyed is not None, f"{job.contract.identifier} does not work key by key"
        assert changed is not None, f"{job.contract.identifier} has another model"
        removed, added = self._changed_rows(job, {name: reads.tables[name] for name in changed})
        named = pa.schema([optional_schema(job.contract.table).field(name) for name in keyed.columns])
        keys = pa.concat_tables(
            rows.select(keyed.inputs[name]).rename_columns(keyed.columns).cast(named)
            for side in (removed, added)
            for name, rows in side.items()
        )
        if not keys.num_rows:
            self._note(job)
            return job.built("noop")

        def is_changed(relation: str, columns: Sequence[str] = keyed.columns) -> str:
            return has_key(relation, columns, "mesh_keys", keyed.columns)

        with registered(self.connection, "mesh_keys", keys.group_by([*keyed.columns]).aggregate([])):
            inputs = {name: is_changed("input", columns) for name, columns in keyed.inputs.items()}
            rows = self._run(job, model, reads.tables, condition=is_changed("made"), conditions=inputs)
            published = _published(job)
            rows = with_past(self.connection, job, reads.tables, rows, f"{published} WHERE {is_changed('kept')}")
            kept = f"{published} WHERE NOT {is_changed('kept')}"
            # The columns are part of the primary key, so no row that stays has the key of another.
            audited = audit_rows(self.connection, job.contract, job.checks, rows, kept=kept)
            differing = differing_rows(self.connection, audited.rows, f"{published} WHERE {is_changed('kept')}")
            touched = partitions_of(job.output, differing)
            files = files_in(job.output, touched)
            if files is None:
                return self._rebuild(job, model, reads.tables, False)
            written = rows_beside(self.connection, job.contract.table, audited.rows, differing, kept)
            faults.point("build.computed")
            held = self._replace_held(job, audited, is_changed)
        self._commit(job, [task.file for task in files[0]], written, held)
        return job.built("incremental" if touched else "noop", len(touched), replace(audited, rows=written))

    def _redo_between(self, job: Job, tables: Mapping[str, Table], first: date, last: date) -> Built:
        schema, model = job.contract.table, self.models[job.contract.identifier]
        there, made = (days_between(schema, relation, first, last) for relation in ("kept", "made"))
        rows = self.connection.execute(f"{_published(job)} WHERE {there}")
        # The rows present are included because a partition may have lost all its rows.
        found = rows.to_arrow_table().cast(optional_schema(schema))
        touched_rows = pa.concat_tables([found, self._run(job, model, tables, condition=made)])
        if not touched_rows.num_rows:
            return job.built("noop")
        files = files_in(job.output, partitions_of(job.output, touched_rows))
        if files is None:
            return self._rebuild(job, model, tables, True)
        return self._redo(job, tables, touched_rows, files, recheck=False)

    def _redo(
        self,
        job: Job,
        tables: Mapping[str, Table],
        rows: pa.Table,
        files: tuple[list[FileScanTask], list[FileScanTask]],
        recheck: bool,
    ) -> Built:
        """Rebuild the partitions of `rows`; `files` are the current files in these partitions, and all others."""
        schema, model = job.contract.table, self.models[job.contract.identifier]
        kept = _published(job)
        with registered(self.connection, "mesh_touched", rows):
            redone_where = in_partitions(schema, "made", "mesh_touched")
            there = in_partitions(schema, "kept", "mesh_touched")
            redone = self._run(job, model, tables, condition=redone_where)
            redone = with_past(self.connection, job, tables, redone, f"{kept} WHERE {there}")
            kept += f" WHERE NOT {there}"
            existing = keys_that_stay(self.connection, job.output, schema, redone, [], files[1])
            audited = audit_rows(self.connection, job.contract, job.checks, redone, existing, kept, recheck)
            faults.point("build.computed")
            held = self._replace_held(job, audited, lambda held: in_partitions(schema, held, "mesh_touched"))
        self._commit(job, [task.file for task in files[0]], audited.rows, held)
        return job.built("rebuild", len(partitions_of(job.output, rows)), audited)

    def _changed_rows(
        self, job: Job, driving: Mapping[str, Table]
    ) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
        """Return the rows that each driving input has lost, and those that it has gained, since the last build."""
        removed: dict[str, pa.Table] = {}
        added: dict[str, pa.Table] = {}
        for name, table in driving.items():
            columns = [field.name for field in self.jobs.schemas[name].fields]
            removed_files, added_files = changed_files(table, job.recorded(name))
            # What retention removed is no change, nor is what a rollback brings back of it.
            removed[name] = without_expired(table, read_files(table, removed_files, columns))
            added[name] = without_expired(table, read_files(table, added_files, columns))
            if removed_files:
                # Rows that compaction only moved to another file have not changed.
                removed[name], added[name] = (
                    without(self.connection, removed[name], added[name]),
                    without(self.connection, added[name], removed[name]),
                )
        return removed, added

    def _rebuild(self, job: Job, model: Model, tables: Mapping[str, Table], always: bool) -> Built:
        """Run the whole query, on Spark where that is given and returns the same rows, and replace all rows."""
        why_not = self.spark.why_not(model) if self.spark else ""
        past = partial(with_past, self.connection, job, tables, published=f"{_published(job)} WHERE true")
        if self.spark is None or why_not:
            return self._replace_all(replace(job, why_not_spark=why_not), past(self._run(job, model, tables)), always)
        try:
            rows = in_contract_types(self.connection, model, self.spark.run(model, tables))
        except MeshError:
            # Expiry is no fault of Spark.
            self._assert_inputs_are_kept(job)
            raise
        rows = past(without_expired(job.output, rows))
        return self._replace_all(replace(job, engine=self.spark.server.name), rows, always)

    def _replace_all(self, job: Job, rows: pa.Table, always: bool) -> Built:
        """Replace the rows of the table, in the partitions in which they differ; in all of them if `always`.

        If all rows are the same already, only the inputs are recorded, in a snapshot without files, or in a table
        property if the inputs are the same too. Then the tables downstream have no changed rows to apply, and the
        next build need not compare again.
        """
        audited = audit_rows(self.connection, job.contract, job.checks, rows)
        differing, files = None, None
        if not always and current_snapshot_id(job.output) is not None:
            differing = differing_rows(self.connection, audited.rows, _published(job))
            files = files_in(job.output, partitions_of(job.output, differing))
        if differing is None or files is None:
            # Files with an older partition spec are rewritten even if their rows are the same.
            removed, written = all_files(job.output), audited.rows
        elif not differing.num_rows and self._is_held(job, audited):
            none = rows.slice(0, 0)
            if job.was_inputs == job.inputs:
                self._note(job)
            else:
                self._commit(job, [], none, job.was_held)
            return job.built("noop", audited=replace(audited, rows=none, held=None))
        else:
            removed = files[0]
            written = rows_beside(self.connection, job.contract.table, audited.rows, differing)
        faults.point("build.computed")
        held = self._replace_held(job, audited)
        self._commit(job, [task.file for task in removed], written, held)
        return job.built("rebuild", self._count_partitions(job, written), replace(audited, rows=written))

    def _replace_held(self, job: Job, audited: Audited, replaced: Callable[[str], str] | None = None) -> int | None:
        return replace_held(self.connection, self.catalog, job.contract, job.was_held, audited.held, replaced)

    def _is_held(self, job: Job, audited: Audited) -> bool:
        """Whether the held rows of the table are exactly those that were held back now, in any order."""
        was_held = read_held(self.catalog, job.contract, job.was_held)
        with registered(self.connection, "mesh_was_held", was_held):
            held = as_held(job.contract, audited.held)
            return was_held is not None and are_rows(self.connection, held, "SELECT * FROM mesh_was_held")

    def _count_partitions(self, job: Job, rows: pa.Table) -> int:
        values = ", ".join(partition_values(job.contract.table, "mesh_rows")) or "true"
        with registered(self.connection, "mesh_rows", rows):
            return count(self.connection, f"SELECT DISTINCT {values} FROM mesh_rows")

    def _keep_rows(self, job: Job) -> Built:
        """Leave the rows of an up-to-date table as they are, and record what they are built from if that changed."""
        # A hash of version 1 includes the words of messages, and is recognised only while these stay the same.
        if job.notes_version_1 or not job.is_current():
            self._note(job)
        return job.built("noop")

    def _note(self, job: Job) -> None:
        """Record that the current model, rules and inputs give the rows that are published already."""
        inputs_changed = job.was_inputs != job.inputs
        if inputs_changed:
            self._assert_inputs_are_kept(job)
        assert job.recorded_at is not None
        note_properties(job.output, job.provenance().to_properties(job.recorded_at, with_inputs=inputs_changed))

    def _commit(self, job: Job, removed: Iterable[DataFile], rows: pa.Table, held: int | None) -> None:
        """Publish `rows` in place of the files `removed`; `held` is the snapshot of the rows held back from them."""
        check_partition_times(job.contract, rows)
        self._assert_inputs_are_kept(job)
        summary = job.provenance(held).to_summary()
        replace_files(job.output, removed, rows.cast(arrow_schema(job.contract.table)), summary)

    def _assert_inputs_are_kept(self, job: Job) -> None:
        """Raise ConflictError if a snapshot that was read has expired: the next build could not continue from it.

        Expiry keeps the newest snapshots, so even a busy table takes longer than a second to lose one.
        """
        if time.monotonic() - job.began < 1:
            return
        read = {name: int(snapshot) for name, snapshot in job.inputs.items() if isinstance(snapshot, int)}
        for name, table in find_tables(self.catalog, read).items():
            if not has_snapshot(table, read[name]):
                raise ConflictError(f"{job.contract.identifier}: what was read of {name} has expired. Build again.")


def _published(job: Job) -> str:
    """Return the SELECT of the rows of a job's table, under the alias `kept`."""
    columns = ", ".join(quoted(field.name) for field in job.contract.table.fields)
    return f"SELECT {columns} FROM {scan(job.output.metadata_location)} AS kept"
