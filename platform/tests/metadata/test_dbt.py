"""The exported dbt project: what it holds, that it is the same each time, and what it leaves alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from mesh_platform.engine.duckdb import connect
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.dbt.jinja import plain
from mesh_platform.metadata.dbt.project import ATTACHED, dbt_project
from mesh_platform.metadata.dbt.relations import relations_of
from mesh_platform.metadata.dbt.tests import named
from mesh_platform.metadata.dbt.write import MANIFEST, Written, write_project
from mesh_platform.query.database import write_database
from mesh_platform.sql.model import read_models

from ..small_mesh import BUYER_SQL, Place, Sale, add_contract, add_dashboard, add_domain, small_mesh

ROOT = Path(__file__).parents[3]


def project_of(place: Place, role: str | None = None) -> dict[str, str]:
    return dbt_project(place.mesh, read_models(place.mesh), role)


def listed(project: dict[str, str], what: str) -> list[Any]:
    """The sources or models in all files."""
    return [
        each for path, text in project.items() if path.endswith(f"/{what}.yml") for each in yaml.safe_load(text)[what]
    ]


def sources_of(project: dict[str, str]) -> dict[str, Any]:
    return {f"{e['name']}.{table['name']}": table for e in listed(project, "sources") for table in e["tables"]}


def models_of(project: dict[str, str]) -> dict[str, Any]:
    return {each["name"]: each for each in listed(project, "models")}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_product_is_a_source_or_a_model_with_all_its_columns_described() -> None:
    mesh = load_mesh(ROOT)
    project = dbt_project(mesh, read_models(mesh))
    sources, models = sources_of(project), models_of(project)
    named = {name.replace(".", "__"): name for name in mesh.contracts}
    assert {named[name] for name in models} | (sources.keys() & mesh.contracts.keys()) == mesh.contracts.keys()
    assert sources.keys().isdisjoint(named[name] for name in models)
    assert {"logistics_core__fact_orders", "logistics_core__dim_customer"} <= models.keys()
    assert {"north_warehouse.orders_north", "logistics_core.order_v1", "mesh.sites"} <= sources.keys()
    assert not [name for name in sources if name.endswith("__raw")]
    for name, table in {**sources, **models}.items():
        assert table["description"], name
        assert all(column["description"] for column in table["columns"]), name
        contract = mesh.contracts.get(named.get(name, name))
        if contract is not None:
            assert [column["name"] for column in table["columns"]] == [*contract.table.by_name]


def test_a_dashboard_is_an_exposure_of_the_tables_that_its_charts_read(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    assert "models/exposures.yml" not in project_of(place)
    add_dashboard(place)
    (shown,) = yaml.safe_load(project_of(place)["models/exposures.yml"])["exposures"]
    assert (shown["name"], shown["type"], shown["owner"]["name"]) == ("core__sales", "dashboard", "t")
    assert shown["depends_on"] == ["ref('core__dim_item')", "ref('core__fact_sales')"]
    (shown,) = yaml.safe_load(project_of(place, "analyst")["models/exposures.yml"])["exposures"]
    assert shown["depends_on"] == ["source('core', 'dim_item')", "source('core', 'fact_sales')"]


def test_a_model_is_its_sql_with_the_relations_replaced_and_nothing_else(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    sql = "-- é {{ no jinja }}\nselect b.buyer, b.sales, b.total, '{% x %}' as mark -- core.fact_sales\n" + (
        'from CORE."dim_buyer" as b\njoin core.fact_sales as f using (buyer), core.sale_v1\n'
    )
    columns = {"buyer": "string key", "sales": "long", "total": "decimal(18,2)", "mark": "string"}
    add_contract(place, "core", "wide", {"wide": columns})
    place.write("core/models/wide.sql", sql)
    text = project_of(place)["models/core/core__wide.sql"]
    wanted = plain(sql.rstrip())
    for name, call in (
        ('CORE."dim_buyer"', "{{ ref('core__dim_buyer') }}"),
        ("join core.fact_sales", "join {{ ref('core__fact_sales') }}"),
        ("core.sale_v1", "{{ source('core', 'sale_v1') }}"),
    ):
        wanted = wanted.replace(name, call)
    assert f"from (\n{wanted}\n) as made" in text
    # What Jinja makes of the braces is what the file has.
    assert re.sub(r"\{\{ '(.{2})' \}\}", r"\1", plain(sql)) == sql != plain(sql)


def test_a_column_whose_name_is_a_keyword_of_sql_is_quoted(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    add_contract(place, "core", "wide", {"wide": {"order": "string key", "group": "long"}})
    place.write("core/models/wide.sql", 'select buyer as "order", sales as "group" from core.dim_buyer\n')
    # Without it, dbt writes `create table wide (order VARCHAR, ...)`.
    assert {c["name"]: c["quote"] for c in models_of(project_of(place))["core__wide"]["columns"]} == {
        "order": True,
        "group": True,
    }


def test_no_two_tests_of_a_table_have_the_same_name() -> None:
    tests = [{"mesh_rows": {"name": name}} for name in ("a", "a!", "a 2", "A")]
    assert [test["mesh_rows"]["name"] for test in named("core.sales", tests)] == [
        f"core__sales__{words}" for words in ("a", "a_2", "a_2_2", "a_3")
    ]


def test_what_users_install_is_what_the_tests_run() -> None:
    def packages(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    mesh = load_mesh(ROOT)
    exported = dbt_project(mesh, read_models(mesh))["requirements.txt"]
    assert packages(exported) == packages((ROOT / "requirements" / "dbt.in").read_text())


def test_freshness_is_the_promise_of_the_contract(tmp_path: Path) -> None:
    source = sources_of(project_of(small_mesh(tmp_path)))["alpha.sales_alpha"]
    assert source["config"]["loaded_at_field"] == '"sold_at"'
    assert source["config"]["freshness"]["error_after"] == {"count": 24 * 60, "period": "minute"}
    assert "freshness" not in sources_of(project_of(small_mesh(tmp_path)))["core.items"]["config"]


def test_the_files_name_no_place_and_a_second_export_changes_no_byte(tmp_path: Path) -> None:
    place = small_mesh(tmp_path / "mesh")
    project = project_of(place)
    assert not [path for path, text in project.items() if str(tmp_path) in text or str(Path.home()) + "/" in text]
    assert write_project(tmp_path / "dbt", project) == Written(len(project), 0, 0)
    before = content(tmp_path / "dbt")
    assert {(tmp_path / "dbt" / path).stat().st_mode & 0o777 for path in before} == {0o644}
    times = {path: (tmp_path / "dbt" / path).stat().st_mtime_ns for path in before if path != MANIFEST}
    assert write_project(tmp_path / "dbt", project_of(place)) == Written(0, len(project), 0)
    assert content(tmp_path / "dbt") == before
    assert {path: (tmp_path / "dbt" / path).stat().st_mtime_ns for path in times} == times
    assert write_project(tmp_path / "other", project) == Written(len(project), 0, 0)
    assert content(tmp_path / "other") == before


def test_a_product_that_left_is_removed_and_files_of_others_stay(tmp_path: Path) -> None:
    place = small_mesh(tmp_path / "mesh")
    folder = tmp_path / "dbt"
    write_project(folder, project_of(place))
    own = folder / "models" / "core" / "own.sql"
    own.write_text("select 1 as n\n")
    (folder / "target").mkdir()
    (place.root / "domains/core/contracts/dim_buyer.odcs.yaml").unlink()
    (place.root / "domains/core/models/dim_buyer.sql").unlink()
    assert write_project(folder, project_of(place)).removed == 1
    assert not (folder / "models/core/core__dim_buyer.sql").exists()
    assert own.exists()
    assert (folder / "target").exists()


def test_a_folder_that_somebody_removed_stops_no_export(tmp_path: Path) -> None:
    folder = tmp_path / "dbt"
    write_project(folder, {"dbt_project.yml": "name: mesh", "models/shop/a.sql": "select 1"})
    (folder / "models/shop/a.sql").unlink()
    (folder / "models/shop").rmdir()
    assert write_project(folder, {"dbt_project.yml": "name: mesh"}) == Written(0, 1, 0)
    assert content(folder).keys() == {"dbt_project.yml", MANIFEST}


def test_an_export_stops_before_it_replaces_what_somebody_else_wrote(tmp_path: Path) -> None:
    project = project_of(small_mesh(tmp_path / "mesh"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty, and no export wrote it.*Name an empty"):
        write_project(foreign, project)
    assert content(foreign) == {"notes.txt": b"mine"}
    with pytest.raises(UsageError, match="is a file"):
        write_project(foreign / "notes.txt", project)
    folder = tmp_path / "dbt"
    write_project(folder, {path: text for path, text in project.items() if path != "profiles.yml"})
    (folder / "profiles.yml").write_text("mine")
    with pytest.raises(UsageError, match=r"profiles.yml: is not from an export"):
        write_project(folder, project)
    (folder / "profiles.yml").unlink()
    changed = folder / "models/core/core__fact_sales.sql"
    changed.write_text(changed.read_text() + "where true\n")
    before = content(folder)
    with pytest.raises(UsageError, match=r"core__fact_sales.sql: was changed by hand"):
        write_project(folder, project)
    assert content(folder) == before


def test_a_stopped_export_is_finished_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = small_mesh(tmp_path / "mesh")
    folder = tmp_path / "dbt"
    write_project(folder, project_of(place))
    place.write("core/models/dim_buyer.sql", BUYER_SQL.replace("count(*)", "count(buyer)"))
    place.write("core/models/fact_sales.sql", "-- Another.\nselect * from core.sale_v1\n")
    wanted = project_of(place)
    written: list[Path] = []

    def stop(path: Path, data: bytes) -> None:
        if path.name != MANIFEST:
            if written:
                raise KeyboardInterrupt
            written.append(path)
        path.write_bytes(data)

    with monkeypatch.context() as patched:
        patched.setattr("mesh_platform.metadata.dbt.write.write_whole", stop)
        with pytest.raises(KeyboardInterrupt):
            write_project(folder, wanted)
    assert write_project(folder, wanted) == Written(1, len(wanted) - 1, 0)
    assert {path: (folder / path).read_text() for path in wanted} == wanted


def test_a_role_gets_copies_without_what_is_hidden_from_it(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1, buyer="ann-secret"), Sale(2, buyer="bob-secret")])
    place.land("beta", [Sale(3, buyer="ann-secret")])
    place.build()
    relations = relations_of(place.mesh, read_models(place.mesh), "alpha")
    assert relations.models == ()
    path = tmp_path / "copies.duckdb"
    write_database(place.mesh, place.catalog, path, "alpha", relations.sources)
    # A second one replaces the first.
    write_database(place.mesh, place.catalog, path, "alpha", relations.sources)
    with duckdb.connect(str(path), read_only=True) as plain_duckdb:
        seen = plain_duckdb.execute("select buyer from alpha.sales_alpha order by all").fetchall()
        assert seen == [("ann-secret",), ("bob-secret",)]
        masked = plain_duckdb.execute("select buyer, count(*) from core.fact_sales group by all").fetchall()
        assert sorted(count for _, count in masked) == [1, 2]
        joined = "select count(*) from core.fact_sales join core.dim_buyer using (buyer)"
        assert plain_duckdb.execute(joined).fetchone() == (3,)
        assert plain_duckdb.execute("select count(*) from duckdb_views() where not internal").fetchone() == (0,)
    write_database(place.mesh, place.catalog, path, "boss", relations_of(place.mesh, {}, "boss").sources)
    with duckdb.connect(str(path), read_only=True) as plain_duckdb:
        assert plain_duckdb.execute("select distinct buyer from core.fact_sales order by 1").fetchall() == seen
        hidden = plain_duckdb.execute("select buyer from alpha.sales_alpha").fetchall()
    assert not {row[0] for row in hidden} & {"ann-secret", "bob-secret"}
    sources = relations_of(place.mesh, {}, "beta").sources
    write_database(place.mesh, place.catalog, tmp_path / "none.duckdb", "beta", sources)
    assert b"bob-secret" not in (tmp_path / "none.duckdb").read_bytes()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no DuckDB file"):
        write_database(place.mesh, place.catalog, tmp_path / "notes.txt", "alpha", relations.sources)


def test_what_a_role_cannot_see_is_not_tested(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    columns = {
        "sale_id": "string key",
        "score": "int required pii",
        "name": "string required pii",
        "n": "int required",
    }
    add_contract(place, "core", "scores", {"scores": columns}, roles=["boss"])
    path = place.root / "domains/core/contracts/scores.odcs.yaml"
    data = yaml.safe_load(path.read_text())
    data["schema"][0]["properties"][1]["logicalTypeOptions"] = {"minimum": 1}
    data["schema"][0]["properties"][3]["logicalTypeOptions"] = {"minimum": 2}
    query = "SELECT COUNT(*) FROM ${object} WHERE SCORE > n"
    # It names no column that is hidden, and reads them all.
    twice = "SELECT COUNT(*) - (SELECT COUNT(*) FROM (SELECT DISTINCT * FROM ${object})) FROM ${object}"
    data["schema"][0]["quality"] = [
        {"type": "sql", "name": "low", "query": query, "mustBe": 0},
        {"type": "sql", "name": "twice", "query": twice, "mustBe": 0},
    ]
    path.write_text(yaml.safe_dump(data))
    place.write("core/reference/scores.csv", "sale_id,score,name,n\na,1,x,2\n")

    def tests(role: str | None) -> dict[str, Any]:
        found = sources_of(project_of(place, role))["core.scores"]["data_tests"]
        return {
            body["name"].removeprefix("core__scores__"): body["arguments"] for each in found for body in each.values()
        }

    assert tests("boss") == tests(None)
    assert tests(None).keys() == {"required", "key", "score_is_below_1", "n_is_below_2", "low", "twice"}
    assert tests("alpha").keys() == {"required", "key", "n_is_below_2"}
    # A mask keeps what is required present.
    assert tests("alpha")["required"]["columns"] == ["sale_id", "score", "name", "n"]
    with pytest.raises(UsageError, match="no contract knows this role"):
        project_of(place, "nobody")


def test_a_domain_that_has_the_name_of_the_sources_is_refused(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    add_domain(place, ATTACHED, site=False)
    with pytest.raises(UsageError, match=r"the domain mesh_lake.*Rename it"):
        project_of(place)


def test_the_command_writes_project_and_database(tmp_path: Path) -> None:
    place = small_mesh(tmp_path / "mesh")
    place.land("alpha", [Sale(1)])
    place.build()
    done = place.state.json("dbt", "export", tmp_path / "dbt", "--database", tmp_path / "lake.duckdb")
    assert (done["sources"], done["models"], done["removed"]) == (5, 3, 0)
    with connect(place.catalog.properties) as session:
        session.execute(f"ATTACH '{tmp_path / 'lake.duckdb'}' AS mesh_lake (READ_ONLY)")
        for name in sources_of(project_of(place)):
            session.execute(f"SELECT * FROM mesh_lake.{name}").fetchall()
    assert "unchanged" in place.state.mesh("dbt", "export", tmp_path / "dbt").err
    place.state.mesh("dbt", "export", tmp_path / "dbt", "--role", "nobody", check=2)
