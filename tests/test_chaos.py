"""Random kills, as many as fit the tests; `make chaos` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import KILLS_A_ROUND, NAMES, Tally, broker_of, prepare, spread, torment
from fault_record import record
from ingest_workers import Workers
from mesh_platform.mesh.mesh import Mesh
from traffic import Sent

from conftest import State

KILLS = 50


@pytest.mark.parametrize(
    "seed", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.thorough)]
)
def test_random_kills_lose_and_double_nothing(any_state: State, mesh: Mesh, tmp_path: Path, seed: int) -> None:
    total, sent = Tally(), Sent()
    with Workers(tmp_path / "workers") as workers:
        lifetime = prepare(any_state, mesh, workers, sent)
        for number in range(KILLS // KILLS_A_ROUND):
            problems, tally = torment(any_state, mesh, workers, seed, sent, number, lifetime)
            assert problems == [], f"round {number} of seed {seed}"
            total.add(tally)
    print(total, spread(total.places))
    assert total.kills >= KILLS
    assert total.confirmed > 1000, "too little was sent: this run has shown nothing"
    where = [place for place, count in spread(total.places) if count]
    assert len(where) > 8, f"kills hit {where} alone"
    record(
        "kill -9 of two ingest processes at random, some frozen for longer than their lease",
        f"{NAMES[broker_of(any_state)]}; in the tests, seed {seed}",
        total.kills,
    )
