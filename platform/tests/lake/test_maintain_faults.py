"""Each file and catalog operation of maintenance fails in turn: no row changes, and the next run finishes."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from fault_record import record
from mesh_platform.errors import MeshError
from mesh_platform.lake.maintain import maintain
from nth_operation import ERRORS, Operations, watched

from ..small_mesh import Place, Sale, small_mesh

TABLE = "alpha.sales_alpha__raw"
STRAY = "stray.parquet"


@pytest.fixture
def untidy(tmp_path: Path) -> Place:
    """A mesh with a table of small files, and a file in its folder that no snapshot names."""
    place = small_mesh(tmp_path / "mesh")
    # Enough to be merged: with each one more, all that is read and could fail is read once more.
    for number in range(3):
        place.land("alpha", [Sale(number, hours=number)])
    beside = next(iter(place.files(TABLE))).removeprefix("file://")
    Path(beside).with_name(STRAY).write_bytes(b"left by a commit that failed")
    shutil.copytree(place.root / ".mesh", place.root / "kept")
    return place


def attempt(untidy: Place, fault: Operations) -> None:
    """Maintain with the fault and then without it, in the same place, because the catalog has the table's paths."""
    shutil.rmtree(untidy.root / ".mesh")
    shutil.copytree(untidy.root / "kept", untidy.root / ".mesh")
    untidy.close()
    rows = untidy.rows(TABLE)
    untidy.close()
    with watched(fault), suppress(MeshError):
        maintain(untidy.mesh, untidy.catalog, [TABLE], orphan_age=timedelta(0))
    tried = (fault.at, fault.failed, fault.error())
    assert untidy.rows(TABLE) == rows, tried
    maintain(untidy.mesh, untidy.catalog, [TABLE], orphan_age=timedelta(0))
    assert untidy.rows(TABLE) == rows, tried
    assert len(untidy.files(TABLE)) == 1, tried
    assert not list((untidy.root / ".mesh").rglob(STRAY)), tried
    assert untidy.build("alpha.sales_alpha")["alpha.sales_alpha"].rows == len(rows), tried


def each(untidy: Place, step: int) -> Counter[str]:
    """Let every `step`-th operation fail, with the kinds of failure in turn; return the operations."""
    seen: Counter[str] = Counter()
    kinds = list(ERRORS.values())
    for number, at in enumerate(count(1, step)):
        fault = Operations(at, kinds[number % 3], lasting=number % 4 == 3, after=number % 2 == 1)
        attempt(untidy, fault)
        if not fault.failed:
            break
        seen.update(fault.failed[:1])
    return seen


def test_some_operations_of_maintenance_fail(untidy: Place) -> None:
    assert each(untidy, 41).total() > 3


@pytest.mark.thorough
def test_each_operation_of_maintenance_fails(untidy: Place) -> None:
    seen = each(untidy, 1)
    assert {"create", "write", "fsync", "close", "open", "read", "load_table", "commit_table"} <= set(seen)
    record(
        "the Nth file or catalog operation of maintain fails",
        "each in turn: no space, I/O error, time-out; it alone or all that follow; before it takes effect or after",
        seen.total(),
        "no row changes, and the next one finishes the work",
    )
