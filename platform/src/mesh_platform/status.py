"""The state of every table: the mesh and the lake arrive, a row for each table leaves, its age beside its promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mesh_platform.lake.bounds import newest
from mesh_platform.lake.catalog import find_table
from mesh_platform.lake.delta import head
from mesh_platform.lake.history import snapshots_on_main
from mesh_platform.lake.landing import landing_name, rejected_name, removed_name
from mesh_platform.relation import quoted
from mesh_platform.view import count_orphans, open_session, tables_of_references

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


def read_status(mesh: Mesh, catalog: Catalog, now: datetime) -> list[TableStatus]:
    """The status of all tables that exist, landing tables first in each domain; ages are against `now`.

    Manifests say most of it; rows are read only to count orphans, and quarantines that are not empty.
    """
    tables = {
        name: (contract, kind, column, table)
        for contract in mesh.contracts.values()
        for name, kind, column in _tables(mesh, contract)
        if (table := find_table(catalog, name)) is not None
    }
    refused = {
        landing_name(contract): contract
        for contract, kind, _, table in tables.values()
        if kind == "quarantine" and _total(table, "total-records")
    }
    beside = [name(contract) for contract in refused.values() for name in (landing_name, rejected_name, removed_name)]
    with open_session(mesh, catalog, only=[*beside, *tables_of_references(mesh)], locked=False) as session:
        orphans = count_orphans(mesh, session)
        waiting = {
            name: _waiting(session, contract, removed_name(contract) in tables) for name, contract in refused.items()
        }
    return [
        _status(name, contract, kind, column, table, now, waiting.get(name, 0), orphans.get(name))
        for name, (contract, kind, column, table) in tables.items()
    ]


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
    waiting: int,
    orphans: int | None,
) -> TableStatus:
    at = newest(table, column) if column else None
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


def _waiting(session: duckdb.DuckDBPyConnection, contract: Contract, removed: bool) -> int:
    settled = f"select event_id from {quoted(landing_name(contract))}"
    if removed:
        settled += f" union all select event_id from {quoted(removed_name(contract))}"
    rejected = quoted(rejected_name(contract))
    waiting = f"select count(*) from {rejected} where event_id is null or event_id not in ({settled})"
    found = session.execute(waiting).fetchone()
    assert found is not None
    return int(found[0])
