"""The record of what was asked: no answer without one, none twice, no personal value in it, and few who read it."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.faults import POINTS
from mesh_platform.lake.audit import KEPT_FOR, Record, move_records, read_audit, remove_old_records, write_record
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.lake.maintain import maintain
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.query.asked import asked
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from terminal import MESH, on_a_terminal

from conftest import State, draws

from ..small_mesh import Place, Sale, small_mesh

SQL = "select count(*) from core.fact_sales where buyer = 'ann'"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = small_mesh(tmp_path / "mesh")
    place.land("alpha", [Sale(1)])
    place.build("core.fact_sales", "core.dim_buyer")
    return place


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    return small_mesh(tmp_path_factory.mktemp("asked") / "mesh").mesh


def waiting(state: State) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in (state.folder / "audit").glob("*.json")]


def test_what_is_asked_is_a_row_that_the_steward_reads(place: Place) -> None:
    state = place.state
    state.mesh("maintain", "mesh.audit")
    assert state.json("audit") == []
    state.mesh("query", SQL)
    cross = 'from core.fact_sales, Core . "dim_buyer"'
    state.mesh("query", "--role", "boss", "--as-of", "2099-01-01", cross, check=2)
    state.mesh("query", "--role", "Mallory", "select buyr from core.fact_sales", check=2)
    state.mesh("query", "selec 'ann'", check=2)
    rows = state.json("audit")
    assert [(row["role"], row["tables"], row["rows"]) for row in reversed(rows)] == [
        ("analyst", ["core.fact_sales"], 1),
        ("boss", ["core.dim_buyer", "core.fact_sales"], None),
        ("?", ["core.fact_sales"], None),
        ("analyst", [], None),
    ]
    assert {row["command"] for row in rows} == {"query"}
    assert rows[-1]["statement"] == "select count (*) from core.fact_sales where buyer = ?"
    assert waiting(state) == []
    assert state.json("audit", "--table", "core.dim_buyer") == [rows[2]]
    assert state.json("audit", "--user", "nobody else") == []
    state.mesh("audit", "--role", "analyst", check=2)
    counted = state.json("query", "--role", "steward", "select count(*) n from mesh.audit")
    assert counted == [{"n": 4}]


@pytest.mark.parametrize(
    ("sql", "said", "statement"),
    [
        ("", "this is nothing. Write one SELECT.", ""),
        ("  ", "this is nothing. Write one SELECT.", ""),
        # A byte that is not UTF-8, as Python reads it from the command line.
        ("select 1 as a\udcff", "the query has bytes that are not UTF-8. Write it in UTF-8.", "select ? as ? ?"),
    ],
)
def test_what_is_no_query_is_refused_and_recorded(place: Place, sql: str, said: str, statement: str) -> None:
    assert said in place.state.mesh("query", sql, check=2).err
    (row,) = place.state.json("audit")
    assert (row["statement"], row["tables"], row["rows"]) == (statement, [], None)


def test_the_record_of_a_long_query_fits_the_terminal(place: Place) -> None:
    names = ", ".join(["count(*)"] * 90)
    write_record(
        open_catalog(place.state.settings),
        asked(place.mesh, "query", "owner", f"select {names} from core.fact_sales"),
    )
    lines = on_a_terminal([MESH, "audit"], 120, place.state.environment).splitlines()
    assert max(map(len, lines)) <= 120
    assert "statement" in lines[0]
    assert lines[-1].startswith("1 column cut: statement. '--wide'")
    wide = on_a_terminal([MESH, "audit", "--wide"], 120, place.state.environment)
    assert wide.count("count (*)") == 90


def test_files_with_rows_are_recorded(place: Place, tmp_path: Path) -> None:
    state = place.state
    state.mesh("views", tmp_path / "views.duckdb")
    state.mesh("dbt", "export", tmp_path / "dbt", "--role", "analyst", "--database", tmp_path / "dbt.duckdb")
    state.mesh("dashboards", "html", tmp_path / "pages")
    state.mesh("dashboards", "data")
    state.mesh("catalog", "build", "--out", tmp_path / "site")
    assert sorted(row["command"] for row in waiting(state)) == ["catalog", "dashboards", "dashboards", "dbt", "views"]


@pytest.mark.parametrize("role", ["analyst", "boss", "WH-ALPHA"])
def test_nobody_else_reads_it(place: Place, tmp_path: Path, role: str) -> None:
    place.state.mesh("query", SQL)
    maintain(place.mesh, open_catalog(place.state.settings), ["mesh.audit"])
    with open_session(place.mesh, place.catalog, role=role) as session:
        with pytest.raises(UsageError, match="no such view"):
            run_query(session, "from mesh.audit")
        run_query(session, "from mesh.releases")


def test_an_answer_that_was_seen_is_recorded_if_the_command_is_killed(place: Place) -> None:
    # The first byte of the answer is seen while the command waits for somebody to read the rest.
    running = place.state.start("query", "--format", "csv", "select repeat('x', 1000) from range(2000)")
    assert running.stdout is not None
    assert running.stdout.read(1)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert [row["rows"] for row in waiting(place.state)] == [2000]


def test_without_a_record_there_is_no_answer(place: Place) -> None:
    (place.state.folder / "audit").write_text("in the way")
    refused = place.state.mesh("query", SQL, check=3)
    assert (refused.out, "cannot be recorded" in refused.err) == ("", True)


def test_queries_at_once_are_all_recorded(place: Place) -> None:
    running = [place.state.start("query", SQL) for _ in range(4)]
    running += [place.state.start("audit") for _ in range(2)]
    assert [each.wait() for each in running] == [0] * 6
    for each in running:
        each.communicate()
    place.state.mesh("maintain", "mesh.audit")
    assert len(read_audit(place.catalog)) == 4


@pytest.mark.parametrize("point", ["audit.moved", "commit.written", "commit.pointing", "append.committed"])
def test_a_killed_move_is_finished_once(place: Place, point: str) -> None:
    assert point in POINTS
    state = place.state
    state.mesh("query", SQL)
    state.mesh("query", SQL)
    state.mesh("maintain", "mesh.audit", MESH_FAULT=f"{point}:kill:1", check=-signal.SIGKILL)
    assert len(waiting(state)) == 2
    assert len(state.json("audit")) == 2
    assert waiting(state) == []


def test_a_damaged_record_is_named_and_stops_nothing_else(place: Place) -> None:
    folder = place.state.folder / "audit"
    folder.mkdir()
    (folder / "a.json").write_text("{")
    catalog = open_catalog(place.state.settings)
    with pytest.raises(AttentionError, match=r"a\.json: no record"):
        move_records(catalog)
    # All other tables are maintained.
    audit, *others = maintain(place.mesh, catalog)
    assert (audit.table, audit.failed, "a.json: no record" in (audit.skipped or "")) == ("mesh.audit", True, True)
    assert "core.fact_sales" in {each.table for each in others if not each.failed}


def test_months_that_ended_long_ago_are_removed(place: Place) -> None:
    catalog = open_catalog(place.state.settings)
    now = datetime(2026, 3, 15, tzinfo=UTC)
    cut = now - KEPT_FOR
    same_month = cut - timedelta(hours=1)
    for at in (cut - timedelta(days=40), same_month, now):
        write_record(catalog, Record("query", "analyst", ("core.items",), asked_at=at))
        move_records(catalog)
    assert remove_old_records(catalog, now) == 1
    assert [row["asked_at"] for row in read_audit(catalog)] == [now, same_month]
    assert remove_old_records(catalog, now) == 0


@pytest.mark.parametrize(
    "sql",
    [
        "select 'QQVALUE'",
        "select e'QQVALUE', x'QQVALUE', $$QQVALUE$$, $tag$QQVALUE$tag$",
        'select 1 as "QQVALUE", 2 QQVALUE, t.QQVALUE from core.items as QQVALUE -- QQVALUE',
        'select /* QQVALUE */ qqvalue(1), "QQVALUE"(2) from core.items qqvalue(qqvalue)',
        "with QQVALUE(a) as (select 1) from QQVALUE",
        "from 'QQVALUE.parquet'",
        "select 'QQVALUE",
        'select "QQVALUE',
        "select $$QQVALUE",
        "select 1; QQVALUE",
        "é QQVALUE 'QQVALUE' QQVALUE",
        "select columns('QQVALUE') from core.items limit 'QQVALUE'::int",
        "pivot core.items on name in ('QQVALUE', QQVALUE)",
        "select {'QQVALUE': 1}, {QQVALUE: 1}.QQVALUE, QQVALUE := 1, :QQVALUE, $QQVALUE, ?QQVALUE, @QQVALUE, #QQVALUE",
        "select cast('a' as enum('QQVALUE')), interval 'QQVALUE' day, date 'QQVALUE'",
    ],
)
def test_no_way_to_write_a_value_leads_into_the_record(mesh: Mesh, sql: str) -> None:
    assert "qqvalue" not in str(asked(mesh, "query", "QQVALUE", sql)).lower()


PARTS = st.text(st.sampled_from("ab1é \n'\"$/*-;.,()[]{}:=?\\"), max_size=8)


@settings(max_examples=draws(600))
@given(PARTS, PARTS, PARTS)
def test_any_text_around_a_value_keeps_it_out(mesh: Mesh, before: str, between: str, after: str) -> None:
    sql = f"select {before}qqvalue{between}'qqvalue'{after}"
    assert "qqvalue" not in str(asked(mesh, "query", "analyst", sql))


def test_a_person_is_erased_although_others_asked_for_them(place: Place) -> None:
    place.land("alpha", [Sale(2, buyer="annabel-33f1")])
    place.build()
    state, sql = place.state, "select * from core.fact_sales where buyer = 'annabel-33f1' or \"annabel-33f1\" = 1"
    state.mesh("query", "--role", "owner", sql, check=2)
    state.mesh("maintain", "mesh.audit")
    state.mesh("query", "--role", "owner", "select * from core.fact_sales where buyer = 'annabel-33f1'")
    record = ["--request", "1", "--by", "a", "--reason", "b"]
    state.mesh("erase", "--where", "buyer=annabel-33f1", *record)
    assert [(row["role"], row["rows"]) for row in state.json("audit")] == [("owner", 1), ("owner", None)]
    assert "annabel" not in json.dumps(state.json("audit"))
