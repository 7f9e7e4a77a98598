"""Differences between engines that a domain expects, from its `parity.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from mesh_platform.contract.yaml_model import FileModel, Reason, Word
from mesh_platform.errors import Problem
from mesh_platform.governance.domain_lists import read_entries
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.text import offer

Source = Literal["lake", "edge"]
# "spark": it alone refuses the query; "duckdb": it alone refuses a row; "rows": both return rows, which differ.
Kind = Literal["spark", "duckdb", "rows"]


class Expectation(FileModel):
    """One difference of a model of the domain. `expected` says whether somebody means to mend it.

    `tolerance` names double columns with how far their values may differ, relative to the larger one. Then `kind` is
    rows, and rows that differ by more, or in another column, are a new difference.
    """

    model: Word
    rows: Source
    kind: Kind
    expected: Literal["not yet", "never"]
    reason: Reason
    tolerance: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)


class _Parity(FileModel):
    parity: tuple[Expectation, ...]


@dataclass(frozen=True)
class Expected:
    """An expectation with its file and line."""

    expectation: Expectation
    domain: Domain
    path: str
    line: int

    @property
    def table(self) -> str:
        """The identifier of the model's product."""
        return f"{self.domain.name}.{self.expectation.model}"


def read_expected(mesh: Mesh) -> tuple[dict[tuple[str, Source], Expected], list[Problem]]:
    """Return what is expected of each model and kind of rows, and the problems of the files."""
    found, problems = read_entries(mesh, "parity", _Parity, Expected)
    known: dict[tuple[str, Source], Expected] = {}
    for each in found:
        place = (each.table, each.expectation.rows)
        twice = ("has two entries for these rows.", "Keep one of them.") if place in known else None
        if fault := _fault(mesh, each) or twice:
            message = f"'{each.expectation.model}' {fault[0]}"
            problems.append(Problem(each.path, each.line, message, fault[1], rule="domain-files"))
        known[place] = each
    return known, problems


def _fault(mesh: Mesh, each: Expected) -> tuple[str, str] | None:
    contract = mesh.contracts.get(each.table)
    if contract is None:
        return "is no product of the domain.", offer(each.table, mesh.contracts)
    if each.domain.product_kind(contract) == "reference":
        return "has no model: its table is reference data.", "Remove the entry."
    doubles = {field.name: None for field in contract.table.fields if field.type.name == "double"}
    for name in each.expectation.tolerance:
        if name not in doubles:
            return f"has no double column '{name}'.", offer(name, doubles)
    if each.expectation.tolerance and (each.expectation.kind != "rows" or not contract.table.key):
        return "has a tolerance.", "Only rows with a key, of kind rows, can have one."
    return None
