"""Whatever happens to one product, in any order, is held against a set: what is in the landing table, and why.

Hypothesis draws the order: events are published, doubled, spoilt, delivered; ingest dies at any of its points, or its
commit is lost before or after it took effect; and meanwhile the table is compacted, its snapshots expire, its orphans
go, and it is rolled back and forth.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from fault_record import record
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from invariants import landed_ids, quarantine, violations
from mesh_platform import faults
from mesh_platform.broker import connect
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.expiry import expire
from mesh_platform.iceberg.orphan_files import remove_orphans
from mesh_platform.ingest.ingest import Ingested, Limits, ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.lake.rollback import roll_back
from mesh_platform.mesh.mesh import load_mesh
from orders import PRODUCT, bad, ids, lines, send
from pyiceberg.table import Table

from conftest import ROOT, State, draws, new_state

RAW = f"{PRODUCT}__raw"
MESH = load_mesh(ROOT)
# Within the catalog's transaction only a process can die: what is raised there leaves SQLite's lock behind.
POINTS = [
    name for name in faults.POINTS if name.startswith(("ingest.", "append.", "commit.")) and name != "commit.pointing"
]
NUMBERS = st.lists(st.integers(0, 60), min_size=1, max_size=12)


class Died(BaseException):
    """The process ends here, as far as it can within a test; a kill of a real one has tests of its own."""


class Product(RuleBasedStateMachine):
    """`landed` and `removed` are what the landing table and its ledger must hold, `queued` what is not yet taken."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mesh-machine-"))
        self.state: State = new_state(self.folder / "state")
        self.catalog = open_catalog(self.state.settings)
        self.landed: set[str] = set()
        self.removed: set[str] = set()
        self.queued: set[str] = set()
        self.at: dict[int, frozenset[str]] = {}
        self.confirmed: list[bytes] = []
        self.runs: list[list[dict[str, Any]]] = []
        self.refused: set[bytes] = set()

    def load(self) -> Table:
        return self.catalog.load_table(RAW)

    def take_in(self) -> Ingested:
        with connect(self.state.settings.broker) as broker:
            (report,) = ingest(
                self.catalog,
                broker,
                [MESH.contract(PRODUCT)],
                lambda: datetime.now(UTC),
                until_empty=True,
                limits=Limits(lines=8),
            )
        return report

    def note(self) -> None:
        """What the table holds now, as far as it may: some of the queue has landed, or none of it."""
        found = landed_ids(self.state.folder, PRODUCT)
        assert len(found) == len(set(found))
        before, most = self.landed, self.landed | (self.queued - self.removed)
        self.landed = set(found)
        for snapshot in self.load().metadata.snapshots if self.exists() else ():
            if snapshot.snapshot_id not in self.at:
                self.at[snapshot.snapshot_id] = self.read(snapshot.snapshot_id)
                assert before <= self.at[snapshot.snapshot_id] <= most
        assert before <= self.landed <= most

    def read(self, snapshot_id: int) -> frozenset[str]:
        rows = self.load().scan(selected_fields=("event_id",), snapshot_id=snapshot_id).to_arrow()
        assert rows.num_rows == len(set(rows["event_id"].to_pylist()))
        return frozenset(rows["event_id"].to_pylist())

    def exists(self) -> bool:
        return bool(self.catalog.namespace_exists("south_warehouse") and self.catalog.table_exists(RAW))

    @rule(numbers=NUMBERS, batch=st.integers(1, 6), spoilt=st.booleans())
    def publish(self, numbers: list[int], batch: int, spoilt: bool) -> None:
        """Numbers that were published before are duplicates; a list may also hold one twice."""
        # Two thirds of a day apart, so that most lie in partitions of their own.
        good = lines(numbers, minutes=960)
        bodies = [b"\n".join(good[start : start + batch]) for start in range(0, len(good), batch)]
        wrong = [bad(numbers[0]), b"no json"] if spoilt else []
        self.confirmed += send(self.state, MESH, [*bodies, *wrong])
        self.queued |= set(ids(good))
        self.refused |= set(wrong)

    @rule()
    def deliver(self) -> None:
        report = self.take_in()
        expected = self.landed | (self.queued - self.removed)
        assert report.appended == len(expected) - len(self.landed)
        self.note()
        assert self.landed == expected
        assert {row["raw"] for row in quarantine(self.state.folder, PRODUCT)} == self.refused
        self.queued = set()
        self.runs.append([vars(report)])

    @rule(point=st.sampled_from(POINTS), passing=st.integers(1, 3))
    def die(self, point: str, passing: int) -> None:
        left = [passing]

        def die_here(name: str) -> None:
            if name == point:
                left[0] -= 1
                if not left[0]:
                    raise Died

        armed = patch.object(faults, "armed", lambda prefix: True)
        with armed, patch.object(faults, "point", die_here), suppress(Died):
            self.take_in()
        self.catalog = open_catalog(self.state.settings)
        self.note()

    @rule(after=st.booleans())
    def lose_the_response(self, after: bool) -> None:
        """A commit ends in an error, when it has taken effect or when it has not; ingest finds out which."""
        with self.failing_once(after), patch("mesh_platform.iceberg.append.time.sleep", lambda seconds: None):
            self.deliver()

    @contextmanager
    def failing_once(self, after: bool) -> Iterator[None]:
        real: Callable[..., Any] = self.catalog.commit_table
        failed: list[bool] = []

        def commit_table(*arguments: Any) -> Any:
            if failed:
                return real(*arguments)
            failed.append(True)
            if after:
                real(*arguments)
            raise TimeoutError("no answer")

        with patch.object(self.catalog, "commit_table", commit_table):
            yield

    @rule()
    def compact(self) -> None:
        if self.exists():
            compact(self.load)
            self.note()

    @rule(kept_every=st.integers(1, 4))
    def expire(self, kept_every: int) -> None:
        if not self.at:
            return
        keep = {snapshot.snapshot_id for snapshot in self.load().metadata.snapshots[::kept_every]}
        with patch("mesh_platform.iceberg.expiry.NEWEST", 1):
            expire(self.load, timedelta(0), lambda: keep, datetime.now(UTC) + timedelta(seconds=1))
        kept = {snapshot.snapshot_id for snapshot in self.load().metadata.snapshots}
        assert keep <= kept
        self.note()

    @rule()
    def remove_orphans(self) -> None:
        if not self.at:
            return
        remove_orphans(self.load, datetime.now(UTC) + timedelta(seconds=1), lambda size: None)
        self.note()
        for snapshot in self.load().metadata.snapshots:
            assert self.read(snapshot.snapshot_id) == self.at[snapshot.snapshot_id]

    @rule(back=st.integers(0, 7))
    def roll_back(self, back: int) -> None:
        if not self.at:
            return
        # What is drawn may not depend on how many flushes there were, which the machine decides.
        target = list(self.at)[-1 - back % len(self.at)]
        if self.load().metadata.snapshot_by_id(target) is None:
            with pytest.raises(UsageError):
                roll_back(MESH, self.catalog, RAW, target)
            return
        done = roll_back(MESH, self.catalog, RAW, target)
        leaving = self.landed - self.at[target]
        assert done.removed == len(leaving)
        self.removed |= leaving
        self.landed = set(self.at[target])

    @invariant()
    def the_table_is_the_set(self) -> None:
        assert set(landed_ids(self.state.folder, PRODUCT)) == self.landed

    def teardown(self) -> None:
        try:
            self.deliver()
            assert violations(self.state.folder, PRODUCT, self.confirmed, runs=self.runs) == []
        finally:
            shutil.rmtree(self.folder)


def run(examples: int, steps: int) -> None:
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    run_state_machine_as_test(
        Product, settings=settings(max_examples=examples, stateful_step_count=steps, phases=phases, deadline=None)
    )
    record("any order of what can happen", f"a state machine of Hypothesis, up to {steps} steps each", examples)


def test_a_few_histories() -> None:
    run(examples=draws(8), steps=12)


@pytest.mark.thorough
def test_many_long_histories() -> None:
    run(examples=draws(16, 40), steps=30)
