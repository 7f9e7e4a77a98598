"""What it costs an incremental build that a key is unique in the whole table, where it does not tell the partition.

Two tables have the same order lines, partitioned by month. The key of one holds the day, so that its month is the
only place to look for it. The key of the other is a random number of 20 characters: it may be in any month, and no
bounds rule a file out.
"""

from __future__ import annotations

import resource
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import yaml
from mesh_platform.build.build import build
from mesh_platform.engine.duckdb import connect
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import Settings

from benchmarks.figures import Bench

ROWS, FIRST, DAYS = 5_000_000, date(2025, 1, 1), 350
SHARE, TIMES, AT_MOST = 0.01, 8, 1.8
_DAY_US = 86_400_000_000
_COLUMNS = {
    "order_no": ("string", "string"),
    "product_id": ("string", "string"),
    "customer_id": ("string", "string"),
    "quantity": ("integer", "int"),
    "amount": ("number", "decimal(12,2)"),
    "ordered_at": ("timestamp", "timestamptz"),
    "ordered_on": ("date", "date"),
}
# Tables, by what is in their key and what makes their partitions. The first is also what is sent.
_TABLES = {
    "scattered": (("order_no",), "month(ordered_at)"),
    "dated": (("order_no", "ordered_on"), "month(ordered_on)"),
}


def measure(bench: Bench) -> None:
    """The CPU of incremental builds of both tables, in turns."""
    rows, newest = bench.size(ROWS, 10_000), FIRST + timedelta(days=DAYS)
    spent: dict[str, list[float]] = {name: [] for name in _TABLES}
    with bench.scratch() as folder:
        write_mesh(folder)
        mesh = load_mesh(folder)
        catalog = open_catalog(Settings(root=folder, state=folder / "state"))
        landing = mesh.contracts["shop.scattered"]
        table_schema = landing_schema(landing)

        def land(first: date, days: int, count: int, salt: str) -> None:
            schema = arrow_schema(table_schema)
            made = draw(first, days, count, salt).select(schema.names).cast(schema)
            append_rows(ensure_table(catalog, landing_name(landing), table_schema), made)

        for begin in range(0, DAYS, 50):
            land(FIRST + timedelta(days=begin), 50, rows // (DAYS // 50), f"old {begin}")
        build(mesh, catalog)
        for number in range(TIMES + 1):
            land(newest, 1, round(rows * SHARE), f"new {number}")
            newest += timedelta(days=1)
            # Who comes first opens what was landed first.
            for name in list(_TABLES)[:: 1 if number % 2 else -1]:
                began = _cpu()
                done = build(mesh, catalog, [f"shop.{name}"])
                spent[name].append(_cpu() - began)
                assert done[-1].mode == "incremental", f"{name} was built by {done[-1].mode}"
    # The first of them reads all keys, once, to index them.
    bench.add("incremental build, scattered key: CPU of the first", spent["scattered"][0], "s")
    took = {name: median(each[1:]) for name, each in spent.items()}
    for name, each in took.items():
        bench.add(f"incremental build, {name} key: CPU", each, "s")
    # Decision 0020 says why this is more than the look-up alone.
    ratio = took["scattered"] / took["dated"]
    bench.ratio("incremental build, scattered key", ratio, against="dated key", at_most=AT_MOST)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def draw(first: date, days: int, count: int, salt: str, customers: int = 9000) -> pa.Table:
    """Draw `count` order lines of so many days from `first` on, evenly, of random customers."""
    begin = (first - date(1970, 1, 1)).days * _DAY_US
    query = f"""
        SELECT printf('%08x-%04x-7%03x-8%03x-%012x', us // 1000 >> 16, us // 1000 & 65535, h & 4095, h >> 12 & 4095,
                h >> 16) AS event_id,
            make_timestamptz(us) AS event_time, md5('{salt}' || i)[:20] AS order_no,
            printf('P-%04d', h % 120) AS product_id, printf('C-%06d', h % {customers}) AS customer_id,
            (1 + h % 4)::INT AS quantity, CAST(5 + h % 900 AS DECIMAL(12, 2)) AS amount, event_time AS ordered_at,
            event_time::DATE AS ordered_on, 'benchmark' AS producer, '1.0.0' AS schema_version,
            event_time AS ingested_at
        FROM (
            SELECT i, hash(i, '{salt}') AS h, {begin} + i * {days * _DAY_US} // {count} AS us
            FROM range({count}) AS r (i)
        )
    """
    return connect({}).execute(query).to_arrow_table()


def write_mesh(root: Path) -> None:
    """Write a mesh with both tables below `root`."""
    domain = root / "domains/shop"
    for folder in ("contracts", "models"):
        (domain / folder).mkdir(parents=True)
    site = {"warehouse_id": "WH-SHOP", "name": "Shop", "region": "north", "city": "X", "country": "US"}
    site |= {"time_zone": "UTC", "currency": "USD", "opened_on": FIRST}
    about = {"name": "shop", "kind": "source-aligned", "description": "A shop.", "site": site}
    (domain / "domain.yaml").write_text(yaml.safe_dump(about))
    owners = dict.fromkeys(("team", "steward", "contact", "on_call"), "benchmark")
    (domain / "owners.yaml").write_text(yaml.safe_dump(owners))
    for name, (key, partition) in _TABLES.items():
        (domain / f"models/{name}.sql").write_text(f"SELECT {', '.join(_COLUMNS)} FROM shop.scattered__raw\n")
        schema = [_schema(name, "table", {"property": "mesh.partition", "value": [partition]}, key)]
        if name == "scattered":
            schema.insert(0, _schema("sent", "event", {"property": "mesh.eventTime", "value": "ordered_at"}, ()))
        contract = {
            "apiVersion": "v3.1.0",
            "kind": "DataContract",
            "id": f"urn:shop:{name}",
            "name": name,
            "version": "1.0.0",
            "status": "active",
            "domain": "shop",
            "description": {"purpose": "Order lines."},
            "schema": schema,
            "slaProperties": [{"property": "freshness", "value": 24, "unit": "h", "element": f"{name}.ordered_at"}],
        }
        (domain / f"contracts/{name}.odcs.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))


def _schema(name: str, kind: str, custom: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    properties = [
        {"name": column, "logicalType": logical, "physicalType": physical, "description": "A column."}
        | {"required": True, "primaryKey": column in key}
        for column, (logical, physical) in _COLUMNS.items()
    ]
    about = {"name": name, "physicalType": kind, "description": "A row.", "customProperties": [custom]}
    return about | {"properties": properties}
