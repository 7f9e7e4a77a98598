"""Plan a build: decide what it will do to one table, and why.

Planning reads only metadata and writes nothing. `Builder` carries the plan out; `mesh build --plan` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mesh_platform.iceberg.snapshot_diff import has_snapshot

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from mesh_platform.build.job import Job
    from mesh_platform.sql.by_key import ByKey

NOT_BUILT = "it is not built yet"


@dataclass(frozen=True)
class Plan:
    """What a build will do to one table.

    `noop`: at most it records new input snapshots. `incremental`: it applies the changed rows of its inputs.
    `rebuild`: it runs the whole query and replaces the partitions in which its rows turn out to differ. `blocked`: it
    cannot be built.
    """

    table: str
    mode: Literal["noop", "incremental", "rebuild", "blocked"]
    reason: str


@dataclass(frozen=True)
class Reads:
    """The tables that a model reads. It maps rows of `driving` one by one, and looks rows up in `lookups`.

    A model that does not map rows one by one has no `driving`. It may still work `by_key`, with tables as inputs.
    """

    tables: Mapping[str, Table]
    driving: Mapping[str, Table]
    lookups: Set[str]
    by_key: Callable[[], ByKey | None]


def plan(
    job: Job, reads: Reads | None, full: bool, held_is_kept: Callable[[], bool], moving: Set[str] = frozenset()
) -> Plan:
    """Return what a build would do to the table of `job`.

    `reads` is None for reference data, which has a file and no query. `moving` are inputs that will have changed by
    the time the table is built. `held_is_kept` says whether the held rows of the current state can still be read.
    """
    table = job.contract.identifier
    moving = moving & job.inputs.keys()
    if full:
        return Plan(table, "rebuild", "it was asked for")
    if job.is_current() and not moving:
        return Plan(table, "noop", "nothing that it is built from has changed")
    if reads is None:
        return Plan(table, "rebuild", "its file, columns or rules have changed" if job.was_inputs else NOT_BUILT)
    changed = job.changed_inputs()
    if changed is None:
        changed_itself = "its query, its columns or a rule that holds rows back has changed"
        return Plan(table, "rebuild", NOT_BUILT if job.was_inputs is None else changed_itself)
    if not moving and job.was_rules == job.rules and job.has_same_rows(reads.tables, changed):
        return Plan(table, "noop", f"{_listed(changed)} moved on with the same rows")
    changed = changed | moving
    what = f"{_listed(changed)} changed" if changed else "its rules have changed"
    lookups, followed = reads.lookups, reads.driving.keys()
    if not reads.driving:
        by_key = reads.by_key()
        if by_key is None or job.was_rules != job.rules:
            return Plan(table, "rebuild", f"{what}, and its query looks at more than one row at a time")
        lookups, followed = frozenset(), by_key.inputs.keys()
        what += f"; it is computed by {', '.join(by_key.columns)}"
    if looked_up := changed & lookups or changed - followed:
        return Plan(table, "rebuild", f"{_listed(looked_up)} changed, where its query looks rows up")
    if lost := {name for name in changed if not has_snapshot(reads.tables[name], job.recorded(name))}:
        return Plan(table, "rebuild", f"the state of {_listed(lost)} that it was built from is gone")
    if not held_is_kept():
        return Plan(table, "rebuild", "the rows that were held back from it are gone")
    return Plan(table, "incremental", what)


def _listed(names: Set[str]) -> str:
    return ", ".join(sorted(names))
