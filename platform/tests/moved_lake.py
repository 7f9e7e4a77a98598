"""Lakes to copy and move: tables with a history, and all that can be read of them but for where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.errors import UsageError
from mesh_platform.faults import InjectedFault
from mesh_platform.iceberg.commit import append_rows, replace_files
from mesh_platform.iceberg.relocate import Relocated, relocate
from mesh_platform.lake.catalog import PROPERTIES, open_catalog
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import clear_manifest_cache
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import parse_transform
from pyiceberg.types import DecimalType, LongType, NestedField, StringType, TimestamptzType

NAME = "north.sales"
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "site", StringType(), required=False),
    NestedField(3, "paid", DecimalType(12, 2), required=False),
    NestedField(4, "at", TimestamptzType(), required=False),
)
PARTITIONS = (
    (),
    (("identity", "site"),),
    (("day", "at"), ("identity", "paid")),
    (("bucket[3]", "id"), ("identity", "site")),
    (("truncate[2]", "site"), ("month", "at")),
)


def open_lake(state: Path, copied: bool = False) -> Catalog:
    """The embedded catalog of a state folder."""
    # Files that are replaced are those of another place for pyiceberg, but for tests that go back and forth.
    clear_manifest_cache()
    return open_catalog(Settings(root=state.parent, state=state), copied=copied)


def make_table(catalog: Catalog, name: str, partition: int = 0, version: int = 2) -> Table:
    """An empty table of `SCHEMA`, partitioned as `PARTITIONS` says, in a version of Iceberg's format."""
    namespace = name.partition(".")[0]
    if not catalog.namespace_exists(namespace):
        catalog.create_namespace(namespace)
    fields = [
        PartitionField(SCHEMA.find_field(column).field_id, 1000 + place, parse_transform(transform), f"p{place}")
        for place, (transform, column) in enumerate(PARTITIONS[partition])
    ]
    properties = PROPERTIES | {"format-version": str(version)}
    return catalog.create_table(name, SCHEMA, partition_spec=PartitionSpec(*fields), properties=properties)


def add(table: Table, first: int, count: int) -> int:
    """Append rows with the ids from `first`, in one snapshot; its id."""
    ids = range(first, first + count)
    columns: dict[str, Callable[[int], Any]] = {
        "id": lambda n: n,
        "site": lambda n: (None, "ost/1 ä", "..", "n%2F")[n % 4],
        "paid": lambda n: None if n % 5 == 0 else f"{n % 3}.50",
        "at": lambda n: n * 86_400_000_000 * 7,
    }
    schema = table.schema().as_arrow()
    arrays = []
    for field in schema:
        # A column that was added later has the numbers, too, be it of texts or of numbers.
        array = pa.array([columns.get(field.name, lambda n: n)(n) for n in ids])
        arrays.append(array.cast(field.type))
    return append_rows(table, pa.Table.from_arrays(arrays, schema=schema))


def describe(catalog: Catalog, place: Path | str) -> dict[str, Any]:
    """All that tables say, with `<here>` for their place: metadata, and the manifests and rows of every snapshot."""
    clear_manifest_cache()
    return {
        ".".join(name): _of_table(catalog.load_table(name), json.dumps(str(place), ensure_ascii=False)[1:-1])
        for namespace in catalog.list_namespaces()
        for name in catalog.list_tables(namespace)
    }


def _of_table(table: Table, place: str) -> dict[str, Any]:
    """`place` is spelled as JSON spells it, which escapes a backslash."""
    found: dict[str, Any] = {"metadata": table.metadata.model_dump_json().replace(place, "<here>")}
    for snapshot in table.snapshots():
        files = []
        for manifest in snapshot.manifests(table.io):
            said = [manifest[number] for number in range(len(manifest)) if number != 1]
            assert Path(manifest.manifest_path).stat().st_size == manifest.manifest_length or "://" in place
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            files.append([said, [_entry(entry) for entry in entries]])
        rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()
        found[str(snapshot.snapshot_id)] = {
            "files": json.dumps(files, default=repr, ensure_ascii=False).replace(place, "<here>"),
            "rows": sorted(map(repr, rows.to_pylist())),
        }
    return found


def _entry(entry: Any) -> list[Any]:
    file = entry.data_file
    said = [dict(each) if isinstance(each, Mapping) else each for each in (file[n] for n in range(len(file)))]
    return [entry.status, entry.snapshot_id, entry.sequence_number, entry.file_sequence_number, said]


def tree(folder: Path) -> dict[str, str]:
    """What each file in a folder holds, by its path in it."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_lake(state: Path) -> Path:
    """Two tables of a few snapshots, one of them tagged, and a file that left, in a state folder."""
    catalog = open_lake(state)
    for name in (NAME, "south.sales"):
        table = make_table(catalog, name, partition=1)
        for first in range(0, 12, 4):
            add(table, first, 4)
    table = catalog.load_table(NAME)
    table.manage_snapshots().create_tag(table.snapshots()[1].snapshot_id, "r1").commit()
    gone = next(iter(table.scan().plan_files())).file
    replace_files(table, [gone], table.scan().to_arrow().slice(0, 0))
    return state


def refusal(state: Path) -> str:
    with pytest.raises(UsageError) as raised:
        open_lake(state)
    return str(raised.value)


def warehouse(state: Path) -> str:
    return f"{state}/warehouse"


def relocated(state: Path, *old: str) -> list[Relocated]:
    return relocate(open_lake(state, copied=True), old)


def stop_at(state: Path, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, number = point.partition(":")
    monkeypatch.setattr("mesh_platform.faults._passed", {})
    monkeypatch.setenv("MESH_FAULT", f"{name}:raise:{number or 1}")
    with pytest.raises(InjectedFault):
        relocated(state)
    monkeypatch.delenv("MESH_FAULT")
