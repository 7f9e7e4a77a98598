"""Commits that never guess: rows and the snapshot they are true for arrive, a new snapshot or an error leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import TableProperties

from mesh_platform.errors import ConflictError, NeedsAttention
from mesh_platform.iceberg.data_files import write_data_files
from mesh_platform.iceberg.internals import CheapTransaction
from mesh_platform.iceberg.locations import without_values

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table


def append_rows(table: Table, rows: pa.Table, summary: Mapping[str, str] | None = None) -> int:
    """Append `rows` in one snapshot on top of the very snapshot that `table` was loaded at; its id.

    Raises ConflictError where the table has moved on. Any other error means that the outcome is unknown.
    """
    return replace_files(table, (), rows, summary)


def replace_files(
    table: Table, removed: Iterable[DataFile], rows: pa.Table, summary: Mapping[str, str] | None = None
) -> int:
    """Take `removed` out and put `rows` in, in one snapshot, so that no reader sees the one without the other.

    With nothing removed the snapshot is an append. Raises as `append_rows` does.
    """
    return commit_files(table, removed, write_files(table, rows), summary)


def write_files(table: Table, rows: pa.Table, target_bytes: int | None = None) -> list[DataFile]:
    """Write `rows` to data files of `table`, which no snapshot names yet; their paths hold no value of the rows.

    In each partition pyiceberg begins a new file when the rows of one are over `target_bytes` in memory, by default
    `write.target-file-size-bytes` of the table.
    """
    properties = without_values(table.properties)
    if target_bytes is not None:
        properties[TableProperties.WRITE_TARGET_FILE_SIZE_BYTES] = str(target_bytes)
    metadata = table.metadata.model_copy(update={"properties": properties})
    return write_data_files(metadata, rows, table.io)


def commit_files(
    table: Table, removed: Iterable[DataFile], added: Iterable[DataFile], summary: Mapping[str, str] | None = None
) -> int:
    """As `replace_files`, of files that are written already."""
    removed = list(removed)
    if table.properties.get("commit.retry.num-retries") != "0":
        raise NeedsAttention(
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
    """Raises ConflictError where a commit to `table` in the block finds that somebody else was first."""
    started_at = table.metadata_location
    try:
        yield
    except (CommitFailedException, ValueError) as error:
        # pyiceberg first compares what was asserted, then applies the updates to the newest state. Where that lacks a
        # snapshot that is to be removed or tagged, it raises a ValueError.
        if isinstance(error, ValueError) and table.catalog.load_table(table.name()).metadata_location == started_at:
            raise
        raise ConflictError(f"{'.'.join(table.name())}: somebody else committed first.") from error
