"""Builds tables from SQL and from reference files: the mesh and the lake arrive, new snapshots leave.

Each output snapshot says in its summary what it was built from: `mesh.inputs` (relation: snapshot id, or a hash of
what is no table) and `mesh.model` (a hash of the query and of the output's shape). What is already built is known
from there alone, so a build that was killed, doubled or rolled back is mended by the next one. Where only the model
is another and makes the very rows of a snapshot, the table property `mesh.model` notes it beside that snapshot, which
stays: tables above do not move.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import duckdb
import pyarrow as pa
from pyiceberg.table.snapshots import ancestors_of

from mesh_platform import faults
from mesh_platform.audit import audit_rows
from mesh_platform.contract import Contract
from mesh_platform.domain import Mesh, offer
from mesh_platform.engine.duckdb import connect, literal, registered
from mesh_platform.errors import ConflictError, ContractError, NeedsAttention, Unavailable, UsageError, shown
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.commit import note, replace_files
from mesh_platform.lake.delta import all_files, changed_files, files_in, has_snapshot, head, partitions_of, read_files
from mesh_platform.reference import read_reference
from mesh_platform.relation import (
    SITES,
    content_hash,
    create_schemas,
    in_partitions,
    interface_unions,
    partition_values,
    quoted,
    sites_hash,
    table_shapes,
    tables_behind,
    typed,
    union_select,
)
from mesh_platform.sql_model import Model, build_order, check_types, driving_input, read_models, upstream

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_ATTEMPTS = 5
_MODEL = "mesh.model"
Inputs = dict[str, int | str | None]


@dataclass(frozen=True)
class Built:
    """What a build did to one table. `partitions` and `rows` were written; `inputs` are what it is built from."""

    table: str
    mode: Literal["noop", "incremental", "rebuild"]
    partitions: int
    rows: int
    snapshot_id: int | None
    inputs: Mapping[str, int | str | None]


def build(
    mesh: Mesh,
    catalog: Catalog,
    tables: Sequence[str] = (),
    full: bool = False,
    on_progress: Callable[[Built], None] | None = None,
) -> list[Built]:
    """Bring `tables` and what they are built from, by default all, up to date with their inputs; `full` rebuilds all.

    Raises UsageError for an unknown table and ContractError for faulty SQL, both before anything is built. Raises
    NeedsAttention at the end, with all failures: a table that failed is as it was, and so is what depends on it.
    """
    problems = check_types(mesh)
    if problems:
        raise ContractError(problems)
    builder = _Builder(mesh, catalog, read_models(mesh))
    done: list[Built] = []
    failed: dict[str, str] = {}
    for name in builder.chosen(tables):
        blocked = [other for other in upstream(mesh, builder.models, name) if other in failed]
        if blocked:
            failed[name] = f"{name}: not built, because {', '.join(blocked)} failed."
            continue
        try:
            built = builder.build(name, full)
        except (NeedsAttention, ContractError, ConflictError) as error:
            failed[name] = str(error)
            continue
        faults.point("build.committed")
        done.append(built)
        if on_progress:
            on_progress(built)
    if failed:
        raise NeedsAttention("\n".join(failed.values()))
    return done


@dataclass(frozen=True)
class _Job:
    """One table at one attempt: its state, what it would be built from, and what it was built from.

    `recorded_at` is the snapshot that says the latter.
    """

    contract: Contract
    output: Table
    inputs: Inputs
    model: str
    was_inputs: Inputs | None
    was_model: str | None
    recorded_at: int | None

    def built(self, mode: Literal["noop", "incremental", "rebuild"], partitions: int = 0, rows: int = 0) -> Built:
        return Built(self.contract.identifier, mode, partitions, rows, head(self.output), self.inputs)


class _Builder:
    def __init__(self, mesh: Mesh, catalog: Catalog, models: Mapping[str, Model]) -> None:
        self.mesh, self.catalog, self.models = mesh, catalog, models
        self.shapes = table_shapes(mesh)

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        # Opened when first needed: a build with nothing to do saves most of its time.
        connection = connect(self.catalog.properties)
        create_schemas(connection, self.mesh)
        return connection

    def chosen(self, tables: Sequence[str]) -> list[str]:
        wanted: set[str] = set()
        waiting = list(tables) or list(self.mesh.contracts)
        while waiting:
            name = waiting.pop()
            if name in self.mesh.domains:
                waiting += [contract.identifier for contract in self.mesh.domains[name].contracts.values()]
                continue
            if name not in self.mesh.contracts:
                raise UsageError(f"{name}: no such table. {offer(name, self.mesh.contracts)}")
            if name not in wanted:
                wanted.add(name)
                waiting += upstream(self.mesh, self.models, name)
        return [name for name in build_order(self.mesh, self.models) if name in wanted]

    def build(self, name: str, full: bool) -> Built:
        contract = self.mesh.contracts[name]
        attempt = self._build_model if name in self.models else self._build_reference
        for _ in range(_ATTEMPTS - 1):
            try:
                return attempt(contract, full)
            except ConflictError:
                continue
        return attempt(contract, full)

    def _build_reference(self, contract: Contract, full: bool) -> Built:
        path = self.mesh.domain(contract.domain).reference_path(contract)
        label = shown(path, self.mesh.root)
        job = self._job(contract, {label: content_hash(path.read_bytes())}, "")
        if self._is_current(job) and not full:
            return job.built("noop")
        return self._replace_all(job, read_reference(self.mesh, contract), full)

    def _build_model(self, contract: Contract, full: bool) -> Built:
        model = self.models[contract.identifier]
        # The output is loaded before its inputs: a commit of somebody else in between then shows as a conflict.
        output = ensure_table(self.catalog, contract.identifier, contract.table)
        behind = {relation: tables_behind(self.mesh, relation) for relation in model.inputs}
        tables = {
            name: ensure_table(self.catalog, name, self.shapes[name])
            for name in sorted({name for names in behind.values() for name in names})
        }
        inputs: Inputs = {name: head(table) for name, table in tables.items()}
        if SITES in model.inputs:
            inputs[SITES] = sites_hash(self.mesh)
        job = self._job(contract, inputs, model.sql + repr(sorted(behind.items())), output)
        if self._is_current(job) and not full:
            return job.built("noop")
        for name, table in tables.items():
            self._show(name, f"iceberg_scan({literal(table.metadata_location)})")
        self._show_unions(model)
        driving = driving_input(model)
        changed = _changed_inputs(job)
        if driving is None or changed is None or full:
            return self._replace_all(job, self._run(job, model.sql), full)
        lookups = {name for relation, names in behind.items() if relation != driving for name in names}
        moved = changed <= set(behind[driving]) - lookups
        if not moved or not all(has_snapshot(tables[name], _recorded(job, name)) for name in changed):
            return self._replace_all(job, self._run(job, model.sql), full)
        return self._apply_changes(job, model, {name: tables[name] for name in behind[driving]})

    def _job(self, contract: Contract, inputs: Inputs, query: str, output: Table | None = None) -> _Job:
        output = output or ensure_table(self.catalog, contract.identifier, contract.table)
        shape = contract.table
        columns = [(field.name, field.type.name, field.required) for field in shape.fields]
        model = content_hash(repr((query, columns, shape.key, shape.partition)).encode())
        noted, _, noted_model = output.properties.get(_MODEL, "").partition(" ")
        for snapshot in ancestors_of(output.current_snapshot(), output.metadata):
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            if "mesh.inputs" in summary:
                was_inputs = json.loads(summary["mesh.inputs"])
                was_model = noted_model if noted == str(snapshot.snapshot_id) else summary.get(_MODEL)
                return _Job(contract, output, inputs, model, was_inputs, was_model, snapshot.snapshot_id)
        return _Job(contract, output, inputs, model, None, None, None)

    def _is_current(self, job: _Job) -> bool:
        return job.was_inputs == job.inputs and job.was_model == job.model

    def _show(self, relation: str, source: str) -> None:
        columns = ", ".join(quoted(field.name) for field in self.shapes[relation].fields)
        self.connection.execute(f"CREATE OR REPLACE VIEW {quoted(relation)} AS SELECT {columns} FROM {source}")

    def _show_unions(self, model: Model) -> None:
        for name, (interface, implementations) in interface_unions(self.mesh).items():
            if name in model.inputs:
                query = union_select(interface, {c.identifier: {} for c in implementations})
                self.connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS {query}")

    def _run(self, job: _Job, query: str, condition: str = "true") -> pa.Table:
        """The rows of a model's query, in the contract's columns and types, none of them yet held to be required."""
        shape = job.contract.table
        columns = ", ".join(typed(field) for field in shape.fields)
        try:
            rows = self.connection.execute(
                f"SELECT {columns} FROM (\n{query}\n) AS made WHERE {condition}"
            ).to_arrow_table()
        except duckdb.IOException as error:
            raise Unavailable(
                f"{job.contract.identifier}: its inputs cannot be read: {error}. Build again."
            ) from error
        except duckdb.Error as error:
            raise NeedsAttention(
                f"{self.models[job.contract.identifier].path}: DuckDB stops at a row: {error}. Nothing was "
                "committed. Let the query take that row, or mend the input."
            ) from error
        return rows.cast(_optional(arrow_schema(shape)))

    def _apply_changes(self, job: _Job, model: Model, driving: Mapping[str, Table]) -> Built:
        """Carry changed rows of the driving input over: append where rows only came, else redo what they touch."""
        left, came = self._changed_rows(job, driving)
        rows = {name: pa.concat_tables([left[name], came[name]]) for name in driving}
        touched_rows = self._run_over(job, model, driving, rows)
        touched = partitions_of(job.output, touched_rows)
        files = files_in(job.output, touched)
        if files is None:
            return self._replace_all(job, self._run(job, model.sql), False)
        if not touched_rows.num_rows:
            self._commit(job, [], touched_rows)
            return job.built("noop")
        key = job.contract.table.key
        if not any(gone.num_rows for gone in left.values()):
            existing = read_files(job.output, files, key) if key else None
            audit_rows(self.connection, job.contract, touched_rows, existing)
            self._commit(job, [], touched_rows)
            return job.built("incremental", len(touched), touched_rows.num_rows)
        with registered(self.connection, "mesh_touched", touched_rows):
            redone = self._run(job, model.sql, in_partitions(job.contract.table, "made", "mesh_touched"))
        audit_rows(self.connection, job.contract, redone)
        self._commit(job, [task.file for task in files], redone)
        return job.built("rebuild", len(touched), redone.num_rows)

    def _changed_rows(
        self, job: _Job, driving: Mapping[str, Table]
    ) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
        left: dict[str, pa.Table] = {}
        came: dict[str, pa.Table] = {}
        for name, table in driving.items():
            columns = [field.name for field in self.shapes[name].fields]
            gone, new = changed_files(table, _recorded(job, name))
            left[name], came[name] = read_files(table, gone, columns), read_files(table, new, columns)
            if gone:
                # Rows that were only moved to another file, by compaction, have not changed.
                left[name], came[name] = (
                    self._without(left[name], came[name]),
                    self._without(came[name], left[name]),
                )
        return left, came

    def _without(self, rows: pa.Table, others: pa.Table) -> pa.Table:
        with registered(self.connection, "mesh_rows", rows), registered(self.connection, "mesh_others", others):
            query = "SELECT * FROM mesh_rows EXCEPT ALL SELECT * FROM mesh_others"
            return self.connection.execute(query).to_arrow_table().cast(rows.schema)

    def _run_over(
        self, job: _Job, model: Model, driving: Mapping[str, Table], rows: Mapping[str, pa.Table]
    ) -> pa.Table:
        """The query's rows for these rows of its driving input; the whole input is in place again afterwards."""
        with ExitStack() as stack:
            for number, name in enumerate(driving):
                stack.enter_context(registered(self.connection, f"mesh_delta_{number}", rows[name]))
                self._show(name, f"mesh_delta_{number}")
            found = self._run(job, model.sql)
        for name, table in driving.items():
            self._show(name, f"iceberg_scan({literal(table.metadata_location)})")
        return found

    def _replace_all(self, job: _Job, rows: pa.Table, always: bool) -> Built:
        """Replace the whole content.

        Where it is the same already, only the inputs are noted (in a snapshot without files): nothing that reads this
        table then has changed rows to carry over, and the next build need not compare again.
        """
        audit_rows(self.connection, job.contract, rows)
        # Files that are partitioned in an older way are written anew even where their rows are the same.
        stays = not always and head(job.output) is not None and files_in(job.output, set()) is not None
        if stays and self._is_content(job, rows):
            if job.was_inputs == job.inputs:
                note(job.output, {_MODEL: f"{job.recorded_at} {job.model}"})
            else:
                self._commit(job, [], rows.slice(0, 0))
            return job.built("noop")
        self._commit(job, [task.file for task in all_files(job.output)], rows)
        return job.built("rebuild", self._count_partitions(job, rows), rows.num_rows)

    def _is_content(self, job: _Job, rows: pa.Table) -> bool:
        """Whether the output holds these very rows, in any order."""
        columns = ", ".join(quoted(name) for name in rows.column_names)
        present = f"SELECT {columns} FROM iceberg_scan({literal(job.output.metadata_location)})"
        with registered(self.connection, "mesh_rows", rows):
            made = f"SELECT {columns} FROM mesh_rows"
            if self._count(f"SELECT count(*) FROM ({present})") != rows.num_rows:
                return False
            # Of two equally long lists, one has nothing that the other lacks only where they are the same.
            return self._count(f"SELECT count(*) FROM ({made} EXCEPT ALL {present})") == 0

    def _count_partitions(self, job: _Job, rows: pa.Table) -> int:
        values = ", ".join(partition_values(job.contract.table, "mesh_rows")) or "true"
        with registered(self.connection, "mesh_rows", rows):
            return self._count(f"SELECT count(*) FROM (SELECT DISTINCT {values} FROM mesh_rows)")

    def _count(self, query: str) -> int:
        found = self.connection.execute(query).fetchone()
        assert found is not None
        return int(found[0])

    def _commit(self, job: _Job, removed: Iterable[DataFile], rows: pa.Table) -> None:
        faults.point("build.computed")
        summary = {"mesh.inputs": json.dumps(job.inputs, sort_keys=True), _MODEL: job.model}
        replace_files(job.output, removed, rows.cast(arrow_schema(job.contract.table)), summary)


def _changed_inputs(job: _Job) -> set[str] | None:
    """The inputs that have moved since the last build, or None where more than the inputs is another."""
    was = job.was_inputs
    if was is None or was.keys() != job.inputs.keys() or job.was_model != job.model:
        return None
    return {name for name, now in job.inputs.items() if was[name] != now}


def _recorded(job: _Job, name: str) -> int | None:
    """The snapshot of the table `name` that the output was last built from."""
    recorded = (job.was_inputs or {})[name]
    assert not isinstance(recorded, str), f"{name} is no table"
    return recorded


def _optional(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])
