"""`mesh run`: days of the simulated company arrive in the star schema, and every total is that of the answer key."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from acme_world.key.answer_key import answer_key
from acme_world.wire.faults import Rates
from mesh_platform.broker import Message, connect, queue_of
from mesh_platform.mesh.mesh import Mesh

from conftest import HANG, ROOT, State

# They go over the end of a month and the end of daylight saving time.
DAYS = ("--days", 5, "--start", "2025-10-30")


# As `DAYS` do.
@pytest.mark.parametrize(
    ("seed", "days", "start"),
    [
        (1, 3, "2025-10-31"),
        pytest.param(2, 5, "2025-10-30", marks=pytest.mark.thorough),
        pytest.param(3, 12, "2025-10-26", marks=pytest.mark.thorough),
    ],
)
def test_totals_equal_the_key_for_any_seed(state: State, seed: int, days: int, start: str) -> None:
    span = ("--days", days, "--start", start)
    outcome = state.json("run", "--seed", seed, *span)
    assert outcome["key_ok"] is True
    assert outcome["published"] == outcome["appended"] + outcome["quarantined"] + outcome["duplicates"]
    assert min(outcome["appended"], outcome["quarantined"], outcome["duplicates"]) > 0
    assert outcome["dead_lettered"] == 0
    # The command's own verdict is not taken for it: the key and the table are asked apart.
    key = state.json("answer-key", "--seed", seed, *span)["logistics_core.fact_orders"]
    sql = "select count(*)::int as n, sum(amount_usd) as usd, sum(quantity)::int as q from logistics_core.fact_orders"
    (found,) = state.json("query", sql)
    assert found == {"n": key["rows"], "usd": key["sums"]["amount_usd"], "q": key["sums"]["quantity"]}


@pytest.mark.slow
def test_days_that_were_only_published_are_landed_and_built_by_the_next_run(state: State, mesh: Mesh) -> None:
    days = ("--days", 1, "--start", "2025-10-26", "--domain", "east_warehouse")
    outcome = state.json("run", *days, "--publish-only")
    assert outcome.keys() == {"published"}
    queues = [queue_of(contract).name for contract in mesh.ingested() if contract.domain == "east_warehouse"]
    with connect(state.settings.broker) as broker:
        waiting = broker.depths(queues)
    assert waiting.keys() == {*queues}
    assert sum(waiting.values()) > 0
    assert not list(state.folder.rglob("*.parquet"))
    then = state.json("run", *days)
    assert (then["published"], then["key_ok"]) == (0, True)
    assert then["appended"] + then["quarantined"] + then["duplicates"] == outcome["published"] > 0


@pytest.mark.slow
def test_a_second_run_adds_the_next_day_and_equals_the_key_of_the_longer_world(state: State) -> None:
    first = state.json("run", *DAYS)
    # The next run need not parse them again.
    assert (state.folder / "contracts.cache").exists()
    before, landed = _totals(state), _landed(state)
    second = state.json("run")
    assert second["key_ok"] is True
    assert 0 < second["published"] < first["published"]
    came = {table: rows - landed[table] for table, rows in _landed(state).items()}
    assert sum(came.values()) == second["appended"]
    orders = sum(rows for table, rows in came.items() if ".orders_" in table)
    assert _totals(state)["rows"] == before["rows"] + orders
    key = state.json("answer-key", "--seed", 7, "--days", 6, "--start", "2025-10-30")["logistics_core.fact_orders"]
    assert _totals(state) == {"rows": key["rows"], "amount_usd": key["sums"]["amount_usd"]}


@pytest.mark.slow
def test_the_same_run_again_publishes_nothing_and_commits_nothing(state: State) -> None:
    state.json("run", *DAYS)
    snapshots = {row["table"]: row["snapshot_id"] for row in state.json("status")}
    clock = state.settings.now()
    # Neither do fewer days, nor do they turn the clock back.
    for days in (DAYS, ("--days", 3)):
        assert state.json("run", *days)["published"] == 0
        assert state.settings.now() == clock
    index = state.folder / "catalog" / "index.html"
    assert index.as_uri() not in state.mesh("run", *DAYS).out
    index.parent.mkdir()
    index.touch()
    told = state.mesh("run", *DAYS).out
    assert index.as_uri() in told
    plot = told.partition("Order lines a day, all warehouses\n")[2].partition("\n\n")[0]
    assert plot.count("\n") == 6
    assert "2025-10-30" in plot.splitlines()[-1]
    assert {row["table"]: row["snapshot_id"] for row in state.json("status")} == snapshots


@pytest.mark.slow
def test_one_domain_first_and_the_others_later_gives_the_same_tables(
    state: State, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    assert state.json("run", *DAYS, "--domain", "west_warehouse")["key_ok"] is True
    assert state.json("run", *DAYS)["key_ok"] is True
    together = make_state(tmp_path / "together")
    together.json("run", *DAYS)
    sql = "select * exclude (event_id) from logistics_core.fact_orders order by all"
    as_owner = ("query", "--role", "owner", sql)
    assert state.json(*as_owner) == together.json(*as_owner)


@pytest.mark.slow
def test_one_amount_changed_on_its_way_fails_the_comparison(state: State, mesh: Mesh) -> None:
    state.json("run", "--days", 2, "--start", "2025-10-26")
    # The orders of the third day are published, one amount in one queued message is changed, then the run goes on.
    orders = mesh.contract("south_warehouse.orders_south")
    number = 1 + [contract.identifier for contract in mesh.ingested()].index(orders.identifier)
    killed = state.mesh("run", check=None, MESH_FAULT=f"ingest.received:kill:{number}")
    assert killed.code == -9
    queue = queue_of(orders)
    with connect(state.settings.broker) as broker:
        with broker.consume(queue.name, prefetch=100) as consumer:
            taken = consumer.receive(100, timeout=5)
            consumer.ack(taken)
        bodies = [delivery.body for delivery in taken]
        bodies[0], changed = re.subn(rb'"amount":"[0-9.]+"', b'"amount":"0.01"', bodies[0], count=1)
        assert changed == 1
        messages = [Message(body, str(delivery.message_id)) for body, delivery in zip(bodies, taken, strict=True)]
        broker.publish(queue, messages, lambda _message: None)
    result = state.mesh("run", "--format", "json", check=1)
    tables = {difference["table"] for difference in result.json["differences"]}
    assert {"south_warehouse.orders_south", "logistics_core.fact_orders"} <= tables
    others = [each for each in result.json["differences"] if not each["figure"].startswith("amount_usd")]
    # The true event is sent again by the run that goes on: an id with two contents.
    assert [(each["table"], each["figure"]) for each in others] == [("south_warehouse.orders_south", "quarantine")]


@pytest.mark.slow
def test_events_of_other_producers_do_not_disturb_the_comparison(state: State) -> None:
    state.json("run", "--days", 2, "--start", "2025-10-26")
    state.json("produce", "north_warehouse.orders_north", "burst", "--count", 50, "--rate", 100000)
    outcome = state.json("run")
    assert outcome["key_ok"] is True
    assert outcome["appended"] > 50


@pytest.mark.slow
def test_a_run_killed_while_it_publishes_is_gone_on_with(state: State, mesh: Mesh) -> None:
    killed = state.start("run", "--days", 8, "--seed", 9, "--start", "2025-10-26")
    queue = queue_of(mesh.contract("east_warehouse.orders_east"))
    with connect(state.settings.broker) as broker:
        broker.declare([queue])
        while not broker.depth(queue.name):
            assert killed.poll() is None, killed.communicate()
            time.sleep(0.05)
    killed.kill()
    killed.communicate()
    # Neither another seed nor a shorter history may be mixed in: what was begun is what is finished.
    assert "seed 9" in state.mesh("run", "--seed", 7, check=2).err
    outcome = state.json("run", "--days", 3)
    assert outcome["key_ok"] is True
    assert outcome["duplicates"] > 0
    key = state.json("answer-key", "--seed", 9, "--days", 8, "--start", "2025-10-26")["logistics_core.fact_orders"]
    assert _totals(state) == {"rows": key["rows"], "amount_usd": key["sums"]["amount_usd"]}


@pytest.mark.slow
def test_two_runs_in_one_state_do_not_mix(state: State) -> None:
    first = state.start("run", "--days", 3, "--format", "json")
    while not (state.folder / "world.json").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    assert "another 'mesh run'" in state.mesh("run", "--days", 2, check=3).err
    out, err = first.communicate(timeout=HANG)
    assert first.returncode == 0, err
    assert '"key_ok": true' in out


@pytest.mark.parametrize("content", ["", "{", "[]", '{"seed": 1}'])
def test_a_damaged_history_is_told_of(state: State, content: str) -> None:
    state.folder.mkdir()
    (state.folder / "world.json").write_text(content)
    assert "damaged" in state.mesh("run", "--days", 1, check=1).err


@pytest.mark.slow
def test_another_history_in_the_same_state_is_refused(state: State) -> None:
    state.json("run", "--days", 2, "--start", "2025-10-26")
    refused = state.mesh("run", "--seed", 8, check=2)
    assert "seed 7" in refused.err
    assert "clean-state" in refused.err


def test_rates_of_the_wire_are_what_the_key_counts(mesh: Mesh) -> None:
    sites = {d.name: d.site for d in mesh.domains.values() if d.site}
    feeds = {c.identifier: c.event.name for c in mesh.ingested() if c.event and c.event.name == "order_created"}

    def key(rates: Rates) -> dict[str, Any]:
        return answer_key(ROOT, sites, feeds, mesh.contracts, 1, date(2025, 10, 1), 4, rates)

    struck, clean = key(Rates(late=0, duplicate=0, malformed=0.1)), key(Rates(late=0, duplicate=0, malformed=0))
    fact = struck["logistics_core.fact_orders"]
    assert 0.07 < sum(struck["quarantine"].values()) / fact["all"] < 0.13
    assert clean["logistics_core.fact_orders"]["rows"] == fact["all"]


def _landed(state: State) -> dict[str, int]:
    return {row["table"]: row["rows"] for row in state.json("status") if row["kind"] == "landing"}


def _totals(state: State) -> dict[str, Any]:
    sql = "select count(*)::int as rows, sum(amount_usd) as amount_usd from logistics_core.fact_orders"
    (row,) = state.json("query", sql)
    return dict(row)
