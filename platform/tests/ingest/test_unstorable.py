"""A valid event that the lake cannot store goes to the quarantine, and all others land."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from invariants import quarantine, violations
from mesh_platform.iceberg.append import Appended
from mesh_platform.iceberg.reused_ids import Reused
from mesh_platform.ingest.ingest import Ingested, replay_rejected
from mesh_platform.ingest.unstorable import append_storable
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, bad, envelope, in_batches, lines, send, waiting
from pyiceberg.utils.truncate import truncate_upper_bound_text_string

from conftest import State

from .one_product import figures


def test_one_such_event_stops_no_queue_and_lands_once_it_can_be_stored(
    state: State, mesh: Mesh, run: Callable[..., Ingested], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With pyiceberg's own upper bounds, nothing is committed whose greatest text goes on after these letters.
    odd = [
        json.dumps(envelope(number, number, {"order_id": "p" * 15 + "\ud7ff" + str(number)})).encode()
        for number in (50, 51)
    ]
    good = lines(range(40))
    with monkeypatch.context() as unmended:
        unmended.setattr("pyiceberg.io.pyarrow.truncate_upper_bound_text_string", truncate_upper_bound_text_string)
        confirmed = send(state, mesh, [*in_batches(good[:33], 7), odd[0], bad(90), odd[1], *good[33:], good[2]])
        first = run()
        assert figures(first) == {"deliveries": 44, "appended": 40, "quarantined": 3, "duplicates": 1}
        assert waiting(state) == 0
        found = {row["raw"]: row for row in quarantine(state.folder, PRODUCT) if row["reason"] == "not_storable"}
        assert set(found) == set(odd)
        assert "UnicodeEncodeError" in found[odd[0]]["detail"]
        assert found[odd[0]]["event_id"] == envelope(50, 50)["event_id"]
        send(state, mesh, [*odd, good[0]])
        again = run()
        assert figures(again) == {"deliveries": 3, "duplicates": 3}
        assert violations(state.folder, PRODUCT, confirmed, runs=[[asdict(first)], [asdict(again)]]) == []
    (replayed,) = replay_rejected(open_catalog(state.settings), [mesh.contract(PRODUCT)], lambda: datetime.now(UTC))
    assert figures(replayed) == {"deliveries": 3, "appended": 2, "quarantined": 1}


def test_rows_keep_their_numbers_and_a_fault_of_all_rows_is_raised() -> None:
    rows = pa.table({"number": list(range(300))})
    bad = {0, 77, 150, 299}
    landed: list[int] = []

    def append(some: pa.Table) -> Appended:
        numbers = some["number"].to_pylist()
        if bad & {*numbers}:
            raise ValueError("no such row")
        landed.extend(numbers)
        return Appended(len(numbers), 0, max(numbers), [Reused(numbers.index(9), "", "", ())] if 9 in numbers else [])

    result, failed = append_storable(append, rows)
    assert set(failed) == bad
    assert landed == [number for number in range(300) if number not in bad]
    assert (result.appended, result.snapshot_id, [each.row for each in result.reused]) == (296, 298, [9])
    bad |= set(range(300))
    with pytest.raises(ValueError, match="no such row"):
        append_storable(append, rows)
