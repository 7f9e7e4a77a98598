"""Order lines in bulk: how many and of which days arrive; tables of the four warehouses have them.

What `mesh ingest` or `mesh build` would have committed, written by the platform's own commit: sorted by time as they
come, a file for each partition of a commit. They are synthetic, and as long and as varied as the simulated company's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import duckdb
import pyarrow as pa
from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.engine.duckdb import connect
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import Mesh
from pyiceberg.catalog import Catalog

WAREHOUSES = ("north", "south", "east", "west")
_PRODUCTS, _CUSTOMERS = 120, 9000
# As acme_world has it: 2 % of events come 1 to 3 days late, one line in a thousand is of a product not listed yet.
LATE, LATE_DAYS, NEWCOMERS = 0.02, 3, 1000
_DAY_MS = 86_400_000
_DAYS_A_COMMIT = 30


def land_lines(
    mesh: Mesh, catalog: Catalog, first: date, days: int, lines: int, salt: str, late: float = 0.0
) -> None:
    """Append `lines` order lines to the landing tables, spread over `days` days from `first`.

    `late` of them happened 1 to 3 days earlier. `salt` keeps ids apart from those of other calls.
    """
    table_schemas = {
        warehouse: (landing_name(contract), landing_schema(contract))
        for warehouse, contract in _contracts(mesh).items()
    }
    _fill(catalog, table_schemas, first, days, lines, salt, late)


def publish_lines(mesh: Mesh, catalog: Catalog, first: date, days: int, lines: int) -> None:
    """Append `lines` order lines to the products, which other tables are built from."""
    table_schemas = {
        warehouse: (contract.identifier, contract.table) for warehouse, contract in _contracts(mesh).items()
    }
    _fill(catalog, table_schemas, first, days, lines, "published", 0.0)


def _contracts(mesh: Mesh) -> dict[str, Contract]:
    return {warehouse: mesh.contracts[f"{warehouse}_warehouse.orders_{warehouse}"] for warehouse in WAREHOUSES}


def _fill(
    catalog: Catalog,
    table_schemas: Mapping[str, tuple[str, TableSchema]],
    first: date,
    days: int,
    lines: int,
    salt: str,
    late: float,
) -> None:
    connection = connect(catalog.properties)
    for warehouse, (name, table_schema) in table_schemas.items():
        schema = arrow_schema(table_schema)
        for begin, count, rows in _pieces(first, days, lines // len(table_schemas)):
            made = _draw(connection, warehouse, begin, count, rows, salt, late)
            append_rows(ensure_table(catalog, name, table_schema), made.select(schema.names).cast(schema))


def _pieces(first: date, days: int, lines: int) -> Iterator[tuple[date, int, int]]:
    """What one commit brings: its first day, its days and its lines."""
    for at in range(0, days, _DAYS_A_COMMIT):
        count = min(_DAYS_A_COMMIT, days - at)
        yield first + timedelta(days=at), count, lines * (at + count) // days - lines * at // days


def _draw(
    connection: duckdb.DuckDBPyConnection, warehouse: str, first: date, days: int, lines: int, salt: str, late: float
) -> pa.Table:
    """Lines in the columns of all warehouses' events and products."""
    region = warehouse.upper()
    seed = f"'{salt}{region}{first}'"
    begin = (first - date(1970, 1, 1)).days * _DAY_MS
    zone = "America/New_York"
    return connection.execute(
        f"""
        WITH drawn AS (
            SELECT i, hash(i, {seed}) AS h, hash(i, {seed}, 1) AS h2, hash(i // 2, {seed}, 2) AS o,
                {begin} + (i * {days * _DAY_MS} // {max(lines, 1)})::BIGINT AS ms_now
            FROM range({lines}) AS r (i)
        ), timed AS (
            SELECT *, ms_now - CASE WHEN (h2 >> 20) % 100000 < {round(late * 100000)}
                THEN (1 + (h2 >> 50) % {LATE_DAYS})::BIGINT * {_DAY_MS} ELSE 0 END AS ms
            FROM drawn
        ), sold AS (
            SELECT *, make_timestamptz(ms * 1000) AS event_time, 1 + (h % 7 = 0)::INT + h % 3 AS quantity,
                CAST(5 + (h >> 8) % {_PRODUCTS} * 3.7 AS DECIMAL(12, 2)) AS unit_price,
                -- The smaller of two draws: some buy more than others.
                1 + least(o % {_CUSTOMERS}, (o >> 32) % {_CUSTOMERS}) AS customer
            FROM timed
        )
        SELECT
            printf('%08x-%04x-7%03x-8%03x-%012x', ms >> 16, ms & 65535, h2 & 4095, (h2 >> 12) & 4095, h >> 16)
                AS event_id,
            event_time,
            printf('{region}-%s-%06d', strftime(event_time, '%Y%m%d'), i // 2) AS order_id,
            (1 + i % 2)::INT AS line_number,
            printf('C-{region}-%05d', customer) AS customer_id,
            customer_id AS client_no,
            CASE WHEN (h >> 32) % {NEWCOMERS} = 0 THEN 'P-9001'
                ELSE printf('P-%04d', 1 + (h >> 8) % {_PRODUCTS}) END AS product_id,
            quantity::INT AS quantity,
            unit_price,
            CAST(quantity * unit_price AS DECIMAL(12, 2)) AS amount,
            '{"CAD" if warehouse == "north" else "USD"}' AS currency,
            CASE WHEN h % 100 < 14 THEN 'placed' WHEN h % 100 < 97 THEN 'paid' ELSE 'cancelled' END AS status,
            {"timezone('" + zone + "', event_time)" if warehouse == "east" else "event_time"} AS order_time,
            ['standard', 'silver', 'gold', 'platinum'][(1 + customer % 4)::INT] AS loyalty_tier,
            'benchmark' AS producer,
            '1.0.0' AS schema_version,
            make_timestamptz(ms_now * 1000 + 2000000) AS ingested_at,
            'WH-{region}' AS warehouse_id,
            event_time AS order_ts,
            unit_price AS unit_price_usd,
            amount AS amount_usd
        FROM sold
        """
    ).to_arrow_table()
