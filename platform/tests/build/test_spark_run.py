"""Builds whose whole queries run on Spark (Sail): the same rows, checks and provenance as those of DuckDB."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lake_services import rest_catalog
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.lake.evolution import evolve
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog
from spark_env import MESH, json_with_spark, mesh_with_spark, sail

from conftest import ROOT

from ..small_mesh import Place, Sale, small_mesh
from ..sql.test_audit import CHEAP, FACT, HOLD, rule, sale

pytestmark = pytest.mark.slow

BUYER = "core.dim_buyer"
# Spark cuts off, DuckDB rounds; so the rows differ.
ROUGH = """select buyer, cast(1.75::double as bigint) as sales, cast(1 as decimal(18, 2)) as total
from core.fact_sales
"""
# A model runs on tables as they were loaded, after its input has got the same rows once more; then on those of now.
MEANWHILE = """
import sys
from pathlib import Path
from mesh_platform.build.spark_run import SparkRuns
from mesh_platform.engine.spark import spark_session
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import Settings
from mesh_platform.sql.model import read_models
root, state, remote = sys.argv[1:]
mesh, catalog = load_mesh(Path(root)), open_catalog(Settings(root=Path(root), state=Path(state)))
model, name = read_models(mesh)["alpha.sales_alpha"], "alpha.sales_alpha__raw"
loaded, other = catalog.load_table(name), catalog.load_table(name)
other.append(other.scan().to_arrow())
with spark_session(remote) as spark:
    runs = SparkRuns(mesh, lambda: spark, "", {})
    print(runs.run(model, {name: loaded}).num_rows, runs.run(model, {name: catalog.load_table(name)}).num_rows)
"""
LONG = """select buyer, count(*) as sales, cast(sum((a.i * b.i) % 7) as decimal(18, 2)) as total
from core.fact_sales cross join generate_series(1, {number}) as a (i) cross join generate_series(1, {number}) as b (i)
group by buyer
"""


@pytest.fixture(scope="module")
def spark() -> Iterator[str]:
    with sail() as address:
        yield address


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A mesh with two sales of one shop; the other has none."""
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1), Sale(2, item="i2", buyer="o'neil \\ söhne")])
    return place


def on_spark(place: Place, spark: str, *words: str, code: int = 0, **environment: str) -> Any:
    """What `mesh build ... --format json` says of each table, with Spark; its stderr if it fails."""
    found = json_with_spark(
        place.root, place.root / ".mesh", "build", *words, code=code, MESH_SPARK_REMOTE=spark, **environment
    )
    return {row["table"]: row for row in found} if isinstance(found, list) else found


def whole(catalog: Catalog, table: str, snapshot: int | None) -> list[tuple[object, ...]]:
    """The rows of a table at a snapshot, as plain pyiceberg reads them, sorted."""
    found = catalog.load_table(table).scan(snapshot_id=snapshot).to_arrow().to_pylist()
    return sorted((tuple(row.values()) for row in found), key=repr)


