"""Measure how long events take from their receipt until a query of a table finds them.

Everything is read from snapshots: when ingest received their events, when they were committed, and what they were
built from. All these times are of the machine's clock, whatever the times of the events.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pyiceberg.table.snapshots import Operation

from mesh_platform.iceberg.expiry import NEWEST
from mesh_platform.iceberg.history import snapshots_on_main
from mesh_platform.iceberg.provenance import read_provenance, received_ms
from mesh_platform.lake.tables import LANDING_SUFFIX
from mesh_platform.query.freshness import FindTable

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


class Visibility:
    """How long the events of each table took. It reads only the metadata that `find` has loaded."""

    def __init__(self, find: FindTable) -> None:
        self._find = find
        self._landed: dict[tuple[str, int], Mapping[str, int | None]] = {}

    def visible_after(self, name: str) -> float | None:
        """Return the seconds from the receipt of events until the commit that made them visible in the table `name`.

        This is the 95th percentile over those of its newest `NEWEST` commits that brought events, each of which
        counts with the event that waited longest. A table's first build does not count: it also brings what was there
        before. None if there is no such commit, or no landing table in what the table is built from.
        """
        table = self._find(name)
        if table is None:
            return None
        began = received_ms if name.endswith(LANDING_SUFFIX) else partial(self._began, name, table)
        waits = [
            # A clock that was set back makes no negative wait.
            max(0, snapshot.timestamp_ms - at) / 1000
            for snapshot in snapshots_on_main(table)[:NEWEST]
            if (at := began(snapshot)) is not None
        ]
        if len(waits) > 1:
            return round(statistics.quantiles(waits, n=20, method="inclusive")[-1], 3)
        return waits[0] if waits else None

    def _began(self, name: str, table: Table, snapshot: Snapshot) -> int | None:
        """Return when the first event was received that is in a snapshot of a built table and not in its parent."""
        parent = _snapshot_of(table, snapshot.parent_snapshot_id)
        if parent is None:
            return None
        before, after = self._landing_states(name, parent), self._landing_states(name, snapshot)
        began = [
            first
            for landing, state in after.items()
            if landing in before and (first := self._first_between(landing, before[landing], state, parent))
        ]
        return min(began, default=None)

    def _first_between(self, landing: str, before: int | None, after: int | None, parent: Snapshot) -> int | None:
        """Return when the first event was received that a landing table has at the later of two snapshots only.

        None if there is none. If the next snapshot has expired, this is the time of `parent`, which read the earlier.
        """
        table = self._find(landing)
        if table is None or before == after or _is_older(table, after, before):
            return None
        follows = {each.parent_snapshot_id: each for each in table.metadata.snapshots}
        found = follows.get(before)
        while found is not None and found.summary is not None and found.summary.operation == Operation.REPLACE:
            if found.snapshot_id == after:
                return None
            found = follows.get(found.snapshot_id)
        if found is None:
            return parent.timestamp_ms
        return found.timestamp_ms if (received := received_ms(found)) is None else received

    def _landing_states(self, name: str, snapshot: Snapshot) -> Mapping[str, int | None]:
        """Return the snapshot of each landing table from which a state of a built table was made."""
        key = name, snapshot.snapshot_id
        if key not in self._landed:
            self._landed[key] = found = {}
            table = self._find(name)
            noted = read_provenance(table, snapshot.snapshot_id) if table is not None else None
            for read, state in (noted[1].inputs if noted else {}).items():
                if isinstance(state, str):
                    continue
                if read.endswith(LANDING_SUFFIX):
                    found[read] = state
                elif (other := self._find(read)) is not None and (there := _snapshot_of(other, state)) is not None:
                    found.update(self._landing_states(read, there))
        return self._landed[key]


def _is_older(table: Table, one: int | None, other: int | None) -> bool:
    """Whether a snapshot came before another, as after a rollback; False if one of them has expired."""
    numbers = [found.sequence_number or 0 for each in (one, other) if (found := _snapshot_of(table, each))]
    return len(numbers) > 1 and numbers[0] < numbers[1]


def _snapshot_of(table: Table, snapshot_id: int | None) -> Snapshot | None:
    return table.metadata.snapshot_by_id(snapshot_id) if snapshot_id is not None else None
