"""Tables of every kind to maintain: their partitions, what became of their columns, and their rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.lake.catalog import PROPERTIES, embedded_properties
from mesh_platform.settings import Settings
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import parse_transform
from pyiceberg.types import IntegerType, LongType, NestedField, StringType, TimestamptzType

NAME = "lake.things"
SCHEMA = Schema(
    NestedField(1, "number", IntegerType(), required=True),
    NestedField(2, "kind", StringType(), required=False),
    NestedField(3, "at", TimestamptzType(), required=False),
)
ARROW = pa.schema(
    [
        pa.field("number", pa.int32(), nullable=False),
        pa.field("kind", pa.large_string()),
        pa.field("at", pa.timestamp("us", "UTC")),
    ]
)
DAY = 86_400_000_000
PARTITIONS = {
    "none": [],
    "day": [(3, "day", "at_day")],
    "kind": [(2, "identity", "kind")],
    "both": [(2, "identity", "kind"), (3, "month", "at_month")],
}


def open_lake(folder: Path) -> Catalog:
    """A catalog as the platform's."""
    settings = Settings(root=folder)
    settings.state_dir.mkdir(exist_ok=True)
    io = {"py-io-impl": "mesh_platform.iceberg.durable_io.DurableFileIO"}
    return load_catalog("mesh", **embedded_properties(settings), **io)


def make_table(catalog: Catalog, partition: str = "none", name: str = NAME, **properties: str) -> Callable[[], Table]:
    """A table without rows; the function loads it."""
    fields = [
        PartitionField(source, 1000 + number, parse_transform(transform), column)
        for number, (source, transform, column) in enumerate(PARTITIONS[partition])
    ]
    catalog.create_namespace_if_not_exists(name.split(".")[0])
    catalog.create_table(name, SCHEMA, partition_spec=PartitionSpec(*fields), properties=PROPERTIES | properties)
    return lambda: catalog.load_table(name)


def put(table: Table, first: int, count: int = 4) -> int:
    """Append rows from number `first` on, over two days and odd kinds, some of them missing; the snapshot's id."""
    numbers = range(first, first + count)
    kinds = ["a b", "ä%20/?#", None, ""]
    rows = {
        "number": list(numbers),
        "kind": [kinds[number % 4] for number in numbers],
        "at": [None if number % 4 == 3 else (number % 2) * DAY for number in numbers],
    }
    return append_rows(table, pa.table({f.name: pa.array(rows[f.name], f.type) for f in ARROW}, schema=ARROW))


def evolve(table: Table) -> None:
    """Widen a column, rename another, add one."""
    with table.update_schema() as update:
        update.update_column("number", field_type=LongType())
        update.rename_column("kind", "sort")
        update.add_column("note", StringType())


def rows_of(table: Table, snapshot_id: int | None = None) -> list[tuple[object, ...]]:
    """All rows, in order, as plain pyiceberg reads them."""
    return in_order(table.scan(snapshot_id=snapshot_id).to_arrow())


def in_order(rows: pa.Table) -> list[tuple[object, ...]]:
    return sorted((tuple(row.values()) for row in rows.to_pylist()), key=repr)


def files_of(table: Table) -> set[str]:
    """The data files of the current state."""
    return {task.file.file_path for task in table.scan().plan_files()}


def on_disk(table: Table) -> set[str]:
    """All files in the table's folder."""
    return {str(path) for path in Path(table.location()).rglob("*") if path.is_file()}