def check_same(catalog: Catalog, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Assert that two builds published and held back the same rows of each table."""
    then, now = ({row["table"]: row for row in rows} for rows in (before, after))
    assert then.keys() == now.keys()
    for name in now:
        for table, state in ((name, "snapshot_id"), (f"{name}__held", "held")):
            if state == "held":
                assert then[name]["held"] == now[name]["held"], table
            else:
                assert whole(catalog, table, then[name][state]) == whole(catalog, table, now[name][state]), table


def test_every_model_of_the_company_is_built_as_by_duckdb_and_days_are_added_on_top(tmp_path: Path, spark: str):
    state, remote = tmp_path / "state", {"MESH_SPARK_REMOTE": spark}
    catalog = open_catalog(Settings(root=ROOT, state=state))
    json_with_spark(ROOT, state, "run", "--days", "3")
    by_duckdb = json_with_spark(ROOT, state, "build")
    assert {row["mode"] for row in by_duckdb} == {"noop"}
    by_spark = json_with_spark(ROOT, state, "build", "--full", **remote)
    engines = {row["table"]: row["engine"].split(" ")[0] for row in by_spark}
    reference = {row["table"] for row in by_spark if len(row["inputs"]) == 1 and "reference/" in str(row["inputs"])}
    assert {name for name, engine in engines.items() if engine != "Spark"} == reference
    assert len(engines) - len(reference) == len([*(ROOT / "domains").glob("*/models/*.sql")])
    check_same(catalog, by_duckdb, by_spark)

    # A day on top: DuckDB applies changed rows and computes changed keys; whole queries run on Spark.
    assert json_with_spark(ROOT, state, "run", "--days", "4", **remote)["key_ok"] is True
    for name, engine in (("fact_orders", None), ("dim_customer", None), ("kpi_inventory_available", "Spark")):
        newest, before, *_ = json_with_spark(ROOT, state, "history", f"logistics_core.{name}")
        made_by = [entry["engine"] and entry["engine"].split(" ")[0] for entry in (newest, before)]
        assert made_by == [engine, "Spark"], name

    # Another engine is no reason to build anything, and DuckDB makes the same of it.
    added = json_with_spark(ROOT, state, "build")
    assert {row["mode"] for row in added} == {"noop"}
    check_same(catalog, added, json_with_spark(ROOT, state, "build", "--full"))


def test_follow_builds_on_spark_too(place: Place, spark: str):
    environment = {**os.environ, "MESH_STATE": str(place.root / ".mesh"), "MESH_SPARK_REMOTE": spark}
    with subprocess.Popen([str(MESH), "build", "--follow", BUYER], cwd=place.root, env=environment) as following:
        try:
            until = time.monotonic() + 60
            while following.poll() is None and time.monotonic() < until:
                if place.catalog.table_exists(BUYER) and place.snapshots(BUYER):
                    break
                time.sleep(0.1)
            following.send_signal(signal.SIGTERM)
            assert following.wait(60) == 0
        finally:
            following.kill()
    assert json_with_spark(place.root, place.root / ".mesh", "history", BUYER)[0]["engine"].startswith("Spark ")


def test_a_rest_catalog_gives_spark_the_snapshots(tmp_path: Path, place: Place):
    with rest_catalog(tmp_path / "rest") as url:
        prefix = "PYICEBERG_CATALOG__MESH__"
        lake = {f"{prefix}TYPE": "rest", f"{prefix}URI": url, f"{prefix}WAREHOUSE": str(tmp_path / "rest/warehouse")}
        listed = f'[{{type="iceberg-rest", name="company", uri="{url}"}}]'
        with sail(SAIL_CATALOG__LIST=listed) as address:
            found = on_spark(place, address, MESH_SPARK_CATALOG="company", **lake)
            assert {row["engine"].split(" ")[0] for row in found.values()} == {"Spark", "DuckDB"}
            said = on_spark(place, address, "--full", code=3, MESH_SPARK_CATALOG="other", **lake)
    assert "Spark cannot read its snapshot" in said
    assert "MESH_SPARK_CATALOG" in said


def test_a_rule_holds_back_the_same_rows(place: Place, spark: str):
    rule(place, {**CHEAP, "customProperties": HOLD})
    place.land("alpha", [sale(3, "0.50"), sale(4, "0.10")])
    first = on_spark(place, spark)[FACT]
    assert (first["engine"].split(" ")[0], first["rows"], first["held"]) == ("Spark", 2, 2)
    held = place.rows(f"{FACT}__held")
    again = place.build(FACT, full=True)[FACT]
    assert (again.engine, again.rows, again.held) == ("DuckDB", 2, 2)
    assert place.rows(f"{FACT}__held") == held


def test_what_blocks_a_table_blocks_it(place: Place, spark: str):
    on_spark(place, spark)
    place.land("alpha", [Sale(1)])
    before = place.snapshots(f"{FACT}")
    said = on_spark(place, spark, "--full", code=1)
    assert "the primary key (event_id) repeats" in said
    assert place.snapshots(FACT) == before


def test_the_state_that_is_read_is_the_one_that_is_recorded(place: Place, spark: str):
    """It has no column that was added since, which is null in the rows."""
    on_spark(place, spark)
    path = place.root / "domains" / "alpha" / "contracts" / "sales_alpha.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    note = {"name": "note", "logicalType": "string", "physicalType": "string", "description": "A.", "required": False}
    for shape in contract["schema"]:
        shape["properties"].append(note)
    contract["version"] = "1.1.0"
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    sql = "select r.event_id, r.item_id, r.buyer, r.note, s.warehouse_id as site_id, r.sold_at, r.amount\n"
    sql += "from alpha.sales_alpha__raw as r inner join mesh.sites as s on s.domain = 'alpha'\n"
    place.write("alpha/models/sales_alpha.sql", sql)
    evolve(place.catalog, place.mesh.contracts["alpha.sales_alpha"])
    built = on_spark(place, spark)
    assert built["alpha.sales_alpha"]["engine"].startswith("Spark ")
    assert place.rows("alpha.sales_alpha", "event_id", "note") == [("alpha-0001", None), ("alpha-0002", None)]
    table = place.catalog.load_table("alpha.sales_alpha")
    noted = read_provenance(table, table.current_snapshot().snapshot_id)
    assert noted is not None
    assert noted[1].engine == built["alpha.sales_alpha"]["engine"]
    assert noted[1].input_snapshots == {"alpha.sales_alpha__raw": place.snapshots("alpha.sales_alpha__raw")[-1]}


def test_what_is_committed_meanwhile_is_not_read(place: Place, spark: str):
    place.build("alpha.sales_alpha")
    # Spark's client takes `python -c` for doctests of its own.
    program = place.root / "meanwhile.py"
    program.write_text(MEANWHILE)
    words = [MESH.with_name("python"), program, place.root, place.root / ".mesh", spark]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "4"]


def test_changes_are_applied_by_duckdb_without_asking_spark(place: Place, spark: str):
    on_spark(place, spark, FACT)
    place.land("alpha", [Sale(3)])
    found = on_spark(place, "sc://127.0.0.1:9", FACT)
    assert {row["mode"] for row in found.values()} <= {"incremental", "noop"}
    assert place.rows(FACT, "event_id")[-1] == ("alpha-0003",)


def test_a_model_that_is_known_to_differ_or_cannot_be_written_stays_with_duckdb(place: Place, spark: str):
    place.write("core/models/dim_buyer.sql", ROUGH)
    entry = {"model": "dim_buyer", "rows": "edge", "kind": "rows", "expected": "never", "reason": "One cuts off."}
    place.write("core/parity.yaml", yaml.safe_dump({"parity": [entry]}))
    series = "select item_id, label from core.items\nunion all\nselect 'x', 'x' from range(1)\n"
    place.write("core/models/dim_item.sql", series)
    done = mesh_with_spark(place.root, place.root / ".mesh", "build", MESH_SPARK_REMOTE=spark)
    assert "core.dim_buyer: DuckDB ran its query: domains/core/parity.yaml:2 says that Spark" in done.stderr
    assert "core.dim_item: DuckDB ran its query: domains/core/models/dim_item.sql: cannot be written" in done.stderr
    assert done.stderr.count("DuckDB ran its query") == 2
    assert {row[1] for row in place.rows(BUYER, "buyer", "sales")} == {2}


def test_what_spark_refuses_is_not_committed(place: Place, spark: str):
    on_spark(place, spark)
    before = place.snapshots(BUYER)
    text = "select buyer, cast(left(buyer, 0) || '1.5' as bigint) as sales, cast(1 as decimal(18, 2)) as total"
    place.write("core/models/dim_buyer.sql", f"{text} from core.fact_sales\n")
    said = on_spark(place, spark, BUYER, code=1)
    assert "domains/core/models/dim_buyer.sql: Spark says: " in said
    assert "Nothing was committed. Mend the query or the input; or write the difference into parity.yaml" in said
    assert place.snapshots(BUYER) == before


def test_doctor_asks_spark(place: Place, spark: str):
    found = json_with_spark(place.root, place.root / ".mesh", "doctor", MESH_SPARK_REMOTE=f"{spark}/;user_id=hush")
    (row,) = [row for row in found if row["service"] == "spark"]
    assert (row["where"], row["ok"], row["says"].split(" ")[0]) == (f"{spark}/", True, "Spark")


def test_no_server_is_an_outage(place: Place):
    place.build()
    before = place.snapshots(BUYER)
    said = on_spark(place, "sc://127.0.0.1:9/;token=hush", "--full", code=3)
    assert "sc://127.0.0.1:9: no server answers" in said
    assert "hush" not in said
    assert place.snapshots(BUYER) == before


def test_a_server_that_dies_half_way_is_an_outage_and_the_next_build_goes_on(place: Place, spark: str):
    on_spark(place, spark)
    before = place.snapshots(BUYER)
    place.write("core/models/dim_buyer.sql", LONG.format(number=100_000))
    with sail(dies_after_s=4) as address:
        said = on_spark(place, address, BUYER, code=3)
    assert f"{address}: Spark has stopped answering" in said
    assert place.snapshots(BUYER) == before
    place.write("core/models/dim_buyer.sql", LONG.format(number=10))
    assert on_spark(place, spark, BUYER)[BUYER]["engine"].startswith("Spark ")
