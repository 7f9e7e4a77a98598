"""The rows of the relations about the products themselves, by `sql.health_schemas`.

They are of now, and read from metadata as far as that tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.contract import Contract
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal, quoted, table_definition
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.tables import held_name, landing_name, quarantine_name
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.policy.roles import domains_read
from mesh_platform.query.state_cache import StateCache
from mesh_platform.query.status import TableStatus, read_status
from mesh_platform.sql.health_schemas import ARRIVALS, HEALTH, HEALTH_SCHEMAS, REFUSED, SHARED

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table


def add_health(
    session: Connection,
    mesh: Mesh,
    catalog: Catalog,
    now: datetime,
    names: Collection[str] = tuple(HEALTH_SCHEMAS),
    *,
    role: str | None = None,
    cache: StateCache | None = None,
) -> None:
    """Create the named relations in a session: of the domains that `role` reads. Ages are relative to `now`."""
    domains = domains_read(mesh, role)
    seen = [contract for contract in mesh.contracts.values() if contract.domain in domains]
    for name in names:
        schema = HEALTH_SCHEMAS[name]
        rows = [*_ROWS[name](mesh, catalog, seen, now, cache)]
        session.execute(table_definition(name, schema))
        if rows:
            # Literals, because for each parameter DuckDB's client looks for pandas on the disk.
            listed = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
            session.execute(f"INSERT INTO {quoted(name)} VALUES {listed}")


def _health(
    mesh: Mesh, catalog: Catalog, seen: list[Contract], now: datetime, cache: StateCache | None
) -> Iterator[tuple[Any, ...]]:
    wanted = {name for each in seen for name in (each.identifier, held_name(each), landing_name(each))}
    status = {each.table: each for each in read_status(mesh, catalog, now, cache, wanted.__contains__)}
    for contract in seen:
        found = status.get(contract.identifier)
        if found is None:
            continue
        held, landing = status.get(held_name(contract)), status.get(landing_name(contract))
        yield (
            *_about(mesh, contract),
            mesh.domains[contract.domain].owners.team,
            now,
            _state(found),
            _hours(found.lag_s),
            _hours(found.promise_s),
            found.rows,
            landing.quarantined if landing else None,
            held.rows if held else 0,
            found.dangling,
            found.model,
            found.accurate,
        )


def _refused(
    mesh: Mesh, catalog: Catalog, seen: list[Contract], now: datetime, cache: StateCache | None
) -> Iterator[tuple[Any, ...]]:
    for contract, table in _tables(catalog, {quarantine_name(each): each for each in seen if each.event}):
        columns = ("event_time", "rejected_at", "reason", "field")
        rows = table.scan(selected_fields=columns).to_arrow().to_pylist()
        counts: dict[tuple[Any, ...], int] = {}
        for row in rows:
            key = ((row["event_time"] or row["rejected_at"]).date(), row["reason"], row["field"])
            counts[key] = counts.get(key, 0) + 1
        for key, events in counts.items():
            yield *_about(mesh, contract), *key, events


def _arrivals(
    mesh: Mesh, catalog: Catalog, seen: list[Contract], now: datetime, cache: StateCache | None
) -> Iterator[tuple[Any, ...]]:
    for contract, table in _tables(catalog, {landing_name(each): each for each in seen if each.event}):
        counts: dict[date, int] = {}
        for row in table.inspect.partitions().select(["partition", "record_count"]).to_pylist():
            day = next((value for value in row["partition"].values() if isinstance(value, date)), None)
            if day is not None:
                counts[day] = counts.get(day, 0) + row["record_count"]
        for day, events in counts.items():
            yield *_about(mesh, contract), day, events


_ROWS = {HEALTH: _health, REFUSED: _refused, ARRIVALS: _arrivals}


def _tables(catalog: Catalog, wanted: Mapping[str, Contract]) -> Iterator[tuple[Contract, Table]]:
    for name, table in find_tables(catalog, wanted).items():
        if table.current_snapshot() is not None:
            yield wanted[name], table


def _about(mesh: Mesh, contract: Contract) -> tuple[str, str, str]:
    site = mesh.domains[contract.domain].site
    return contract.identifier, contract.domain, site.region if site else SHARED


def _state(status: TableStatus) -> str:
    return "unmeasured" if status.fresh is None else "fresh" if status.fresh else "late"


def _hours(seconds: int | None) -> Decimal | None:
    return None if seconds is None else Decimal(seconds) / 3600


def _literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case Decimal():
            return f"{value:.6f}"
        case date():
            return literal(value.isoformat())
        case _:
            return literal(str(value))
