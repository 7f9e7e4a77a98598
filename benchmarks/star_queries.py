"""What the mesh's views cost beside the bare Parquet files: five star-schema queries over ten million order lines.

The bare files are those of the very tables that the views show. A `__resolved` view also gives what the bare query
loses, the lines whose product is not listed; so it is held against the bare files asked for the same answer. Against
the query that loses lines it is shown, too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import duckdb
from mesh_platform.build.table import Builder
from mesh_platform.engine.sql import quoted
from mesh_platform.iceberg.snapshot_diff import all_files
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.query.session import open_session
from mesh_platform.settings import Settings
from mesh_platform.sql.model import read_models
from mesh_platform.sql.relations import create_schemas

from benchmarks.figures import Bench
from benchmarks.order_lines import publish_lines

LINES, FIRST, DAYS, TIMES, AT_MOST = 10_000_000, date(2025, 1, 1), 365, 7, 1.2
FACT = "logistics_core.fact_orders"
DIMENSIONS = [f"logistics_core.dim_{name}" for name in ("product", "warehouse", "date", "customer")]
_PRODUCT = "join logistics_core.dim_product as p using (product_id)"
_WAREHOUSE = "join logistics_core.dim_warehouse as w using (warehouse_id)"
_DATE = "join logistics_core.dim_date as d on d.date = f.order_date"
_CUSTOMER = "join logistics_core.dim_customer as c using (customer_id)"
QUERIES = {
    "revenue by month and region": f"""
        select w.region, date_trunc('month', f.order_ts) as month, sum(f.amount_usd) as revenue, count(*) as lines
        from {{fact}} as f {_WAREHOUSE} group by all order by all""",
    "top products of a quarter": f"""
        select p.product_name, sum(f.quantity) as units, sum(f.amount_usd) as revenue
        from {{fact}} as f {_PRODUCT} where f.order_date between date '2025-04-01' and date '2025-06-30'
        group by all order by revenue desc, product_name limit 10""",
    "categories by fiscal quarter": f"""
        select p.category, d.fiscal_year, d.fiscal_quarter, d.is_weekend, sum(f.amount_usd) as revenue
        from {{fact}} as f {_PRODUCT} {_DATE} group by all order by all""",
    "customers by country": f"""
        select w.country, c.order_count >= 200 as often, count(distinct f.customer_id) as customers,
            sum(f.amount_usd) as revenue
        from {{fact}} as f {_CUSTOMER} {_WAREHOUSE} group by all order by all""",
    "all dimensions": f"""
        select w.region, p.brand, d.month_name, c.home_warehouse_id, sum(f.quantity) as units
        from {{fact}} as f {_PRODUCT} {_WAREHOUSE} {_DATE} {_CUSTOMER} where f.status <> 'cancelled'
        group by all order by all""",
}


def measure(bench: Bench) -> None:
    """Each query on the bare files, through the view of the fact, and through that which resolves its references."""
    mesh = load_mesh(Path(__file__).parent.parent)
    with bench.scratch() as folder:
        catalog = open_catalog(Settings(root=mesh.root, state=folder))
        publish_lines(mesh, catalog, FIRST, DAYS, bench.size(LINES, 10_000))
        builder = Builder(mesh, catalog, read_models(mesh))
        for name in ("logistics_core.products", FACT, *DIMENSIONS):
            builder.build(name, False)
        # What a builder holds in memory is not to slow the queries down.
        del builder
        began = time.perf_counter()
        views = open_session(mesh, catalog)
        bench.add("star: open a session with all views", time.perf_counter() - began, "s")
        bare = duckdb.connect()
        bare.execute("SET TimeZone = 'UTC'")
        create_schemas(bare, mesh)
        for name in (FACT, *DIMENSIONS):
            files = [task.file.file_path for task in all_files(catalog.load_table(name))]
            bare.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet({files})")
        for name, query in QUERIES.items():
            runs = {
                "bare": _run(bare, query.format(fact=FACT)),
                "view": _run(views, query.format(fact=FACT)),
                "bare, resolved": _run(bare, query.format(fact=_resolved_by_hand(query))),
                "resolved": _run(views, query.format(fact=f"{FACT}__resolved")),
            }
            answers = {which: run()[1] for which, run in runs.items()}
            for one, other in (("view", "bare"), ("resolved", "bare, resolved")):
                assert answers[one] == answers[other], f"{name}: the {one} answers otherwise than its files"
            # In turns: what else the machine does then slows all of them down.
            took = [{which: run()[0] for which, run in runs.items()} for _ in range(TIMES)]
            seconds = {which: median(turn[which] for turn in took) for which in runs}
            for which in ("bare", "bare, resolved"):
                bench.add(f"star: {name}: {which}", seconds[which], "s")
            for figure, one, other, most in (
                ("view", "view", "bare", AT_MOST),
                ("resolved", "resolved", "bare, resolved", AT_MOST),
                ("resolved by bare", "resolved", "bare", None),
            ):
                ratio, against = seconds[one] / seconds[other], f"star: {name}: {other}"
                bench.ratio(f"star: {name}: {figure}", ratio, against, at_most=most)


def _resolved_by_hand(query: str) -> str:
    """The fact where what a dimension of `query` lacks is its unknown member."""
    keys = re.findall(r"using \((\w+)\)", query)
    lists = {key: f"(select {key} from logistics_core.dim_{key.removesuffix('_id')})" for key in keys}
    known = [f"case when {key} in {listed} then {key} else 'unknown' end as {key}" for key, listed in lists.items()]
    return f"(select * replace ({', '.join(known)}) from {FACT})"


def _run(connection: duckdb.DuckDBPyConnection, query: str) -> Callable[[], tuple[float, list[tuple[object, ...]]]]:
    def run() -> tuple[float, list[tuple[object, ...]]]:
        began = time.perf_counter()
        rows = connection.execute(query).fetchall()
        return time.perf_counter() - began, rows

    return run
