"""Comparing the tables with the answer key: the figures of all rows, of which only new ones are read.

Only events of the simulation are compared, so that those of other producers in the same state folder do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesh_platform.iceberg.snapshot_diff import current_snapshot_id
from mesh_platform.lake.tables import landing_name, quarantine_name
from mesh_platform.query.as_of import find_states
from mesh_platform.query.session import open_session
from mesh_platform.sql.references import references, target

from acme_world.key.readings import Ask, Reading, added_since, count_lost, count_sent, keep_keys, read, shrank
from acme_world.wire.sources import PRODUCER

if TYPE_CHECKING:
    from mesh_platform.contract.contract import Contract
    from mesh_platform.mesh.mesh import Mesh
    from pyiceberg.catalog import Catalog

ORDERS = "logistics_core.fact_orders"
# The rows of the simulation, where others sent events too.
_SENT = "event_id in (from sent)"


@dataclass(frozen=True)
class Difference:
    """One figure that differs from the key."""

    table: str
    figure: str
    expected: str
    found: str


def compare(
    mesh: Mesh, catalog: Catalog, key: Mapping[str, Mapping[str, Any]], readings: dict[str, Reading]
) -> tuple[int, list[Difference]]:
    """Compare the tables with the key; return the number of figures compared, and the differences.

    `readings`, by name of the table, are those of the last comparison, and become those of this one. If a figure
    differs, all rows are read and compared again: a difference never rests on what was read before. A table without
    event ids, such as a dimension, is left out if other producers sent events that it is built from.
    """
    figures, differences = _compare(mesh, catalog, key, readings)
    if differences:
        readings.clear()
        figures, differences = _compare(mesh, catalog, key, readings)
    return figures, differences


def _compare(
    mesh: Mesh, catalog: Catalog, key: Mapping[str, Mapping[str, Any]], readings: dict[str, Reading]
) -> tuple[int, list[Difference]]:
    products = [mesh.contract(name) for name in key["quarantine"]]
    tables = {*key} - {"quarantine"}
    keys = dict(target(column) for table in tables for column in references(mesh.contract(table)))
    landed = {contract.identifier: landing_name(contract) for contract in products}
    refused = {contract.identifier: quarantine_name(contract) for contract in products}
    states = find_states(mesh, catalog, None, {*tables, *keys, *landed.values(), *refused.values()})
    newest = {name: state.table for name, state in states.items() if state.table and state.snapshot}
    for names, column in ((landed, "producer"), (refused, "message_id")):
        for name in names.values():
            readings[name] = count_sent(newest.get(name), readings.get(name), column)
    mixed = {product for product, name in landed.items() if readings[name].totals[None][1]}
    compared = {
        table: figures
        for table, figures in key.items()
        if table.endswith(".dim_customer") or not mixed.intersection(figures.get("sources", ()))
    }
    expected = [*_expected(compared)]
    # A row of a product does not tell who sent its event.
    before = {} if mixed else readings
    asks = {name: _ask(mesh.contract(name), key[name], bool(mixed)) for name in tables & compared.keys()}
    added = {name: added_since(newest.get(name), before.get(name), ask) for name, ask in asks.items()}
    if any(shrank(newest.get(name), before.get(name), column) for name, column in keys.items()):
        # A reference that was found once may be lost now.
        added |= dict.fromkeys((name for name in added if "dangling" in key[name]), None)
    whole = {name for name, files in added.items() if files is None}
    also = {*landed.values(), ORDERS} if mixed else set()
    with open_session(mesh, catalog, only={*whole, *keys, *also}, locked=False) as session:
        keep_keys(session, keys)
        if mixed:
            sent = (f"select event_id from {name} where producer = '{PRODUCER}'" for name in landed.values())
            session.execute(f"create temp table sent as {' union all '.join(sent)}")
        for name, files in added.items():
            contract = mesh.contract(name)
            readings[name] = read(session, contract, newest.get(name), files, before.get(name), asks[name])
        found = {name: _figures(key[name], readings[name]) for name in added}
        for name in added:
            if "dangling" in key[name]:
                found[name]["dangling"] = str(count_lost(session, readings[name]))
    for product, name in refused.items():
        found[product]["quarantine"] = str(readings[name].totals[None][0])
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
    for name in keys:
        if name not in added and (table := newest.get(name)):
            readings[name] = Reading(Ask((), ()), current_snapshot_id(table), {})
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


def _ask(contract: Contract, figures: Mapping[str, Any], is_mixed: bool) -> Ask:
    """What is asked of a table with these figures in the key; if others sent events, only of the simulation's."""
    measures = tuple(figures.get("sums", ()))
    totals = ("count(*)", *(f"coalesce(sum({measure}), 0)" for measure in measures))
    if "sources" in figures:
        in_facts = f"select customer_id from {ORDERS} where {_SENT}"
        is_ours = f"customer_id = 'unknown' or customer_id in ({in_facts})"
        where = is_ours if is_mixed and contract.identifier.endswith(".dim_customer") else "true"
        return Ask(totals, measures, where=where)
    time = _time_column(contract)
    month = f"strftime({time}, '%Y-%m')"
    pointing = references(contract) if "dangling" in figures else ()
    lost = tuple((column.name, *target(column)) for column in pointing)
    return Ask(totals, (time, *measures), month, _SENT if is_mixed else "true", lost)


def _figures(figures: Mapping[str, Any], reading: Reading) -> dict[str, str]:
    """The figures of a reading, by the names of `_expected`."""
    names = ["rows", *figures.get("sums", ())]
    return {
        f"{figure} {group}" if group else figure: str(value)
        for group, values in reading.totals.items()
        for figure, value in zip(names, values, strict=True)
    }


def _time_column(contract: Contract) -> str:
    """The column of a row's time: that of its freshness, else that of its partitions."""
    return contract.freshness_column or contract.table.partition[0][1]
