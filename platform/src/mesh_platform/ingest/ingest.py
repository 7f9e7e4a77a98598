"""Queues arrive, landing and quarantine tables leave: the one place where the exactly-once guarantee lives.

A message is acknowledged only after a durable snapshot holds each of its records, in the landing table or in the
quarantine. Whatever ends this process before that, the broker delivers again and the ids are recognised.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from mesh_platform import faults
from mesh_platform.broker import Broker, Consumer, Delivery, Queue, queue_of
from mesh_platform.iceberg.append import Appended, append_new
from mesh_platform.iceberg.keys import KnownKeys
from mesh_platform.ingest.validator import Validated, reject_reused, validate
from mesh_platform.lake.catalog import ensure_table
from mesh_platform.lake.ledger import removed_keys
from mesh_platform.lake.tables import (
    landing_name,
    landing_shape,
    rejected_name,
    rejected_shape,
    removed_name,
)

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.contract.contract import Contract

log = logging.getLogger(__name__)

# Receive no more at a time, so that the first messages of a long queue are looked at soon.
_RECEIVE = 2_000
# `Limits.bytes` is what holds. AMQP counts these in 16 bits.
_PREFETCH = 48_000
_PAUSE = 0.01
# Seconds. A thread that calls Arrow waits so long, at each call, for one that reads from the broker; by itself 5 ms.
_SWITCH = 0.001
# However many queues there are, each has room for so much.
_LEAST_BYTES = 4 * 1024 * 1024
# Nothing came for so long, though the queue is not empty: another process may hold the rest.
_QUIET = 0.5

# A commit costs with each snapshot of its table, so a table that is written to all day is tended all day.
TEND_EVERY = 20

# Hears how many records were written, after each flush.
Progress = Callable[[int], None]
# Has the table of that name tended; whether it could begin.
Tend = Callable[[str], bool]


@dataclass(frozen=True)
class Limits:
    """When what was received is written: at so many records, so many bytes, or after so many seconds.

    In `bytes`, four times as much may be in memory at once: received, at the writer, and on its way from the broker.
    """

    lines: int = 100_000
    bytes: int = 48 * 1024 * 1024
    seconds: float = 2.0


@dataclass
class Ingested:
    """One product's run. Every delivered record is counted once:

    deliveries = appended + quarantined + duplicates + dead_lettered + returned.

    `dead_lettered` counts the messages that the broker gave up on meanwhile. A run that ends writes what was
    delivered to it, so that it returns nothing.
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
    """One product between its queue and the writer: what was received and is not handed over yet."""

    contract: Contract
    consumer: Consumer
    limits: Limits
    result: Ingested
    waiting: list[Delivery] = field(default_factory=list)
    lines: int = 0
    size: int = 0
    since: float = 0.0
    last: float = 0.0

    def receive(self, timeout: float) -> int:
        """Take what is there; how many messages that was."""
        deliveries = self.consumer.receive(max(1, min(_RECEIVE, self.limits.lines - self.lines)), timeout)
        if deliveries:
            self.last = time.monotonic()
            self.since = self.since if self.waiting else self.last
        self.waiting += deliveries
        self.lines += sum(delivery.body.count(b"\n") + 1 for delivery in deliveries)
        self.size += sum(len(delivery.body) for delivery in deliveries)
        return len(deliveries)

    def full(self) -> bool:
        """Whether nothing more should be received before what waits is handed over."""
        is_long = self.lines >= self.limits.lines or self.size >= self.limits.bytes
        # The broker sends no more than it may before something is acknowledged: one part waits here, one is at the
        # writer, and one may be on its way.
        return is_long or len(self.waiting) >= _PREFETCH // 3

    def old(self) -> bool:
        """Whether something has waited for long enough."""
        return bool(self.waiting) and time.monotonic() - self.since >= self.limits.seconds

    def take(self) -> list[Delivery]:
        """What waits; nothing waits then."""
        waiting, self.waiting, self.lines, self.size = self.waiting, [], 0, 0
        return waiting


