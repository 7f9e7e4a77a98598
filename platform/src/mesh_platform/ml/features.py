"""The features of a learner: which tables and columns it may have, and their rows at pinned snapshots.

A model reads what its domain may read (`access.rights`), and of that only published tables. It has no personal data:
columns that `mesh query --role analyst` masks never reach it, and a column that is derived from such a column without
being classified so stops the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform.access.rights import rights_of
from mesh_platform.errors import AttentionError, ContractError, Problem, UsageError
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.catalog import existing_table, find_tables
from mesh_platform.metadata.columns import Columns
from mesh_platform.ml.learner import Declared
from mesh_platform.policy.masks import masks
from mesh_platform.policy.roles import ANALYST
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.text import offer

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.cache.cache import Cache
    from mesh_platform.mesh.mesh import Mesh

_DAY = timedelta(days=1)


def check_features(mesh: Mesh, models: Mapping[str, Model], declared: Declared, cache: Cache | None = None) -> None:
    """Raise ContractError if the learner reads what it may not read, or what is personal without saying so."""
    problems = [*_unreadable(mesh, models, declared)]
    if not problems:
        problems = [*_personal(mesh, models, declared, cache)]
    if problems:
        raise ContractError(problems)


def _unreadable(mesh: Mesh, models: Mapping[str, Model], declared: Declared) -> list[Problem]:
    domain = declared.domain.name
    rights = (each for each in rights_of(mesh, models) if each.domain == domain and each.resource == "table")
    readable = {each.name: each for each in rights if each.name in mesh.contracts}
    problems = []
    for table, column in declared.learner.features.items():
        if table not in readable:
            what = f"learns from '{table}', which {domain} may not read."
            fix = f"A SQL model of {domain} that reads it, and its review, are the right. {offer(table, readable)}"
            problems.append(Problem(declared.path, 1, what, fix))
            continue
        times = [
            field.name for field in mesh.contracts[table].table.fields if field.type.name in ("date", "timestamptz")
        ]
        if column not in times:
            what = f"'{column}' is no date and no instant of {table}."
            problems.append(Problem(declared.path, 1, what, offer(column, dict.fromkeys(times))))
    return problems


def _personal(mesh: Mesh, models: Mapping[str, Model], declared: Declared, cache: Cache | None) -> list[Problem]:
    columns, schemas = Columns(mesh, models, cache), relation_schemas(mesh)
    problems = []
    for table in declared.learner.features:
        for name in columns_read(mesh, table):
            values = {(table, name)}
            # The nearest first: a value comes from a value that comes from another.
            for edge in columns.up([(table, name)]):
                if edge.how not in ("copied", "computed") or (edge.target, edge.target_column) not in values:
                    continue
                values.add((edge.source, edge.source_column))
                schema = schemas.get(edge.source)
                field = schema.by_name.get(edge.source_column) if schema else None
                if field is not None and field.classification == "pii":
                    what = f"'{name}' of {table} is made from personal data, {edge.source}.{edge.source_column}."
                    fix = (
                        "Leave it out of the features, or classify it as pii in its contract: then no model gets it."
                    )
                    problems.append(Problem(mesh.contracts[table].path, mesh.contracts[table].table.line, what, fix))
                    break
    return problems


def columns_read(mesh: Mesh, table: str) -> list[str]:
    """The columns of a table that a model gets: those that an analyst sees unmasked."""
    contract = mesh.contracts[table]
    hidden = masks(ANALYST, contract, contract.table.fields)
    return [field.name for field in contract.table.fields if field.name not in hidden]


def pin(catalog: Catalog, declared: Declared) -> dict[str, int]:
    """The current snapshot of each of the learner's tables. Raises UsageError if one is not built or has no rows."""
    found = find_tables(catalog, declared.learner.features)
    pinned = {name: current_snapshot_id(table) for name, table in found.items()}
    missing = [name for name in declared.learner.features if pinned.get(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)}: not built yet. 'mesh build {declared.domain.name}' builds it.")
    return {name: snapshot for name, snapshot in pinned.items() if snapshot is not None}


def read_frames(mesh: Mesh, catalog: Catalog, snapshots: Mapping[str, int]) -> dict[str, pa.Table]:
    """The rows of the tables at these snapshots, each in the order of its key: the same bits at any later time.

    Raises AttentionError for a snapshot that is gone, and UsageError for a table that is.
    """
    frames = {}
    for name, snapshot in snapshots.items():
        table = existing_table(catalog, name)
        found = table.metadata.snapshot_by_id(snapshot)
        if found is None:
            raise AttentionError(
                f"{name}: its snapshot {snapshot} is gone, so no training can be made from it again."
            )
        then = table.schema() if found.schema_id is None else table.schemas()[found.schema_id]
        there = {column.name for column in then.fields}
        chosen = tuple(column for column in columns_read(mesh, name) if column in there)
        rows = table.scan(snapshot_id=snapshot, selected_fields=chosen).to_arrow().select(chosen)
        frames[name] = rows.sort_by([(key, "ascending") for key in mesh.contracts[name].table.key]).combine_chunks()
    return frames


def cut(frames: Mapping[str, pa.Table], features: Mapping[str, str], until: datetime) -> dict[str, pa.Table]:
    """The rows of before `until`; of rows by day, those of whole days before it."""

    def before(rows: pa.Table, column: str) -> pa.Table:
        type_ = rows.schema.field(column).type
        limit = pa.scalar(until.date() if pa.types.is_date(type_) else until).cast(type_)
        return rows.filter(pc.less(rows[column], limit))

    return {name: before(rows, features[name]) for name, rows in frames.items()}


def days_known(frames: Mapping[str, pa.Table], features: Mapping[str, str], now: datetime) -> datetime | None:
    """The midnight, UTC, until which each of the tables has days, at most that of `now`; None if one has no rows."""
    ends = [now]
    for name, rows in frames.items():
        newest = pc.max(pc.cast(rows[features[name]], pa.date32())).as_py()
        if newest is None:
            return None
        ends.append(datetime(newest.year, newest.month, newest.day, tzinfo=now.tzinfo) + _DAY)
    return min(ends).replace(hour=0, minute=0, second=0, microsecond=0)
