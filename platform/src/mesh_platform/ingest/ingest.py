"""Ingest from queues to landing and quarantine tables; this module ensures that each event is stored exactly once.

A message is acknowledged only after a durable snapshot has each of its records, in the landing table or in the
quarantine. If this process ends before that, the broker delivers again, and known ids are recognised.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc

from mesh_platform import faults
from mesh_platform.broker import Broker, Consumer, Delivery, Queue, queue_of
from mesh_platform.iceberg.append import Appended, append_new
from mesh_platform.iceberg.keys import IdIndex
from mesh_platform.iceberg.provenance import RECEIVED
from mesh_platform.ingest.unstorable import append_storable
from mesh_platform.ingest.validator import Validated, reject_accepted, validate
from mesh_platform.lake.catalog import ensure_all, ensure_table
from mesh_platform.lake.erasures import Erased
from mesh_platform.lake.ledger import removed_keys
from mesh_platform.lake.maintenance_turns import Maintain, MaintenanceTurns
from mesh_platform.lake.tables import (
    landing_name,
    landing_schema,
    ledger_name,
    quarantine_name,
    quarantine_schema,
)

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.contract.contract import Contract

log = logging.getLogger(__name__)

# The maximum of messages per receive, so that the first messages of a long queue are validated soon.
_RECEIVE = 2_000
# A formality, as `Limits.bytes` takes effect first. AMQP has 16 bits for it.
_PREFETCH = 48_000
_PAUSE = 0.01
# Seconds that a thread waits at each call of Arrow for the thread that reads from the broker; the default is 5 ms.
_SWITCH = 0.001
# The minimum size of each queue's buffer, however many queues there are.
_LEAST_BYTES = 4 * 1024 * 1024
# Seconds without a message from a queue that is not empty, until another process is assumed to hold the rest.
_QUIET = 0.5
_KEY = pa.large_string()

# Called after each flush with the number of records written.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Limits:
    """When received records are flushed: at this many records, this many bytes, or after this many seconds.

    Up to four times `bytes` may be in memory at once: received, at the writer, and on the way from the broker.
    """

    lines: int = 100_000
    bytes: int = 48 * 1024 * 1024
    seconds: float = 2.0


@dataclass
class Ingested:
    """The counts of one product's run. Every delivered record is counted once:

    deliveries = appended + quarantined + duplicates + dead_lettered.

    `duplicates_of_others` of the duplicates are known from another sender, such as another file. `dead_lettered`
    counts the messages that the broker dead-lettered meanwhile.
    """

    table: str
    snapshot_id: int | None = None
    deliveries: int = 0
    appended: int = 0
    quarantined: int = 0
    duplicates: int = 0
    duplicates_of_others: int = 0
    dead_lettered: int = 0


@dataclass
class _Lane:
    """The state of one product between its queue and the writer: what is received and not yet handed over."""

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
        """Receive the available messages; return their number."""
        deliveries = self.consumer.receive(max(1, min(_RECEIVE, self.limits.lines - self.lines)), timeout)
        if deliveries:
            self.last = time.monotonic()
            self.since = self.since if self.waiting else self.last
        self.waiting += deliveries
        self.lines += sum(delivery.body.count(b"\n") + 1 for delivery in deliveries)
        self.size += sum(len(delivery.body) for delivery in deliveries)
        return len(deliveries)

    def full(self) -> bool:
        """Whether the waiting messages must be handed over before more are received."""
        is_long = self.lines >= self.limits.lines or self.size >= self.limits.bytes
        # The broker sends no more than the prefetch before an acknowledgement: one part waits here, one is at the
        # writer, and one may be on its way.
        return is_long or len(self.waiting) >= _PREFETCH // 3

    def old(self) -> bool:
        """Whether a message has waited as long as the limit allows."""
        return bool(self.waiting) and time.monotonic() - self.since >= self.limits.seconds

    def take(self) -> list[Delivery]:
        """Remove and return the waiting messages."""
        waiting, self.waiting, self.lines, self.size = self.waiting, [], 0, 0
        return waiting


class _Writer:
    """Writes one flush on a thread of its own, while the next is received and validated."""

    def __init__(self, catalog: Catalog, now: Callable[[], datetime], progress: Progress, maintain: Maintain) -> None:
        self._turns = MaintenanceTurns(maintain)
        self._catalog = catalog
        self._now = now
        self._progress = progress
        self._known = IdIndex()
        self._thread = ThreadPoolExecutor(1, "writer")
        self._pending: Future[int] | None = None

    def busy(self) -> bool:
        """Whether a flush is being written."""
        return self._pending is not None and not self._pending.done()

    def hand_over(self, lane: _Lane) -> None:
        """Validate the waiting messages of the lane, and write them after the previous flush. Raises its error."""
        received = time.time() - (time.monotonic() - lane.since)
        deliveries = lane.take()
        if not deliveries:
            return
        faults.point("ingest.received")
        validated = validate(lane.contract, deliveries, self._now())
        faults.point("ingest.validated")
        self.wait()
        self._pending = self._thread.submit(self._write, lane, deliveries, validated, received)

    def wait(self) -> None:
        """Wait until everything handed over is written and acknowledged. Raises the error of the writer."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._progress(pending.result())

    def _write(self, lane: _Lane, deliveries: list[Delivery], validated: Validated, received: float) -> int:
        before = lane.result.quarantined
        write(self._catalog, lane.contract, validated, lane.result, self._known, received)
        half = len(deliveries) // 2
        lane.consumer.ack(deliveries[:half])
        faults.point("ingest.acknowledged")
        lane.consumer.ack(deliveries[half:])
        written = [landing_name(lane.contract)]
        if lane.result.quarantined > before:
            written.append(quarantine_name(lane.contract))
        self._turns.committed(written)
        return validated.lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # Before the consumers close, so that the flush being written can still be acknowledged.
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
    maintain: Maintain = lambda tables: True,
) -> list[Ingested]:
    """Consume the products' queues until `stopped`, until all are empty, or for `max_seconds`.

    After every `MAINTAIN_EVERY` flushes to a table, `maintain` is called with it. `now` is the clock for validating
    event times. With `dead_letters` the dead-letter queues are consumed instead. Raises UnavailableError where broker
    or lake remain unreachable, AttentionError where a table does not match its contract; nothing unwritten is
    acknowledged then.
    """
    queues = [queue_of(contract) for contract in contracts]
    # Messages are consumed whatever the settings of their queue.
    for unfit in broker.declare_to_consume(queues):
        log.warning("%s", unfit)
    end = time.monotonic() + max_seconds if max_seconds is not None else None

    def over() -> bool:
        return stopped() or (end is not None and time.monotonic() >= end)

    given_up = [broker.depth(queue.dead_letter) for queue in queues]
    limits = limits or Limits()
    # Queues that are drained one after the other need not share the memory.
    shared = limits.bytes if until_empty else max(min(limits.bytes, _LEAST_BYTES), limits.bytes // len(contracts))

    # Exited in reverse order, so that the flush being written can still be acknowledged.
    with _short_switch_interval(), ExitStack() as consumers, _Writer(catalog, now, progress, maintain) as writer:

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
        # Not negative, as the depth falls where the dead-letter queue itself is consumed.
        lane.result.dead_lettered = max(0, broker.depth(queue.dead_letter) - before)
        lane.result.deliveries += lane.result.dead_lettered
    return [lane.result for lane in lanes]


@contextmanager
def _short_switch_interval() -> Iterator[None]:
    """Make threads switch more often within the block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _drain(opened: Iterable[_Lane], writer: _Writer, over: Callable[[], bool]) -> list[_Lane]:
    """Empty one queue after the other, which keeps flushes large; then those to which messages returned."""
    lanes: list[_Lane] = []
    for lane in opened:
        lanes.append(lane)
        _empty(lane, writer, over)
    writer.wait()
    while not over() and (remaining := [lane for lane in lanes if not lane.consumer.is_empty()]):
        for lane in remaining:
            _empty(lane, writer, over)
        writer.wait()
    return lanes


def _empty(lane: _Lane, writer: _Writer, over: Callable[[], bool]) -> None:
    while not over():
        received = lane.receive(_PAUSE)
        if lane.full():
            writer.hand_over(lane)
        elif not received and lane.consumer.is_empty():
            break
        elif not received and time.monotonic() - lane.last >= _QUIET and not writer.busy():
            # The queue may also wait for the deliveries that this process holds.
            writer.hand_over(lane)
        elif received < _RECEIVE:
            time.sleep(_PAUSE)
    writer.hand_over(lane)


def _follow(lanes: list[_Lane], writer: _Writer, over: Callable[[], bool]) -> list[_Lane]:
    """Receive from all queues; flushes grow while the writer is busy."""
    while not over():
        for lane in lanes:
            while not lane.full() and lane.receive(0.0) >= _RECEIVE:
                pass
            if lane.full() or (lane.old() and not writer.busy()):
                writer.hand_over(lane)
        time.sleep(_PAUSE)
    return lanes


def replay_rejected(catalog: Catalog, contracts: Sequence[Contract], now: Callable[[], datetime]) -> list[Ingested]:
    """Validate the quarantine again: records that the contract now accepts go to the landing table.

    The quarantine keeps its rows as a record; records that still fail count as quarantined.
    """
    results = []
    known = IdIndex()
    for contract in contracts:
        ensure_tables(catalog, contract)
        result = Ingested(landing_name(contract))
        table = ensure_table(catalog, quarantine_name(contract), quarantine_schema(contract))
        columns = ("raw", "message_id", "raw_bytes")
        for batch in table.scan(selected_fields=columns).to_arrow_batch_reader():
            rows = batch.to_pylist()
            deliveries = [
                Delivery(row["raw"], row["message_id"], 0, True)
                for row in rows
                if row["raw_bytes"] == len(row["raw"])
            ]
            validated = validate(contract, deliveries, now())
            landed, refused = _land(catalog, contract, validated, known)
            _quarantine(catalog, contract, validated.rejected.slice(0, 0), refused, known)
            result.snapshot_id = landed.snapshot_id or result.snapshot_id
            result.deliveries += len(rows)
            result.appended += landed.appended
            result.duplicates += landed.duplicates
            result.duplicates_of_others += landed.of_others
            result.quarantined += len(rows) - landed.appended - landed.duplicates
        results.append(result)
    return results


def write(
    catalog: Catalog, contract: Contract, validated: Validated, result: Ingested, known: IdIndex, received: float
) -> None:
    """Commit every record, to the landing table or to the quarantine, and count it in `result`.

    The first was `received` at this time of the machine's clock, in seconds since 1970.
    """
    landed, refused = _land(catalog, contract, validated, known, {RECEIVED: str(round(1000 * received))})
    faults.point("ingest.landed")
    quarantined, repeated = _quarantine(catalog, contract, validated.rejected, refused, known)
    faults.point("ingest.quarantined")
    result.snapshot_id = landed.snapshot_id or result.snapshot_id
    result.deliveries += validated.lines
    result.appended += landed.appended
    result.quarantined += quarantined
    result.duplicates += landed.duplicates + repeated
    result.duplicates_of_others += landed.of_others


def _land(
    catalog: Catalog,
    contract: Contract,
    validated: Validated,
    known: IdIndex,
    summary: Mapping[str, str] | None = None,
) -> tuple[Appended, pa.Table | None]:
    """Append the accepted rows that the landing table can take; return also the quarantine's rows of the others.

    The others have an id with other content, or cannot be stored. None if there are none.
    """
    assert contract.event is not None
    append = partial(
        append_new,
        lambda: ensure_table(catalog, landing_name(contract), landing_schema(contract)),
        key="event_id",
        time_column="event_time",
        refused=_either(removed_keys(catalog, ledger_name(contract), known), Erased(catalog, contract).landing),
        known=known,
        content=("event_time", *contract.event.by_name),
        sender="producer",
        summary=summary,
    )
    landed, failed = append_storable(append, validated.accepted)
    others = landed.reused or failed
    return landed, reject_accepted(contract, validated, landed.reused, failed) if others else None


def _either(*refusals: Callable[[pa.Table], pa.Array]) -> Callable[[pa.Table], pa.Array]:
    """Return the function that refuses what one of these refuses."""
    return lambda rows: pa.chunked_array([refused(rows) for refused in refusals]).combine_chunks()


def _quarantine(
    catalog: Catalog, contract: Contract, rejected: pa.Table, refused: pa.Table | None, known: IdIndex
) -> tuple[int, int]:
    """Append the rows, rejected or `refused` by the landing table, that the quarantine lacks; return how many, and of
    the rest.

    A rejected row whose id is there with other bytes gets a key that includes its bytes.
    """
    if not rejected.num_rows and refused is None:
        return 0, 0
    append = partial(
        append_new,
        lambda: ensure_table(catalog, quarantine_name(contract), quarantine_schema(contract)),
        key="rejection_key",
        time_column=None,
        refused=Erased(catalog, contract).quarantine,
        known=known,
    )
    first = append(rejected, content=("raw_sha256",))
    others = [] if refused is None else [refused]
    if first.reused:
        differ = rejected.take([each.row for each in first.reused])
        keys = pc.binary_join_element_wise(differ["rejection_key"], differ["raw_sha256"], pa.scalar(":", _KEY))
        place = differ.column_names.index("rejection_key")
        others.append(differ.set_column(place, differ.schema.field(place), keys))
    if not others:
        return first.appended, first.duplicates
    second = append(pa.concat_tables(others))
    return first.appended + second.appended, first.duplicates + second.duplicates


def ensure_tables(catalog: Catalog, *contracts: Contract) -> None:
    """Create the landing and quarantine tables of these products where missing. Raises as `ensure_table` does."""
    landing = {landing_name(contract): landing_schema(contract) for contract in contracts}
    quarantine = {quarantine_name(contract): quarantine_schema(contract) for contract in contracts}
    ensure_all(catalog, landing | quarantine)
