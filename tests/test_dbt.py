"""dbt builds the exported project on three days of ACME: the same tables, the same verdicts, nothing in the lake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from dbt_runs import Project
from dbt_verdicts import verdicts_of
from mesh_platform.contract.contract import Contract, Field
from mesh_platform.engine.duckdb import connect
from mesh_platform.engine.protocol import Connection
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.dbt.relations import Relations, relations_of
from mesh_platform.sql.model import read_models
from mesh_platform.sql.relations import interface_unions, union_select

from conftest import State, new_state

pytestmark = pytest.mark.slow
HOLDING = "south_warehouse.orders_south"
# What an analyst adds.
OWN = """{{ config(schema="own") }}
select w.region, count(*) as lines
from {{ ref('logistics_core__fact_orders') }} as f
join {{ ref('logistics_core__dim_warehouse') }} as w using (warehouse_id)
group by w.region
"""


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> State:
    state = new_state(tmp_path_factory.mktemp("acme") / "state")
    state.mesh("run", "--days", 3)
    return state


@pytest.fixture(scope="module")
def relations(mesh: Mesh) -> Relations:
    return relations_of(mesh, read_models(mesh))


def export(state: State, folder: Path, *words: str) -> Project:
    project = Project(folder / "dbt", folder / "sources.duckdb")
    state.mesh("dbt", "export", project.folder, "--database", project.database, *words)
    return project


@contextmanager
def opened(state: State, project: Project) -> Iterator[Connection]:
    """A session with the sources as `mesh_lake` and the tables of dbt as `marts`."""
    with connect(open_catalog(state.settings).properties) as session:
        session.execute(f"ATTACH {literal(str(project.database))} AS mesh_lake (READ_ONLY)")
        session.execute(f"ATTACH {literal(str(project.marts))} AS marts (READ_ONLY)")
        yield session


def number(session: Connection, sql: str) -> int:
    (found,) = session.execute(sql).fetchone() or (None,)
    assert isinstance(found, int)
    return found


def in_the_lake(state: State) -> dict[str, tuple[int, int]]:
    files = [path for path in state.folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_a_build_is_green_makes_the_tables_of_the_lake_and_describes_every_column(
    acme: State, mesh: Mesh, relations: Relations, tmp_path: Path
) -> None:
    project = export(acme, tmp_path)
    own = project.folder / "models" / "own" / "lines_by_region.sql"
    own.parent.mkdir()
    own.write_text(OWN)
    before = in_the_lake(acme)
    printed = project.dbt("build")
    assert "Deprecat" not in printed.replace("This version of dbt is deprecated", "")
    verdicts = project.verdicts()
    assert len(verdicts) > 300
    assert {*verdicts.values()} == {"success", "pass", "warn"}
    assert in_the_lake(acme) == before
    assert len(relations.models) > 18
    with opened(acme, project) as session:
        for name in relations.models:
            lake, mart = quoted(f"mesh_lake.{name}"), quoted(f"marts.{name}")
            for one, other in ((lake, mart), (mart, lake)):
                more = f"SELECT count(*) FROM (SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other})"
                assert number(session, more) == 0, (name, more)
            assert number(session, f"SELECT count(*) FROM {mart}") > 0, name
        lines = number(session, "SELECT count(*) FROM marts.logistics_core.fact_orders")
        assert number(session, "SELECT CAST(sum(lines) AS BIGINT) FROM marts.own.lines_by_region") == lines
        places = _places(relations)
        for name in relations.models:
            assert verdicts.items() >= verdicts_of(session, mesh, mesh.contracts[name], places).items()
    project.dbt("docs", "generate")
    exposures = project.read("manifest.json")["exposures"].values()
    assert {each["name"] for each in exposures} == {name.replace(".", "__") for name in mesh.dashboards}
    (deliveries,) = [each for each in exposures if each["name"] == "logistics_core__deliveries"]
    assert "model.mesh.logistics_core__fact_delivery_sla" in deliveries["depends_on"]["nodes"]
    assert undescribed(project, len(relations.sources) + len(relations.models) + 1) == []


def undescribed(project: Project, tables: int) -> list[str]:
    """The columns in the documentation that dbt made of so many tables that have no description there."""
    manifest, catalog = project.read("manifest.json"), project.read("catalog.json")
    documented = {**catalog["nodes"], **catalog["sources"]}
    assert len(documented) == tables
    known = {**manifest["nodes"], **manifest["sources"]}
    return [
        f"{table}.{column}"
        for table, facts in documented.items()
        for column in facts["columns"]
        if not table.endswith(".lines_by_region") and not known[table]["columns"].get(column, {}).get("description")
    ]


def test_a_role_builds_on_copies_without_what_is_hidden_from_it(acme: State, mesh: Mesh, tmp_path: Path) -> None:
    project = export(acme, tmp_path, "--role", "west_ops")
    project.dbt("build")
    assert {*project.verdicts().values()} == {"pass", "warn"}
    everything = export(acme, tmp_path / "all").database
    with connect(open_catalog(acme.settings).properties) as session:
        session.execute(f"ATTACH {literal(str(project.database))} AS copies (READ_ONLY)")
        session.execute(f"ATTACH {literal(str(everything))} AS lake (READ_ONLY)")
        compared = 0
        for name, contract in mesh.contracts.items():
            for field in contract.table.fields:
                column = quoted(field.name)
                values = f"SELECT {column} FROM {{}}.{quoted(name)} WHERE {column} <> 'unknown'"
                if field.classification != "pii" or field.type.name != "string":
                    continue
                copied, real = values.format("copies"), values.format("lake")
                shared = number(session, f"SELECT count(*) FROM ({copied} INTERSECT {real})")
                rows = [number(session, f"SELECT count(*) FROM ({each})") for each in (copied, real)]
                assert rows[0] == rows[1]
                assert (shared > 0) is ("west_ops" in contract.roles), f"{name}.{field.name}"
                compared += 1
        assert compared > 20


def test_freshness_is_that_of_mesh_status(acme: State, tmp_path: Path) -> None:
    project = export(acme, tmp_path)
    seen = set()
    for clock in ("2025-10-04T00:00:00Z", "2025-10-04T20:00:00+00:00", "2025-10-06"):
        status = {row["table"]: row["fresh"] for row in acme.json("status", MESH_CLOCK=clock)}
        wrong = {name for name, fresh in status.items() if fresh is False}
        sources = project.dbt("source", "freshness", check=int(bool(_measured(project) & wrong)), MESH_CLOCK=clock)
        found = {
            ".".join(each["unique_id"].split(".")[-2:]): each["status"] == "pass"
            for each in project.read("sources.json")["results"]
        }
        assert len(found) == 30, sources
        # Of a table without rows the platform says nothing.
        assert found == {name: status[name] is not False for name in found}
        seen |= {*found.values()}
    assert seen == {True, False}


def _measured(project: Project) -> set[str]:
    listed = [yaml.safe_load(path.read_text())["sources"] for path in project.folder.glob("models/*/sources.yml")]
    return {f"{s['name']}.{t['name']}" for (s,) in listed for t in s["tables"] if "freshness" in t.get("config", {})}


def test_on_planted_faults_every_test_has_the_verdict_of_the_platform(
    acme: State, mesh: Mesh, relations: Relations, tmp_path: Path
) -> None:
    clean = export(acme, tmp_path)
    project = Project(clean.folder, tmp_path / "planted.duckdb")
    with connect(open_catalog(acme.settings).properties) as session:
        session.execute(f"ATTACH {literal(str(clean.database))} AS clean (READ_ONLY)")
        session.execute(f"ATTACH {literal(str(project.database))} AS planted")
        session.execute("USE planted")
        unions = interface_unions(mesh)
        for name in sorted(relations.sources, key=lambda name: name in unions):
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name.partition('.')[0])}")
            select = f"SELECT * FROM {quoted(f'clean.{name}')}"
            if name in unions:
                interface, products = unions[name]
                select = union_select(interface, {each.identifier: {} for each in products})
            session.execute(f"CREATE TABLE {quoted(name)} AS {select}")
            if name in mesh.contracts:
                plant(session, mesh.contracts[name], Random(name))
            if name == HOLDING:
                held = "TIMESTAMPTZ '1850-01-01 00:00:00+00'"
                session.execute(f"UPDATE {quoted(name)} SET order_ts = {held} WHERE rowid = 1")
    # In `dbt build` a model waits for the tests of what it reads.
    project.dbt("run")
    project.dbt("test", check=1)
    verdicts = {name: status for name, status in project.verdicts().items() if status != "success"}
    expected: dict[str, str] = {}
    with opened(acme, project) as session:
        places = _places(relations)
        for contract in mesh.contracts.values():
            expected |= verdicts_of(session, mesh, contract, places)
        sent = number(session, "SELECT count(*) FROM mesh_lake.logistics_core.order_v1")
        published = number(session, "SELECT count(*) FROM marts.logistics_core.fact_orders")
    assert published == sent - 1, "a rule of fact_orders holds the row of 1850 back"
    assert verdicts == expected
    counts = {status: [*verdicts.values()].count(status) for status in ("pass", "fail", "warn")}
    assert counts["fail"] > 60, counts
    assert counts["pass"] > 60, counts
    assert counts["warn"] > 5, counts


def _places(relations: Relations) -> dict[str, str]:
    return {
        name: quoted(f"{'marts' if name in relations.models else 'mesh_lake'}.{name}")
        for name in (*relations.sources, *relations.models)
    }


def plant(session: Connection, contract: Contract, random: Random) -> None:
    """Break some promises of a table, each in one row."""
    table = quoted(contract.identifier)
    rows = number(session, f"SELECT count(*) FROM {table}")
    for field in contract.table.fields if rows else ():
        for value in faults(field):
            if random.random() < 0.4:
                row = random.randrange(rows)
                session.execute(f"UPDATE {table} SET {quoted(field.name)} = ? WHERE rowid = ?", [value, row])
    if rows and random.random() < 0.4:
        session.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE rowid = {random.randrange(rows)}")


def faults(field: Field) -> Iterator[Any]:
    if field.required:
        yield None
    if field.minimum is not None:
        yield field.minimum - 1
    if field.maximum is not None:
        yield field.maximum + 1
    if field.valid_values or field.pattern:
        yield "not this"
    if field.references:
        yield "nobody" if field.type.name == "string" else None
