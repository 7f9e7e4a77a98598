"""What those who read the tables of a contract rely on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.provenance import note_properties
from mesh_platform.iceberg.replace import data_manifests
from mesh_platform.lake.catalog import PROPERTIES, arrow_schema, ensure_table, find_table, find_tables
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.releases import RELEASES_SCHEMA

from ..small_mesh import START, Place, small_mesh

SALES = "alpha.sales_alpha"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.mark.parametrize(("by_flush", "most"), [(False, 8), (True, 20)], ids=["product", "landing"])
def test_however_often_a_table_is_written_a_reader_opens_few_manifests(
    place: Place, by_flush: bool, most: int
) -> None:
    schema = replace(RELEASES_SCHEMA, by_flush=by_flush)
    row = {"release": "r1", "released_at": START, "table": SALES, "snapshot_id": 1}
    rows = pa.Table.from_pylist([row], schema=arrow_schema(schema))
    counts = []
    for _ in range(most + 5):
        table = ensure_table(place.catalog, "alpha.written", schema)
        append_rows(table, rows)
        counts.append(len(data_manifests(table)))
    assert max(counts) < most
    assert table.scan().to_arrow().num_rows == len(counts)


def test_maintenance_gives_a_table_of_an_older_version_the_properties_of_today(place: Place) -> None:
    schema = place.mesh.contracts[SALES].table
    note_properties(
        ensure_table(place.catalog, SALES, schema), {"commit.manifest.min-count-to-merge": "100", "a": "b"}
    )
    maintain(place.mesh, place.catalog, [SALES])
    found = place.catalog.load_table(SALES)
    assert found.properties.items() >= {**PROPERTIES, "a": "b"}.items()
    before = found.metadata_location
    maintain(place.mesh, place.catalog, [SALES])
    assert place.catalog.load_table(SALES).metadata_location == before


def test_many_tables_loaded_at_once_are_those_loaded_one_by_one(place: Place) -> None:
    place.build()
    names = [*place.mesh.contracts, "alpha.nothing", "nowhere.nothing"]
    one_by_one = {name: table for name in names if (table := find_table(place.catalog, name)) is not None}
    found = find_tables(place.catalog, names)
    assert len(one_by_one) > 2
    assert found == one_by_one
    assert {n: t.metadata_location for n, t in found.items()} == {
        n: t.metadata_location for n, t in one_by_one.items()
    }
