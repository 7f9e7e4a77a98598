"""The dimensions that keep history, as properties over random events: ties, late ones, and changes taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mesh_platform.mesh.mesh import load_mesh
from model_rows import ModelRows

from conftest import ROOT, draws

Row = Mapping[str, Any]
START = datetime(2025, 10, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class History:
    """One dimension: where its rows come from, and which attributes make a version (each with two values)."""

    table: str
    file: str
    opened: str
    events: str
    time: str
    key: str
    tracked: Mapping[str, tuple[Any, Any]]

    @cached_property
    def model(self) -> ModelRows:
        return ModelRows(load_mesh(ROOT), self.table)

    def file_row(self, key: str) -> Row:
        """What the file says of one of its keys: the first of the values of each attribute."""
        first = {name: values[0] for name, values in self.tracked.items()}
        return first | {self.key: key, "warehouse_id": "WH-NORTH", self.opened: START.date()}

    def versions(self, events: list[Row]) -> list[dict[str, Any]]:
        """The dimension without its member 'unknown'."""
        files = [self.file_row("A"), self.file_row("B")]
        rows = self.model.run({self.file: files, self.events: events})
        assert rows.pop()[self.key] == "unknown"
        return rows

    def expected(self, events: list[Row]) -> list[tuple[Any, ...]]:
        """(key, version, tracked attributes, valid_from, valid_to), by going through the events one after another."""
        history: dict[str, list[tuple[datetime, tuple[Any, ...]]]] = {}
        for key in ("A", "B"):
            history[key] = [(START, tuple(self.file_row(key)[name] for name in self.tracked))]
        last_of_instant = {}
        for event in sorted(events, key=lambda event: event["event_id"]):
            last_of_instant[event[self.time], event[self.key]] = event
        for (time, key), event in sorted(last_of_instant.items()):
            state = tuple(event[name] for name in self.tracked)
            states = history.setdefault(key, [])
            if key in ("A", "B") and time <= START:
                continue
            if not states or states[-1][1] != state:
                states.append((time, state))
        return [
            (key, number, state, since, until)
            for key, states in sorted(history.items())
            for number, ((since, state), (until, _)) in enumerate(pairwise([*states, (END, ())]), start=1)
        ]


VEHICLE = History(
    table="logistics_core.dim_vehicle",
    file="logistics_core.vehicles",
    opened="in_service_on",
    events="logistics_core.vehicle_tracking",
    time="tracked_ts",
    key="vehicle_id",
    # A vehicle of the file begins in the condition 'normal'.
    tracked={"home_route_id": ("R-1", "R-2"), "condition": ("normal", "limited")},
)
ROUTE = History(
    table="logistics_core.dim_route",
    file="logistics_core.route_network",
    opened="opened_on",
    events="logistics_core.routes",
    time="effective_ts",
    key="route_id",
    tracked={
        "distance_km": (Decimal("68.0"), Decimal("83.5")),
        "promised_hours": (Decimal("2.50"), Decimal("3.25")),
        "road_class": ("highway", "urban"),
        "status": ("open", "detour"),
    },
)
both = pytest.mark.parametrize("history", [VEHICLE, ROUTE], ids=["dim_vehicle", "dim_route"])
# (key, hours after the first day's beginning, which value each attribute has): few of each, so that they often meet.
# X and Y are not in the file; a negative hour comes before A and B were there.
Drawn = tuple[str, int, tuple[int, ...]]
drawn = st.lists(
    st.tuples(st.sampled_from("ABXY"), st.integers(-1, 6), st.tuples(*[st.integers(0, 1)] * 4)), max_size=30
)


def as_events(history: History, chosen: list[Drawn]) -> list[Row]:
    """Events with ids in the order of `chosen`."""
    return [
        {
            "event_id": f"e{number:03}",
            history.key: key,
            history.time: START + timedelta(hours=hours),
            "warehouse_id": "WH-EAST",
            **{name: values[which[place]] for place, (name, values) in enumerate(history.tracked.items())},
        }
        for number, (key, hours, which) in enumerate(chosen)
    ]


@both
@settings(max_examples=draws(50))
@given(chosen=drawn, seed=st.integers(0, 2**32))
def test_any_shuffle_of_the_same_events_gives_equal_tables(history: History, chosen: list[Drawn], seed: int) -> None:
    events = as_events(history, chosen)
    shuffled = list(events)
    Random(seed).shuffle(shuffled)
    assert history.versions(events) == history.versions(shuffled)


@both
@settings(max_examples=draws(50))
@given(chosen=drawn)
def test_intervals_neither_overlap_nor_gap_and_the_last_has_no_end(history: History, chosen: list[Drawn]) -> None:
    events = as_events(history, chosen)
    rows = history.versions(events)
    assert {row[history.key] for row in rows} == {"A", "B"} | {event[history.key] for event in events}
    for key in {row[history.key] for row in rows}:
        own = [row for row in rows if row[history.key] == key]
        assert len({row["warehouse_id"] for row in own}) == 1
        assert [row["version"] for row in own] == list(range(1, len(own) + 1))
        assert all(row["valid_from"] < row["valid_to"] for row in own)
        assert all(row["valid_to"] == after["valid_from"] for row, after in pairwise(own))
        assert [row["is_current"] for row in own] == [False] * (len(own) - 1) + [True]
        assert own[-1]["valid_to"] == END


@both
@settings(max_examples=draws(50))
@given(chosen=drawn)
@example(chosen=[("A", 1, (1, 0, 0, 0)), ("A", 1, (0, 0, 0, 0))]).via("a change taken back at the same instant")
@example(chosen=[("A", 2, (1, 0, 0, 0)), ("A", 1, (1, 0, 0, 0))]).via("the earlier of two equal ones comes late")
@example(chosen=[("X", 1, (0, 0, 0, 0)), ("X", 2, (0, 0, 0, 0))]).via("nothing changes where the file is silent")
def test_versions_are_those_of_the_events_one_after_another(history: History, chosen: list[Drawn]) -> None:
    events = as_events(history, chosen)
    rows = history.versions(events)
    found = [
        (
            row[history.key],
            row["version"],
            tuple(row[name] for name in history.tracked),
            row["valid_from"],
            row["valid_to"],
        )
        for row in rows
    ]
    assert found == history.expected(events)


def test_the_file_speaks_from_the_beginning_of_its_day_in_utc() -> None:
    (row,) = [row for row in VEHICLE.versions([]) if row["vehicle_id"] == "A"]
    assert row["valid_from"] == datetime.combine(date(2025, 10, 1), datetime.min.time(), UTC)
