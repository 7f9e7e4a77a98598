"""Reference files: a cell is parsed as a replay parses it, and an invalid value is reported with its line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.build.reference import _read_cell, read_reference
from mesh_platform.contract.contract import Field
from mesh_platform.contract.types import parse_type
from mesh_platform.errors import ContractError
from mesh_platform.events.producer import _cell
from mesh_platform.mesh.mesh import load_mesh

from conftest import draws

from ..small_mesh import Place, add_contract, small_mesh

NUMBERS = ("int", "long", "double", "decimal(38,10)", "decimal(4,2)", "decimal(38,0)", "decimal(38,38)")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = small_mesh(tmp_path)
    columns = {"id": "int key", "amount": "decimal(38,10)", "rate": "double"}
    add_contract(place, "core", "ref", {"ref": columns})
    return place


def read(place: Place, text: str) -> list[dict[str, object]]:
    place.write("core/reference/ref.csv", text)
    mesh = load_mesh(place.root)
    rows: list[dict[str, object]] = read_reference(mesh, mesh.contracts["core.ref"]).to_pylist()
    return rows


def test_a_decimal_is_kept_to_the_last_digit_of_its_type(place: Place):
    whole = "1234567890123456789012345678.0123456789"
    (row,) = read(place, f"id,amount,rate\n1,{whole},\n")
    assert row == {"id": 1, "amount": Decimal(whole), "rate": None}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("text", ["1,1,1\n\n", "\n1,1,1\n", "1,1,1\n\n\n"])
def test_an_empty_line_is_no_row(place: Place, text: str, line_end: str):
    assert len(read(place, f"id,amount,rate\n{text}".replace("\n", line_end))) == 1


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ("1_000,1,1", "id '1_000' is not a whole number within 32 bits"),
        (" 1,1,1", "id ' 1' is not a whole number"),
        ("٣,1,1", "id '٣' is not a whole number"),
        ("1.5,1,1", "id '1.5' is not a whole number"),
        ("1,1_0.5,1", "amount '1_0.5' is not a decimal"),
        ("1,12345678901234567890123456789,1", "is not a decimal with at most 28 digits before the point"),
        ("1,0.00000000001,1", "is not a decimal with at most 28 digits before the point and 10 after it"),
        ("1,NaN,1", "amount 'NaN' is not a decimal"),
        ("1,1,NaN", "rate 'NaN' is not a finite number"),
        ("1,1,inf", "rate 'inf' is not a finite number"),
        ("1,1,-Infinity", "rate '-Infinity' is not a finite number"),
        ("1,1,1e999", "rate '1e999' is not a finite number"),
        ("1,1,1_0", "rate '1_0' is not a finite number"),
        ("1,1,1\0", "is not a finite number"),
        ("1,1,1\u2028", r"rate '1\u2028' is not a finite number"),
    ],
)
def test_a_cell_that_is_no_value_is_told_with_its_line(place: Place, cells: str, told: str):
    with pytest.raises(ContractError) as error:
        read(place, f"id,amount,rate\n7,1,1\n{cells}\n")
    (problem,) = error.value.problems
    assert problem.line == 3
    assert told in problem.message


_CELLS = st.one_of(
    st.text("0123456789.+-eE_ ٣", min_size=1, max_size=12),
    st.from_regex(r"\A[+-]?[0-9]{1,30}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.sampled_from(["nan", "NaN", "inf", "-Infinity", "1e400", "-0", "0x1", "１"]),
)


@settings(deadline=None, max_examples=draws(300))
@given(st.sampled_from(NUMBERS), _CELLS)
def test_a_number_is_read_as_a_replay_reads_it(kind: str, cell: str):
    field = Field("amount", parse_type(kind), "A.", required=False, key=0, line=1)

    def value(read: object) -> Decimal | None:
        try:
            return Decimal(str(read(field, cell)))  # type: ignore[operator]
        except ValueError:
            return None

    assert value(_read_cell) == value(_cell)
