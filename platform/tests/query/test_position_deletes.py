"""Counts of a table are of the rows that readers see, also where another engine deleted some."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from mesh_platform.iceberg.compaction import compact
from mesh_platform.iceberg.history import read_history
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from mesh_platform.query.status import read_status

from ..position_deletes import delete_positions
from ..small_mesh import Place, Sale, small_mesh

RAW = "alpha.sales_alpha__raw"


def counts(place: Place, name: str = RAW) -> set[int]:
    """The rows of a table by each way to count them."""
    table = place.catalog.load_table(name)
    with open_session(place.mesh, place.catalog) as session:
        (seen,) = run_query(session, f"select count(*) as n, count(event_id) as m from {name}").to_pylist()
    status = {each.table: each.rows for each in read_status(place.mesh, place.catalog, datetime.now(UTC))}
    return {*seen.values(), status[name], read_history(table)[0].rows, table.scan().count(), len(place.rows(name))}


def test_rows_deleted_by_position_are_not_counted_in_any_state(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    for start in (0, 10):
        place.land("alpha", [Sale(start + number, number) for number in range(5)])
    place.build()
    first, second = (task.file.file_path for task in place.catalog.load_table(RAW).scan().plan_files())
    delete_positions(place.catalog.load_table(RAW), {first: [0, 3]})
    # A delete of a row that is deleted already counts in the summary of the snapshot, and of no row.
    delete_positions(place.catalog.load_table(RAW), {first: [3], second: [1]})
    assert counts(place) == {7}
    assert [entry.rows for entry in read_history(place.catalog.load_table(RAW))] == [7, 8, 10, 5]
    compact(lambda: place.catalog.load_table(RAW))
    assert counts(place) == {7}
    place.build()
    assert counts(place, "alpha.sales_alpha") == counts(place, "core.fact_sales") == {7}
    place.build(full=True)
    assert counts(place, "alpha.sales_alpha") == {7}
