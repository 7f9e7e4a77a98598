"""What `mesh explain` names can be asked of `mesh explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.explain import explain

from ..small_mesh import small_mesh


@pytest.fixture
def small(tmp_path: Path) -> Mesh:
    return small_mesh(tmp_path).mesh


def named(facts: dict[str, Any]) -> Iterator[str]:
    """The names of relations and columns in what was explained."""
    for key in ("product", "landing", "quarantine"):
        yield from [facts[key]] if facts.get(key) else []
    for key in ("reads", "read_by", "computed_from", "shown_in", "from"):
        # An interface union is followed by what it consists of.
        yield from (name for text in facts.get(key, ()) for name in text.rstrip(")").replace(" (", ", ").split(", "))
    for column in facts.get("columns", ()):
        yield from column.get("from", ())


def test_every_name_that_is_printed_can_be_explained(small: Mesh) -> None:
    waiting, seen = [*small.contracts], set(small.contracts)
    kinds = set()
    for name in waiting:
        facts = explain(small, name)
        kinds.add(next(iter(facts)))
        new = [each for each in named(facts) if each not in seen]
        waiting += dict.fromkeys(new)
        seen.update(new)
    assert {"product", "table", "view", "column"} <= kinds
    assert len(seen) > 60


def test_a_view_of_an_interface_and_a_column_say_whose_they_are_and_who_reads_them(small: Mesh) -> None:
    union = explain(small, "core.sale_v1")
    assert union["view"] == "core.sale_v1"
    assert union["computed_from"] == ["alpha.sales_alpha", "beta.sales_beta"]
    assert "core.fact_sales" in union["read_by"]
    column = explain(small, "core.sale_v1.buyer")
    assert column["classification"] == "pii"
    assert column["from"] == ["alpha.sales_alpha.buyer", "beta.sales_beta.buyer"]
    assert "core.fact_sales.buyer" in column["read_by"]
    with pytest.raises(UsageError, match=r"core\.sale_v1\.buyr: .* Did you mean core\.sale_v1\.buyer"):
        explain(small, "core.sale_v1.buyr")
