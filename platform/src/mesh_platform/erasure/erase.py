"""Erase a person from the lake: `plan` says where the value is, `erase` removes it and proves that it is gone.

The request is recorded before anything is removed, and its end after nothing was found any more. Each step finds out
what is left to do, so a request that was killed is finished by the same call. Tables are cleaned in the order in
which they are built, and each gets a new snapshot: a build that has read an earlier state of its inputs also loaded
its output before that, so its commit fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesh_platform import faults
from mesh_platform.broker.embedded_erasure import erase_messages
from mesh_platform.build.build import build
from mesh_platform.erasure.proof import prove
from mesh_platform.erasure.rows import erase_from
from mesh_platform.erasure.state_files import clean_state_files, holds, other_files
from mesh_platform.erasure.targets import Target, Targets, find_targets
from mesh_platform.errors import AttentionError, ConflictError, ContractError, UsageError
from mesh_platform.iceberg.erasure import clear, erased_by, refs_removed
from mesh_platform.iceberg.outage import answering
from mesh_platform.iceberg.snapshot_diff import has_snapshot
from mesh_platform.iceberg.value_search import Value, refs_to, survey
from mesh_platform.lake.catalog import existing_table, find_tables
from mesh_platform.lake.erasures import Erasure, erasure_key, read_erasures, record_end, record_request
from mesh_platform.lake.releases import read_releases
from mesh_platform.lake.trainings import read_trainings
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import find_models

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

_SQLITE = "sqlite:///"
# Digits alone are found in many texts that are about something else.
_LEAST, _LEAST_DIGITS = 4, 6
# How often the tables are cleaned again because somebody wrote to them meanwhile.
_ROUNDS = 4
_MEND = "Mend the catalog or the storage, then erase again, which goes on where this ended."


@dataclass(frozen=True)
class Lake:
    """What is erased from: the tables of a mesh, its state folder, and its broker's URL."""

    mesh: Mesh
    catalog: Catalog
    state: Path
    broker: str

    @property
    def broker_file(self) -> Path | None:
        """The file of the embedded broker; None with another one."""
        return Path(self.broker.removeprefix(_SQLITE)) if self.broker.startswith(_SQLITE) else None


@dataclass(frozen=True)
class TablePlan:
    """What goes from one table: rows and the files that have them, and the snapshots that show the value."""

    table: str
    columns: tuple[str, ...]
    rows: int
    files: int
    bytes: int
    snapshots: int


@dataclass(frozen=True)
class Besides:
    """What an erasure removes or voids besides rows.

    `messages` of queues; `releases` and `trainings` that it voids, and `refs`, all tags and branches of theirs and
    others; files of the state folder; and sentences on what is `left` to a person.
    """

    messages: int
    releases: tuple[str, ...]
    trainings: tuple[str, ...]
    refs: tuple[str, ...]
    state_files: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True)
class ErasurePlan(Besides):
    """What an erasure would remove."""

    tables: tuple[TablePlan, ...]


@dataclass(frozen=True)
class Result(Besides):
    """What a request removed, by table: rows, and files that were written again without them; and the proof."""

    tables: Mapping[str, Mapping[str, int]]
    proof: Mapping[str, int]


def read_value(column: str, text: str) -> Value:
    """Return the value of `--where column=text`. Raises UsageError if it cannot be told from other texts."""
    if len(text) < (_LEAST_DIGITS if text.isdecimal() else _LEAST):
        raise UsageError(
            f"{column}={text}: too short to be told from other texts in refused messages and logs. A value has at "
            f"least {_LEAST} characters, or {_LEAST_DIGITS} digits."
        )
    return Value(text)


