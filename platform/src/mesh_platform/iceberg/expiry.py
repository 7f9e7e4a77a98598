"""Expire old snapshots of a table, and tell which state it had at a time.

Within the lifetime, the newest `NEWEST` snapshots are kept, and of older states the one at each full hour of the last
day and at each midnight, UTC. Snapshots that a branch or a tag names or that the caller needs are always kept. A
commit copies the metadata of every snapshot several times, so its cost grows with their number.

pyiceberg removes an expired snapshot from the middle of a table's history without a trace. So the table property
`mesh.expired` records the entry of the snapshot log from which no state is missing, and which earlier states are
kept, with the time when each was the current one. So `state_at` never mistakes a kept state for one that has expired.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pyiceberg.table.update import (
    AssertRefSnapshotId,
    RemovePartitionStatisticsUpdate,
    RemoveSnapshotRefUpdate,
    RemoveSnapshotsUpdate,
    RemoveStatisticsUpdate,
)

from mesh_platform.errors import ConflictError
from mesh_platform.iceberg.commit import first_to_commit
from mesh_platform.iceberg.internals import CheapTransaction, stage
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.update import TableUpdate

# Enough that the snapshot that a running commit or build has read is among them.
NEWEST = 16
_HOURLY = timedelta(days=1)
_ATTEMPTS = 8
_PROPERTY = "mesh.expired"


class _Reign(NamedTuple):
    """A period in which a snapshot was the current one, in milliseconds since 1970; `until` is None if it still is.

    A snapshot has several reigns if a rollback made it the current one again.
    """

    since: int
    until: int | None
    snapshot_id: int


@dataclass(frozen=True)
class _Past:
    """The kept states of a table, oldest first; from index `whole` on none is missing.

    `first` is when the very first state began, expired ones included.
    """

    reigns: list[_Reign]
    whole: int
    first: int | None


def choose_expired(
    table: Table, lifetime: timedelta, needed: Collection[int], now: datetime, dead: Collection[str] = ()
) -> list[int]:
    """Return the ids of the snapshots that `expire` would remove, oldest first, if the tags `dead` were gone."""
    reigns = _read_past(table).reigns
    oldest = _milliseconds(now - lifetime)
    ended = {reign.snapshot_id: reign.until for reign in reigns}
    marks = _marks(now, lifetime)
    at_marks = {r.snapshot_id for r in reigns if any(_holds(r, mark) for mark in marks)}
    snapshots = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    newest = {snapshot.snapshot_id for snapshot in snapshots[-NEWEST:]}
    refs = table.metadata.refs.items()
    named = {ref.snapshot_id for name, ref in refs if name not in dead} | {*needed}
    expired = []
    for snapshot in snapshots:
        number = snapshot.snapshot_id
        # A state's age counts from when the next one replaced it; from its own time if it never was the current one.
        ended_at = ended.get(number, snapshot.timestamp_ms)
        is_young = ended_at is None or ended_at > oldest
        if number not in named and not (is_young and number in newest | at_marks):
            expired.append(number)
    return expired


def expire(
    load: Callable[[], Table], lifetime: timedelta, needed: Callable[[], Collection[int]], now: datetime
) -> tuple[int, str]:
    """Remove the snapshots that `choose_expired` returns, not their files; return how many, and why if it gave up.

    Each attempt calls `needed` again, because a build that has ended meanwhile needs other snapshots.
    """

    def attempt() -> int:
        table = load()
        expired = choose_expired(table, lifetime, needed(), now)
        if not expired:
            return 0
        remove_snapshots(table, expired)
        return len(expired)

    advice = f"not expired: others committed first, {_ATTEMPTS} times in a row; the next run tries again"
    try:
        return on_conflict(_ATTEMPTS, attempt, advice), ""
    except ConflictError as error:
        return 0, str(error)


def remove_snapshots(table: Table, numbers: Collection[int], noted: Mapping[str, str] | None = None) -> None:
    """Remove these snapshots, with the tags, branches and statistics that belong to them, but not their files.

    The current one must not be among them. `noted` are table properties to set with it. Raises ConflictError.
    """
    gone = {*numbers}
    note = json.dumps(_without(_read_past(table), gone), separators=(",", ":"))
    metadata = table.metadata
    refs = [name for name, ref in metadata.refs.items() if ref.snapshot_id in gone]
    whole = [each.snapshot_id for each in metadata.statistics if each.snapshot_id in gone]
    by_partition = [each.snapshot_id for each in metadata.partition_statistics if each.snapshot_id in gone]
    updates: tuple[TableUpdate, ...] = (
        *(RemoveSnapshotRefUpdate.model_validate({"ref-name": name}) for name in refs),
        *(RemoveStatisticsUpdate.model_validate({"snapshot-id": number}) for number in whole),
        *(RemovePartitionStatisticsUpdate.model_validate({"snapshot-id": number}) for number in by_partition),
        RemoveSnapshotsUpdate.model_validate({"snapshot-ids": sorted(gone)}),
    )
    with first_to_commit(table), CheapTransaction(table) as transaction:
        # Without it, the catalog would also remove a snapshot that a rollback made the current one meanwhile.
        unmoved = AssertRefSnapshotId.model_validate({"ref": "main", "snapshot-id": current_snapshot_id(table)})
        stage(transaction, updates, (unmoved,))
        transaction.set_properties({_PROPERTY: note, **(noted or {})})


def state_at(table: Table, time: datetime) -> tuple[int | None, str]:
    """Return the snapshot that was the table's current one at `time`, even if it was rolled back later.

    Returns None with a reason if the table had no rows yet, or if that state has expired; each names the nearest
    states.
    """
    past, at, name = _read_past(table), _milliseconds(time), ".".join(table.name())
    for reign in reversed(past.reigns):
        if _holds(reign, at):
            return reign.snapshot_id, ""
    if past.first is None:
        return None, f"{name}: nothing was ever committed to it."
    if at < past.first:
        first = f"its first commit was at {instant(past.first).isoformat()}"
        return None, f"{name}: at {time.isoformat()} it did not exist yet; {first}."
    kept = [instant(reign.since) for reign in past.reigns]
    before, after = [each for each in kept if each <= time], [each for each in kept if each > time]
    nearest = f"the oldest state kept is of {kept[0].isoformat()}" if kept else "no state is kept"
    if before and after:
        nearest = f"the states beside it that are kept are of {before[-1].isoformat()} and {after[0].isoformat()}"
    return None, f"{name}: what it was at {time.isoformat()} has expired; {nearest}."


def reigns_ended(table: Table) -> dict[int, datetime | None]:
    """Return when each kept snapshot was last the current one; None for the one that still is."""
    reigns = _read_past(table).reigns
    return {reign.snapshot_id: instant(reign.until) if reign.until is not None else None for reign in reigns}


def expired_before(table: Table) -> datetime | None:
    """Return the time before which states of the table have expired; None if none has."""
    past = _read_past(table)
    is_cut = past.whole or (past.reigns and past.first != past.reigns[0].since)
    return instant(past.reigns[past.whole].since) if is_cut else None


def _read_past(table: Table) -> _Past:
    log = [(entry.timestamp_ms, entry.snapshot_id) for entry in table.metadata.snapshot_log]
    noted = json.loads(table.properties.get(_PROPERTY, "{}"))
    kept = [_Reign(*each) for each in noted.get("kept", ())]
    whole = tuple(noted.get("from", ()))
    if whole in log:
        log = log[log.index(whole) :]
    elif whole:
        # Another tool has expired that entry too.
        log = [entry for entry in log if entry[0] > whole[0]]
    ends = [since for since, _ in log[1:]]
    reigns = [_Reign(since, end, number) for (since, number), end in zip(log, [*ends, None], strict=False)]
    first = noted["first"] if noted else reigns[0].since if reigns else None
    opening = table.metadata.snapshot_by_id(reigns[0].snapshot_id) if reigns and not noted else None
    if opening and (opening.sequence_number or 1) > 1:
        first = 0
    known = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
    kept = [reign for reign in kept if reign.snapshot_id in known]
    return _Past([*kept, *reigns], len(kept), first)


def _without(past: _Past, expired: set[int]) -> dict[str, object]:
    """Return the value of `mesh.expired` once these snapshots have expired."""
    places = [place for place, reign in enumerate(past.reigns) if reign.snapshot_id in expired]
    whole = max([past.whole, *(place + 1 for place in places)])
    boundary = past.reigns[whole]
    kept = [reign for reign in past.reigns[:whole] if reign.snapshot_id not in expired]
    return {"from": [boundary.since, boundary.snapshot_id], "first": past.first, "kept": kept}


def _marks(now: datetime, lifetime: timedelta) -> list[int]:
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    hours = [hour - timedelta(hours=n) for n in range(int(min(_HOURLY, lifetime) / timedelta(hours=1)) + 1)]
    days = [day - timedelta(days=n) for n in range(int(lifetime / timedelta(days=1)) + 1)]
    return [_milliseconds(mark) for mark in (*hours, *days)]


def _holds(reign: _Reign, at: int) -> bool:
    return reign.since <= at and (reign.until is None or at < reign.until)


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def instant(milliseconds: int) -> datetime:
    """Return the UTC time that a snapshot's `timestamp_ms` means."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
