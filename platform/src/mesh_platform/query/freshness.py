"""Measure the age of a table and compare it with its contract's promise, for `mesh status` and Airflow alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import AHEAD, Contract
from mesh_platform.iceberg.bounds import newest
from mesh_platform.iceberg.history import changed_since
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.query.state_cache import StateCache

if TYPE_CHECKING:
    from pyiceberg.table import Table

# Returns the table called `<domain>.<table>`, None if it does not exist.
FindTable = Callable[[str], "Table | None"]


@dataclass(frozen=True)
class Age:
    """The age of a table. All times are in UTC; `lag_s` and `promise_s` are in seconds, of workdays if the contract
    has a calendar.

    `since` is when the lag began: the time of the newest event, or of the oldest input change that is not built yet.
    `newest_event` is None if the table has no running events. `ahead` is the newest time in the table if that is too
    far in the future to count. `fresh` is None if nothing is promised, or there is nothing to measure.
    """

    newest_event: datetime | None = None
    ahead: datetime | None = None
    since: datetime | None = None
    lag_s: int | None = None
    promise_s: int | None = None
    fresh: bool | None = None


def age_of(
    contract: Contract,
    table: Table,
    column: str | None,
    now: datetime,
    find: FindTable,
    cache: StateCache | None = None,
) -> Age:
    """Return the age of a product's table, or of its landing table, and whether the contract's promise is kept.

    Freshness is measured from the newest time in `column` that is not after `now` plus AHEAD. If all times are later
    than that, the promise counts as broken, because nothing shows that it is kept. Latency, for the product's own
    table only, is measured from the first input change that is not built yet, by the machine's clock, which also
    stamps commits. If a product promises both, the broken one is returned, and latency if both are kept.
    """
    cache = cache or StateCache()
    by_event = _by_newest_event(contract, table, column, now, cache) if column else Age()
    if not contract.latency or ".".join(table.name()) != contract.identifier or by_event.fresh is False:
        return by_event
    by_change = _by_waiting_change(contract.latency, table, find)
    return replace(by_change, newest_event=by_event.newest_event, ahead=by_event.ahead)


def newest_event(
    table: Table, column: str, now: datetime, cache: StateCache | None = None
) -> tuple[datetime | None, datetime | None]:
    """Return the newest time in `column` that counts as an event, and the newest of all if it is after `now` + AHEAD.

    Each is None if there is none.
    """

    def read() -> str | None:
        found = newest(table, column)
        return found.isoformat() if found else None

    state = [current_snapshot_id(table), table.schema().schema_id, column]
    text = (cache or StateCache()).get(f"newest {'.'.join(table.name())}", state, read)
    last = datetime.fromisoformat(text) if text else None
    if last is not None and last > now + AHEAD:
        return newest(table, column, now + AHEAD), last
    return last, None


def _by_newest_event(contract: Contract, table: Table, column: str, now: datetime, cache: StateCache) -> Age:
    at, ahead = newest_event(table, column, now, cache)
    lag = max(0, int(contract.age(at, now).total_seconds())) if at else None
    promise = int(contract.freshness.total_seconds()) if contract.freshness else None
    fresh = None if promise is None or (at is None and ahead is None) else lag is not None and lag <= promise
    return Age(at, ahead, at, lag, promise, fresh)


def _by_waiting_change(latency: timedelta, table: Table, find: FindTable) -> Age:
    """Return how long changes of the inputs have waited. Changes of a reference file are not timed."""
    noted = read_provenance(table, current_snapshot_id(table))
    inputs = noted[1].input_snapshots if noted else {}
    found = {name: (find(name), state) for name, state in inputs.items()}
    seen = [(table_, state) for table_, state in found.values() if table_ is not None]
    times = [time for table_, state in seen if (time := changed_since(table_, state))]
    since = min(times, default=None)
    lag = int((datetime.now(UTC) - since).total_seconds()) if since else 0 if seen else None
    promise = int(latency.total_seconds())
    return Age(None, None, since, lag, promise, lag <= promise if lag is not None else None)
