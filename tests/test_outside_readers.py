"""Plain pyiceberg, plain DuckDB and polars read the tables with no line of the platform in between."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import State

CATALOG = """
import json, sys
from pyiceberg.catalog import load_catalog
table = load_catalog("mesh").load_table("logistics_core.fact_orders")
"""
PYICEBERG = """
import pyarrow.compute as pc
rows = table.scan().to_arrow()
print(json.dumps([rows.num_rows, pc.sum(rows["quantity"]).as_py(), str(pc.sum(rows["amount_usd"]).as_py())]))
"""
# DuckDB needs its extension; the wheels carry it for a machine without a network.
DUCKDB = """
import duckdb
from pathlib import Path
connection = duckdb.connect()
for name in ("avro", "iceberg"):
    package = __import__(f"duckdb_extension_{name}")
    (file,) = Path(package.__file__).parent.rglob("*.duckdb_extension")
    connection.execute(f"load '{file}'")
totals = "count(*), sum(quantity)::bigint, sum(amount_usd)::varchar"
sql = f"select {totals} from iceberg_scan('{table.metadata_location}')"
print(json.dumps(connection.execute(sql).fetchone()))
"""
POLARS = """
import polars
totals = (polars.len(), polars.sum("quantity"), polars.sum("amount_usd"))
rows = polars.scan_iceberg(table).select(*totals).collect().row(0)
print(json.dumps([rows[0], rows[1], str(rows[2])]))
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, make_state: Callable[..., State]) -> State:
    state = make_state(tmp_path_factory.mktemp("outside") / "state")
    state.json("run", "--days", 6)
    # A second run makes a second snapshot and more files.
    state.json("run")
    return state


@pytest.mark.slow
@pytest.mark.parametrize("reader", [PYICEBERG, DUCKDB, POLARS], ids=["pyiceberg", "duckdb", "polars"])
def test_an_outside_reader_sees_the_same_totals(filled: State, reader: str) -> None:
    sql = "select count(*)::int as n, sum(quantity)::int as q, sum(amount_usd) as usd from logistics_core.fact_orders"
    (expected,) = filled.json("query", sql)
    assert _read(filled, reader) == [expected["n"], expected["q"], expected["usd"]]


@pytest.mark.slow
def test_columns_are_described_for_outside_readers(filled: State) -> None:
    described = "print(json.dumps([[f.name, f.doc] for f in table.schema().fields] + [table.format_version]))"
    *fields, version = _read(filled, described)
    assert version == 2
    assert all(doc for _, doc in fields)


def _read(state: State, code: str) -> Any:
    environment = {k: v for k, v in state.environment.items() if not k.startswith("MESH_")}
    environment |= {
        "PYICEBERG_CATALOG__MESH__URI": f"sqlite:///{state.folder}/catalog.db",
        "PYICEBERG_CATALOG__MESH__WAREHOUSE": Path(state.folder, "warehouse").as_uri(),
    }
    program = f"{CATALOG}{code}\nassert not any(name.startswith('mesh_platform') for name in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
