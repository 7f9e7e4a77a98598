"""The state of every table: the mesh and the lake arrive, a row for each table leaves, its age beside its promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from mesh_platform.lake.bounds import newest
from mesh_platform.lake.catalog import find_table
from mesh_platform.lake.delta import head
from mesh_platform.lake.history import snapshots_on_main
from mesh_platform.lake.landing import landing_name, rejected_name, removed_name
from mesh_platform.memo import Memo
from mesh_platform.relation import quoted
from mesh_platform.view import count_orphans, open_session, tables_referred_to

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from mesh_platform.contract import Contract
    from mesh_platform.domain import Mesh


@dataclass(frozen=True)
class TableStatus:
    """One table. `lag_s` is the age of its newest event and `promise_s` the contract's limit, both in seconds.

    `quarantined` counts what was refused and has not got in since, at a landing table. `orphans` counts rows that
    point to a dimension row which is not there.
    """

    table: str
    kind: str
    rows: int
    snapshot_id: int | None
    snapshots: int
    files: int
    partition_spec: str
    max_event_time: datetime | None
    lag_s: int | None
    promise_s: int | None
    fresh: bool | None
    quarantined: int | None
    orphans: int | None


def read_status(mesh: Mesh, catalog: Catalog, now: datetime, memo: Memo | None = None) -> list[TableStatus]:
    """The status of all tables that exist, landing tables first in each domain; ages are against `now`.

    Most of it stands in the tables' metadata. What has to be counted is counted once for each state of its tables,
    where `memo` remembers it.
    """
    memo = memo or Memo()
    tables = {
        name: (contract, kind, column, table)
        for contract in mesh.contracts.values()
        for name, kind, column in _tables(mesh, contract)
        if (table := find_table(catalog, name)) is not None
    }
    heads = {name: head(table) for name, (_, _, _, table) in tables.items()}
    waiting, orphans = _count(mesh, catalog, heads, memo)
    found = [
        _status(name, contract, kind, column, table, now, memo, waiting.get(name, 0), orphans.get(name))
        for name, (contract, kind, column, table) in tables.items()
    ]
    memo.save()
    return found


def _count(
    mesh: Mesh, catalog: Catalog, heads: Mapping[str, int | None], memo: Memo
) -> tuple[dict[str, int], dict[str, int]]:
    """What waits in the quarantine of each landing table, and the orphans of each table with references."""
    beside = {
        landing_name(contract): [landing_name(contract), rejected_name(contract), removed_name(contract)]
        for contract in mesh.ingested()
        if heads.get(rejected_name(contract)) is not None
    }
    targets = {name: found for name, found in tables_referred_to(mesh).items() if name in heads}
    pieces = {f"waiting {name}": others for name, others in beside.items()}
    pieces |= {f"orphans {name}": [name, *found] for name, found in targets.items()}
    states = {key: [f"{other}@{heads.get(other)}" for other in others] for key, others in pieces.items()}
    unknown = {key.split(" ")[1] for key, state in states.items() if not memo.knows(key, state)}
    views = [view for name in unknown for view in (*beside.get(name, ()), name, *targets.get(name, ()))]
    with ExitStack() as stack:
        session = stack.enter_context(open_session(mesh, catalog, only=views, locked=False)) if views else None

        def wait(name: str) -> int:
            assert session is not None
            return _waiting(session, beside[name], beside[name][2] in heads)

        def orphan(name: str) -> int:
            assert session is not None
            return count_orphans(mesh, session, name)

        return (
            {name: memo.get(key := f"waiting {name}", states[key], partial(wait, name)) for name in beside},
            {name: memo.get(key := f"orphans {name}", states[key], partial(orphan, name)) for name in targets},
        )


def _tables(mesh: Mesh, contract: Contract) -> Iterator[tuple[str, str, str | None]]:
    """(table, kind, column of its event time) of one contract."""
    if contract.event:
        yield landing_name(contract), "landing", "event_time"
        yield rejected_name(contract), "quarantine", None
        yield removed_name(contract), "ledger", None
    kind = mesh.domains[contract.domain].product_kind(contract)
    yield contract.identifier, "reference" if kind == "reference" else "product", contract.freshness_column


def _status(
    name: str,
    contract: Contract,
    kind: str,
    column: str | None,
    table: Table,
    now: datetime,
    memo: Memo,
    waiting: int,
    orphans: int | None,
) -> TableStatus:
    at = _newest(table, name, column, memo) if column else None
    lag = max(0, int((now - at).total_seconds())) if at else None
    promise = int(contract.freshness.total_seconds()) if contract.freshness and column else None
    fields = table.spec().fields
    source = {field.field_id: field.name for field in table.schema().fields}
    return TableStatus(
        table=name,
        kind=kind,
        rows=_total(table, "total-records"),
        snapshot_id=head(table),
        snapshots=len(snapshots_on_main(table)),
        files=_total(table, "total-data-files"),
        partition_spec=", ".join(f"{field.transform}({source[field.source_id]})" for field in fields) or "none",
        max_event_time=at,
        lag_s=lag,
        promise_s=promise,
        fresh=lag <= promise if lag is not None and promise is not None else None,
        quarantined=waiting if kind == "landing" else None,
        orphans=orphans,
    )


def _total(table: Table, name: str) -> int:
    snapshot = table.current_snapshot()
    return int(snapshot.summary[name] or 0) if snapshot and snapshot.summary else 0


def _newest(table: Table, name: str, column: str, memo: Memo) -> datetime | None:
    def read() -> str | None:
        found = newest(table, column)
        return found.isoformat() if found else None

    text = memo.get(f"newest {name}", [head(table), column], read)
    return datetime.fromisoformat(text) if text else None


def _waiting(session: duckdb.DuckDBPyConnection, beside: Sequence[str], removed: bool) -> int:
    """How much of a quarantine has neither got into its landing table since nor been removed from there."""
    landing, rejected, ledger = map(quoted, beside)
    settled = f"select event_id from {landing}" + (f" union all select event_id from {ledger}" if removed else "")
    waiting = f"select count(*) from {rejected} where event_id is null or event_id not in ({settled})"
    found = session.execute(waiting).fetchone()
    assert found is not None
    return int(found[0])
