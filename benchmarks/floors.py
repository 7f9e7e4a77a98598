"""What nothing can be faster than: each part of the way of an event alone, done with as little as it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pika
import pyarrow as pa
import pyarrow.json
from mesh_platform.broker import Message
from mesh_platform.contract.contract import Contract
from mesh_platform.events.event import ENVELOPE
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import ensure_table
from mesh_platform.lake.tables import landing_name, landing_schema

from benchmarks.place import Place

FLUSH = 100_000
_KIB = 1024


def consume(url: str, queue: str, messages: int, in_flush: int) -> float:
    """Seconds to receive so many messages that wait in the queue, and to acknowledge them, `in_flush` at a time."""
    begin = time.perf_counter()
    got = 0

    def on_message(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        nonlocal got
        got += 1
        if got % in_flush == 0 or got == messages:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if got == messages:
            channel.connection.close()

    def on_channel(channel: Any) -> None:
        channel.basic_qos(prefetch_count=4 * in_flush)
        channel.basic_consume(queue, on_message)

    connection = pika.SelectConnection(
        pika.URLParameters(url),
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    return time.perf_counter() - begin


def parse(contract: Contract, messages: Sequence[Message], in_flush: int) -> dict[str, float]:
    """Seconds to read all messages with Arrow, a flush at a time, by how many threads in pieces of which size."""
    assert contract.event is not None
    payload = pa.struct([pa.field(field.name, field.type.wire) for field in contract.event.fields])
    schema = pa.schema([pa.field(name, payload if name == "payload" else pa.string()) for name in ENVELOPE])
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    seconds = {}
    for name, threads, size in (
        ("1 thread, whole flush", False, None),
        ("1 thread, 4 MiB", False, 4096 * _KIB),
        ("all threads, 1 MiB", True, 1024 * _KIB),
        ("all threads, 4 MiB", True, 4096 * _KIB),
    ):
        begin = time.perf_counter()
        for start in range(0, len(messages), in_flush):
            body = b"\n".join([message.body for message in messages[start : start + in_flush]])
            reading = pa.json.ReadOptions(use_threads=threads, block_size=size or len(body) + 64)
            pa.json.read_json(pa.BufferReader(body), read_options=reading, parse_options=options)
        seconds[name] = time.perf_counter() - begin
    return seconds


def append(place: Place, rows: pa.Table) -> float:
    """Seconds to append rows that are known to be new and valid, partitioned and synced, a flush at a time."""
    table_schema = landing_schema(place.contract)
    ensure_table(place.catalog, landing_name(place.contract), table_schema)
    begin = time.perf_counter()
    for start in range(0, rows.num_rows, FLUSH):
        table = place.catalog.load_table(landing_name(place.contract))
        append_rows(table, rows.slice(start, FLUSH))
    return time.perf_counter() - begin
