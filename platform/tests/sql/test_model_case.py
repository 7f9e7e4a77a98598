"""Cases of models: they pass or fail with the difference, and an invalid case is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mesh_platform.errors import ContractError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.model_case import Case, read_cases, run_case

ROOT = Path(__file__).parents[3]
CASE = Case(
    place="cases.yaml:7",
    name="two lines",
    model="logistics_core.fact_orders",
    given={
        "logistics_core.order_v1": [
            {"event_id": "e1", "order_ts": "2025-10-01T12:00:00.250Z", "amount_usd": "1.10"},
            {"event_id": "e2", "order_ts": "2025-10-02T00:00:00+02:00", "amount_usd": 1.1},
        ]
    },
    expect=[
        {"event_id": "e2", "order_ts": "2025-10-01T22:00:00Z", "amount_usd": "1.1", "status": None},
        {"event_id": "e1", "order_ts": "2025-10-01T12:00:00.25Z", "order_date": "2025-10-01"},
    ],
    where=None,
)


def run(case: Case) -> str | None:
    return run_case(load_mesh(ROOT), case)


def test_a_case_that_holds_says_nothing() -> None:
    assert run(CASE) is None


def test_what_differs_is_shown_from_both_sides() -> None:
    words = run(replace(CASE, expect=[CASE.expect[0], {"event_id": "e1", "amount_usd": "1.11"}]))
    assert words == (
        "cases.yaml:7: two lines\n"
        "  expected, not there: event_id=e1, amount_usd=1.11\n"
        "  there, not expected: event_id=e1, order_ts=2025-10-01 12:00:00.250000+00:00, amount_usd=1.10, status=null"
    )


def test_rows_are_counted() -> None:
    once = {"order_date": "2025-10-01"}
    assert run(replace(CASE, expect=[once, once])) is None
    assert "expected, not there" in (run(replace(CASE, expect=[once, once, once])) or "")
    assert "there, not expected" in (run(replace(CASE, expect=[once])) or "")


def test_an_expectation_of_many_columns_is_not_robbed_by_one_of_few() -> None:
    assert run(replace(CASE, expect=[{"status": None}, {"event_id": "e1", "status": None}])) is None


def test_some_rows_of_the_output_can_be_looked_at() -> None:
    assert run(replace(CASE, expect=[{"event_id": "e2"}], where="event_id > 'e1'")) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "logistics_core.fact_order"}, "Did you mean logistics_core.fact_orders"),
        ({"given": {"logistics_core.order_v2": []}}, "Did you mean logistics_core.order_v1"),
        ({"given": {"logistics_core.order_v1": [{"quantty": 1}]}}, "Did you mean quantity?"),
        ({"expect": [{"custmer_id": "C"}]}, "Did you mean customer_id?"),
        ({"given": {"logistics_core.order_v1": [{"quantity": "three"}]}}, "Correct the value."),
        ({"where": "no_such_column = 1"}, "Mend the model or the case."),
    ],
)
def test_a_case_that_cannot_be_meant_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ContractError, match=r"^cases\.yaml:7: ") as raised:
        run(replace(CASE, **change))  # type: ignore[arg-type]
    assert words in str(raised.value)


def test_a_file_of_another_form_is_refused_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text("- {name: a, model: b, given: {}, expect: []}\n- {name: a, expected: []}\n- text\n")
    with pytest.raises(ContractError) as raised:
        read_cases(path, tmp_path)
    assert [(problem.path, problem.line) for problem in raised.value.problems] == [
        ("cases.yaml", 2),
        ("cases.yaml", 3),
    ]
    path.write_text("name: a\n")
    with pytest.raises(ContractError, match=r"cases\.yaml:1: is not a case"):
        read_cases(path, tmp_path)
