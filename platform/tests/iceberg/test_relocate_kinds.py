"""Relocation of other kinds of lakes and files: everything is kept, or refused with a reason."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mesh_platform.errors import UsageError
from mesh_platform.iceberg.relocate import relocate

from ..moved_lake import (
    NAME,
    SCHEMA,
    add,
    describe,
    make_lake,
    make_table,
    open_lake,
    refusal,
    relocated,
    stop_at,
    tree,
    warehouse,
)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[..., Path]:
    """Copies a state folder to a folder with a given name."""
    return lambda original, name="copy": Path(shutil.copytree(original, tmp_path / name))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A lake for this test only."""
    return make_lake(tmp_path / "state")


def test_a_moved_folder_is_refused_and_then_relocated(own: Path) -> None:
    said = describe(open_lake(own), own)
    moved = own.rename(own.parent / "moved here")
    assert f"still names the files in {warehouse(own)}" in refusal(moved)
    assert {each.mode for each in relocated(moved)} == {"relocated"}
    assert describe(open_lake(moved), moved) == said
    assert not own.exists()


@pytest.mark.parametrize("point", ["relocate.noted", "relocate.replaced:9", "relocate.rewritten"])
def test_half_relocated_and_moved_on_or_back(
    copy_of: Callable[..., Path], own: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = describe(open_lake(own), own)
    moved = own.rename(own.parent / "moved")
    stop_at(moved, point, monkeypatch)
    back = moved.rename(own)
    # Its catalog names this place, and its files another one.
    assert "has not ended" in refusal(back)
    other = copy_of(back, "other")
    for state in (other, back):
        relocated(state)
        assert describe(open_lake(state), state) == said


def test_a_folder_that_moved_and_left_a_link_is_the_same_lake(own: Path) -> None:
    moved = own.rename(own.parent / "bigger disk")
    own.symlink_to(moved)
    for name in (own, moved):
        catalog = open_lake(name)
        assert catalog.load_table(NAME).scan().to_arrow().num_rows == 11
        assert {each.mode for each in relocate(catalog)} == {"noop"}
    # Giving the old place gets rid of the link.
    assert {each.mode for each in relocated(moved, str(own))} == {"relocated"}
    own.unlink()
    assert open_lake(moved).load_table(NAME).scan().to_arrow().num_rows == 11


def test_a_namespace_may_have_a_place_of_its_own(copy_of: Callable[..., Path], own: Path) -> None:
    catalog = open_lake(own)
    catalog.create_namespace("near", {"location": str(own.parent / "near")})
    catalog.create_namespace("far", {"location": f"{warehouse(own)}/far"})
    add(make_table(catalog, "near.t"), 0, 2)
    add(make_table(catalog, "far.t"), 0, 2)
    open_lake(own)
    copy = copy_of(own)
    with sqlite3.connect(copy / "catalog.db") as database:
        database.execute("DELETE FROM iceberg_tables WHERE table_namespace = 'near'")
    assert {each.mode for each in relocated(copy)} == {"relocated"}
    there = open_lake(copy)
    assert there.load_namespace_properties("far")["location"] == f"{warehouse(copy)}/far"
    assert there.load_namespace_properties("near")["location"] == str(own.parent / "near")


def test_what_pyiceberg_does_not_know_of_metadata_is_kept(copy_of: Callable[..., Path], own: Path) -> None:
    table = open_lake(own).load_table(NAME)
    metadata = json.loads(Path(table.metadata_location).read_text())
    metadata["next-row-id"] = 2**60
    metadata["properties"] |= {"write.data.path": f"{warehouse(own)}/north/sales/data", "owner": str(own)}
    puffin = Path(table.metadata_location).with_name("stats.puffin")
    puffin.write_bytes(b"PFA1")
    metadata["statistics"] = [{"snapshot-id": 1, "statistics-path": str(puffin), "extra": 1}]
    Path(table.metadata_location).write_text(json.dumps(metadata))
    copy = copy_of(own)
    relocated(copy)
    at = copy / Path(table.metadata_location).relative_to(own)
    found = json.loads(at.read_text())
    assert found["next-row-id"] == 2**60
    assert found["properties"]["write.data.path"] == f"{warehouse(copy)}/north/sales/data"
    # A property of a user, not a place where files are written.
    assert found["properties"]["owner"] == str(own)
    assert found["statistics"][0] == {
        "snapshot-id": 1,
        "statistics-path": str(at.with_name("stats.puffin")),
        "extra": 1,
    }


def test_files_outside_of_the_old_place_are_refused(copy_of: Callable[..., Path], own: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "a.parquet"
    outside.parent.mkdir()
    unpartitioned = make_table(open_lake(own), "south.plain")
    schema = SCHEMA.as_arrow()
    bare = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
    pq.write_table(pa.Table.from_pylist([{"id": 1}], schema=bare), outside)
    unpartitioned.add_files([str(outside)])
    copy = copy_of(own)
    before = tree(copy)
    with pytest.raises(UsageError, match=f"south.plain: it also names files in {outside.parent}"):
        relocated(copy)
    assert tree(copy) == before


def test_version_1_and_packed_metadata(copy_of: Callable[..., Path], tmp_path: Path) -> None:
    state = tmp_path / "state"
    catalog = open_lake(state)
    table = make_table(catalog, NAME, partition=2, version=1)
    add(table, 0, 5)
    add(table, 5, 5)
    # As Spark writes metadata if compression is on.
    plain_file = Path(table.metadata_location)
    packed = plain_file.with_name(plain_file.name.replace(".metadata.json", ".gz.metadata.json"))
    packed.write_bytes(gzip.compress(plain_file.read_bytes()))
    plain_file.unlink()
    with sqlite3.connect(state / "catalog.db") as database:
        database.execute("UPDATE iceberg_tables SET metadata_location = ?", [str(packed)])
    said = describe(open_lake(state), state)
    copy = copy_of(state)
    relocated(copy)
    assert describe(open_lake(copy), copy) == said
    assert open_lake(copy).load_table(NAME).format_version == 1
