"""Fault points: what `MESH_FAULT` may say, and that each point of a commit is passed where its words say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from mesh_platform import faults
from mesh_platform.errors import UsageError
from mesh_platform.faults import POINTS, InjectedFault
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.durable_io import DurableFileIO
from mesh_platform.lake.catalog import arrow_schema, ensure_table, open_catalog
from mesh_platform.lake.tables import ledger_schema
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.settings import Settings
from pyiceberg.catalog.sql import SqlCatalog

from conftest import State


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ingest.landd:kill", "there is no point 'ingest.landd'. A point is one of ingest.received, "),
        ("ingest.landed", "'' is not an action. Write ingest.landed: and one of kill, raise, stop."),
        ("ingest.landed:halt:2", "'halt' is not an action"),
        ("ingest.landed:kill:0", "'0' is not a number of passings. Write ingest.landed:kill:N with N from 1"),
        ("ingest.landed:kill:", "'' is not a number"),
        ("ingest.landed:kill:²", "'²' is not a number"),
        ("ingest.landed:kill:1:2", "'1:2' is not a number"),
    ],
)
def test_a_fault_that_could_never_fire_is_wrong_use(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_FAULT", text)
    for call in (faults.check, lambda: faults.point("ingest.received")):
        with pytest.raises(UsageError) as raised:
            call()
        assert str(raised.value).startswith(f"MESH_FAULT={text}: {words}")


def test_each_command_refuses_a_wrong_fault(state: State) -> None:
    failed = state.mesh("faults", "list", MESH_FAULT="ingest.landd:kill", check=2)
    assert "there is no point 'ingest.landd'" in failed.err
    assert [row["point"] for row in state.json("faults", "list")] == list(POINTS)


@pytest.fixture
def append(tmp_path: Path, mesh: Mesh) -> Callable[[], int]:
    """Commits one row to a table of a fresh lake; its snapshot."""
    shape = ledger_schema(mesh.contract("south_warehouse.orders_south"))
    time = datetime(2025, 10, 1, tzinfo=UTC)

    def append() -> int:
        table = ensure_table(open_catalog(Settings(root=tmp_path, state=Path("state"))), "north.sales", shape)
        return append_rows(table, pa.table([["a"], [time], ["test"], [time]], schema=arrow_schema(shape)))

    return append


def test_a_commit_passes_its_points_in_order(
    append: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    append()
    known = set((tmp_path / "state").rglob("*.*"))
    passed: list[str] = []
    there: dict[str, list[int]] = {}

    def note(name: str) -> None:
        passed.append(name)
        new = set((tmp_path / "state" / "warehouse").rglob("*.*")) - known
        there[name] = sorted(path.stat().st_size for path in new)

    monkeypatch.setattr(faults, "point", note)
    monkeypatch.setenv("MESH_FAULT", "commit.writing:kill")
    append()
    one_commit = ["commit.writing", "commit.written", "commit.listed", "commit.listed", "commit.described"]
    assert passed == [*one_commit, "commit.pointing"]
    assert [name for name in POINTS if name.startswith("commit.")] == sorted(set(passed), key=passed.index)
    # Half a Parquet file, then the whole, a manifest and their list, and the metadata.
    (half,), (whole,) = there["commit.writing"], there["commit.written"]
    assert 4 < half < whole
    assert [len(there[name]) for name in ("commit.listed", "commit.described", "commit.pointing")] == [3, 4, 4]


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("commit.")])
def test_a_commit_that_fails_at_a_point_leaves_the_table(
    append: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point: str
) -> None:
    first = append()
    monkeypatch.setattr(faults, "_passed", {})
    monkeypatch.setenv("MESH_FAULT", f"{point}:raise")
    with pytest.raises(InjectedFault):
        append()
    monkeypatch.delenv("MESH_FAULT")
    table = open_catalog(Settings(root=tmp_path, state=Path("state"))).load_table("north.sales")
    assert [snapshot.snapshot_id for snapshot in table.metadata.snapshots] == [first]
    assert table.scan().to_arrow().num_rows == 1


def test_other_statements_of_the_catalog_pass_nothing(
    append: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    append()
    catalog = open_catalog(Settings(root=tmp_path, state=Path("state")))
    assert isinstance(catalog, SqlCatalog)
    monkeypatch.setenv("MESH_FAULT", "commit.pointing:raise")
    catalog.create_namespace("south")
    catalog.create_table("south.sales", catalog.load_table("north.sales").schema())
    catalog.rename_table("south.sales", "south.sold")
    catalog.drop_table("south.sold")


def test_files_that_are_no_local_ones_pass_the_points_too(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    monkeypatch.setattr(faults, "point", passed.append)
    monkeypatch.setenv("MESH_FAULT", "commit.written:raise")
    from pyarrow.fs import _MockFileSystem

    io = DurableFileIO()
    bucket = _MockFileSystem()
    bucket.create_dir("bucket")
    monkeypatch.setattr(io, "fs_by_scheme", lambda scheme, host: bucket)
    import pyarrow.parquet as pq

    rows = pa.table({"a": [1, 2, 3]})
    with io.new_output("s3://bucket/a.parquet").create() as file, pq.ParquetWriter(file, rows.schema) as writer:
        writer.write(rows)
    assert passed == ["commit.writing", "commit.written"]
    with io.new_input("s3://bucket/a.parquet").open() as file:
        assert pq.read_table(file) == rows
