"""Each single file and catalog operation of an ingest fails in turn: what was acknowledged is there, once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path

import pytest
from fault_record import record
from invariants import landed_ids, quarantine, violations
from mesh_platform.errors import MeshError
from mesh_platform.ingest import ingest as ingesting
from mesh_platform.ingest.ingest import Limits
from mesh_platform.mesh.mesh import Mesh
from nth_operation import ANSWERED, ERRORS, Operations, watched
from orders import PRODUCT, envelope, in_batches, ingest_orders, lines, send, waiting

from conftest import State

Attempt = Callable[[Operations], None]
GOOD = [*lines(range(12), minutes=250)]
# The first makes the tables, the second finds them.
TWO_FLUSHES = Limits(lines=9)
BODIES = [*in_batches(GOOD, 3), GOOD[2], json.dumps(envelope(90, payload={"quantity": -1})).encode(), b"no json"]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    monkeypatch.setattr(ingesting, "_RECEIVE", 3)


@pytest.fixture
def attempt(state: State, mesh: Mesh, tmp_path: Path, make_state: Callable[..., State]) -> Attempt:
    """One ingest of the same messages with a fault and one without, in a state of their own; the promises hold."""
    sent = send(state, mesh, BODIES)

    def attempt(fault: Operations) -> None:
        own = make_state(tmp_path / "attempt")
        own.folder.mkdir()
        for file in state.folder.glob("broker.db*"):
            shutil.copy(file, own.folder)
        runs = []
        with watched(fault), suppress(MeshError):
            runs.append([asdict(ingest_orders(own, mesh, TWO_FLUSHES))])
        assert runs or fault.failed
        runs.append([asdict(ingest_orders(own, mesh, TWO_FLUSHES))])
        tried = (fault.at, fault.failed, fault.error())
        assert (waiting(own), violations(own.folder, PRODUCT, sent, runs=runs)) == (0, []), tried
        assert landed_ids(own.folder, PRODUCT) == sorted(json.loads(line)["event_id"] for line in GOOD), tried
        assert len(quarantine(own.folder, PRODUCT)) == 2, tried
        shutil.rmtree(own.folder)

    return attempt


def test_some_operations_fail(attempt: Attempt) -> None:
    kinds = list(ERRORS.values())
    seen: Counter[str] = Counter()
    # Every thirteenth, so that the ways to fail meet all kinds of operations; all of them are tried below.
    for number, at in enumerate(count(1, 13)):
        fault = Operations(at, kinds[number % 3], lasting=number % 4 == 3, after=number % 2 == 1)
        attempt(fault)
        seen.update(fault.failed)
        if not fault.failed:
            break
    assert len(seen) > 3, "this run has shown little"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [*ERRORS, "lasting", "lost answer"])
def test_each_operation_fails(attempt: Attempt, kind: str) -> None:
    tried = 0
    seen: Counter[str] = Counter()
    kinds = list(ERRORS.values())
    for at in count(1):
        error = ERRORS.get(kind, kinds[at % 3])
        lost = kind == "lost answer"
        fault = Operations(at, error, lasting=kind == "lasting", after=lost, of=ANSWERED if lost else ())
        attempt(fault)
        if not fault.failed:
            break
        tried += 1
        seen.update(fault.failed[:1])
    # None is left: all kinds of operations had their turn.
    others = () if lost else ("new_output", "create", "write", "fsync", "close", "open", "read")
    assert {*others, *ANSWERED} <= {*seen, "delete"}
    how = {"lasting": "it and all that follow", "lost answer": "an operation that took effect is reported as failed"}
    record("the Nth file, catalog or broker operation of ingest fails", how.get(kind, kind), tried)
