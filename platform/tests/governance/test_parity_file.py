"""What a domain expects of two engines, in `parity.yaml`: its faults are found by `mesh check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.governance.check import check, open_scope
from mesh_platform.governance.parity.expected import read_expected

from ..small_mesh import START, Place, add_contract, small_mesh

GOOD = {"model": "weights", "rows": "edge", "kind": "rows", "expected": "not yet", "reason": "Sums of doubles."}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = small_mesh(tmp_path)
    add_contract(place, "core", "weights", {"weights": {"item_id": "string key", "kg": "double"}})
    place.write("core/models/weights.sql", "select item_id, cast(1 as double) as kg from core.items\n")
    return place


def expect(place: Place, *entries: dict[str, Any]) -> list[str]:
    """The problems of the domain's file with these entries, as `mesh check` reports them."""
    place.write("core/parity.yaml", yaml.safe_dump({"parity": [*entries]}))
    problems = check(open_scope(place.root, START.date()), ["domain-files"])
    return [f"{problem.message} {problem.fix}" for problem in problems if problem.path.endswith("parity.yaml")]


def test_an_entry_is_found_by_its_table_and_kind_of_rows(place: Place):
    assert expect(place, GOOD | {"tolerance": {"kg": 1e-9}}, GOOD | {"rows": "lake", "expected": "never"}) == []
    known, problems = read_expected(place.mesh)
    assert not problems
    assert {key: each.expectation.expected for key, each in known.items()} == {
        ("core.weights", "edge"): "not yet",
        ("core.weights", "lake"): "never",
    }


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"model": "weight"}, "'weight' is no product of the domain."),
        ({"model": "items"}, "'items' has no model: its table is reference data. Remove the entry."),
        ({"tolerance": {"kg": float("inf")}}, "less than 1"),
        ({"tolerance": {"item_id": 0.1}}, "'weights' has no double column 'item_id'."),
        ({"tolerance": {"kg": 0.1}, "kind": "spark"}, "'weights' has a tolerance. Only rows with a key"),
        ({"expected": "perhaps"}, "not yet"),
        ({"reason": ""}, "reason"),
        ({"reason": "rounding"}, "reason: String should have at least 10 characters"),
        ({"until": "2026-01-01"}, "until"),
    ],
)
def test_a_faulty_entry_is_a_problem_that_says_what_is_allowed(place: Place, entry: dict[str, Any], said: str):
    (problem,) = expect(place, GOOD | entry)
    assert said in problem


def test_two_entries_for_the_same_rows_are_one_too_many(place: Place):
    assert expect(place, GOOD, GOOD) == ["'weights' has two entries for these rows. Keep one of them."]