@answering("", "the lake fails", "Mend the catalog or the storage, then look again.")
def plan(lake: Lake, column: str, value: Value) -> ErasurePlan:
    """Return what `erase` would remove. Nothing is written. Raises UsageError if no table has the column."""
    targets = _targets(lake.mesh, column)
    tables = find_tables(lake.catalog, [target.name for target in targets.tables])
    plans, stale = [], {}
    for target in targets.tables:
        if target.name in tables:
            found = survey(tables[target.name], target.sought(value))
            stale[target.name] = found.stale
            if found.hits or found.stale:
                size = sum(task.file.file_size_in_bytes for task in found.now)
                columns = (*target.equal, *target.within)
                plans.append(TablePlan(target.name, columns, found.rows, len(found.now), size, len(found.stale)))
    refs = {f"{name}@{ref}" for name, gone in stale.items() for ref in refs_to(tables[name], gone)}
    voided = [
        [each.name for each in all_ if any(number in stale.get(name, ()) for name, number in of(each).items())]
        for all_, of in _named_states(lake.catalog)
    ]
    messages = erase_messages(lake.broker_file, value.is_in, dry_run=True) if lake.broker_file else None
    return ErasurePlan(
        tables=tuple(plans),
        messages=messages.rewritten + messages.removed if messages else 0,
        releases=tuple(voided[0]),
        trainings=tuple(voided[1]),
        refs=tuple(sorted(refs)),
        state_files=tuple(
            str(path.relative_to(lake.state)) for path in other_files(lake.state) if holds(path, value)
        ),
        left=_left(lake),
    )


@answering("", "the lake fails", _MEND)
def erase(
    lake: Lake,
    column: str,
    value: Value,
    request: str,
    by: str,
    reason: str,
    on_table: Callable[[str], object] = lambda _table: None,
) -> Result:
    """Remove a value from the lake, prove it, and record it; a call for a request that was killed finishes it.

    `on_table` is called after each table whose current state is without the value, and again when its past is.
    Raises UsageError for an unknown column and for a request of another value, AttentionError if the value is still
    found after all, or a table cannot be brought up to date, and ConflictError if others keep committing. Then the
    request stays open.
    """
    targets = _targets(lake.mesh, column)
    erasure = _recorded(lake.catalog, targets, column, value, request, by, reason)
    if erasure.result is not None:
        noted: dict[str, Any] = {}
        for name, each in erasure.result.items():
            noted[name] = tuple(each) if isinstance(each, list) else each
        return Result(**noted)
    faults.point("erase.requested")
    messages, files = 0, set[str]()
    known: dict[str, dict[str, int]] = {}
    found: Sequence[str] = ()
    for _ in range(_ROUNDS):
        if lake.broker_file:
            erased = erase_messages(lake.broker_file, value.is_in)
            messages += erased.rewritten + erased.removed
        faults.point("erase.queued")
        try:
            tables = _erase_tables(lake, targets, value, request, known, on_table)
        except ConflictError as error:
            found = (str(error),)
            continue
        _bring_up_to_date(lake)
        faults.point("erase.built")
        cleaned = clean_state_files(lake.state, value, [str(each.metadata.table_uuid) for each in tables.values()])
        files |= {*cleaned.removed, *cleaned.masked}
        faults.point("erase.cleaned")
        proof = prove(lake.catalog, lake.state, value, targets.columns)
        found = proof.found
        if not found:
            break
    else:
        places = "\n".join(f"  {each}" for each in found[:20])
        raise AttentionError(
            f"{request}: the value is still found, so the request stays open:\n{places}\nIf others write to these "
            "tables, stop them; remove what is in columns that have no such values. Then erase again."
        )
    faults.point("erase.proved")
    result = Result(
        tables=_removed(lake.catalog, targets, request),
        messages=messages,
        **_voided(lake.catalog, targets, request),
        state_files=tuple(sorted(files)),
        left=_left(lake),
        proof={"files": proof.files, "bytes": proof.bytes, "found": 0},
    )
    record_end(lake.catalog, erasure, asdict(result))
    return result


def _targets(mesh: Mesh, column: str) -> Targets:
    models, problems = find_models(mesh)
    if problems:
        raise ContractError(problems)
    return find_targets(mesh, models, column)


