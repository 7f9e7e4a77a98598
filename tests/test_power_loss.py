"""The power fails at random moments: what was acknowledged is readable, and the tables open."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fault_record import record
from invariants import violations
from mesh_platform.broker import connect
from mesh_platform.errors import MeshError
from mesh_platform.ingest import ingest as ingesting
from mesh_platform.ingest.ingest import Limits, ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import Mesh
from orders import PRODUCT, in_batches, lines, send
from power_cut import Disk, powered

from conftest import State, draws


@dataclass(frozen=True)
class Cut:
    """One power cut: promises that it broke, files and folders that it harmed, messages acknowledged before it."""

    seed: int
    broken: list[str]
    harmed: int
    acknowledged: int


GOOD = lines(range(12), minutes=500)
OPERATIONS = 120


@pytest.fixture
def lose_power(
    state: State, mesh: Mesh, tmp_path: Path, make_state: Callable[..., State], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Cut]:
    """Ingest in a state of its own until a power cut that a seed draws."""
    monkeypatch.setattr("mesh_platform.iceberg.append.time.sleep", lambda seconds: None)
    monkeypatch.setattr(ingesting, "_RECEIVE", 2)
    sent = send(state, mesh, [*in_batches(GOOD, 2), b"no json"])

    def lose_power(seed: int) -> Cut:
        chance = random.Random(seed)
        own = make_state(tmp_path / f"{seed}")
        own.folder.mkdir()
        for file in state.folder.glob("broker.db*"):
            shutil.copy(file, own.folder)
        # SQLite keeps its own files.
        names = {own.folder: {"broker.db", "broker.db-wal", "broker.db-shm", "broker.db-lock", "catalog.db"}}
        disk = Disk(own.folder, chance, chance.randint(1, OPERATIONS), names=names)
        disk.content = {own.folder / name: 2**62 for name in names[own.folder]}
        with powered(disk), connect(own.settings.broker) as broker:
            try:
                contracts = [mesh.contract(PRODUCT)]
                catalog = open_catalog(own.settings)
                limits = Limits(lines=4)
                ingest(catalog, broker, contracts, lambda: datetime.now(UTC), until_empty=True, limits=limits)
            except (MeshError, OSError):
                assert disk.off
        harmed = disk.forget()
        try:
            found = violations(own.folder, PRODUCT, sent)
        except Exception as error:
            found = [f"a table does not open: {error!r}"]
        with sqlite3.connect(own.folder / "broker.db") as connection:
            (left,) = connection.execute("SELECT count(*) FROM message").fetchone()
        connection.close()
        return Cut(seed, found, harmed, 7 - left)

    return lose_power


def test_what_is_acknowledged_outlives_a_power_cut(lose_power: Callable[[int], Cut]) -> None:
    cuts = [lose_power(seed) for seed in range(30)]
    assert [cut for cut in cuts if cut.broken] == []
    shown(cuts)


@pytest.mark.thorough
def test_many_power_cuts(lose_power: Callable[[int], Cut]) -> None:
    cuts = [lose_power(seed) for seed in range(1000, 1000 + draws(150, 500))]
    assert [cut for cut in cuts if cut.broken] == []
    shown(cuts)
    harmed = sum(cut.harmed for cut in cuts)
    record(
        "power loss, embedded: what was not synced is dropped or torn",
        "at a random file, catalog or broker operation of ingest",
        len(cuts),
        f"each acknowledged id is readable ({harmed} files and folders were dropped or torn)",
    )


def shown(cuts: list[Cut]) -> None:
    """Without these a run would show nothing."""
    assert sum(cut.harmed > 0 for cut in cuts) > len(cuts) / 4
    assert sum(cut.acknowledged > 0 for cut in cuts) > len(cuts) / 4
    assert sum(cut.harmed > 0 and cut.acknowledged > 0 for cut in cuts) > len(cuts) / 20


@pytest.mark.parametrize("without", ["any", "folders", "files"])
def test_without_a_sync_it_is_lost(
    lose_power: Callable[[int], Cut], monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    real = Disk.sync

    def sync(disk: Disk, handle: int) -> None:
        if without == {True: "folders", False: "files"}[stat.S_ISDIR(os.fstat(handle).st_mode)] or without == "any":
            return
        real(disk, handle)

    monkeypatch.setattr(Disk, "sync", sync)
    broken = next((cut for cut in map(lose_power, range(60)) if cut.broken), None)
    assert broken is not None
