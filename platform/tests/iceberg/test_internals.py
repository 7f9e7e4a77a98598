"""The private parts of pyiceberg that the package uses behave as expected; upgrades that change them fail here."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mesh_platform.errors import ConflictError
from mesh_platform.iceberg import replace
from mesh_platform.iceberg.commit import append_rows, commit_files, first_to_commit
from mesh_platform.iceberg.internals import (
    OverwriteFiles,
    make_data_files,
    read_in_batches,
    split_by_partition,
    stage,
)
from mesh_platform.iceberg.replace import replace_same_rows
from mesh_platform.iceberg.snapshot_diff import read_files
from pyiceberg.avro.file import AvroFile
from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import FileFormat
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import AssertRefSnapshotId, RemoveSnapshotsUpdate
from pyiceberg.typedef import Record

from ..moved_lake import add, make_table, open_lake


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table partitioned by `site`, with four rows in two snapshots."""
    catalog = open_lake(tmp_path / "state")
    made = make_table(catalog, "shop.sales", partition=1)
    for first in (0, 2):
        add(made, first, 2)
    return catalog.load_table("shop.sales")


def test_snapshots_are_shared_by_copies_of_the_metadata(table: Table) -> None:
    snapshot = table.snapshots()[0]
    assert copy.deepcopy(snapshot) is snapshot
    for part in (table.metadata.snapshot_log[0], table.schema(), table.spec(), table.sort_order()):
        assert copy.deepcopy(part) is part


def test_metadata_that_was_parsed_before_is_not_parsed_again(table: Table) -> None:
    again = table.catalog.load_table("shop.sales")
    assert again.metadata is table.metadata
    add(again, 4, 2)
    assert again.metadata is not table.metadata
    assert len(table.snapshots()) == 2
    assert len(table.catalog.load_table("shop.sales").snapshots()) == 3


def test_manifests_of_one_kind_share_what_reads_them(table: Table) -> None:
    readers = []
    for snapshot in table.snapshots():
        with AvroFile[Record](table.io.new_input(snapshot.manifest_list)) as file:
            readers.append(file.reader)
            assert len([*file]) == len(snapshot.manifests(table.io))
    assert readers[0] is readers[1]


CALLED = ["_existing_manifests", "_deleted_entries", "_process_manifests", "_summary", "fetch_manifest_entry"]


@pytest.mark.parametrize("name", CALLED)
def test_a_commit_calls_what_replace_overrides(table: Table, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    called: list[str] = []
    own = getattr(replace._Replace, name)

    def noted(self: OverwriteFiles, *args: Any, **options: Any) -> Any:
        called.append(name)
        return own(self, *args, **options)

    # More manifests than this are merged, for which pyiceberg reads their entries.
    monkeypatch.setattr(replace, "MANIFESTS", 1)
    monkeypatch.setattr(replace._Replace, name, noted)
    first, *_ = table.scan().plan_files()
    rows = read_files(table, [first], table.schema().column_names)
    replace_same_rows(table, [first.file], make_data_files(table.metadata, rows, table.io))
    assert called
    assert table.catalog.load_table("shop.sales").scan().to_arrow().num_rows == 4


def test_the_test_above_names_all_that_replace_overrides() -> None:
    overridden = {
        name for name in vars(replace._Replace) if callable(getattr(OverwriteFiles, name, None)) and name[:2] != "__"
    }
    assert overridden == {*CALLED}


def test_the_commit_of_files_checks_that_what_it_deletes_is_there(table: Table) -> None:
    gone = next(iter(table.scan().plan_files())).file
    update = OverwriteFiles(Operation.OVERWRITE, table.transaction(), table.io)
    update.delete_data_file(gone)
    assert {*update._deleted_data_files} == {gone}
    with pytest.raises(ValidationException, match="Missing required files"):
        update._validate_required_deletes([])


def test_a_commit_that_fails_leaves_its_manifests(table: Table) -> None:
    stale = table.catalog.load_table("shop.sales")
    append_rows(table, table.scan().to_arrow())
    before = {*Path(table.location()).rglob("*.avro")}
    files = make_data_files(stale.metadata, stale.scan().to_arrow(), stale.io)
    with pytest.raises(ConflictError):
        commit_files(stale, [], files)
    assert before < {*Path(table.location()).rglob("*.avro")}


def test_what_is_staged_is_committed_only_where_the_condition_holds(table: Table) -> None:
    first, last = (snapshot.snapshot_id for snapshot in table.snapshots())
    removal = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [first]})
    for head in (first, last):
        unmoved = AssertRefSnapshotId.model_validate({"ref": "main", "snapshot-id": head})
        stale = table.catalog.load_table("shop.sales")
        try:
            with first_to_commit(stale), Transaction(stale) as transaction:
                stage(transaction, (removal,), (unmoved,))
        except ConflictError:
            assert head == first
    left = table.catalog.load_table("shop.sales").snapshots()
    assert [snapshot.snapshot_id for snapshot in left] == [last]


def test_rows_are_split_as_the_writer_splits_them(table: Table) -> None:
    rows = table.scan().to_arrow()
    parts = split_by_partition(table.spec(), table.schema(), rows)
    files = make_data_files(table.metadata, rows, table.io)
    assert {partition for partition, _ in parts} == {file.partition for file in files}
    assert sum(part.num_rows for _, part in parts) == sum(file.record_count for file in files) == rows.num_rows
    assert {file.file_format for file in files} == {FileFormat.PARQUET}


def test_a_file_is_read_in_batches(table: Table) -> None:
    tasks = [*table.scan().plan_files()]
    rows = [
        row for task in tasks for batch in read_in_batches(table, ["id"], task) for row in batch["id"].to_pylist()
    ]
    assert sorted(rows) == [0, 1, 2, 3]


def test_bounds_of_a_file_are_those_of_the_package(table: Table) -> None:
    plain = make_table(table.catalog, "shop.plain")
    rows = table.scan().to_arrow()
    rows = rows.set_column(1, rows.schema.field("site"), pa.array(["\ud7ff" * 20] * 4, pa.large_string()))
    (file,) = make_data_files(plain.metadata, rows, plain.io)
    assert file.upper_bounds[plain.schema().find_field("site").field_id].decode() == "\ud7ff" * 15 + "\ue000"
