"""`mesh query` at the edges: what it shows is what is there, and what it cannot show it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from mesh_platform.engine.duckdb import connect

from conftest import ROOT, State


def fill(state: State, region: str, *tables: str) -> None:
    """Send a warehouse's sample of orders, ingest it, and build its product and `tables` with what they read."""
    product = f"{region}_warehouse.orders_{region}"
    sample = ROOT / f"domains/{region}_warehouse/producers/orders_{region}.csv"
    state.json("produce", product, "replay", sample)
    (done,) = state.json("ingest", product, "--until-empty")
    assert done["appended"] > 10
    state.json("build", product, *tables)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, make_state: Callable[..., State]) -> State:
    state = make_state(tmp_path_factory.mktemp("query") / "state")
    fill(state, "east", "logistics_core.fact_orders", "logistics_core.dim_customer")
    return state


@pytest.mark.parametrize("text", ["[red]x", "[/red]x", ":smile:", "a\\nb", "\u202eabc", "ünïcödé ✓"])
def test_cells_are_shown_as_they_are(filled: State, text: str) -> None:
    out = filled.mesh("query", f"select '{text}' as \"[/h]\"").out
    header, row = out.splitlines()
    assert header == "[/h]"
    assert row == "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def test_nothing_that_a_terminal_would_obey_is_sent(filled: State) -> None:
    assert "\x1b" not in filled.mesh("query", "select chr(27) || '[2J' as cleared").out


def test_wide_rows_are_not_cut(filled: State) -> None:
    wide = "x" * 500
    assert wide in filled.mesh("query", f"select '{wide}' as wide, 1 as one", COLUMNS="40").out


@pytest.mark.parametrize(
    ("sql", "options", "said"),
    [
        ("select 1 as a, 2 as a", (), "two columns are called a"),
        ("select [1, 2] as a", ("--format", "csv"), "Cast that column to varchar"),
        ("select '99999-01-01'::date as a", ("--format", "json"), "Cast that column to varchar"),
        ("select 1; select 2", (), "one statement at a time"),
        ("copy (select 1) to '/tmp/x.csv'", (), "reads only"),
        ("select * from read_text('/etc/passwd')", (), "reads views only"),
        ("select mesh_pseudonym('C-EAST-00001')", ("--role", "west_ops"), "for the views alone"),
        ("select * from east_warehouse.orders_eest", (), "orders_east"),
        ("select 1", ("--as-of", "yesterday"), "a release such as r3 ('mesh releases'), a day of events"),
        ("select 1", ("--role", "nobody"), "no contract knows this role"),
    ],
)
def test_what_cannot_be_answered_is_wrong_use_and_says_why(
    filled: State, sql: str, options: tuple[str, ...], said: str
) -> None:
    assert said in filled.mesh("query", sql, *options, check=2).err


def test_an_empty_lake_says_so(state: State, filled: State) -> None:
    sql = "select count(*) as lines from logistics_core.fact_orders"
    empty = state.mesh("query", sql)
    assert empty.out.split() == ["lines", "0"]
    assert (
        f"The lake in {state.folder} has no tables yet, so all views are empty. 'make run' makes them." in empty.err
    )
    assert "no tables yet" not in filled.mesh("query", sql).err


def test_pseudonyms_join_within_a_query_and_tell_nothing_across(filled: State) -> None:
    sql = (
        "select o.customer_id as customer, count(*)::int as orders from east_warehouse.orders_east o "
        "join logistics_core.dim_customer c using (customer_id) group by all order by orders desc, customer limit 1"
    )
    shown = filled.json("query", sql, "--role", "owner")
    first, second = (filled.json("query", sql, "--role", "west_ops") for _ in range(2))
    assert first[0]["orders"] == second[0]["orders"] == shown[0]["orders"]
    assert len({shown[0]["customer"], first[0]["customer"], second[0]["customer"]}) == 3


def test_who_names_no_role_sees_the_least_and_each_role_is_told_what_is_hidden(filled: State) -> None:
    sql = "select customer_id, warehouse_id from logistics_core.fact_orders order by all limit 1"
    nobody, analyst = (filled.mesh("query", sql, *role) for role in ((), ("--role", "analyst")))
    named = "customer_id of logistics_core.fact_orders"
    assert f"Masked for analyst: {named}. '--role owner' reads it in the clear." in nobody.err
    assert nobody.err == analyst.err
    assert "C-EAST" not in nobody.out + analyst.out
    owner = filled.mesh("query", sql, "--role", "owner")
    assert f"Read by the owner, in the clear: {named}." in owner.err
    assert "C-EAST" in owner.out
    # A condition on a pseudonym finds nothing, which must not go unsaid.
    hidden = filled.mesh("query", "select count(*) as n from logistics_core.fact_orders where customer_id like 'C-%'")
    assert (hidden.out.split(), named in hidden.err) == (["n", "0"], True)
    silent = filled.mesh("query", "select count(*) as n from logistics_core.fact_orders", "--role", "owner")
    assert silent.err == ""
    refused = filled.mesh("query", "select 1", "--role", "owners", check=2).err
    assert "Did you mean owner?" in refused


