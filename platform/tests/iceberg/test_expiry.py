"""Old states expire, needed ones stay, and a kept state is never mistaken for one that has expired."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mesh_platform.errors import ConflictError
from mesh_platform.iceberg import expiry
from mesh_platform.iceberg.commit import first_to_commit
from mesh_platform.iceberg.expiry import choose_expired, expire, expired_before, state_at
from mesh_platform.iceberg.history import read_history
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table, snapshots, update

from ..maintained import make_table, open_lake, put, rows_of

START = datetime(2025, 10, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)


class Clock:
    """Replaces `time` in the modules of pyiceberg that timestamp snapshots."""

    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()

    class Then(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return clock.now

    monkeypatch.setattr(snapshots, "time", clock)
    monkeypatch.setattr(update, "datetime", Then)
    return clock


@pytest.fixture
def lake(tmp_path: Path) -> Catalog:
    return open_lake(tmp_path)


def numbers(table: Table) -> list[int]:
    return [snapshot.snapshot_id for snapshot in table.snapshots()]


def set_to(table: Table, snapshot_id: int) -> None:
    with table.manage_snapshots() as manage:
        manage.set_current_snapshot(snapshot_id=snapshot_id)


def test_the_newest_stay_and_of_the_others_what_was_there_at_full_hours_and_midnights(
    lake: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "NEWEST", 3)
    load = make_table(lake)
    made: list[tuple[datetime, int]] = []
    for step in range(60):
        made.append((clock.now, put(load(), step, 1)))
        clock.now += timedelta(minutes=50)
    now = clock.now
    rows = rows_of(load())
    assert expire(load, WEEK, lambda: (), now) == (60 - len(numbers(load())), "")

    def at(time: datetime) -> int:
        return [snapshot for then, snapshot in made if then <= time][-1]

    last_hour = now.replace(minute=0)
    hours = [last_hour - n * HOUR for n in range(25)]
    midnights = [time for time in (START + timedelta(days=n) for n in range(3)) if time <= now]
    wanted = {snapshot for _, snapshot in made[-3:]} | {at(time) for time in (*hours, *midnights)}
    assert set(numbers(load())) == wanted
    for time in (*hours, *midnights):
        assert state_at(load(), time) == (at(time), "")
    assert rows_of(load()) == rows
    none, early = state_at(load(), START - HOUR)
    assert (none, "it did not exist yet; its first commit was at" in early) == (None, True)
    assert "has expired; the states beside it that are kept are of" in state_at(load(), START + 10 * HOUR)[1]
    assert expired_before(load()) in [then for then, _ in made]
    assert [entry.snapshot_id for entry in read_history(load())] == numbers(load())[::-1]
    # A month later, a table without new commits has only its current state.
    expire(load, WEEK, lambda: (), now + timedelta(days=30))
    assert numbers(load()) == [made[-1][1]]
    assert state_at(load(), now) == (made[-1][1], "")
    assert rows_of(load()) == rows


def test_a_lifetime_of_an_hour_keeps_what_was_current_within_it(lake: Catalog, clock: Clock) -> None:
    load = make_table(lake)
    first = put(load(), 0, 1)
    clock.now += 10 * HOUR
    second = put(load(), 1, 1)
    now = clock.now + timedelta(minutes=30)
    # The first was made long ago, and replaced half an hour ago.
    assert choose_expired(load(), HOUR, (), now) == []
    assert choose_expired(load(), HOUR, (), now + HOUR) == [first]
    assert choose_expired(load(), HOUR, (first,), now + HOUR) == []
    with load().manage_snapshots() as manage:
        manage.create_tag(first, "r1")
    assert choose_expired(load(), HOUR, (), now + HOUR) == []
    with load().manage_snapshots() as manage:
        manage.remove_tag("r1").create_branch(first, "audit")
    assert choose_expired(load(), HOUR, (), now + HOUR) == []
    assert second in numbers(load())


@pytest.mark.parametrize("seed", range(4))
def test_time_travel_is_right_for_what_is_kept_and_says_what_is_not(
    lake: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(expiry, "NEWEST", 4)
    chance = random.Random(seed)
    load = make_table(lake)
    truth: list[tuple[datetime, int]] = []
    for step in range(45):
        clock.now += timedelta(seconds=chance.choice([1, 60, 1800, 7200]))
        kept = numbers(load())
        if kept and chance.random() < 0.2:
            back = chance.choice(kept)
            if back != load().current_snapshot().snapshot_id:
                set_to(load(), back)
                truth.append((clock.now, back))
        else:
            truth.append((clock.now, put(load(), step, 1)))
        if chance.random() < 0.25:
            needed = chance.sample(kept, min(len(kept), 2))
            expire(load, timedelta(hours=chance.choice([2, 30, 100])), lambda n=needed: n, clock.now)
            assert set(needed) <= set(numbers(load()))
        if step % 5 == 0:
            table = load()
            for _ in range(10):
                time = START + chance.random() * (clock.now - START + HOUR)
                was = ([None] + [snapshot for then, snapshot in truth if then <= time])[-1]
                found, lost = state_at(table, time)
                is_kept = was in numbers(table)
                assert (found, bool(lost)) == ((was, False) if is_kept else (None, True))


def test_who_commits_first_wins_and_what_came_back_stays(lake: Catalog, clock: Clock) -> None:
    load = make_table(lake)
    first = put(load(), 0, 1)
    clock.now += HOUR
    put(load(), 1, 1)
    later = clock.now + 2 * HOUR
    left: list[Callable[[], object]] = [lambda: set_to(load(), first)]

    def needed() -> tuple[int, ...]:
        if left:
            left.pop()()
        return ()

    # A rollback meanwhile makes a snapshot current that would have expired.
    assert expire(load, HOUR, needed, later) == (1, "")
    assert numbers(load()) == [load().current_snapshot().snapshot_id] == [first]
    assert len(rows_of(load())) == 1


def test_it_gives_way_to_those_who_always_commit_first(lake: Catalog, clock: Clock) -> None:
    load = make_table(lake)
    for step in range(2):
        put(load(), step, 1)
        clock.now += HOUR
    more = iter(range(2, 100))
    expired, left = expire(load, timedelta(minutes=1), lambda: [put(load(), next(more), 1)][:0], clock.now + HOUR)
    assert (expired, "others committed first" in left) == (0, True)
    assert len(rows_of(load())) == next(more)


def test_another_tool_that_expires_is_understood(lake: Catalog, clock: Clock) -> None:
    load = make_table(lake)
    made = []
    for step in range(4):
        made.append((clock.now, put(load(), step, 1)))
        clock.now += HOUR
    load().maintenance.expire_snapshots().by_id(made[0][1]).commit()
    assert "the oldest state kept is of" in state_at(load(), made[0][0])[1]
    assert expired_before(load()) == made[1][0]
    assert state_at(load(), made[2][0]) == (made[2][1], "")


def test_a_snapshot_that_somebody_else_took_out_first_is_a_conflict_and_no_fault(
    lake: Catalog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "NEWEST", 1)
    load = make_table(lake)
    for step in range(4):
        put(load(), step, 1)
        clock.now += timedelta(minutes=10)
    clock.now += 2 * WEEK
    others = [lambda: expire(load, WEEK, list, clock.now)]

    def needed() -> list[int]:
        # Between loading the table and the commit.
        if others:
            assert others.pop()()[0]
        return []

    assert expire(load, WEEK, needed, clock.now) == (0, "")
    stale = load()
    put(load(), 9, 1)
    with pytest.raises(ConflictError, match="somebody else committed first"), first_to_commit(stale):
        raise ValueError("Snapshot with snapshot id 1 does not exist")
    with pytest.raises(ValueError, match="of ours"), first_to_commit(load()):
        raise ValueError("of ours")
