"""The two ways that people use today, each as its own guides show it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import pika
import pyarrow as pa
from mesh_platform.lake.catalog import CATALOG, arrow_schema, ensure_table
from mesh_platform.lake.tables import landing_name, landing_schema
from pydantic import BaseModel, ConfigDict, Field
from pyiceberg.catalog import load_catalog

from benchmarks.place import Place

_Price = Annotated[Decimal, Field(max_digits=12, decimal_places=2, ge=0)]


class _Payload(BaseModel):
    """The event of `north_warehouse.orders_north`."""

    model_config = ConfigDict(extra="forbid")
    order_id: str
    line_number: Annotated[int, Field(ge=1, le=1000)]
    customer_id: str
    product_id: str
    quantity: Annotated[int, Field(ge=1, le=100_000)]
    unit_price: _Price
    amount: _Price
    currency: Literal["CAD", "USD"]
    status: Literal["placed", "paid", "cancelled"]
    order_time: datetime


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid")
    event_id: Annotated[str, Field(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    event_type: Literal["order_created"]
    event_time: datetime
    producer: str
    schema_version: str
    payload: _Payload


def row_by_row(place: Place, queue: str, messages: int, in_flush: int) -> float:
    """Seconds from the queue to committed snapshots: pika's blocking connection, pydantic for each line, one append
    for each flush of `in_flush` messages, then the acknowledgement. Nothing is deduplicated, nothing synced to disk.
    """
    table_schema = landing_schema(place.contract)
    ensure_table(place.catalog, landing_name(place.contract), table_schema)
    plain = load_catalog(
        CATALOG, **{key: value for key, value in place.catalog.properties.items() if key != "py-io-impl"}
    )
    schema = arrow_schema(table_schema)
    begin = time.perf_counter()
    connection = pika.BlockingConnection(pika.URLParameters(place.broker))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=4 * in_flush)
    waiting: list[dict[str, object]] = []
    for got, (method, _properties, body) in enumerate(channel.consume(queue), start=1):
        for line in body.splitlines():
            event = _Event.model_validate_json(line)
            row = event.payload.model_dump()
            row |= {"event_id": event.event_id, "event_time": event.event_time, "ingested_at": datetime.now(UTC)}
            waiting.append(row | {"producer": event.producer, "schema_version": event.schema_version})
        if got % in_flush == 0 or got == messages:
            plain.load_table(landing_name(place.contract)).append(pa.Table.from_pylist(waiting, schema=schema))
            channel.basic_ack(method.delivery_tag, multiple=True)
            waiting.clear()
        if got == messages:
            break
    connection.close()
    return time.perf_counter() - begin


def dlt(folder: Path, loads: Sequence[Sequence[pa.Table]]) -> float:
    """Seconds that dlt takes to load Arrow tables into an Iceberg table on this disk, in so many loads."""
    # Slow to import; and it looks for its settings in the folder where it is called.
    import os

    os.environ["DLT_DATA_DIR"] = str(folder / "dlt")
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    import dlt as library

    pipeline = library.pipeline(
        "benchmark",
        destination=library.destinations.filesystem(f"file://{folder / 'lake'}"),
        dataset_name="benchmark",
        pipelines_dir=str(folder / "pipelines"),
    )
    seconds = 0.0
    for tables in loads:
        begin = time.perf_counter()
        pipeline.run(iter(tables), table_name="orders", table_format="iceberg", write_disposition="append")
        seconds += time.perf_counter() - begin
        loaded = pipeline.last_trace.last_normalize_info.row_counts["orders"]
        assert loaded == sum(table.num_rows for table in tables), f"dlt loaded {loaded} rows"
    return seconds
