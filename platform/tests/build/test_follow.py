"""`mesh build --follow` builds what new events reach, and goes on when a table cannot be built."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from mesh_platform.build import follow as following
from mesh_platform.build.follow import follow
from mesh_platform.build.job import Built
from mesh_platform.lake import maintenance_turns
from mesh_platform.lake.releases import read_releases

from conftest import HANG
from tests.sql.test_audit import WARN, rule

from ..small_mesh import Place, Sale, small_mesh

SALES, FACT, BUYER = "alpha.sales_alpha", "core.fact_sales", "core.dim_buyer"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


class Followed:
    """What a call of `follow` did, which takes one of `steps` after each look at the landing tables."""

    def __init__(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, steps: Sequence[Callable[[], object]], *tables: str
    ) -> None:
        left, now = [*steps], 0.0
        self.rounds: list[list[str]] = [[]]
        self.failures: list[str] = []
        self.maintained: list[Sequence[str]] = []

        def sleep(_seconds: float) -> None:
            nonlocal now
            now += 1
            self.rounds.append([])
            if left:
                left.pop(0)()

        def is_over() -> bool:
            return len(self.rounds) > len(steps) + 1

        def built(each: Built) -> None:
            self.rounds[-1].append(each.table)

        def maintain(names: Sequence[str]) -> bool:
            self.maintained.append(names)
            return True

        monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
        follow(place.mesh, place.catalog, tables, is_over, built, self.failures.append, maintain)
        self.rounds.pop()


def nothing() -> None:
    pass


def test_a_round_builds_what_new_events_reach_and_nothing_else(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [lambda: place.land("alpha", [Sale(1)]), nothing, lambda: place.land("beta", [Sale(2)])]
    done = Followed(place, monkeypatch, steps)
    first, alpha, idle, beta = done.rounds
    assert set(first) == place.mesh.contracts.keys()
    assert {SALES, FACT, BUYER} <= {*alpha}
    assert {"beta.sales_beta", "core.dim_item"}.isdisjoint(alpha)
    assert idle == []
    assert SALES not in beta
    assert [row[0] for row in place.rows(FACT, "event_id")] == ["alpha-0001", "beta-0002"]
    assert read_releases(place.catalog) == []


def test_named_tables_and_their_inputs_alone_are_built(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [lambda: place.land("alpha", [Sale(1)]), lambda: place.land("beta", [Sale(1)])]
    assert Followed(place, monkeypatch, steps, SALES).rounds == [[SALES], [SALES], []]


def test_a_table_that_cannot_be_built_stops_no_other_and_is_told_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.build()

    def break_alpha() -> None:
        # An id that is there twice.
        place.land("alpha", [Sale(1), Sale(1)])

    steps = [break_alpha, lambda: place.land("beta", [Sale(2)]), lambda: place.land("beta", [Sale(3)])]
    done = Followed(place, monkeypatch, steps)
    assert done.rounds == [[], [], ["beta.sales_beta"], ["beta.sales_beta"]]
    (told,) = done.failures
    assert told.startswith(SALES)
    assert f"{FACT}: not built" in told


def test_without_events_it_looks_at_all_tables_once_a_minute(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.build()
    items = place.root / "domains/core/reference/items.csv"

    def change_items() -> None:
        items.write_text(items.read_text() + "i99,Another\n")

    done = Followed(place, monkeypatch, [change_items, *[nothing] * 60])
    assert [names for names in done.rounds if names] == [["core.items", "core.dim_item"]]
    assert done.rounds[60]


def test_what_is_built_often_is_maintained_in_between(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance_turns, "MAINTAIN_EVERY", 3)
    place.build()
    steps = [lambda number=number: place.land("alpha", [Sale(number)]) for number in range(7)]
    done = Followed(place, monkeypatch, steps, SALES)
    assert done.maintained == [[SALES], [SALES]]


def test_the_command_follows_until_it_is_told_to_stop(place: Place) -> None:
    rule(place, {"type": "library", "metric": "rowCount", "mustBe": 7, "customProperties": WARN})
    place.build()
    process = place.state.start("build", "--follow", FACT, "--format", "json")
    try:
        place.land("alpha", [Sale(1)])
        until = time.monotonic() + 60
        while not place.rows(FACT) and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=HANG)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert '"table": "core.fact_sales"' in out
    assert "core.fact_sales: warning: the number of rows is 1 and must be 7" in err
    assert [row[0] for row in place.rows(FACT, "event_id")] == ["alpha-0001"]
    refused = place.state.mesh("build", "--follow", "--full", check=2)
    assert "--follow builds what changed" in refused.err
