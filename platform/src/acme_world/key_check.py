"""The answer key and a session on the tables arrive; the figures that differ leave.

Only what the simulation sent is compared, so that events of other producers in the same state folder do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesh_platform.lake.landing import landing_name, rejected_name

if TYPE_CHECKING:
    import duckdb
    from mesh_platform.domain import Mesh

PRODUCER = "acme_world"


@dataclass(frozen=True)
class Difference:
    """One figure that is not what the key says."""

    table: str
    figure: str
    expected: str
    found: str


def compare(
    mesh: Mesh, session: duckdb.DuckDBPyConnection, key: Mapping[str, Mapping[str, Any]]
) -> tuple[int, list[Difference]]:
    """How many figures were compared, and those that differ."""
    landings = [landing_name(mesh.contract(name)) for name in key["quarantine"]]
    # A union of event ids keeps the comparison to what the simulation sent.
    sent = " union all ".join(f"select event_id from {name} where producer = '{PRODUCER}'" for name in landings)
    session.execute(f"create or replace temp table sent as {sent}")
    figures = [*_expected(key)]
    found = {table: _found(mesh, session, table, key) for table in {figure[0] for figure in figures}}
    differences = [
        Difference(table, figure, expected, actual)
        for table, figure, expected in figures
        if (actual := found[table].get(figure, "0")) != expected
    ]
    unexpected = [
        Difference(table, figure, "0", actual)
        for table, actuals in found.items()
        for figure, actual in actuals.items()
        if (table, figure) not in {(t, f) for t, f, _ in figures}
    ]
    return len(figures), differences + unexpected


def _expected(key: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for table, figures in key.items():
        if table == "quarantine":
            for product, count in figures.items():
                yield product, "quarantine", str(count)
            continue
        yield table, "rows", str(figures["rows"])
        if "orphans" in figures:
            yield table, "orphans", str(figures["orphans"])
        parts = [("", figures), *((f" {month}", values) for month, values in figures.get("by_month", {}).items())]
        for suffix, values in parts:
            if suffix:
                yield table, f"rows{suffix}", str(values["rows"])
            for measure, total in values.get("sums", {}).items():
                yield table, f"{measure}{suffix}", str(total)


def _found(
    mesh: Mesh, session: duckdb.DuckDBPyConnection, table: str, key: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        return session.execute(sql).fetchall()

    name = table.split(".")[1]
    if name == "dim_customer":
        in_facts = "select customer_id from logistics_core.fact_orders where event_id in (select event_id from sent)"
        where = f"where customer_id = 'unknown' or customer_id in ({in_facts})"
        return {"rows": str(rows(f"select count(*) from {table} {where}")[0][0])}
    if name.startswith("dim_"):
        return {"rows": str(rows(f"select count(*) from {table}")[0][0])}
    sent = f"from {table} where event_id in (select event_id from sent)"
    found: dict[str, str] = {}
    totals = "count(*), coalesce(sum(quantity), 0), coalesce(sum(amount_usd), 0)"
    by_month = rows(f"select strftime(order_ts, '%Y-%m') as month, {totals} {sent} group by rollup (month)")
    for month, count, quantity, amount in by_month:
        suffix = f" {month}" if month else ""
        found |= {
            f"rows{suffix}": str(count),
            f"quantity{suffix}": str(quantity),
            f"amount_usd{suffix}": f"{amount:.2f}",
        }
    if "orphans" in key.get(table, {}):
        lacking = "product_id not in (select product_id from logistics_core.dim_product)"
        found["orphans"] = str(rows(f"select count(*) {sent} and {lacking}")[0][0])
    if table in key["quarantine"]:
        rejected = rejected_name(mesh.contract(table))
        counted = f"select count(*) from {rejected} where message_id like '{PRODUCER}:%'"
        found["quarantine"] = str(rows(counted)[0][0])
    return found
