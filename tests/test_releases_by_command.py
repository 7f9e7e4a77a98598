"""Rules and releases by command, on the repository's own mesh: what people see, and the exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import State

FACT = "logistics_core.fact_orders"
DEAR = """      - type: sql
        name: dear
        query: SELECT COUNT(*) FROM ${object} WHERE amount_usd > 100
        mustBe: 0
        customProperties: [{property: mesh.onFailure, value: ON_FAILURE}]
    properties:
"""


@pytest.mark.slow
def test_a_rule_warns_holds_back_or_blocks_and_a_release_is_seen_as_one(
    tmp_path: Path, mesh_copy: Path, make_state: Callable[..., State]
) -> None:
    state = make_state(tmp_path / "state", root=mesh_copy)
    contract = mesh_copy / "domains/logistics_core/contracts/fact_orders.odcs.yaml"
    text = contract.read_text()

    def say(on_failure: str) -> None:
        contract.write_text(text.replace("    properties:\n", DEAR.replace("ON_FAILURE", on_failure), 1))

    def count(condition: str, table: str = FACT, *options: str) -> int:
        sql = f"select count(*) as n from {table} where {condition}"
        (row,) = state.json("query", sql, *options)
        return int(row["n"])

    state.json("run", "--days", 1, "--domain", "east_warehouse")
    dear, cheap = count("amount_usd > 100"), count("amount_usd <= 100")
    assert dear
    assert cheap

    say("warn")
    warned = state.mesh("build", "--format", "json")
    (fact,) = [built for built in warned.json if built["table"] == FACT]
    assert f"the rule 'dear' is broken in {dear} rows, as in (event_id=" in fact["warnings"][0]
    assert f"{FACT}: warning: the rule 'dear' is broken" in warned.err

    say("quarantine")
    held = state.mesh("build")
    assert f"{FACT}: {dear} rows held back in {FACT}__held" in held.err
    assert (count("true"), count("held_rule = 'dear'", f"{FACT}__held")) == (cheap, dear)
    assert {"table": f"{FACT}__held", "kind": "held", "rows": dear}.items() <= next(
        row for row in state.json("status") if row["kind"] == "held"
    ).items()
    (snapshot,) = [row["snapshot_id"] for row in state.json("history", f"{FACT}__held")]
    assert f"Roll back {FACT}." in state.mesh("rollback", f"{FACT}__held", "--to", snapshot, check=2).err

    newest, *_, first = state.json("releases")
    assert f"Release {newest['name']}: {len(newest['tables'])} tables." in held.err
    assert newest["tables"].keys() == {built["table"] for built in warned.json}
    assert (first["name"], count("true", FACT, "--as-of", "r1")) == ("r1", dear + cheap)
    customers = "logistics_core.dim_customer"
    assert count("true", customers, "--as-of", "r1") > count("true", customers, "--as-of", newest["name"])
    assert first["name"] in state.mesh("releases").out
    unseen = state.mesh("query", "from east_warehouse.orders_east__raw", "--as-of", "r1", check=2)
    assert "east_warehouse.orders_east__raw is not in release r1" in unseen.err
    assert "r99: no such release" in state.mesh("query", "select 1", "--as-of", "r99", check=2).err

    say("block")
    blocked = state.mesh("build", check=1)
    assert f"{FACT}: the rule 'dear' is broken in {dear} rows, as in (event_id=" in blocked.err
    assert "Nothing was committed" in blocked.err
    assert count("true") == cheap
    assert state.json("releases")[0]["name"] == newest["name"]
