"""Ingest between a real queue and real tables: it acknowledges only durable records, and its counts add up."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from invariants import PARTS, landed_ids, quarantine, violations
from mesh_platform.broker import Broker, Delivery, connect, queue_of
from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
from mesh_platform.errors import AttentionError, MeshError, UnavailableError
from mesh_platform.iceberg.provenance import received_ms
from mesh_platform.ingest import ingest as ingesting
from mesh_platform.ingest.ingest import Ingested, Limits, ingest, replay_rejected
from mesh_platform.lake import maintenance_turns
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.lake.rollback import roll_back
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, bad, in_batches, lines, send, waiting

from conftest import State, require_amqp

from .one_product import figures

RAW = f"{PRODUCT}__raw"


def test_every_line_lands_once_or_is_quarantined_once(state: State, mesh: Mesh, run: Callable[..., Ingested]) -> None:
    good = lines(range(20))
    bodies = [*in_batches(good, 6), good[0], good[3], bad(90), bad(91), bad(90), b"no json", b"no json"]
    confirmed = send(state, mesh, bodies)
    first = run()
    assert figures(first) == {"deliveries": 27, "appended": 20, "quarantined": 3, "duplicates": 4}
    assert len(quarantine(state.folder, PRODUCT)) == 3
    assert first.snapshot_id == open_catalog(state.settings).load_table(RAW).metadata.current_snapshot_id
    send(state, mesh, bodies)
    again = run()
    assert figures(again) == {"deliveries": 27, "duplicates": 27}
    assert again.snapshot_id == first.snapshot_id
    assert violations(state.folder, PRODUCT, confirmed, runs=[[asdict(first)], [asdict(again)]]) == []


def test_an_empty_queue_changes_nothing(state: State, run: Callable[..., Ingested]) -> None:
    assert run() == Ingested(RAW)
    assert landed_ids(state.folder, PRODUCT) == []
    assert open_catalog(state.settings).load_table(RAW).snapshots() == []


def test_what_is_acknowledged_is_in_a_durable_snapshot(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EmbeddedConsumer.ack
    seen = 0

    def ack(consumer: EmbeddedConsumer, deliveries: Sequence[Delivery]) -> None:
        nonlocal seen
        keys = {row["raw"] for row in quarantine(state.folder, PRODUCT)}
        held = set(landed_ids(state.folder, PRODUCT))
        for line in (line for delivery in deliveries for line in delivery.body.split(b"\n")):
            assert line in keys or json.loads(line)["event_id"] in held
            seen += 1
        real(consumer, deliveries)

    monkeypatch.setattr(EmbeddedConsumer, "ack", ack)
    send(state, mesh, [*in_batches(lines(range(40)), 4), bad(90), b"no json"])
    run(limits=Limits(lines=10))
    assert seen == 42
    assert waiting(state) == 0


@pytest.mark.parametrize("table", [RAW, f"{PRODUCT}__rejected"])
def test_a_lake_that_stays_away_acknowledges_nothing(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    confirmed = send(state, mesh, [*in_batches(lines(range(10)), 5), bad(90)])
    real = ingesting.append_new

    def append_new(load: Callable[[], Any], *arguments: Any, **named: Any) -> Any:
        def failing() -> Any:
            loaded = load()
            if ".".join(loaded.name()) == table:
                raise OSError("no route to the bucket")
            return loaded

        return real(failing, *arguments, **named)

    with monkeypatch.context() as broken:
        broken.setattr(ingesting, "append_new", append_new)
        with pytest.raises(UnavailableError, match=r"no route to the bucket.*Nothing was acknowledged"):
            run()
    assert waiting(state) == 3
    assert violations(state.folder, PRODUCT, confirmed) == []
    landed_before = {"duplicates": 10, "quarantined": 1} if table != RAW else {"appended": 10, "quarantined": 1}
    assert figures(run()) == {"deliveries": 11, **landed_before}
    assert (waiting(state), violations(state.folder, PRODUCT, confirmed)) == (0, [])


def alter(state: State, table: str, change: str) -> None:
    found = open_catalog(state.settings).load_table(table)
    if change == "retry":
        with found.transaction() as transaction:
            transaction.set_properties({"commit.retry.num-retries": "4"})
    else:
        with found.update_schema() as update:
            update.delete_column("client_no")


@pytest.mark.parametrize(
    ("change", "message"),
    [("retry", r"commit\.retry\.num-retries is not 0"), ("column", r"lacks client_no \(string\)")],
)
def test_a_table_that_is_not_as_promised_acknowledges_nothing(
    state: State, mesh: Mesh, run: Callable[..., Ingested], change: str, message: str
) -> None:
    run()
    alter(state, RAW, change)
    confirmed = send(state, mesh, in_batches(lines(range(10)), 5))
    with pytest.raises(AttentionError, match=message):
        run()
    assert waiting(state) == 2
    assert landed_ids(state.folder, PRODUCT) == []
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_the_contract_can_break_between_two_flushes(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_RECEIVE", 1)
    confirmed = send(state, mesh, in_batches(lines(range(20)), 5))
    with pytest.raises(MeshError, match="client_no"):
        run(progress=lambda records: alter(state, RAW, "column"), limits=Limits(lines=5))
    assert waiting(state) == 3
    assert len(landed_ids(state.folder, PRODUCT)) == 5
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_a_stop_writes_what_was_delivered_and_leaves_the_rest_in_the_queue(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_RECEIVE", 1)
    confirmed = send(state, mesh, in_batches(lines(range(20)), 4))
    asked = iter([False, False, True, True])
    result = run(stopped=lambda: next(asked))
    assert figures(result) == {"deliveries": 8, "appended": 8}
    assert waiting(state) == 3
    assert violations(state.folder, PRODUCT, confirmed, runs=[[asdict(result)]]) == []
    assert figures(run()) == {"deliveries": 12, "appended": 12}


def test_a_live_run_flushes_what_it_has_when_its_time_is_over(
    state: State, mesh: Mesh, run: Callable[..., Ingested]
) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(10)), 3))
    result = run(until_empty=False, max_seconds=5)
    assert figures(result) == {"deliveries": 10, "appended": 10}
    assert (waiting(state), violations(state.folder, PRODUCT, confirmed)) == (0, [])


def test_a_commit_notes_when_its_first_event_was_received_by_the_clock_of_the_machine(
    state: State, mesh: Mesh, run: Callable[..., Ingested]
) -> None:
    send(state, mesh, in_batches(lines(range(4)), 2))
    begin = time.time()
    # The flush waits for its time.
    run(until_empty=False, max_seconds=2, limits=Limits(seconds=1))
    end = time.time()
    snapshot = open_catalog(state.settings).load_table(RAW).current_snapshot()
    assert snapshot is not None
    received = received_ms(snapshot)
    assert received is not None
    assert begin * 1000 - 1 <= received <= snapshot.timestamp_ms - 1000 <= end * 1000


def test_a_table_that_is_written_to_often_is_maintained_in_between(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_RECEIVE", 1)
    monkeypatch.setattr(maintenance_turns, "MAINTAIN_EVERY", 4)
    maintained: list[tuple[str | int, ...]] = []

    def maintain(tables: Sequence[str]) -> bool:
        maintained.append((*tables, len(landed_ids(state.folder, PRODUCT))))
        # The first call finds maintenance under way.
        return len(maintained) > 1

    send(state, mesh, in_batches(lines(range(10)), 1))
    run(limits=Limits(lines=1), maintain=maintain)
    assert maintained == [(RAW, 4), (RAW, 5), (RAW, 9)]


def test_a_lost_acknowledgement_makes_duplicates_and_nothing_else(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed = send(state, mesh, [*in_batches(lines(range(10)), 2), bad(90)])

    def ack(consumer: EmbeddedConsumer, deliveries: Sequence[Delivery]) -> None:
        raise UnavailableError("the broker is gone")

    with monkeypatch.context() as broken:
        broken.setattr(EmbeddedConsumer, "ack", ack)
        with pytest.raises(UnavailableError):
            run()
    assert waiting(state) == 6
    assert figures(run()) == {"deliveries": 11, "duplicates": 11}
    assert (waiting(state), violations(state.folder, PRODUCT, confirmed)) == (0, [])


def test_a_replay_resurrects_nothing_that_was_rolled_back(
    state: State, mesh: Mesh, run: Callable[..., Ingested]
) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(10)), 5))
    first = run()
    confirmed += send(state, mesh, in_batches(lines(range(10, 20)), 5))
    run()
    assert first.snapshot_id is not None
    assert roll_back(mesh, open_catalog(state.settings), RAW, first.snapshot_id).removed == 10
    send(state, mesh, in_batches(lines(range(25)), 5))
    assert figures(run()) == {"deliveries": 25, "appended": 5, "duplicates": 20}
    assert len(landed_ids(state.folder, PRODUCT)) == 15
    assert violations(state.folder, PRODUCT, confirmed, sent=lines(range(25))) == []


def test_the_quarantine_sent_through_again_lands_what_the_clock_now_allows(
    state: State, mesh: Mesh, broker: Broker
) -> None:
    confirmed = send(state, mesh, [*in_batches(lines(range(4)), 2), bad(90), b"no json"])
    catalog, contracts = open_catalog(state.settings), [mesh.contract(PRODUCT)]
    # Later than the retention of the contract.
    (first,) = ingest(catalog, broker, contracts, lambda: datetime(2040, 1, 1, tzinfo=UTC), until_empty=True)
    assert figures(first) == {"deliveries": 6, "quarantined": 6}
    for appended, duplicates in ((4, 0), (0, 4)):
        (again,) = replay_rejected(catalog, contracts, lambda: datetime.now(UTC))
        assert (again.deliveries, again.appended, again.duplicates, again.quarantined) == (6, appended, duplicates, 2)
    assert len(quarantine(state.folder, PRODUCT)) == 6
    assert violations(state.folder, PRODUCT, confirmed, runs=[[asdict(first)], [asdict(again)]]) == []


def test_dead_letters_land_when_they_are_asked_for(
    state: State, mesh: Mesh, broker: Broker, run: Callable[..., Ingested]
) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(6)), 2))
    with broker.consume(PRODUCT, 10) as consumer:
        consumer.dead_letter(consumer.receive(10, 1.0))
    assert run() == Ingested(RAW)
    assert figures(run(dead_letters=True)) == {"deliveries": 6, "appended": 6}
    assert (waiting(state, dead=True), violations(state.folder, PRODUCT, confirmed)) == (0, [])


def test_the_checker_sees_what_it_is_for(state: State, mesh: Mesh, run: Callable[..., Ingested]) -> None:
    confirmed = send(state, mesh, in_batches(lines(range(4)), 2))
    run()
    table = open_catalog(state.settings).load_table(RAW)
    table.append(table.scan().to_arrow().slice(0, 1))
    (doubled,) = violations(state.folder, PRODUCT, confirmed)
    assert doubled.startswith("I1")
    table.delete(f"event_id = '{json.loads(confirmed[2])['event_id']}'")
    reported = {"deliveries": 5, **dict.fromkeys(PARTS, 0), "appended": 4}
    found = violations(state.folder, PRODUCT, confirmed, runs=[[reported]])
    assert [words[:2] for words in found] == ["I1", "I1", "I3", "I2", "I5"]
    assert violations(state.folder, PRODUCT, [], sent=confirmed[:3])[-1].startswith("I4")


def test_acknowledged_too_early_is_seen_by_the_checker(state: State, mesh: Mesh) -> None:
    confirmed = send(state, mesh, lines(range(3)))
    with sqlite3.connect(state.folder / "broker.db") as connection:
        connection.execute("DELETE FROM message WHERE id = 2")
    (lost,) = violations(state.folder, PRODUCT, confirmed)
    assert lost.startswith("I2/I4: confirmed and nowhere to be found")


@pytest.mark.rabbitmq
def test_a_queue_with_other_arguments_is_emptied_all_the_same(
    mesh: Mesh, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    url, name = require_amqp(), f"{PRODUCT}"
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_delete(name)
    channel.queue_declare(name, durable=True, arguments={"x-message-ttl": 86_400_000})
    good = lines(range(3))
    channel.basic_publish("", name, b"\n".join(good))
    try:
        with connect(url) as broker:
            contracts = [mesh.contract(PRODUCT)]
            now = lambda: datetime.now(UTC)  # noqa: E731
            (result,) = ingest(open_catalog(state.settings), broker, contracts, now, until_empty=True)
            assert (result.appended, broker.depth(name)) == (3, 0)
            with pytest.raises(AttentionError, match="exists with other arguments"):
                broker.declare([queue_of(contracts[0])])
        assert "exists with other arguments" in caplog.text
    finally:
        channel.queue_delete(name)
        connection.close()
