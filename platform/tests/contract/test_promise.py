"""A promise of a column means the same for one value, for an Arrow array and in SQL."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_platform.contract.contract import Field
from mesh_platform.contract.promise import Promise, promises_of
from mesh_platform.contract.types import parse_type
from mesh_platform.engine.duckdb import Connection, connect_in_memory, registered
from mesh_platform.engine.sql import breaking_condition

BOUNDS = st.decimals(-10, 10, places=1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-12, 12),
    "double": st.floats(-12, 12, width=16),
    "decimal(4,1)": st.decimals(-12, 12, places=1),
}
WORDS = st.text(st.sampled_from("ab1é \n'٣"), max_size=4)
PATTERNS = st.sampled_from([r"^[ab]+$", r"^\d+$", r"'", r"^\w*$", "a.b", "^.{2}$"])


@cache
def duckdb_session() -> Connection:
    return connect_in_memory()


def by_each(promise: Promise, kind: str, values: list[Any]) -> tuple[list[bool], list[bool], list[bool]]:
    """Which of the values break the promise, by Python, by Arrow and by DuckDB."""
    type_ = parse_type(kind)
    array = pa.chunked_array([pa.array(values, type_.arrow)])
    condition = breaking_condition(promise, '"v"', type_)
    connection = duckdb_session()
    with registered(connection, "given", pa.table({"v": array})):
        found = connection.execute(f"SELECT coalesce({condition}, false) FROM given").fetchall()
    return (
        [promise.breaks(value) for value in values],
        [bool(broken) for broken in promise.breaking(array).to_pylist()],
        [bool(broken) for (broken,) in found],
    )


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data(), bound=BOUNDS, which=st.sampled_from(["minimum", "maximum"]))
def test_a_bound_means_the_same_everywhere(kind: str, data: st.DataObject, bound: Decimal, which: Any) -> None:
    bound = bound.to_integral_value() if kind == "int" else bound
    own = {"int": int, "double": float}.get(kind, Decimal)(bound)
    values = [own, *data.draw(st.lists(st.none() | VALUES[kind], max_size=6))]
    one, arrow, sql = by_each(Promise(which, bound), kind, values)
    assert one == arrow == sql
    # A bound is within itself, and what lies beyond it is not.
    assert not one[0]
    beyond = Decimal(-1) if which == "minimum" else Decimal(1)
    assert Promise(which, bound).breaks(bound + beyond)


def test_a_bound_of_a_double_may_have_any_digits_and_size() -> None:
    for text in ("0.3", "2.3", "19.99", "1e100"):
        bound = Decimal(text)
        one, arrow, sql = by_each(Promise("minimum", bound), "double", [float(text), float(text) * 0.999])
        assert one == arrow == sql == [False, True]


def test_a_column_has_the_promises_of_its_contract() -> None:
    field = Field("v", parse_type("string"), "v", True, 0, 1, minimum=Decimal(1), maximum=Decimal(2), pattern="a")
    kinds = [promise.kind for promise in promises_of(replace(field, valid_values=("a", "b")))]
    assert kinds == ["minimum", "maximum", "pattern", "values"]
    assert [*promises_of(replace(field, minimum=None, maximum=None, pattern=None))] == []


@given(PATTERNS, st.lists(st.none() | WORDS, max_size=6))
def test_a_pattern_means_the_same_everywhere(pattern: str, values: list[str | None]) -> None:
    one, arrow, sql = by_each(Promise("pattern", pattern), "string", values)
    assert one == arrow == sql


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(st.none() | WORDS, max_size=6))
def test_a_list_of_values_means_the_same_everywhere(allowed: list[str], values: list[str | None]) -> None:
    one, arrow, sql = by_each(Promise("values", tuple(allowed)), "string", values)
    assert one == arrow == sql


def test_a_promise_says_what_is_wrong_and_what_is_allowed() -> None:
    assert Promise("minimum", Decimal(0)).broken == "is below 0"
    assert Promise("values", ("a", "b")).allowed == "It is one of a, b."
