"""The state of every table: the mesh and the lake arrive, a row for each table leaves, its age beside its promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mesh_platform.lake.catalog import find_table
from mesh_platform.lake.history import snapshots_on_main
from mesh_platform.lake.landing import held_name, landing_name, rejected_name, removed_name
from mesh_platform.relation import quoted
from mesh_platform.view import count_orphans, open_session

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.catalog import Catalog

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


def read_status(mesh: Mesh, catalog: Catalog, now: datetime) -> list[TableStatus]:
    """The status of all tables that exist, landing tables first in each domain; ages are against `now`."""
    with open_session(mesh, catalog, locked=False) as session:
        orphans = count_orphans(mesh, session)
        return [
            status
            for contract in mesh.contracts.values()
            for name, kind, column in _tables(mesh, contract)
            if (status := _status(catalog, session, contract, name, kind, column, now, orphans)) is not None
        ]


def _tables(mesh: Mesh, contract: Contract) -> Iterator[tuple[str, str, str | None]]:
    """(table, kind, column of its event time) of one contract."""
    if contract.event:
        yield landing_name(contract), "landing", "event_time"
        yield rejected_name(contract), "quarantine", None
        yield removed_name(contract), "ledger", None
    kind = mesh.domains[contract.domain].product_kind(contract)
    yield contract.identifier, "reference" if kind == "reference" else "product", contract.freshness_column
    yield held_name(contract), "held", None


def _status(
    catalog: Catalog,
    session: duckdb.DuckDBPyConnection,
    contract: Contract,
    name: str,
    kind: str,
    column: str | None,
    now: datetime,
    orphans: dict[str, int],
) -> TableStatus | None:
    table = find_table(catalog, name)
    if table is None:
        return None
    snapshot = table.current_snapshot()
    summary = snapshot.summary if snapshot else None
    newest = _one(session, f"select max({quoted(column)}) from {quoted(name)}") if column and snapshot else None
    lag = max(0, int((now - newest).total_seconds())) if isinstance(newest, datetime) else None
    promise = int(contract.freshness.total_seconds()) if contract.freshness and column else None
    rows = int(summary["total-records"] or 0) if summary else 0
    if kind == "held":
        # That state counts which belongs to the published one.
        rows = int(str(_one(session, f"select count(*) from {quoted(name)}")))
    fields = table.spec().fields
    source = {field.field_id: field.name for field in table.schema().fields}
    return TableStatus(
        table=name,
        kind=kind,
        rows=rows,
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        snapshots=len(snapshots_on_main(table)),
        files=int(summary["total-data-files"] or 0) if summary else 0,
        partition_spec=", ".join(f"{field.transform}({source[field.source_id]})" for field in fields) or "none",
        max_event_time=newest if isinstance(newest, datetime) else None,
        lag_s=lag,
        promise_s=promise,
        fresh=lag <= promise if lag is not None and promise is not None else None,
        quarantined=_waiting(catalog, session, contract) if kind == "landing" else None,
        orphans=orphans.get(name),
    )


def _waiting(catalog: Catalog, session: duckdb.DuckDBPyConnection, contract: Contract) -> int:
    if find_table(catalog, rejected_name(contract)) is None:
        return 0
    settled = f"select event_id from {quoted(landing_name(contract))}"
    if find_table(catalog, removed_name(contract)) is not None:
        settled += f" union all select event_id from {quoted(removed_name(contract))}"
    rejected = quoted(rejected_name(contract))
    found = _one(session, f"select count(*) from {rejected} where event_id is null or event_id not in ({settled})")
    assert isinstance(found, int)
    return found


def _one(session: duckdb.DuckDBPyConnection, sql: str) -> object:
    row = session.execute(sql).fetchone()
    assert row is not None
    return row[0]
