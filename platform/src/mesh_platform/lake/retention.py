"""Keep the promise of retention: remove rows older than the contract says, and record it in `mesh.retention`.

A row is as old as its time: `event_time` in a landing table, the column of freshness in a product and its held rows,
and the time of the refusal in a quarantine. It goes once the UTC day is over in which it reached that age, so that
landing tables lose whole files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from mesh_platform import faults
from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.contract.contract import platform_column as _column
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.expiry import instant, reigns_ended, remove_snapshots
from mesh_platform.iceberg.provenance import held_snapshot, read_provenance
from mesh_platform.iceberg.replace import replace_without_trace
from mesh_platform.iceberg.retention import (
    ATTEMPTS,
    GIVEN_UP,
    Limits,
    count_expired,
    find_expired,
    in_words,
    kept_from,
    removals,
    remove_expired,
    rewrite,
    to_summary,
)
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import all_files, current_snapshot_id, files_at, has_snapshot
from mesh_platform.iceberg.value_search import refs_to
from mesh_platform.lake.catalog import arrow_schema, checked_table, ensure_table, existing_table, find_table
from mesh_platform.lake.tables import MeshTable, held_name, landing_name

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

RETENTION = "mesh.retention"
Step = Literal["removed", "cleared"]
# The table property with what was cleared last.
_CLEARED = "mesh.retention.cleared"

RETENTION_SCHEMA = TableSchema(
    "retention",
    "What retention removed: the rows of a table, and later the past states that still showed them.",
    (
        _column("table", "string", "The table, <domain>.<table>."),
        _column("step", "string", "removed: rows left the table. cleared: no past state shows them any more."),
        _column("at", "timestamptz", "When, UTC, by the machine's clock."),
        _column("until", "string", "What was removed: the rows from before these times, by column."),
        _column("rows", "long", "The rows that were removed."),
        _column("dropped", "long", "Files that were removed as a whole."),
        _column("rewritten", "long", "Files that were written again without these rows."),
        _column("bytes", "long", "The bytes of these files."),
        _column("snapshots", "long", "The past states that were removed."),
        _column("voided", "string", "JSON: the releases, tags and branches that named one."),
    ),
    (),
    None,
    1,
)


@dataclass(frozen=True)
class Removal:
    """One row of `mesh.retention`, as its columns describe it."""

    table: str
    step: Step
    at: datetime
    until: str
    rows: int = 0
    dropped: int = 0
    rewritten: int = 0
    bytes: int = 0
    snapshots: int = 0
    voided: tuple[str, ...] = ()


def read_removals(catalog: Catalog) -> list[Removal]:
    """Return what retention removed, newest first. Raises what `checked_table` raises."""
    table = checked_table(catalog, RETENTION, RETENTION_SCHEMA)
    rows = table.scan().to_arrow().to_pylist() if table else []
    found = [Removal(**{**row, "voided": tuple(json.loads(row["voided"]))}) for row in rows]
    return sorted(found, key=lambda each: each.at, reverse=True)


def limits_of(catalog: Catalog, mesh_table: MeshTable, now: datetime) -> list[Limits]:
    """Return which rows of a table are past their retention at a time; none if its contract promises none.

    A refused message of an event that is past it goes as soon as the time travel of the contract is over. A ledger
    loses the events that its landing table refuses by their time alone.
    """
    contract, kind = mesh_table.contract, mesh_table.kind
    if not contract.expires:
        return []
    limit = _midnight(now - contract.retention)
    match kind:
        case "landing":
            return [{"event_time": limit}]
        case "quarantine":
            seen = _midnight(now - min(contract.time_travel, contract.retention))
            return [{"rejected_at": limit}, {"event_time": limit, "rejected_at": seen}]
        case "ledger":
            landing = find_table(catalog, landing_name(contract))
            noted = kept_from(landing) if landing else None
            return [dict([noted])] if noted else []
    return [{contract.freshness_column: limit}] if contract.freshness_column else []


def count_past(catalog: Catalog, mesh_table: MeshTable, now: datetime) -> int:
    """Return how many rows of an existing table are past their retention."""
    table = existing_table(catalog, mesh_table.name)
    return sum(count_expired(table, limits) for limits in limits_of(catalog, mesh_table, now))


def remove_past(catalog: Catalog, mesh_table: MeshTable, now: datetime) -> int:
    """Remove the rows of an existing table that are past their retention, and record it; return their number.

    A call that was killed is finished by the next. Raises what `remove_expired` raises.
    """
    load = partial(existing_table, catalog, mesh_table.name)
    removed = 0
    for limits in limits_of(catalog, mesh_table, now):
        if mesh_table.kind == "held":
            removed += _remove_held(catalog, mesh_table.contract, limits)
        else:
            marked = mesh_table.kind in ("landing", "product")
            removed += remove_expired(load, limits, _provenance, marked)
    faults.point("retain.removed")
    _record(catalog, mesh_table)
    return removed


def past_states(
    catalog: Catalog, mesh_table: MeshTable, now: datetime, before: datetime, needed: Collection[int]
) -> list[int]:
    """Return the snapshots that may show rows past their retention, by the bounds of their files.

    It leaves out those that are `needed`, and those that are the current one or were so since `before`. `now` is by
    the clock of the data, `before` by that of the machine.
    """
    table = existing_table(catalog, mesh_table.name)
    limits = limits_of(catalog, mesh_table, now)
    ended = reigns_ended(table)
    found = []
    for snapshot in table.metadata.snapshots:
        number = snapshot.snapshot_id
        at = ended.get(number, instant(snapshot.timestamp_ms))
        is_past = at is not None and at < before and number not in needed and number != current_snapshot_id(table)
        if is_past and any(find_expired(table, each, number) for each in limits):
            found.append(number)
    return found


def clear_past(
    catalog: Catalog, mesh_table: MeshTable, now: datetime, before: datetime, needed: Callable[[], Collection[int]]
) -> int:
    """Remove what `past_states` returns, with the tags and branches that name them, and record it.

    Releases and trainings that named one are void. Returns the number of snapshots. Raises ConflictError.
    """

    def attempt() -> int:
        table = existing_table(catalog, mesh_table.name)
        gone = past_states(catalog, mesh_table, now, before, needed())
        if gone:
            # The property has room for one: that of a call that was killed must be in the record before.
            _record(catalog, mesh_table)
            until = [in_words(limits) for limits in limits_of(catalog, mesh_table, now)]
            noted = {"at": datetime.now(UTC).isoformat(), "until": "; ".join(until), "snapshots": len(gone)}
            remove_snapshots(table, gone, {_CLEARED: json.dumps({**noted, "voided": refs_to(table, gone)})})
        return len(gone)

    cleared = on_conflict(ATTEMPTS, attempt, "others keep committing; the next run removes the past states")
    faults.point("retain.cleared")
    _record(catalog, mesh_table)
    return cleared


def _midnight(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _provenance(table: Table) -> Mapping[str, str]:
    """Return what a state is built from, which stays the same with fewer rows."""
    noted = read_provenance(table, current_snapshot_id(table))
    return noted[1].to_summary() if noted else {}


def _remove_held(catalog: Catalog, contract: Contract, limits: Limits) -> int:
    """Make a state of the held rows without old ones, then let the product name it; nobody sees it before that."""

    def attempt() -> int:
        product, held = find_table(catalog, contract.identifier), existing_table(catalog, held_name(contract))
        noted = read_provenance(product, current_snapshot_id(product)) if product else None
        was = noted[1].held if noted else None
        if product is None or noted is None or was is None or not has_snapshot(held, was):
            return 0
        expired = find_expired(held, limits, was)
        removed, added, done = rewrite(held, expired, limits)
        if not done.rows:
            return 0
        gone = {file.file_path for file in removed}
        stay = {task.file.file_path: task.file for task in files_at(held, was) if task.file.file_path not in gone}
        present = {task.file.file_path: task.file for task in all_files(held)}
        replace_without_trace(
            held,
            [file for path, file in present.items() if path not in stay],
            [*added, *(file for path, file in stay.items() if path not in present)],
            to_summary(done),
        )
        faults.point("retain.held")
        renewed = replace(noted[1], held=current_snapshot_id(held))
        replace_without_trace(product, [], [], renewed.to_summary())
        return done.rows

    return on_conflict(ATTEMPTS, attempt, GIVEN_UP)


def _record(catalog: Catalog, mesh_table: MeshTable) -> None:
    """Append to `mesh.retention` what the table says of removals that is not there yet."""
    table = existing_table(catalog, mesh_table.name)
    found = [
        Removal(mesh_table.name, "removed", instant(snapshot.timestamp_ms), **asdict(done))
        for snapshot, done in removals(table)
        if mesh_table.kind != "held" or snapshot.snapshot_id in _held_of(catalog, mesh_table.contract)
    ]
    if noted := table.properties.get(_CLEARED):
        cleared = json.loads(noted)
        at = datetime.fromisoformat(cleared.pop("at"))
        found.append(Removal(mesh_table.name, "cleared", at, **{**cleared, "voided": tuple(cleared["voided"])}))

    def attempt() -> None:
        there = {(each.table, each.step, each.at) for each in read_removals(catalog)}
        missing = [each for each in found if (each.table, each.step, each.at) not in there]
        if missing:
            rows = [{**asdict(each), "voided": json.dumps(each.voided)} for each in missing]
            records = ensure_table(catalog, RETENTION, RETENTION_SCHEMA)
            append_rows(records, pa.Table.from_pylist(rows, schema=arrow_schema(RETENTION_SCHEMA)))

    if found:
        on_conflict(ATTEMPTS, attempt, f"{RETENTION}: others keep committing; the next run records what was removed")


def _held_of(catalog: Catalog, contract: Contract) -> set[int | None]:
    """Return the states of the held rows that kept states of the product name."""
    product = find_table(catalog, contract.identifier)
    return {held_snapshot(snapshot) for snapshot in product.metadata.snapshots} if product else set()
