"""Queues arrive, landing and quarantine tables leave: the one place where the exactly-once guarantee lives.

A message is acknowledged only after a durable snapshot holds each of its records, in the landing table or in the
quarantine. Whatever ends this process before that, the broker delivers again and the ids are recognised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from mesh_platform import faults
from mesh_platform.broker import Broker, Consumer, Delivery, queue_of
from mesh_platform.lake.append import Appended, append_new, nothing_refused, removed_keys
from mesh_platform.lake.catalog import ensure_table
from mesh_platform.lake.landing import (
    landing_name,
    landing_shape,
    rejected_name,
    rejected_shape,
    removed_name,
)
from mesh_platform.validator import Validated, validate

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.contract import Contract

FLUSH_LINES = 100_000
FLUSH_BYTES = 64 * 1024 * 1024
FLUSH_SECONDS = 2.0
PREFETCH = 2_000
_RECEIVE = 200

# Hears how many records were written, after each flush.
Progress = Callable[[int], None]


@dataclass
class Ingested:
    """One product's run. Every delivered record is counted once:

    deliveries = appended + quarantined + duplicates + dead_lettered + returned.

    `dead_lettered` counts the messages that the broker gave up on meanwhile.
    """

    table: str
    snapshot_id: int | None = None
    deliveries: int = 0
    appended: int = 0
    quarantined: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    returned: int = 0


@dataclass
class _Lane:
    """One product between its queue and its tables: what was received and is not written yet."""

    contract: Contract
    catalog: Catalog
    consumer: Consumer
    now: Callable[[], datetime]
    result: Ingested
    waiting: list[Delivery] = field(default_factory=list)
    taken: int = 0
    lines: int = 0
    size: int = 0
    since: float = 0.0

    def receive(self, timeout: float) -> bool:
        """Take what is there; whether anything was."""
        deliveries = self.consumer.receive(_RECEIVE, timeout)
        if deliveries and not self.waiting:
            self.since = time.monotonic()
        self.waiting += deliveries
        self.taken += len(deliveries)
        self.lines += sum(delivery.body.count(b"\n") + 1 for delivery in deliveries)
        self.size += sum(len(delivery.body) for delivery in deliveries)
        return bool(deliveries)

    def full(self) -> bool:
        """Whether a flush is due."""
        old = bool(self.waiting) and time.monotonic() - self.since >= FLUSH_SECONDS
        return old or self.lines >= FLUSH_LINES or self.size >= FLUSH_BYTES or len(self.waiting) >= PREFETCH

    def flush(self) -> int:
        """Write what waits, then acknowledge it; how many records."""
        if not self.waiting:
            return 0
        faults.point("ingest.received")
        validated = validate(self.contract, self.waiting, self.now())
        faults.point("ingest.validated")
        write(self.catalog, self.contract, validated, self.result)
        half = len(self.waiting) // 2
        self.consumer.ack(self.waiting[:half])
        faults.point("ingest.acknowledged")
        self.consumer.ack(self.waiting[half:])
        self.waiting, self.lines, self.size = [], 0, 0
        return validated.lines


def ingest(
    catalog: Catalog,
    broker: Broker,
    contracts: Sequence[Contract],
    now: Callable[[], datetime],
    *,
    until_empty: bool = False,
    max_seconds: float | None = None,
    dead_letters: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    progress: Progress = lambda records: None,
) -> list[Ingested]:
    """Consume the products' queues until `stopped`, until all are empty, or for `max_seconds`.

    `now` is the clock that event times are held against. With `dead_letters` the dead-letter queues are consumed
    instead. Raises Unavailable where broker or lake stay away, NeedsAttention where a table does not match its
    contract; nothing unwritten is acknowledged then.
    """
    queues = [queue_of(contract) for contract in contracts]
    broker.declare(queues)
    end = time.monotonic() + max_seconds if max_seconds is not None else None

    def over() -> bool:
        return stopped() or (end is not None and time.monotonic() >= end)

    results = [Ingested(landing_name(contract)) for contract in contracts]
    names = [queue.dead_letter if dead_letters else queue.name for queue in queues]
    for contract in contracts:
        _ensure(catalog, contract)
    given_up = [broker.depth(queue.dead_letter) for queue in queues]
    if until_empty:
        # One after the other keeps flushes large.
        for contract, name, result in zip(contracts, names, results, strict=True):
            there = broker.depth(name)
            with broker.consume(name, PREFETCH) as consumer:
                lane = _Lane(contract, catalog, consumer, now, result)
                # What was there is on its way; beyond that, a moment is enough to see that nothing comes.
                while not over() and (
                    lane.receive(0.5 if lane.taken < there else 0.02) or lane.waiting or broker.depth(name)
                ):
                    if lane.full() or not lane.receive(0.0):
                        progress(lane.flush())
                result.returned = lane.lines
                result.deliveries += lane.lines
    else:
        _run_lanes(catalog, broker, contracts, names, results, now, over, progress)
    for result, queue, before in zip(results, queues, given_up, strict=True):
        # Of a dead-letter queue that is consumed there can only be fewer.
        result.dead_lettered = max(0, broker.depth(queue.dead_letter) - before)
        result.deliveries += result.dead_lettered
    return results


def _run_lanes(
    catalog: Catalog,
    broker: Broker,
    contracts: Sequence[Contract],
    names: Sequence[str],
    results: Sequence[Ingested],
    now: Callable[[], datetime],
    over: Callable[[], bool],
    progress: Progress,
) -> None:
    with ExitStack() as stack:
        lanes = [
            _Lane(contract, catalog, stack.enter_context(broker.consume(name, PREFETCH)), now, result)
            for contract, name, result in zip(contracts, names, results, strict=True)
        ]
        while not over():
            for lane in lanes:
                lane.receive(0.5 / len(lanes))
                if lane.full():
                    progress(lane.flush())
        for lane in lanes:
            progress(lane.flush())


def replay_rejected(catalog: Catalog, contracts: Sequence[Contract], now: Callable[[], datetime]) -> list[Ingested]:
    """Send what is in the quarantine through again: what the contract now takes goes to the landing table.

    The quarantine keeps its rows as a record; what still fails counts as quarantined.
    """
    results = []
    for contract in contracts:
        _ensure(catalog, contract)
        result = Ingested(landing_name(contract))
        table = ensure_table(catalog, rejected_name(contract), rejected_shape(contract))
        columns = ("raw", "message_id", "raw_bytes")
        for batch in table.scan(selected_fields=columns).to_arrow().to_batches(max_chunksize=FLUSH_LINES):
            rows = batch.to_pylist()
            deliveries = [
                Delivery(row["raw"], row["message_id"], 0, True)
                for row in rows
                if row["raw_bytes"] == len(row["raw"])
            ]
            validated = validate(contract, deliveries, now())
            landed = _land(catalog, contract, validated)
            result.snapshot_id = landed.snapshot_id
            result.deliveries += len(rows)
            result.appended += landed.appended
            result.duplicates += landed.duplicates
            result.quarantined += len(rows) - landed.appended - landed.duplicates
        results.append(result)
    return results


def write(catalog: Catalog, contract: Contract, validated: Validated, result: Ingested) -> None:
    """Make every record durable, in the landing table or in the quarantine, and count it in `result`."""
    landed = _land(catalog, contract, validated)
    faults.point("ingest.landed")
    refused = append_new(
        lambda: ensure_table(catalog, rejected_name(contract), rejected_shape(contract)),
        validated.rejected,
        "rejection_key",
        None,
        nothing_refused,
    )
    faults.point("ingest.quarantined")
    result.snapshot_id = landed.snapshot_id
    result.deliveries += validated.lines
    result.appended += landed.appended
    result.quarantined += refused.appended
    result.duplicates += landed.duplicates + refused.duplicates


def _land(catalog: Catalog, contract: Contract, validated: Validated) -> Appended:
    return append_new(
        lambda: ensure_table(catalog, landing_name(contract), landing_shape(contract)),
        validated.accepted,
        "event_id",
        "event_time",
        removed_keys(catalog, removed_name(contract)),
    )


def _ensure(catalog: Catalog, contract: Contract) -> None:
    ensure_table(catalog, landing_name(contract), landing_shape(contract))
    ensure_table(catalog, rejected_name(contract), rejected_shape(contract))