class _Writer:
    """Writes one flush on a thread of its own, while the next is received and validated."""

    def __init__(self, catalog: Catalog, now: Callable[[], datetime], progress: Progress, tend: Tend) -> None:
        self._tend = tend
        self._untended: Counter[str] = Counter()
        self._catalog = catalog
        self._now = now
        self._progress = progress
        self._known = KnownKeys()
        self._thread = ThreadPoolExecutor(1, "writer")
        self._pending: Future[int] | None = None

    def busy(self) -> bool:
        """Whether a flush is being written."""
        return self._pending is not None and not self._pending.done()

    def hand_over(self, lane: _Lane) -> None:
        """Validate what waits in the lane, and write it after the flush before. Raises what that one met."""
        deliveries = lane.take()
        if not deliveries:
            return
        faults.point("ingest.received")
        validated = validate(lane.contract, deliveries, self._now())
        faults.point("ingest.validated")
        self.wait()
        self._pending = self._thread.submit(self._write, lane, deliveries, validated)

    def wait(self) -> None:
        """Until all that was handed over is written and acknowledged. Raises what stopped it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._progress(pending.result())

    def _write(self, lane: _Lane, deliveries: list[Delivery], validated: Validated) -> int:
        before = lane.result.quarantined
        write(self._catalog, lane.contract, validated, lane.result, self._known)
        half = len(deliveries) // 2
        lane.consumer.ack(deliveries[:half])
        faults.point("ingest.acknowledged")
        lane.consumer.ack(deliveries[half:])
        written = [landing_name(lane.contract)]
        if lane.result.quarantined > before:
            written.append(rejected_name(lane.contract))
        for table in written:
            self._untended[table] += 1
            if self._untended[table] >= TEND_EVERY and self._tend(table):
                self._untended[table] = 0
        return validated.lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # Before the consumers close: what is being written can still be acknowledged.
        self._thread.shutdown()


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
    limits: Limits | None = None,
    tend: Tend = lambda table: True,
) -> list[Ingested]:
    """Consume the products' queues until `stopped`, until all are empty, or for `max_seconds`.

    After every `TEND_EVERY` flushes to a table its name is given to `tend`, which must not take long. `now` is the
    clock that event times are held against. With `dead_letters` the dead-letter queues are consumed instead. Raises
    Unavailable where broker or lake stay away, NeedsAttention where a table does not match its contract; nothing
    unwritten is acknowledged then.
    """
    queues = [queue_of(contract) for contract in contracts]
    # What waits is taken, however the queue was made.
    for unfit in broker.declare_to_consume(queues):
        log.warning("%s", unfit)
    end = time.monotonic() + max_seconds if max_seconds is not None else None

    def over() -> bool:
        return stopped() or (end is not None and time.monotonic() >= end)

    given_up = [broker.depth(queue.dead_letter) for queue in queues]
    limits = limits or Limits()
    # Drained one after the other, a queue has the memory for itself.
    shared = limits.bytes if until_empty else max(min(limits.bytes, _LEAST_BYTES), limits.bytes // len(contracts))

    # Left in this order: what is being written can still be acknowledged.
    with _quick_switches(), ExitStack() as consumers, _Writer(catalog, now, progress, tend) as writer:

        def open_lane(contract: Contract, queue: Queue) -> _Lane:
            ensure_tables(catalog, contract)
            name = queue.dead_letter if dead_letters else queue.name
            consumer = consumers.enter_context(broker.consume(name, _PREFETCH, shared))
            return _Lane(contract, consumer, replace(limits, bytes=shared), Ingested(landing_name(contract)))

        opened = map(open_lane, contracts, queues)
        lanes = _drain(opened, writer, over) if until_empty else _follow(list(opened), writer, over)
        for lane in lanes:
            lane.consumer.stop()
            while lane.receive(1.0):
                if lane.full():
                    writer.hand_over(lane)
            writer.hand_over(lane)
        writer.wait()
    for lane, queue, before in zip(lanes, queues, given_up, strict=True):
        # Of a dead-letter queue that is consumed there can only be fewer.
        lane.result.dead_lettered = max(0, broker.depth(queue.dead_letter) - before)
        lane.result.deliveries += lane.result.dead_lettered
    return [lane.result for lane in lanes]


@contextmanager
def _quick_switches() -> Iterator[None]:
    """In the block, threads take turns more often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _drain(opened: Iterable[_Lane], writer: _Writer, over: Callable[[], bool]) -> list[_Lane]:
    """Empty one queue after the other, which keeps flushes large; then those to which something came back."""
    lanes: list[_Lane] = []
    for lane in opened:
        lanes.append(lane)
        _empty(lane, writer, over)
    writer.wait()
    while not over() and (left := [lane for lane in lanes if not lane.consumer.is_empty()]):
        for lane in left:
            _empty(lane, writer, over)
        writer.wait()
    return lanes


