"""Erase rows from a table: out of its current state, then the states and files that still have them.

Only files with such rows are written again, one at a time, so the memory that it takes is that of one file. Files are
removed at once, so a query that still reads an earlier state fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table.snapshots import Operation, ancestors_of

from mesh_platform import faults
from mesh_platform.errors import AttentionError, ConflictError
from mesh_platform.iceberg.commit import write_files
from mesh_platform.iceberg.expiry import remove_snapshots
from mesh_platform.iceberg.orphan_files import remove_orphans
from mesh_platform.iceberg.replace import ManifestReader, replace_without_trace
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id, maintained_since, read_files
from mesh_platform.iceberg.value_search import Sought, Survey, refs_to, survey

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table

# In the summary of a snapshot that erased rows: the request, how many rows, and the bytes of their files; and the
# snapshots whose rows it has, less the erased ones.
REQUEST, ROWS, FILES, BYTES, OF = (f"mesh.erasure{each}" for each in ("", ".rows", ".files", ".bytes", ".of"))
# The table property with the tags and branches that a request removed, without the request's name.
_REFS = "mesh.erasure.refs."
_ATTEMPTS = 32
# What a row becomes; None removes it.
Edit = Callable[[pa.Table], pa.Table]
Notes = Callable[["Table"], Mapping[str, str]]


def erase_rows(
    load: Callable[[], Table],
    sought: Sought,
    request: str,
    notes: Notes,
    edit: Edit | None = None,
    known: dict[str, int] | None = None,
) -> Table:
    """Commit a state without the rows sought, and return the table at it.

    With `edit`, which returns rows in which the value is no more, they are changed instead. `notes` returns the other
    entries for the summary of the snapshot, and may raise ConflictError. A snapshot is committed in any case, so that
    a commit in progress, whose writer has not seen the request, fails. Raises ConflictError, and AttentionError if
    another engine has deleted rows of such a file.
    """
    written: dict[str, list[DataFile]] = {}
    since: int | None = None

    def attempt() -> Table:
        nonlocal since
        table = load()
        found = survey(table, sought, known)
        if written and maintained_since(table, since):
            written.clear()
        since = current_snapshot_id(table)
        for task in found.now:
            if task.file.file_path not in written:
                written[task.file.file_path] = _write(table, task, sought, edit)
        faults.point("erase.written")
        summary = {**notes(table), **(_summary(table, found, request) if found.now else {})}
        removed = [task.file for task in found.now]
        added = [file for task in found.now for file in written[task.file.file_path]]
        replace_without_trace(table, removed, added, summary, ManifestReader(table.io))
        faults.point("erase.committed")
        return table

    return on_conflict(_ATTEMPTS, attempt, "others keep committing. Erase again, which goes on where this ended.")


def clear(load: Callable[[], Table], sought: Sought, request: str, known: dict[str, int] | None = None) -> None:
    """Remove the states that have the rows sought, the tags and branches that name them, and all files of no state.

    The current state must be without such rows. Raises ConflictError if it is not, or if others keep committing.
    """

    def attempt() -> None:
        table = load()
        found = survey(table, sought, known)
        if not found.clean:
            raise ConflictError(f"{'.'.join(table.name())}: somebody wrote such rows again.")
        refs = tuple(refs_to(table, found.stale))
        if found.stale:
            noted = f"{table.properties.get(_REFS + request, '')} {' '.join(refs)}".strip()
            remove_snapshots(table, found.stale, {_REFS + request: noted} if refs else {})

    on_conflict(_ATTEMPTS, attempt, "others keep committing. Erase again.")
    faults.point("erase.expired")
    table = load()
    # The state that was the current one then keeps its files: it must be a later one than that of before.
    before = max(datetime.now(UTC).timestamp(), table.metadata.last_updated_ms / 1000 + 0.001)
    time.sleep(max(0.0, before - time.time()) + 0.002)
    remove_orphans(load, datetime.fromtimestamp(before, UTC), lambda size: None)
    _remove_former_metadata(load(), sought)
    faults.point("erase.removed")


def successor(table: Table, snapshot_id: int) -> int:
    """Return the snapshot that has the rows of another, less what was erased since; itself if nothing was."""
    while True:
        for snapshot in table.metadata.snapshots:
            of = snapshot.summary.additional_properties.get(OF, "") if snapshot.summary else ""
            if str(snapshot_id) in of.split():
                snapshot_id = snapshot.snapshot_id
                break
        else:
            return snapshot_id


def erased_by(table: Table, request: str) -> dict[str, int]:
    """Return the rows, files and bytes that the kept snapshots of a request erased or wrote again."""
    found = {"rows": 0, "files": 0, "bytes": 0}
    for snapshot in table.metadata.snapshots:
        noted = snapshot.summary.additional_properties if snapshot.summary else {}
        if noted.get(REQUEST) == request:
            for key, name in zip(found, (ROWS, FILES, BYTES), strict=True):
                found[key] += int(noted[name])
    return found


def refs_removed(table: Table, request: str) -> list[str]:
    """Return the tags and branches that a request removed."""
    return table.properties.get(_REFS + request, "").split()


def _write(table: Table, task: FileScanTask, sought: Sought, edit: Edit | None) -> list[DataFile]:
    if task.delete_files:
        raise AttentionError(
            f"{'.'.join(table.name())}: another engine has deleted rows of {task.file.file_path}. Let it rewrite its "
            "files without delete files, then erase again."
        )
    rows = read_files(table, [task], [field.name for field in table.schema().fields])
    kept = edit(rows) if edit else rows.filter(pc.invert(sought.marks(rows)))
    return write_files(table, kept, target_bytes=2**62)


def _summary(table: Table, found: Survey, request: str) -> dict[str, str]:
    return {
        REQUEST: request,
        ROWS: str(found.rows),
        FILES: str(len(found.now)),
        BYTES: str(sum(task.file.file_size_in_bytes for task in found.now)),
        OF: " ".join(map(str, _same_rows(table))),
    }


def _same_rows(table: Table) -> list[int]:
    """Return the current snapshot and those before it that have the same rows."""
    found = []
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        found.append(snapshot.snapshot_id)
        if snapshot.summary is None or snapshot.summary.operation != Operation.REPLACE:
            break
    return found


def _remove_former_metadata(table: Table, sought: Sought) -> None:
    """Remove the metadata files of former states that show the value, as in summaries of partitions."""
    for entry in table.metadata.metadata_log:
        with suppress(FileNotFoundError):
            with table.io.new_input(entry.metadata_file).open() as file:
                shows = sought.value.is_in(file.read())
            if shows:
                table.io.delete(entry.metadata_file)
