"""How old a table is, and whether its contract's promise is kept: one answer for `mesh status` and Airflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import AHEAD, Contract
from mesh_platform.iceberg.bounds import newest
from mesh_platform.iceberg.history import changed_since
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.iceberg.snapshot_diff import head
from mesh_platform.query.counts import Memo

if TYPE_CHECKING:
    from pyiceberg.table import Table

# Gives the table of a name, `<domain>.<table>`; None where it is not there.
FindTable = Callable[[str], "Table | None"]


@dataclass(frozen=True)
class Age:
    """How old a table is. All times are in UTC, `lag_s` and `promise_s` are in seconds.

    `since` is when the lag began: the time of the newest event, or of the oldest change of an input that is not built
    yet. `newest_event` is None where the table has no running events. `ahead` is the newest time in the table where
    that is too far in the future to count. `fresh` is None where nothing is promised, or nothing is there to tell by.
    """

    newest_event: datetime | None = None
    ahead: datetime | None = None
    since: datetime | None = None
    lag_s: int | None = None
    promise_s: int | None = None
    fresh: bool | None = None


def age_of(
    contract: Contract, table: Table, column: str | None, now: datetime, find: FindTable, memo: Memo | None = None
) -> Age:
    """The age of the product's table, or with another `column` of its landing table, against what is promised.

    Freshness counts from the newest time in `column` until `now` plus AHEAD; a later one does not count. Where there
    are only later ones, the promise is not kept: nothing shows that it is. Latency, for the product's own table,
    counts from when an input changed that is not built yet, by the machine's clock, which stamps commits. Of a
    product that promises both, the one that is not kept is the answer, and latency where both are kept.
    """
    memo = memo or Memo()
    by_event = _by_newest_event(contract, table, column, now, memo) if column else Age()
    if not contract.latency or ".".join(table.name()) != contract.identifier or by_event.fresh is False:
        return by_event
    by_change = _by_waiting_change(contract.latency, table, find)
    return replace(by_change, newest_event=by_event.newest_event, ahead=by_event.ahead)


def _by_newest_event(contract: Contract, table: Table, column: str, now: datetime, memo: Memo) -> Age:
    def read() -> str | None:
        found = newest(table, column)
        return found.isoformat() if found else None

    name = ".".join(table.name())
    text = memo.get(f"newest {name}", [head(table), table.schema().schema_id, column], read)
    last = datetime.fromisoformat(text) if text else None
    is_ahead = last is not None and last > now + AHEAD
    at = newest(table, column, now + AHEAD) if is_ahead else last
    lag = max(0, int((now - at).total_seconds())) if at else None
    promise = int(contract.freshness.total_seconds()) if contract.freshness else None
    fresh = None if promise is None or last is None else lag is not None and lag <= promise
    return Age(at, last if is_ahead else None, at, lag, promise, fresh)


def _by_waiting_change(latency: timedelta, table: Table, find: FindTable) -> Age:
    """How long what came to the inputs has waited. Of a reference file nothing says when it changed."""
    noted = read_provenance(table, head(table))
    inputs = noted[1].input_snapshots if noted else {}
    found = {name: (find(name), state) for name, state in inputs.items()}
    seen = [(table_, state) for table_, state in found.values() if table_ is not None]
    times = [time for table_, state in seen if (time := changed_since(table_, state))]
    since = min(times, default=None)
    lag = int((datetime.now(UTC) - since).total_seconds()) if since else 0 if seen else None
    promise = int(latency.total_seconds())
    return Age(None, None, since, lag, promise, lag <= promise if lag is not None else None)
