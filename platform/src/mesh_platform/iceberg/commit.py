"""Commit rows or files to a table, on top of exactly the snapshot that it was loaded at, or fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import TableProperties

from mesh_platform.errors import AttentionError, ConflictError
from mesh_platform.iceberg.data_files import write_data_files
from mesh_platform.iceberg.internals import CheapTransaction
from mesh_platform.iceberg.locations import without_values

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table


def append_rows(table: Table, rows: pa.Table, summary: Mapping[str, str] | None = None) -> int:
    """Append `rows` in one snapshot, on top of the very snapshot that `table` was loaded at; return the new id.

    Raises ConflictError if the table has a newer snapshot. Any other error means that the outcome is unknown.
    """
    return replace_files(table, (), rows, summary)


def replace_files(
    table: Table, removed: Iterable[DataFile], rows: pa.Table, summary: Mapping[str, str] | None = None
) -> int:
    """Replace the files `removed` by `rows` in one snapshot, so that no reader sees one change without the other.

    If nothing is removed, the snapshot is an append. Returns and raises what `append_rows` does.
    """
    return commit_files(table, removed, write_files(table, rows), summary)


def write_files(table: Table, rows: pa.Table, target_bytes: int | None = None) -> list[DataFile]:
    """Write `rows` to data files of `table`, which no snapshot names yet. Their paths contain no values of the rows.

    In each partition pyiceberg begins a new file when the rows of the last one exceed `target_bytes` in memory, by
    default the table's `write.target-file-size-bytes`.
    """
    properties = without_values(table.properties)
    if target_bytes is not None:
        properties[TableProperties.WRITE_TARGET_FILE_SIZE_BYTES] = str(target_bytes)
    metadata = table.metadata.model_copy(update={"properties": properties})
    return write_data_files(metadata, rows, table.io)


def commit_files(
    table: Table, removed: Iterable[DataFile], added: Iterable[DataFile], summary: Mapping[str, str] | None = None
) -> int:
    """Do what `replace_files` does, with files that are written already.

    Raises AttentionError if the table lets pyiceberg retry commits on its own.
    """
    removed = list(removed)
    if table.properties.get("commit.retry.num-retries") != "0":
        raise AttentionError(
            f"{'.'.join(table.name())}: commit.retry.num-retries is not 0, so pyiceberg would rebase a commit over "
            "rows that nobody compared it with. Set the table property back to 0."
        )
    with first_to_commit(table), CheapTransaction(table) as transaction:
        update = transaction.update_snapshot(snapshot_properties=dict(summary or {}))
        with update.overwrite() if removed else update.merge_append() as snapshot:
            for file in removed:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)
    committed = table.current_snapshot()
    assert committed is not None
    return committed.snapshot_id


@contextmanager
def first_to_commit(table: Table) -> Iterator[None]:
    """Raise ConflictError if a commit to `table` in the block fails because somebody else committed first."""
    started_at = table.metadata_location
    try:
        yield
    except (CommitFailedException, ValueError) as error:
        # pyiceberg first checks the assertions, then applies the updates to the newest state. It raises a ValueError
        # if that lacks a snapshot that is to be removed or tagged.
        if isinstance(error, ValueError) and table.catalog.load_table(table.name()).metadata_location == started_at:
            raise
        raise ConflictError(f"{'.'.join(table.name())}: somebody else committed first.") from error
