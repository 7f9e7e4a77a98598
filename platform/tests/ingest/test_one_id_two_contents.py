"""A confirmed event whose id already has another content is quarantined once, however it is delivered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from invariants import PARTS, landed_ids, quarantine, violations
from mesh_platform import faults
from mesh_platform.ingest.ingest import Ingested, Limits, replay_rejected
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.lake.rollback import roll_back
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.query.status import read_status
from orders import PRODUCT, bad, envelope, in_batches, lines, send

from conftest import State

from .one_product import figures

RAW = f"{PRODUCT}__raw"
Run = Callable[..., Ingested]


def priced(number: int, price: str, **changes: Any) -> bytes:
    """Order `number` at the given price."""
    return json.dumps(envelope(number, number * 7, {"unit_price": price}, **changes)).encode()


def prices(state: State) -> dict[str, str]:
    found = open_catalog(state.settings).load_table(RAW).scan().to_arrow()
    return dict(zip(found["event_id"].to_pylist(), map(str, found["unit_price"].to_pylist()), strict=True))


def reused(state: State) -> list[dict[str, Any]]:
    return [row for row in quarantine(state.folder, PRODUCT) if row["reason"] == "id_reused"]


@pytest.mark.parametrize("apart", [True, False])
def test_another_content_is_quarantined_with_both_hashes(state: State, mesh: Mesh, run: Run, apart: bool) -> None:
    first, second = priced(1, "5.00"), priced(1, "7.00")
    runs, confirmed = [], []
    for bodies in [[first], [second]] if apart else [[first, second]]:
        confirmed += send(state, mesh, bodies)
        runs.append([asdict(run())])
    assert [sum(run[0][part] for run in runs) for part in ("deliveries", *PARTS)] == [2, 1, 1, 0, 0]
    (row,) = reused(state)
    assert (row["raw"], row["field"], row["event_id"]) == (second, "event_id", envelope(1, 7)["event_id"])
    key = row["rejection_key"]
    assert key.startswith(f"{row['event_id']}:")
    hashes = [word.strip(";.,") for word in row["detail"].split() if len(word.strip(";.,")) == 64]
    assert len(set(hashes)) == 2
    assert key.endswith(hashes[1])
    assert "differ in unit_price." in row["detail"]
    assert list(prices(state).values()) == ["5.00"]
    assert violations(state.folder, PRODUCT, confirmed, runs=runs) == []


def test_the_same_second_content_is_known_and_a_third_has_its_own_row(state: State, mesh: Mesh, run: Run) -> None:
    confirmed = send(state, mesh, [priced(1, "5.00")])
    run()
    confirmed += send(state, mesh, [priced(1, "7.00"), priced(1, "7.00", producer="p", schema_version="1.0")])
    assert figures(run()) == {"deliveries": 2, "quarantined": 1, "duplicates": 1}
    confirmed += send(state, mesh, in_batches([priced(1, "7.00"), priced(1, "5.00"), priced(1, "9.00")], 3))
    assert figures(run()) == {"deliveries": 3, "quarantined": 1, "duplicates": 2}
    assert len({row["rejection_key"] for row in reused(state)}) == 2
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_a_copy_from_another_sender_is_a_duplicate(state: State, mesh: Mesh, run: Run) -> None:
    send(state, mesh, [priced(1, "5.00")])
    run()
    send(state, mesh, [priced(1, "5.0", producer="another", schema_version="1.0"), priced(1, "5.00")])
    assert figures(run()) == {"deliveries": 2, "duplicates": 2}
    assert quarantine(state.folder, PRODUCT) == []


@pytest.mark.parametrize("point", ["ingest.landed", "ingest.quarantined", "ingest.acknowledged"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_failure_between_the_two_tables_loses_and_doubles_nothing(
    state: State, mesh: Mesh, run: Run, monkeypatch: pytest.MonkeyPatch, point: str, turned: bool
) -> None:
    # In separate messages, as an interrupted flush may be delivered again in other batches.
    confirmed = send(state, mesh, [priced(1, "5.00"), priced(2, "5.00"), priced(1, "7.00"), bad(9)])
    with monkeypatch.context() as broken:
        broken.setattr(faults, "_passed", {})
        broken.setenv("MESH_FAULT", f"{point}:raise")
        with pytest.raises(faults.InjectedFault):
            run()
    if turned:
        confirmed += send(state, mesh, [priced(2, "7.00"), priced(2, "5.00")])
    run(limits=Limits(lines=1))
    assert prices(state) == {envelope(n, n * 7)["event_id"]: "5.00" for n in (1, 2)}
    assert len(reused(state)) == 1 + turned
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_what_was_rolled_back_stays_refused_whatever_its_content(state: State, mesh: Mesh, run: Run) -> None:
    confirmed = send(state, mesh, [priced(1, "5.00")])
    first = run()
    confirmed += send(state, mesh, [priced(2, "5.00")])
    run()
    assert first.snapshot_id is not None
    assert roll_back(mesh, open_catalog(state.settings), RAW, first.snapshot_id).removed == 1
    confirmed += send(state, mesh, [priced(2, "7.00"), priced(2, "5.00")])
    assert figures(run()) == {"deliveries": 2, "duplicates": 2}
    assert reused(state) == []
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_a_replay_of_the_quarantine_leaves_it_there_and_adds_nothing(state: State, mesh: Mesh, run: Run) -> None:
    send(state, mesh, [priced(1, "5.00"), priced(1, "7.00"), bad(9)])
    run()
    before = quarantine(state.folder, PRODUCT)
    (again,) = replay_rejected(open_catalog(state.settings), [mesh.contract(PRODUCT)], lambda: datetime.now(UTC))
    assert figures(again) == {"deliveries": 2, "quarantined": 2}
    assert quarantine(state.folder, PRODUCT) == before
    assert landed_ids(state.folder, PRODUCT) == [envelope(1, 7)["event_id"]]


@pytest.mark.parametrize("apart", [True, False])
def test_two_refused_contents_of_one_id_are_both_kept(state: State, mesh: Mesh, run: Run, apart: bool) -> None:
    contents = [priced(1, "-5.00"), priced(1, "-7.00"), priced(1, "-9.00")]
    confirmed, runs = [], []
    for bodies in [contents[:1], contents[1:]] if apart else [contents]:
        confirmed += send(state, mesh, bodies)
        runs.append([asdict(run())])
    assert [sum(run[0][part] for run in runs) for part in ("deliveries", *PARTS)] == [3, 0, 3, 0, 0]
    assert sorted(row["raw"] for row in quarantine(state.folder, PRODUCT)) == sorted(contents)
    assert violations(state.folder, PRODUCT, confirmed, runs=runs) == []
    confirmed += send(state, mesh, in_batches([*contents, contents[1]], 2))
    assert figures(run(limits=Limits(lines=1))) == {"deliveries": 4, "duplicates": 4}
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_a_failure_between_two_refused_contents_loses_and_doubles_nothing(
    state: State, mesh: Mesh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed = send(state, mesh, [priced(1, "-5.00"), priced(1, "-7.00")])
    with monkeypatch.context() as broken:
        broken.setattr(faults, "_passed", {})
        broken.setenv("MESH_FAULT", "append.committed:raise")
        with pytest.raises(faults.InjectedFault):
            run()
    assert len(quarantine(state.folder, PRODUCT)) == 1
    run()
    assert len(quarantine(state.folder, PRODUCT)) == 2
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_a_content_that_a_replay_finds_to_be_the_second_is_told_as_such(state: State, mesh: Mesh, run: Run) -> None:
    confirmed = send(state, mesh, [priced(1, price, schema_version="1.7.0") for price in ("5.00", "7.00")])
    assert figures(run()) == {"deliveries": 2, "quarantined": 2}
    contract = replace(mesh.contract(PRODUCT), version="1.7.0")
    catalog = open_catalog(state.settings)
    for expected in ({"appended": 1, "quarantined": 1}, {"duplicates": 1, "quarantined": 2}):
        (again,) = replay_rejected(catalog, [contract], lambda: datetime.now(UTC))
        assert figures(again) == {"deliveries": sum(expected.values()), **expected}
        # A scan has no order, so either may be the first.
        (price,) = prices(state).values()
        (row,) = reused(state)
        assert {price, json.loads(row["raw"])["payload"]["unit_price"]} == {"5.00", "7.00"}
    status = {row.table: row.quarantined for row in read_status(mesh, catalog, datetime.now(UTC))}
    assert status[RAW] == 1
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_status_counts_it_though_its_id_is_in_the_landing_table(state: State, mesh: Mesh, run: Run) -> None:
    send(state, mesh, [priced(1, "5.00"), priced(1, "7.00"), priced(2, "5.00")])
    run()
    found = read_status(mesh, open_catalog(state.settings), datetime.now(UTC))
    assert {row.table: row.quarantined for row in found}[RAW] == 1


def test_many_copies_are_compared_without_a_word(state: State, mesh: Mesh, run: Run) -> None:
    good = lines(range(3000))
    send(state, mesh, in_batches(good, 500))
    run(limits=Limits(lines=700))
    changed = [priced(number, "99.00") for number in range(0, 3000, 1000)]
    send(state, mesh, in_batches([*good[:1500], *changed, *good[1500:]], 500))
    assert figures(run()) == {"deliveries": 3003, "quarantined": 3, "duplicates": 3000}


def test_an_event_of_a_newer_contract_gets_in_when_that_is_there(state: State, mesh: Mesh, run: Run) -> None:
    confirmed = send(state, mesh, [priced(1, "5.00", schema_version="1.7.0"), priced(2, "5.00")])
    assert figures(run()) == {"deliveries": 2, "appended": 1, "quarantined": 1}
    (row,) = quarantine(state.folder, PRODUCT)
    assert (row["reason"], row["field"]) == ("unknown_version", "schema_version")
    contract = replace(mesh.contract(PRODUCT), version="1.7.0")
    (again,) = replay_rejected(open_catalog(state.settings), [contract], lambda: datetime.now(UTC))
    assert figures(again) == {"deliveries": 1, "appended": 1}
    assert violations(state.folder, PRODUCT, confirmed) == []


def test_a_message_that_was_pretty_printed_is_one_row_of_one_delivery(state: State, mesh: Mesh, run: Run) -> None:
    body = json.dumps(json.loads(priced(1, "5.00")), indent=2).encode()
    for expected in ({"quarantined": 1}, {"duplicates": 1}):
        send(state, mesh, [body])
        result = run()
        assert figures(result) == {"deliveries": 1, **expected}
        assert violations(state.folder, PRODUCT, [body], runs=[[asdict(result)]]) == []
    (row,) = quarantine(state.folder, PRODUCT)
    assert (row["reason"], row["raw"]) == ("not_one_line", body)


def test_the_checker_sees_a_content_that_is_lost(state: State, mesh: Mesh, run: Run) -> None:
    confirmed = send(state, mesh, [priced(1, "5.00")])
    run()
    assert violations(state.folder, PRODUCT, confirmed) == []
    (lost,) = violations(state.folder, PRODUCT, [*confirmed, priced(1, "7.00")])
    assert lost.startswith("I4: 2 contents of ")
    confirmed += send(state, mesh, [priced(2, "-5.00")])
    run()
    assert violations(state.folder, PRODUCT, confirmed) == []
    (lost,) = violations(state.folder, PRODUCT, [*confirmed, priced(2, "-7.00")])
    assert lost.startswith("I2/I4: confirmed and nowhere to be found")
