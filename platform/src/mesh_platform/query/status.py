"""Report the status of every table: rows, files and snapshots, its age and promise, quarantined and dangling rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from mesh_platform.engine.sql import quoted
from mesh_platform.iceberg.history import snapshots_on_main
from mesh_platform.iceberg.snapshot_diff import count_rows, current_snapshot_id
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.scores import models_in_use
from mesh_platform.lake.tables import held_name, landing_name, ledger_name, quarantine_name, tables_of
from mesh_platform.query.freshness import age_of
from mesh_platform.query.session import open_session
from mesh_platform.query.state_cache import StateCache
from mesh_platform.query.visibility import Visibility
from mesh_platform.sql.references import dangling_query, tables_referred_to

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from mesh_platform.contract.contract import Contract
    from mesh_platform.mesh.mesh import Mesh


@dataclass(frozen=True)
class TableStatus:
    """The status of one table. `lag_s` is the age of its newest event, `promise_s` the contract's limit, in seconds.

    For a table that promises latency, `lag_s` is how long the oldest change of its inputs has waited to be built.
    `max_ahead_time` is the newest time in the table if it is too far in the future to count as an event.

    For a landing table, `quarantined` counts the refused events that have not been accepted since. `dangling` counts
    rows that refer to a missing dimension row. `visible_after_s` is what `Visibility.visible_after` returns.

    `model` is what predicts the events of a product that a model learns: the model in use, or its baseline where the
    model broke the promise of its contract; `accurate` is whether it keeps that, None before it was scored.
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
    dangling: int | None
    max_ahead_time: datetime | None = None
    visible_after_s: float | None = None
    model: str | None = None
    accurate: bool | None = None


def read_status(
    mesh: Mesh,
    catalog: Catalog,
    now: datetime,
    cache: StateCache | None = None,
    wanted: Callable[[str], bool] = lambda name: True,
) -> list[TableStatus]:
    """Return the status of the `wanted` tables that exist, landing tables first in each product.

    Ages are relative to `now`. Most of it comes from the tables' metadata. What must be counted in rows is kept in
    `cache`, by the state of the tables that it is counted from.
    """
    cache = cache or StateCache()
    listed = {
        name: (contract, kind, column)
        for contract in mesh.contracts.values()
        for name, kind, column in _tables(mesh, contract)
    }
    # A count may need the states of tables that are not wanted.
    found = find_tables(catalog, listed)
    heads = {name: current_snapshot_id(table) for name, table in found.items()}
    shown = {name: (*listed[name], table) for name, table in found.items() if wanted(name)}
    counted = _count(mesh, catalog, heads, shown, cache)
    ages = {
        name: age_of(contract, table, column, now, found.get, cache)
        for name, (contract, _, column, table) in shown.items()
    }
    visibility = Visibility(found.get)
    models = models_in_use(catalog) if any(kind == "product" for _, kind, *_ in shown.values()) else {}
    statuses = [
        TableStatus(
            table=name,
            kind=kind,
            # Only the held rows that belong to the published state count.
            rows=counted["held", name] if kind == "held" else count_rows(table),
            snapshot_id=heads[name],
            snapshots=len(snapshots_on_main(table)),
            files=_total(table, "total-data-files"),
            partition_spec=_partition_spec(table),
            max_event_time=ages[name].newest_event,
            lag_s=ages[name].lag_s,
            promise_s=ages[name].promise_s,
            fresh=ages[name].fresh,
            max_ahead_time=ages[name].ahead,
            quarantined=counted.get(("waiting", name), 0) if kind == "landing" else None,
            dangling=counted.get(("dangling", name)),
            visible_after_s=visibility.visible_after(name),
            model=models[name].predicts if name in models else None,
            accurate=score.kept if name in models and (score := models[name].score) else None,
        )
        for name, (contract, kind, column, table) in shown.items()
    ]
    cache.save()
    return statuses


def _count(
    mesh: Mesh, catalog: Catalog, heads: Mapping[str, int | None], shown: Collection[str], cache: StateCache
) -> dict[tuple[str, str], int]:
    """Count what only rows can tell; the keys are (what is counted, the table whose status shows it)."""
    wanted = {key: found for key, found in _queries(mesh, heads).items() if key[1] in shown}
    states = {
        key: [query, *(f"{name}@{heads.get(name)}" for name in reads)] for key, (reads, query) in wanted.items()
    }
    unknown = [key for key, state in states.items() if not cache.knows(" ".join(key), state)]
    with ExitStack() as stack:
        if unknown:
            views = [name for key in unknown for name in wanted[key][0]]
            session = stack.enter_context(open_session(mesh, catalog, only=views, locked=False))

        def run(query: str) -> int:
            found = session.execute(query).fetchone()
            assert found is not None
            return int(found[0])

        return {key: cache.get(" ".join(key), states[key], partial(run, query)) for key, (_, query) in wanted.items()}


def _queries(mesh: Mesh, heads: Mapping[str, int | None]) -> dict[tuple[str, str], tuple[list[str], str]]:
    """Return, for each number to count, the tables that it is counted from and the query.

    `waiting` counts the quarantined events that have neither reached their landing table since nor been removed from
    it, `dangling` the rows that refer to a missing dimension row, `held` the rows held back from the published state.
    """
    queries = {}
    for contract in mesh.contracts.values():
        landing, rejected, removed = (name(contract) for name in (landing_name, quarantine_name, ledger_name))
        if heads.get(rejected) is not None:
            settled = f"select event_id from {quoted(landing)}"
            gone = f"select event_id from {quoted(removed)}" if removed in heads else "select null where false"
            # The landing table has an id that was used again, but with other content.
            others = f"reason = 'id_reused' and event_id not in ({gone})"
            waits = f"event_id is null or {others} or event_id not in ({settled} union all {gone})"
            query = f"from {quoted(rejected)} where {waits}"
            queries["waiting", landing] = [landing, rejected, removed], f"select count(*) {query}"
        name, held = contract.identifier, held_name(contract)
        queries["held", held] = [held, name], f"select count(*) from {quoted(held)}"
        if targets := tables_referred_to(contract):
            queries["dangling", name] = [name, *targets], dangling_query(contract)
    return queries


def _tables(mesh: Mesh, contract: Contract) -> Iterator[tuple[str, str, str | None]]:
    """Yield (table, kind, column of its event time) for each table of one contract."""
    columns = {"landing": "event_time", "product": contract.freshness_column}
    is_reference = mesh.domains[contract.domain].product_kind(contract) == "reference"
    for table in tables_of(contract):
        kind = "reference" if is_reference and table.kind == "product" else table.kind
        yield table.name, kind, columns.get(table.kind)


def _partition_spec(table: Table) -> str:
    source = {field.field_id: field.name for field in table.schema().fields}
    return ", ".join(f"{field.transform}({source[field.source_id]})" for field in table.spec().fields) or "none"


def _total(table: Table, name: str) -> int:
    snapshot = table.current_snapshot()
    return int(snapshot.summary[name] or 0) if snapshot and snapshot.summary else 0
