"""A small lake of one table, to be copied to another place by a test, and the settings by which `mesh` opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.iceberg import store_io
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import PROPERTIES, open_catalog
from mesh_platform.settings import Settings
from pyarrow.fs import FileSelector, FileSystem
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import clear_manifest_cache

NAME = "north.sales"
_ROWS = pa.schema([pa.field("n", pa.int64()), pa.field("word", pa.large_string())])


def fill(catalog: Catalog, snapshots: int = 3, **arguments: Any) -> None:
    """Create the table, with a row in each of its snapshots and a tag."""
    catalog.create_namespace("north")
    table = catalog.create_table(NAME, _ROWS, properties=PROPERTIES, **arguments)
    for number in range(snapshots):
        append_rows(table, pa.table([[number], ["a"]], schema=table.schema().as_arrow()))
    table.manage_snapshots().create_tag(table.snapshots()[0].snapshot_id, "r1").commit()


def states(catalog: Catalog) -> list[list[int]]:
    """The rows at the tag, and at each snapshot."""
    # What is in the store counts, not what this process remembers of it.
    clear_manifest_cache()
    store_io._recent.clear()
    table = catalog.load_table(NAME)
    ids = [table.refs()["r1"].snapshot_id, *(snapshot.snapshot_id for snapshot in table.snapshots())]
    return [sorted(table.scan(snapshot_id=number).to_arrow()["n"].to_pylist()) for number in ids]


def content(files: FileSystem, prefix: str) -> dict[str, bytes]:
    """All objects below a prefix."""
    found = files.get_file_info(FileSelector(prefix, recursive=True))
    return {each.path: files.open_input_stream(each.path).read() for each in found if each.is_file}


def use(monkeypatch: pytest.MonkeyPatch, properties: dict[str, str]) -> None:
    """Let `mesh` use the catalog with these properties of pyiceberg."""
    for name, value in properties.items():
        variable = name.upper().replace(".", "__").replace("-", "_")
        monkeypatch.setenv(f"PYICEBERG_CATALOG__MESH__{variable}", value)


def open_lake(copied: bool = False) -> Catalog:
    """The catalog of these settings, as `mesh` opens it."""
    return open_catalog(Settings(root=Path("/"), state=Path("/nowhere")), copied=copied)
