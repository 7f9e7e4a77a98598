"""A company that goes on from where it was does what one from the start does, whatever became of the stored state."""

from __future__ import annotations

import pickle
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from acme_world.companion import KEPT_DAYS, Simulation
from acme_world.key.answer_key import AnswerKey
from acme_world.progress_file import Progress
from acme_world.state_file import COMPANY
from acme_world.truth.history import Day, History
from acme_world.truth.world import World, open_world
from acme_world.wire.faults import Rates
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.settings import Settings

from ..company import FEEDS, ROOT, SITES, SOURCES, TABLES, arrivals, key_of

# Over the end of summer time and of a month.
START = date(2025, 10, 26)
RATES = Rates(0.1, 0.1, 0.05)
DAYS = 6


def told_by(day: Day) -> list[Any]:
    """All that is told of a day, as plain values."""
    events = {
        name: {"at": each.at.tolist(), **{column: values.tolist() for column, values in each.columns.items()}}
        for name, each in day.events.items()
    }
    return [events, day.anomalies, day.on_hand.tolist()]


def told_of(world: World, day: int) -> list[Any]:
    return [told_by(world.warehouse(domain, site).day(day)) for domain, site in SITES.items()]


def lines_of(day: int) -> dict[str, list[bytes]]:
    return {product: arrivals(product, day, RATES, START) for product in SOURCES}


@pytest.fixture(scope="module")
def at_once() -> list[tuple[Any, ...]]:
    """What is told of each day and sent on it, from the start in one go, and the key after it."""
    open_world.cache_clear()
    world = open_world(ROOT, 7, START)
    return [(told_of(world, day), lines_of(day), key_of(START, day + 1, RATES)) for day in range(DAYS)]


@pytest.mark.parametrize("stored_after", [[*range(1, DAYS)], [3]])
def test_days_lines_and_key_are_the_same_wherever_the_company_was_stored(
    stored_after: list[int], at_once: list[tuple[Any, ...]]
) -> None:
    stored, done = pickle.dumps(({}, AnswerKey(ROOT, SITES, FEEDS, TABLES, World(ROOT, 7, START), RATES))), 0
    for end in (*stored_after, DAYS):
        open_world.cache_clear()
        world = open_world(ROOT, 7, START)
        stages, key = pickle.loads(stored)
        world.go_on(stages)
        for day in range(done, end):
            sent = lines_of(day)
            assert (told_of(world, day), sent) == at_once[day][:2]
        key.advance(world, end)
        assert key.figures() == at_once[end - 1][2]
        stored, done = pickle.dumps((world.stages(KEPT_DAYS), key)), end


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return load_mesh(ROOT)


class Company:
    """The company of one state folder, and the number of a warehouse's days that it generates."""

    def __init__(self, mesh: Mesh, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mesh, self.settings = mesh, Settings(root=ROOT, state=folder)
        self.file, self.generated = folder / COMPANY, 0
        following = History.next_day

        def next_day(history: History) -> Day:
            self.generated += 1
            return following(history)

        monkeypatch.setattr(History, "next_day", next_day)

    def after(self, days: int, seed: int = 7, rates: Rates = RATES, **more: int) -> tuple[list[Any], int]:
        """The keys after these days, and how many days were generated for them."""
        open_world.cache_clear()
        self.generated = 0
        each = dict.fromkeys(self.mesh.domains, days) | more
        keys = Simulation(self.settings, self.mesh, Progress(seed, START, rates, each, each)).end()
        return keys, self.generated


@pytest.fixture
def company(mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    return Company(mesh, tmp_path, monkeypatch)


def test_a_next_day_costs_a_day(company: Company) -> None:
    assert company.after(3)[1] == 3 * len(SITES)
    (key,), generated = company.after(4)
    assert generated == len(SITES)
    assert key["logistics_core.fact_orders"] == key_of(START, 4, RATES)["logistics_core.fact_orders"]
    assert company.after(4) == ([key], 0)


@pytest.mark.parametrize("content", [None, b"", b"nonsense", "half", "one bit"])
def test_a_lost_or_damaged_file_only_costs_time(company: Company, content: bytes | str | None) -> None:
    company.after(2)
    whole = company.file.read_bytes()
    if content is None:
        company.file.unlink()
    elif content == "half":
        company.file.write_bytes(whole[: len(whole) // 2])
    elif content == "one bit":
        company.file.write_bytes(bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]]))
    else:
        company.file.write_bytes(bytes(content))
    (key,), generated = company.after(3)
    assert generated == 3 * len(SITES)
    assert key["logistics_core.fact_orders"] == key_of(START, 3, RATES)["logistics_core.fact_orders"]


def test_a_file_of_another_history_or_of_other_code_is_not_used(
    company: Company, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (first,), _ = company.after(2)
    (other,), generated = company.after(2, seed=8)
    assert (generated, other == first) == (2 * len(SITES), False)
    # The truth is the same at other rates, the key is not.
    (clean,), _ = company.after(2, seed=8, rates=Rates(0, 0, 0))
    assert clean["logistics_core.fact_orders"] == key_of(START, 2, seed=8)["logistics_core.fact_orders"]
    monkeypatch.setattr("acme_world.state_file._source", lambda *_: "of other code")
    assert company.after(2, seed=8, rates=Rates(0, 0, 0)) == ([clean], 2 * len(SITES))


def test_a_file_of_fewer_or_more_days_is_made_up_for(company: Company) -> None:
    """A killed run leaves the file of an earlier day; one whose `world.json` was put back, that of a later one."""
    keys = {days: company.after(days)[0] for days in (2, 5)}
    company.file.unlink()
    company.after(2)
    assert company.after(5) == (keys[5], 3 * len(SITES))
    assert company.after(2)[0] == keys[2]


def test_domains_with_days_of_their_own_are_followed_each(company: Company) -> None:
    company.after(2, west_warehouse=3)
    keys, generated = company.after(3, west_warehouse=3)
    assert keys == [company.after(3)[0][0]]
    assert generated <= 3 * len(SITES)