def test_a_time_before_the_first_commit_is_no_empty_table_and_names_the_nearest_state(filled: State) -> None:
    asked = ("select count(*) as n from logistics_core.fact_orders", "--as-of", "2025-11-01T00:00:00Z")
    refused = filled.mesh("query", *asked, check=2).err
    assert (
        "logistics_core.fact_orders: at 2025-11-01T00:00:00+00:00 it did not exist yet; its first commit was"
        in refused
    )
    # A view that is not read stops nothing.
    assert filled.mesh("query", "select 1 as one", *asked[1:]).out.split() == ["one", "1"]


def test_pages_of_dashboards_can_be_the_owners_too(filled: State, tmp_path: Path) -> None:
    for role, health in (("analyst", False), ("steward", True), ("owner", True)):
        filled.mesh("dashboards", "html", tmp_path / role, "--role", role)
        assert (tmp_path / role / "logistics_core.product_health.html").exists() == health


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_the_status_fits_the_terminal_and_says_what_it_leaves_out(filled: State, columns: int) -> None:
    shown = filled.mesh("status", COLUMNS=str(columns))
    lines = shown.out.splitlines()
    assert max(len(line) for line in lines[1:]) <= columns
    (orders,) = [line.split() for line in lines if line.startswith("east_warehouse.orders_east")]
    whole = {row["table"]: row for row in filled.json("status")}
    landing = whole["east_warehouse.orders_east__raw"]
    assert orders[:2] == ["east_warehouse.orders_east", str(landing["rows"])]
    assert all(name in lines[1].split() for name in ("table", "rows", "lag", "fresh", "quarantined"))
    assert f"Not shown: {len(whole) - len(lines) + 2} more tables" in shown.err
    wide = filled.mesh("status", "--wide", COLUMNS="80")
    assert [line.split()[0] for line in wide.out.splitlines()[2:]] == [*whole]
    assert "Not shown" not in wide.err


def test_a_file_of_all_tables_has_what_the_role_reads(filled: State) -> None:
    sql = "select count(*), count(*) filter (customer_id like 'C-EAST-%') from logistics_core.fact_orders"
    found = []
    for role in ((), ("--role", "WH-WEST"), ("--role", "owner")):
        file = filled.folder / "tables.duckdb"
        said = filled.mesh("views", file, *role).out
        assert ("personal data in the clear" in said) == (role[1:] == ("owner",))
        if role[1:] != ("owner",):
            assert not re.search(rb"C-EAST-\d{5}", file.read_bytes())
        with connect({}) as session:
            session.execute(f"attach '{file}' as tables (read_only)")
            session.execute("use tables")
            found.append(session.execute(sql).fetchone())
    (lines, _) = found[0] or (0, 0)
    assert lines > 10
    assert found == [(lines, 0), (0, 0), (lines, lines)]


@pytest.mark.parametrize("table", ["nope", "a.b.c", "a.b", ""])
def test_an_unknown_table_is_wrong_use(filled: State, table: str) -> None:
    assert "no such table" in filled.mesh("history", table, check=2).err
    assert "no such table" in filled.mesh("rollback", table, "--to", "1", check=2).err


def test_a_partition_changed_in_the_contract_is_refused_until_it_is_applied(
    mesh_copy: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    state = make_state(tmp_path / "state", root=mesh_copy)
    fill(state, "west")
    path = mesh_copy / "domains" / "west_warehouse" / "contracts" / "orders_west.odcs.yaml"
    path.write_text(path.read_text().replace("month(order_ts)", "year(order_ts)"))
    refused = state.mesh("build", "west_warehouse", check=1)
    assert "is partitioned by month(order_ts), the contract says year(order_ts)" in refused.err
    assert "Run 'mesh evolve west_warehouse.orders_west'" in refused.err
    state.json("evolve", "west_warehouse.orders_west")
    assert "rebuild" in {row["mode"] for row in state.json("build", "west_warehouse")}


def test_an_empty_catalog_beside_tables_is_not_taken_for_a_new_one(
    tmp_path: Path, make_state: Callable[..., State]
) -> None:
    state = make_state(tmp_path / "state")
    state.json("build", "logistics_core.dim_date")
    (state.folder / "catalog.db").write_bytes(b"")
    assert "is gone or empty" in state.mesh("status", check=3).err


def test_status_of_a_table_that_the_mesh_does_not_have_says_which_are_near(filled: State) -> None:
    said = filled.mesh("status", "fact_order", check=2).err
    assert "fact_order: no product has a table of that name. Did you mean logistics_core.fact_orders" in said
    assert "fact_orders" in filled.mesh("status", "*.fact_orders").out
    # One of the mesh that is not built yet is no mistake.
    assert "no tables called *.fact_returns yet" in filled.mesh("status", "*.fact_returns").out
