"""The latest time in a table by its manifests is the latest in its rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from mesh_platform.iceberg.bounds import newest

from ..small_mesh import Place, Sale, small_mesh


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.mark.parametrize("hours", [[0], [-24 * 365 * 60, 5, 3], [-24 * 365 * 60], [700, 1, 2, 30]])
def test_the_newest_of_many_files_and_before_1970(place: Place, hours: list[int]) -> None:
    for number, hour in enumerate(hours):
        place.land("alpha", [Sale(number, hour)])
    table = place.catalog.load_table("alpha.sales_alpha__raw")
    (rows,) = (table.scan(selected_fields=("sold_at",)).to_arrow()["sold_at"].to_pylist(),)
    assert newest(table, "sold_at") == max(rows)


def test_a_rebuilt_partition_has_the_bound_of_what_is_left(place: Place) -> None:
    first = place.land("alpha", [Sale(1, 1)])
    place.land("alpha", [Sale(2, 2)])
    place.build("alpha.sales_alpha")
    with place.catalog.load_table("alpha.sales_alpha__raw").manage_snapshots() as manage:
        manage.set_current_snapshot(snapshot_id=first)
    place.build("alpha.sales_alpha")
    at = newest(place.catalog.load_table("alpha.sales_alpha"), "sold_at")
    assert at == datetime(2025, 10, 1, 1, tzinfo=UTC)


def test_a_table_without_rows_has_no_newest(place: Place) -> None:
    place.build("alpha.sales_alpha")
    assert newest(place.catalog.load_table("alpha.sales_alpha"), "sold_at") is None
