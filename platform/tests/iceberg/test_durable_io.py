"""Files are synced to disk before the catalog names them, wherever the state folder is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from mesh_platform.engine.duckdb import connect
from mesh_platform.engine.sql import literal
from mesh_platform.errors import UnavailableError
from mesh_platform.iceberg.append import append_new
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.lake.tables import ledger_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog, load_catalog
from sqlalchemy import event

NAME = "north.sales"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files and folders that fsync was called for, in order, by their names at that time."""
    paths: list[Path] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        paths.append(Path(os.readlink(f"/proc/self/fd/{handle}")))

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def append(catalog: Catalog, mesh: Mesh, *ids: str, day: int = 1) -> None:
    shape = ledger_schema(mesh.contract("south_warehouse.orders_south"))
    time = datetime(2025, 10, day, tzinfo=UTC)
    rows = pa.table([list(ids), *([each] * len(ids) for each in (time, "test", time))], schema=arrow_schema(shape))
    append_new(lambda: ensure_table(catalog, NAME, shape), rows, "event_id", "event_time")


def files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if stat.S_ISREG(path.stat().st_mode))


def test_files_and_their_folders_are_synced_before_each_commit(
    tmp_path: Path, mesh: Mesh, synced: list[Path]
) -> None:
    catalog = open_catalog(Settings(root=tmp_path, state=Path("state")))
    warehouse = tmp_path / "state" / "warehouse"
    kinds: list[set[str]] = []
    faults: list[str] = []

    def look(_connection: object) -> None:
        files = set(files_in(warehouse))
        kinds.append({path.suffix for path in files})
        for path in files:
            if path not in synced:
                faults.append(f"{path} is not on disk")
                continue
            after = synced[synced.index(path) :]
            if path.parent not in after:
                faults.append(f"the name of {path} is not on disk")
        faults.extend(
            f"the name of {folder} is not on disk"
            for folder in {
                parent for path in files for parent in path.parents if warehouse in (parent, *parent.parents)
            }
            if folder.parent not in synced
        )

    event.listen(catalog.engine, "commit", look)  # type: ignore[attr-defined]
    append(catalog, mesh, "a", day=1)
    append(catalog, mesh, "b", "c", day=2)
    assert not faults
    assert kinds[-1] == {".parquet", ".avro", ".json"}
    assert len(kinds) >= 4
    # The state folder's own directory entry is synced as well.
    assert tmp_path in synced


def test_a_folder_whose_maker_died_is_synced_by_who_comes_next(
    tmp_path: Path, mesh: Mesh, synced: list[Path]
) -> None:
    catalog = open_catalog(Settings(root=tmp_path, state=Path("state")))
    ensure_table(catalog, NAME, ledger_schema(mesh.contract("south_warehouse.orders_south")))
    table = Path(catalog.load_table(NAME).location())
    (table / "data").mkdir()
    synced.clear()
    append(catalog, mesh, "a")
    assert any((table / "data").iterdir())
    assert table in synced


def test_a_sync_that_fails_is_no_commit(tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = open_catalog(Settings(root=tmp_path, state=Path("state")))
    append(catalog, mesh, "a")

    def fsync(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(UnavailableError, match="Input/output error"):
        append(catalog, mesh, "b")
    monkeypatch.undo()
    assert catalog.load_table(NAME).scan().to_arrow()["event_id"].to_pylist() == ["a"]


@pytest.mark.parametrize("folder", ["a b", "50%25 50%", "größe 日本", "it's", "a#b", "a+b&c=d", "[x]"])
def test_any_folder_can_be_the_state(tmp_path: Path, mesh: Mesh, folder: str) -> None:
    settings = Settings(root=tmp_path, state=Path(folder))
    append(open_catalog(settings), mesh, "a")
    append(open_catalog(settings), mesh, "a", "b")
    state = tmp_path / folder
    assert {path.name for path in tmp_path.iterdir()} == {folder}
    assert {path.name for path in state.iterdir()} == {"catalog.db", "warehouse"}
    outside = load_catalog(
        "mesh", type="sql", uri=f"sqlite:///{state}/catalog.db", warehouse=str(state / "warehouse")
    )
    table = outside.load_table(NAME)
    assert sorted(table.scan().to_arrow()["event_id"].to_pylist()) == ["a", "b"]
    with duckdb_session() as session:
        found = session.execute(f"SELECT count(*) FROM iceberg_scan({literal(table.metadata_location)})").fetchone()
    assert found == (2,)


def duckdb_session() -> duckdb.DuckDBPyConnection:
    return connect({})
