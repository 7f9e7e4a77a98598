"""Paths of data files contain no values of rows, whatever these are; readers, maintenance, older files still work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_platform.engine.duckdb import connect
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.locations import without_values
from mesh_platform.lake.catalog import PROPERTIES, table_properties
from mesh_platform.lake.maintain import maintain
from mesh_platform.lake.tables import landing_schema
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session
from pyiceberg.catalog import load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import NestedField, StringType

from conftest import draws

from ..maintained import on_disk
from ..small_mesh import Place, Sale, add_contract, small_mesh

NOTES = "core.notes"
RAW = "alpha.sales_alpha__raw"
# Characters special in paths or URLs, a value too long for a name, and one that looks like a missing value.
VALUES = ["x" * 300, "ä" * 300, "a/b", "..", "../../x", "", "a b=c%d", "null", "\n", "z" * 100_000]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = small_mesh(tmp_path)
    columns = {"item_id": "string required", "buyer": "string required", "sales": "long required"}
    add_contract(place, "core", "notes", {"notes": columns}, partition="identity(buyer)")
    place.write(
        "core/models/notes.sql", "select item_id, buyer, count(*) as sales from core.fact_sales group by all\n"
    )
    return place


def buyers(place: Place) -> set[object]:
    with open_session(place.mesh, place.catalog) as session:
        return set(run_query(session, f"select buyer from {NOTES}")["buyer"].to_pylist())


def test_any_text_can_be_a_partition_and_every_reader_finds_it(place: Place) -> None:
    place.land("alpha", [Sale(number, buyer=value) for number, value in enumerate(VALUES)])
    place.build()
    table = place.catalog.load_table(NOTES)
    assert buyers(place) == {row[0] for row in place.rows(NOTES, "buyer")} == {*VALUES}
    with connect({}) as outside:
        for value in VALUES:
            query = f"select count(*) from iceberg_scan('{table.metadata_location}') where buyer = ?"
            assert outside.execute(query, [value]).fetchall() == [(1,)]
    paths = place.files(NOTES)
    assert len(paths) == len(VALUES)
    assert {str(Path(path).parent) for path in paths} == {f"{table.location()}/data"}


def test_days_are_no_folders_either(place: Place) -> None:
    place.land("alpha", [Sale(1), Sale(2, 1000)])
    assert {Path(path).parent.name for path in place.files(RAW)} == {"data"}


def test_files_of_before_stay_where_they_are_and_are_merged_with_new_ones(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("mesh_platform.iceberg.commit.without_values", dict)
        place.land("alpha", [Sale(1)])
        place.land("alpha", [Sale(2)])
        place.build()
    old = place.files(RAW) | place.files("core.fact_sales")
    assert all("=" in path for path in old)
    place.land("alpha", [Sale(3)])
    place.build()
    assert old < place.files(RAW) | place.files("core.fact_sales")
    rows = place.rows(RAW), place.rows("core.fact_sales")
    done = {
        maintained.table: maintained for maintained in maintain(place.mesh, place.catalog, orphan_age=timedelta(0))
    }
    assert (done[RAW].compacted, done[RAW].skipped) == (3, None)
    assert (place.rows(RAW), place.rows("core.fact_sales")) == rows
    assert not any("=" in path for path in place.files(RAW))
    # The state before the merge names the old files, so they are not orphans.
    assert {path for path in old if f"/{RAW.partition('.')[2]}/" in path} <= {*on_disk(place.catalog.load_table(RAW))}


def test_a_writer_without_this_package_can_write_to_the_tables(place: Place) -> None:
    place.land("alpha", [Sale(1)])
    properties = place.catalog.load_table(RAW).properties
    assert not {name for name in properties if "location" in name}
    assert table_properties(landing_schema(place.mesh.contracts["alpha.sales_alpha"])).items() <= properties.items()


def test_a_table_that_says_where_its_files_go_keeps_its_way() -> None:
    own = {"write.py-location-provider.impl": "theirs.Locations"}
    assert without_values(own) == own
    spread = without_values({"write.object-storage.enabled": "true"})
    assert spread == {
        "write.object-storage.enabled": "true",
        "write.object-storage.partitioned-paths": "false",
    }


@settings(max_examples=draws(8), deadline=None)
@given(values=st.lists(st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=400), min_size=1))
def test_random_texts_as_partitions(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    folder = tmp_path_factory.mktemp("lake")
    catalog = load_catalog("m", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=str(folder))
    catalog.create_namespace("n")
    schema = Schema(NestedField(1, "text", StringType(), required=False))
    spec = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "text"))
    table = catalog.create_table("n.t", schema, partition_spec=spec, properties=PROPERTIES)
    rows = [*values, None]
    append_rows(table, pa.table({"text": pa.array(rows, pa.large_string())}))
    key = repr
    assert sorted(table.scan().to_arrow()["text"].to_pylist(), key=key) == sorted(rows, key=key)
    with connect({}) as outside:
        found = outside.execute(f"select text from iceberg_scan('{table.metadata_location}')").fetchall()
    assert sorted((row[0] for row in found), key=key) == sorted(rows, key=key)
