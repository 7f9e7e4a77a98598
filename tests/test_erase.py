"""`mesh erase` on ACME: a replay is refused, and days with erasures between them are those of the others alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.erasure.targets import find_targets
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.columns import Columns
from mesh_platform.sql.model import find_models
from orders import PRODUCT, bad, emptied, envelope, in_batches, send
from raw_decoder import places_of

from conftest import State

# What the simulated company knows of itself is no part of the lake.
SOURCES = ("company.state", "compared.state", "world.json")
KEY = "customer_id"


def erase(state: State, person: str, request: str) -> Any:
    words = ("--request", request, "--by", "test", "--reason", "asked")
    return state.json("erase", "--where", f"{KEY}={person}", *words)


def places(state: State, person: str) -> list[str]:
    return [where for where in places_of(state.folder, person) if not where.startswith(SOURCES)]


def test_a_replay_is_refused_wherever_the_person_was(state: State, mesh: Mesh) -> None:
    person = "C-SOUTH-04711"
    orders = [
        json.dumps(envelope(number, number * 400, {"client_no": person if number % 3 == 0 else "C-SOUTH-00001"}))
        for number in range(60)
    ]
    refused = [bad(1000), bad(1001).replace(b"C-SOUTH-00001", person.encode()), b"{no json of " + person.encode()]
    sent = [*(line.encode() for line in orders), *refused]
    assert person.encode() in refused[1]
    send(state, mesh, in_batches(sent, 7))
    state.json("ingest", PRODUCT, "--until-empty")
    state.mesh("build", "logistics_core.dim_customer")
    assert len({where.split(":")[0] for where in places(state, person)}) > 5
    result = erase(state, person, "R1")
    assert result["tables"]["south_warehouse.orders_south__raw"]["rows"] == 20
    assert result["tables"]["south_warehouse.orders_south__rejected"]["rows"] == 2
    assert places(state, person) == []
    # Whatever is sent again, and what the person orders from now on.
    more = [json.dumps(envelope(2000, 5, {"client_no": person})).encode()]
    send(state, mesh, in_batches([*sent, *more], 7))
    (ingested,) = state.json("ingest", PRODUCT, "--until-empty")
    assert (ingested["appended"], ingested["quarantined"], ingested["duplicates"]) == (0, 0, 64)
    assert emptied(state)
    state.mesh("build", "logistics_core.dim_customer")
    (found,) = state.json("query", f"select count(*) as n from {PRODUCT}")
    assert found == {"n": 40}
    # What the queue carried is only in pages that SQLite uses again; nothing else has it.
    assert {where.split(":")[0] for where in places(state, person)} <= {"broker.db", "broker.db-wal"}
    (state.folder / "erasure.key").unlink()
    send(state, mesh, in_batches(more, 7))
    failed = state.mesh("ingest", PRODUCT, "--until-empty", check=1)
    assert "the key of the erasures is missing" in failed.err


@pytest.mark.slow
@pytest.mark.parametrize("days", [3, pytest.param(28, marks=pytest.mark.thorough)])
def test_days_with_erasures_between_them_equal_the_key_less_those_people(
    tmp_path: Path, make_state: Callable[..., State], mesh: Mesh, days: int
) -> None:
    whole, less = make_state(tmp_path / "whole"), make_state(tmp_path / "less")
    assert whole.json("run", "--days", days, "--start", "2025-10-30")["key_ok"] is True
    people: list[str] = []
    for day in range(days):
        first = ("--days", 1, "--start", "2025-10-30") if day == 0 else ()
        ran = json.loads(less.mesh("run", *first, "--format", "json", check=None).out)
        assert ran["published"] > 0
        # A person of each warehouse in turn, who ordered that day and did so before if somebody did.
        site = ("SOUTH", "WEST", "EAST", "NORTH")[day % 4]
        people.append(_person(less, site, people))
        erase(less, people[-1], f"R{day}")
        assert places(less, people[-1]) == []
    models = find_models(mesh)[0]
    keyed = {each.name: each.equal for each in find_targets(mesh, models, KEY).tables if each.equal}
    readers = {edge.target for edge in Columns(mesh, models).down((t, c) for t in keyed for c in _columns(mesh, t))}
    for name in mesh.contracts:
        if name in keyed:
            (column,) = keyed[name]
            expected = [row for row in _rows(whole, name) if row[column] not in people]
            assert _rows(less, name) == expected, name
            if name.startswith("logistics_core.") and name != "logistics_core.fact_returns":
                assert len(expected) < len(_rows(whole, name)), name
        elif name not in readers:
            assert _rows(less, name) == _rows(whole, name), name
    computed = {name: _rows(less, name) for name in readers & mesh.contracts.keys()}
    assert computed.keys() - keyed.keys()
    less.mesh("build", "--full")
    for name, rows in computed.items():
        assert _rows(less, name) == rows, name


def _columns(mesh: Mesh, table: str) -> list[str]:
    return [*mesh.contracts[table].table.by_name] if table in mesh.contracts else []


def _person(state: State, site: str, gone: list[str]) -> str:
    sql = f"""select {KEY} from logistics_core.fact_orders where {KEY} like 'C-{site}-%'
        group by all order by count(distinct order_date) desc, max(order_ts) desc, {KEY} limit 1"""
    (found,) = state.json("query", "--role", "owner", sql)
    assert found[KEY] not in gone
    return str(found[KEY])


def _rows(state: State, table: str) -> list[dict[str, Any]]:
    rows = open_catalog(state.settings).load_table(table).scan().to_arrow().to_pylist()
    return sorted(rows, key=repr)
