"""Each field type has a type in every system, and these hold the same values."""

from __future__ import annotations

import re
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.contract.types import ALLOWED, BINARY, FieldType, parse_type
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

NAMES = [*(name for name in ALLOWED if name != "decimal(p,s)"), "decimal(1,0)", "decimal(12,2)", "decimal(38,38)"]


@pytest.mark.parametrize("name", NAMES)
def test_arrow_iceberg_and_duckdb_mean_the_same(name: str) -> None:
    type_ = parse_type(name)
    iceberg = schema_to_pyarrow(Schema(NestedField(1, "x", type_.iceberg))).field("x").type
    assert iceberg == type_.arrow
    rows = pa.table({"x": pa.array([None], type_.arrow)})
    assert [str(type_) for type_ in duckdb.from_arrow(rows).types] == [type_.duckdb]


def test_bytes_are_no_type_of_a_contract() -> None:
    assert pa.large_binary() == BINARY.arrow
    with pytest.raises(ValueError, match="type 'binary' is not one of string, int, "):
        parse_type("binary")


@pytest.mark.parametrize(
    "text",
    ["", "None", "varchar", "String", "decimal", "decimal(0,0)", "decimal(39,2)", "decimal(5,6)", "decimal(12,2) ",
     "decimal(-1,0)", "decimal(١,٠)", "long[]", "list<int>"],
)  # fmt: skip
def test_other_type_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"type '{text}' is not one of")) as error:
        parse_type(text)
    assert "timestamptz, decimal(p,s) (p up to 38, s up to p)" in str(error.value)


def test_a_space_in_a_decimal_is_no_other_type() -> None:
    assert parse_type("decimal(12, 2)") == parse_type("decimal(12,2)")


@pytest.mark.parametrize(
    ("name", "number", "held"),
    [
        ("int", "2147483647", True), ("int", "2147483648", False), ("int", "-2147483648", True),
        ("int", "-2147483649", False), ("int", "1.0", True), ("int", "1.5", False), ("int", "1e999999", False),
        ("int", "1e-999999999", False), ("int", "0", True), ("int", "NaN", False),
        ("long", "9223372036854775807", True), ("long", "9223372036854775808", False),
        ("double", "1e308", True), ("double", "1e309", False), ("double", "1e-400", True),
        ("double", "Infinity", False),
        ("decimal(4,2)", "99.99", True), ("decimal(4,2)", "100", False), ("decimal(4,2)", "1.500000", True),
        ("decimal(4,2)", "1.501", False), ("decimal(4,2)", "-99.99", True), ("decimal(4,2)", "1e1", True),
        ("decimal(4,2)", "1e-2147483647", False), ("decimal(4,2)", "1e999999999", False),
        ("decimal(4,2)", "sNaN", False),
        ("decimal(4,2)", "0e-999999", True), ("decimal(4,2)", "1." + "0" * 100_000, True),
        ("decimal(4,2)", "1." + "0" * 100_000 + "1", False),
        ("decimal(38,0)", "9" * 38, True), ("decimal(38,0)", "1" + "0" * 38, False),
        ("decimal(38,38)", "0." + "9" * 38, True), ("decimal(38,38)", "1", False),
        ("decimal(38,10)", "9" * 28 + "." + "9" * 10, True), ("decimal(38,10)", "9" * 28 + "." + "9" * 11, False),
    ],
)  # fmt: skip
def test_what_a_column_holds(name: str, number: str, held: bool) -> None:
    assert parse_type(name).holds(Decimal(number)) is held


@st.composite
def _held(draw: st.DrawFn) -> tuple[FieldType, Decimal]:
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    unscaled = draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    return parse_type(f"decimal({precision},{scale})"), Decimal(f"{unscaled}e-{scale}")


@settings(deadline=None)
@given(case=_held(), zeros=st.integers(0, 50))
def test_written_decimal_is_plain_and_arrow_reads_it_exactly(case: tuple[FieldType, Decimal], zeros: int) -> None:
    type_, number = case
    padded = Decimal(f"{number:f}{'' if '.' in f'{number:f}' else '.'}{'0' * zeros}")
    assert type_.holds(padded)
    text = type_.write(padded)
    assert text == type_.write(number)
    assert re.fullmatch(type_.plain, text)
    assert pc.cast(pa.array([text]), type_.arrow)[0].as_py() == number


def test_zero_has_one_form() -> None:
    assert {parse_type("decimal(9,7)").write(Decimal(text)) for text in ("0", "-0", "0e5", "-0.000")} == {"0.0000000"}
    assert parse_type("decimal(9,7)").write(Decimal("1e-7")) == "0.0000001"
