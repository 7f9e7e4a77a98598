"""What a person does with a lake after its company has run, by commands."""

from __future__ import annotations

from conftest import State


def use_daily_commands(run: State) -> None:
    """Maintain the lake, and look at it as it is and as it was: no row changes, nothing is built again."""
    release = run.json("releases")[0]["name"]
    count = "select count(*)::int as n from logistics_core.fact_orders"
    (before,) = run.json("query", count)
    run.mesh("maintain", MESH_ORPHAN_AGE_S="0")
    assert run.json("query", count) == [before]
    assert run.json("query", count, "--as-of", release) == [before]
    assert {row["mode"] for row in run.json("build")} == {"noop"}
    assert run.json("history", "logistics_core.fact_orders")
    assert run.mesh("status").code == 0
