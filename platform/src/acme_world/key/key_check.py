"""Comparing the tables with the answer key.

Only events of the simulation are compared, so that those of other producers in the same state folder do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.sql.references import tables_referred_to

if TYPE_CHECKING:
    from mesh_platform.contract.contract import Contract
    from mesh_platform.engine.protocol import Connection
    from mesh_platform.mesh.mesh import Mesh

PRODUCER = "acme_world"


@dataclass(frozen=True)
class Difference:
    """One figure that differs from the key."""

    table: str
    figure: str
    expected: str
    found: str


def views_read(mesh: Mesh, key: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the views that `compare` reads; a session with these alone opens faster."""
    products = [mesh.contract(name) for name in key["quarantine"]]
    tables = {*key} - {"quarantine"}
    return {
        *tables,
        *(name(contract) for contract in products for name in (landing_name, quarantine_name)),
        *(target for table in tables for target in tables_referred_to(mesh.contract(table))),
    }


def compare(mesh: Mesh, session: Connection, key: Mapping[str, Mapping[str, Any]]) -> tuple[int, list[Difference]]:
    """Compare the tables with the key; return the number of figures compared, and the differences.

    A table without event ids, such as a dimension, is left out if other producers sent events that it is built from.
    """
    landed = " union all ".join(
        f"select '{name}' as product, event_id, producer from {landing_name(mesh.contract(name))}"
        for name in key["quarantine"]
    )
    others = f"select distinct product from ({landed}) where producer <> '{PRODUCER}'"
    mixed = {product for (product,) in session.execute(others).fetchall()}
    ours = "true"
    if mixed:
        sent = f"select event_id from ({landed}) where producer = '{PRODUCER}'"
        session.execute(f"create or replace temp table sent as {sent}")
        ours = "event_id in (from sent)"
    compared = {
        table: figures
        for table, figures in key.items()
        if table.endswith(".dim_customer") or not mixed.intersection(figures.get("sources", ()))
    }
    expected = [*_expected(compared)]
    found = {table: _found(mesh, session, table, key, ours) for table in {figure[0] for figure in expected}}
    differences = [
        Difference(table, figure, value, actual)
        for table, figure, value in expected
        if (actual := found[table].get(figure, "0")) != value
    ]
    known = {(table, figure) for table, figure, _ in expected}
    unexpected = [
        Difference(table, figure, "0", actual)
        for table, actuals in found.items()
        for figure, actual in actuals.items()
        if (table, figure) not in known
    ]
    return len(expected), differences + unexpected


def _expected(key: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for table, figures in key.items():
        if table == "quarantine":
            for product, count in figures.items():
                yield product, "quarantine", str(count)
            continue
        yield table, "rows", str(figures["rows"])
        if "dangling" in figures:
            yield table, "dangling", str(figures["dangling"])
        parts = [("", figures), *((f" {month}", values) for month, values in figures.get("by_month", {}).items())]
        for suffix, values in parts:
            if suffix:
                yield table, f"rows{suffix}", str(values["rows"])
            for measure, total in values.get("sums", {}).items():
                yield table, f"{measure}{suffix}", str(total)


def _found(
    mesh: Mesh, session: Connection, table: str, key: Mapping[str, Mapping[str, Any]], ours: str
) -> dict[str, str]:
    """The figures of a table; `ours` is the SQL condition for the events of the simulation."""
    contract, figures = mesh.contract(table), key[table]
    measures = list(figures.get("sums", {}))
    totals = ", ".join(["count(*)", *(f"coalesce(sum({measure}), 0)" for measure in measures)])
    names = ["rows", *measures]

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return session.execute(sql).fetchall()

    if "sources" in figures:
        shown = "true"
        if table.endswith(".dim_customer"):
            in_facts = f"select customer_id from logistics_core.fact_orders where {ours}"
            shown = f"customer_id = 'unknown' or customer_id in ({in_facts})"
        return dict(zip(names, map(str, rows(f"select {totals} from {table} where {shown}")[0]), strict=True))
    its = f"from {table} where {ours}"
    found: dict[str, str] = {}
    month = f"strftime({_time_column(contract)}, '%Y-%m') as month"
    for name, *values in rows(f"select {month}, {totals} {its} group by rollup (month)"):
        suffix = f" {name}" if name else ""
        found |= {f"{figure}{suffix}": str(value) for figure, value in zip(names, values, strict=True)}
    if "dangling" in figures:
        found["dangling"] = str(rows(f"select count(*) {its} and ({_lost(contract)})")[0][0])
    if table in key["quarantine"]:
        counted = f"select count(*) from {quarantine_name(contract)} where message_id like '{PRODUCER}:%'"
        found["quarantine"] = str(rows(counted)[0][0])
    return found


def _time_column(contract: Contract) -> str:
    """The column of a row's time: that of its freshness, else that of its partitions."""
    return contract.freshness_column or contract.table.partition[0][1]


def _lost(contract: Contract) -> str:
    """The SQL condition that a row refers to something that does not exist."""
    pointing = [
        f"{field.name} not in (select {field.references[1]} from {field.references[0]})"
        for field in contract.table.fields
        if field.references
    ]
    return " or ".join(pointing) or "false"