def _recorded(
    catalog: Catalog, targets: Targets, column: str, value: Value, request: str, by: str, reason: str
) -> Erasure:
    """Record the request, unless it is recorded; return it."""
    for name, text in {"--request": request, "--by": by, "--reason": reason}.items():
        if value.is_in(text.encode()):
            raise UsageError(f"{name}: has the value that is to be erased. Write something else.")
    key = erasure_key(catalog, make=True)
    hashed = key.hash(value.text.encode())
    for each in read_erasures(catalog):
        if each.request == request:
            if (each.value_hash, each.column_name) != (hashed, column):
                raise UsageError(f"{request}: that request is about another value. Give this one another name.")
            return each
    erasure = Erasure(request, datetime.now(UTC), by, reason, column, targets.columns, hashed, key.key_id)
    record_request(catalog, erasure)
    return erasure


def _erase_tables(
    lake: Lake,
    targets: Targets,
    value: Value,
    request: str,
    known: dict[str, dict[str, int]],
    on_table: Callable[[str], object],
) -> dict[str, Table]:
    """Erase the value from all tables, then from their past; return the tables that exist."""
    there = find_tables(lake.catalog, [target.name for target in targets.tables])
    present = [target for target in targets.tables if target.name in there and _may_have(target, there)]
    for target in present:
        erase_from(lake.catalog, target, value, request, known.setdefault(target.name, {}))
        on_table(target.name)
    for target in present:
        name = target.name
        clear(partial(existing_table, lake.catalog, name), target.sought(value), request, known[name])
        on_table(name)
    return there


def _may_have(target: Target, there: Mapping[str, Table]) -> bool:
    # A table of the platform without a snapshot has nothing, and no writer that a new snapshot could stop.
    return target.mesh_table is not None or there[target.name].current_snapshot() is not None


def _bring_up_to_date(lake: Lake) -> None:
    """Build the tables that exist, and with all of them a release, if there are any."""
    existing = [*find_tables(lake.catalog, lake.mesh.contracts)]
    if existing:
        whole = bool(read_releases(lake.catalog))
        build(lake.mesh, lake.catalog, () if whole else existing)


def _removed(catalog: Catalog, targets: Targets, request: str) -> dict[str, dict[str, int]]:
    tables = find_tables(catalog, [target.name for target in targets.tables])
    found = {name: erased_by(table, request) for name, table in tables.items()}
    return {name: counts for name, counts in found.items() if counts["rows"]}


def _named_states(catalog: Catalog) -> list[tuple[Sequence[Any], Callable[[Any], Mapping[str, int]]]]:
    """Return the releases and the trainings, each with what gives their snapshots by table."""
    return [
        (read_releases(catalog), lambda release: release.tables),
        (read_trainings(catalog), lambda training: training.inputs),
    ]


def _voided(catalog: Catalog, targets: Targets, request: str) -> dict[str, tuple[str, ...]]:
    """Return what a request voided: all that lacks a snapshot, except what earlier requests voided."""
    earlier = [each.result for each in read_erasures(catalog) if each.result and each.request != request]
    tables = find_tables(catalog, [target.name for target in targets.tables])
    found = {}
    for name, (all_, of) in zip(("releases", "trainings"), _named_states(catalog), strict=True):
        lost = [each.name for each in all_ if _lacks(tables, of(each))]
        found[name] = tuple(each for each in lost if not any(each in result[name] for result in earlier))
    refs = (f"{name}@{ref}" for name, table in tables.items() for ref in refs_removed(table, request))
    return {**found, "refs": tuple(sorted(refs))}


def _lacks(tables: Mapping[str, Table], states: Mapping[str, int]) -> bool:
    return any(name in tables and not has_snapshot(tables[name], number) for name, number in states.items())


def _left(lake: Lake) -> tuple[str, ...]:
    """Return what a person has to do besides, a sentence each."""
    if lake.broker_file:
        return ()
    return (
        "Waiting messages and dead letters in RabbitMQ are as they were: ingest refuses the person's events when it "
        "receives them. Run 'mesh ingest --until-empty', and with --dead-letters.",
    )