def _empty(lane: _Lane, writer: _Writer, over: Callable[[], bool]) -> None:
    while not over():
        came = lane.receive(_PAUSE)
        if lane.full():
            writer.hand_over(lane)
        elif not came and lane.consumer.is_empty():
            break
        elif not came and time.monotonic() - lane.last >= _QUIET and not writer.busy():
            # It may also wait for what this one holds.
            writer.hand_over(lane)
        elif came < _RECEIVE:
            time.sleep(_PAUSE)
    writer.hand_over(lane)


def _follow(lanes: list[_Lane], writer: _Writer, over: Callable[[], bool]) -> list[_Lane]:
    """Take what comes from all queues, each flush as large as the writer leaves time for."""
    while not over():
        for lane in lanes:
            while not lane.full() and lane.receive(0.0) >= _RECEIVE:
                pass
            if lane.full() or (lane.old() and not writer.busy()):
                writer.hand_over(lane)
        time.sleep(_PAUSE)
    return lanes


def replay_rejected(catalog: Catalog, contracts: Sequence[Contract], now: Callable[[], datetime]) -> list[Ingested]:
    """Send what is in the quarantine through again: what the contract now takes goes to the landing table.

    The quarantine keeps its rows as a record; what still fails counts as quarantined.
    """
    results = []
    known = KnownKeys()
    for contract in contracts:
        ensure_tables(catalog, contract)
        result = Ingested(landing_name(contract))
        table = ensure_table(catalog, rejected_name(contract), rejected_shape(contract))
        columns = ("raw", "message_id", "raw_bytes")
        for batch in table.scan(selected_fields=columns).to_arrow_batch_reader():
            rows = batch.to_pylist()
            deliveries = [
                Delivery(row["raw"], row["message_id"], 0, True)
                for row in rows
                if row["raw_bytes"] == len(row["raw"])
            ]
            validated = validate(contract, deliveries, now())
            landed = _land(catalog, contract, validated, known)
            result.snapshot_id = landed.snapshot_id
            result.deliveries += len(rows)
            result.appended += landed.appended
            result.duplicates += landed.duplicates
            result.quarantined += len(rows) - landed.appended - landed.duplicates
        results.append(result)
    return results


def write(catalog: Catalog, contract: Contract, validated: Validated, result: Ingested, known: KnownKeys) -> None:
    """Make every record durable, in the landing table or in the quarantine, and count it in `result`."""
    landed = _land(catalog, contract, validated, known)
    faults.point("ingest.landed")
    rejected = validated.rejected
    if landed.reused:
        rejected = pa.concat_tables([rejected, reject_reused(contract, validated, landed.reused)])
    refused = append_new(
        lambda: ensure_table(catalog, rejected_name(contract), rejected_shape(contract)),
        rejected,
        "rejection_key",
        None,
        known=known,
    )
    faults.point("ingest.quarantined")
    result.snapshot_id = landed.snapshot_id
    result.deliveries += validated.lines
    result.appended += landed.appended
    result.quarantined += refused.appended
    result.duplicates += landed.duplicates + refused.duplicates


def _land(catalog: Catalog, contract: Contract, validated: Validated, known: KnownKeys) -> Appended:
    assert contract.event is not None
    return append_new(
        lambda: ensure_table(catalog, landing_name(contract), landing_shape(contract)),
        validated.accepted,
        "event_id",
        "event_time",
        removed_keys(catalog, removed_name(contract), known),
        known,
        ("event_time", *contract.event.by_name),
    )


def ensure_tables(catalog: Catalog, contract: Contract) -> None:
    """Make the tables that a product's events go to, where they are missing. Raises as `ensure_table` does."""
    ensure_table(catalog, landing_name(contract), landing_shape(contract))
    ensure_table(catalog, rejected_name(contract), rejected_shape(contract))
