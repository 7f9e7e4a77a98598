"""Tell which data files may contain a key if bounds cannot: an index of key hashes by file, on the local disk.

It is a cache of immutable files. Without its folder, or if an entry is missing, damaged or of another version, the
keys are read from the data file again. It only rules files out: all other files are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mesh_platform.files import write_whole
from mesh_platform.iceberg.snapshot_diff import all_files, read_files

if TYPE_CHECKING:
    from pyiceberg.table import FileScanTask, Table

# The catalog's property that names the folder.
KEY_INDEX = "mesh.key-index"
Hashes = npt.NDArray[np.uint64]
# Reading fewer keys than these from fewer files takes no longer than looking them up.
_ROWS, _FILES = 100_000, 16
_FORM = 1
# Words before the hashes: the format version, the number of hashes, and their sum.
_HEAD = 3


class KeyIndex:
    """The hashes of keys by data file, in `folder`; without a folder, every file may contain every key.

    `hash_keys` returns a 64-bit number for each row of a table, the same for equal keys; `made_by` names that
    function and its version.
    """

    def __init__(self, folder: Path | None, hash_keys: Callable[[pa.Table], Hashes], made_by: str) -> None:
        self._folder, self._hash_keys, self._made_by = folder, hash_keys, made_by

    def may_hold(self, table: Table, tasks: Sequence[FileScanTask], keys: pa.Table) -> list[FileScanTask]:
        """Return those of the files `tasks` that may have a row with one of `keys`, which has columns of `table`.

        After writing entries, it removes those of files that `table` no longer has once they are the majority.
        """
        rows = sum(task.file.record_count for task in tasks)
        if self._folder is None or (rows < _ROWS and len(tasks) < _FILES):
            return list(tasks)
        folder, columns = self._folder / str(table.metadata.table_uuid), keys.column_names
        wanted = np.unique(self._hash_keys(keys))
        found = []
        written = False
        for task in tasks:
            hashes = None
            # Rows that another engine has deleted are not recorded in the data file itself.
            if not task.delete_files:
                path = folder / self._entry(table, task, columns)
                hashes = _read(path, task.file.record_count)
                if hashes is None:
                    hashes = np.sort(self._hash_keys(read_files(table, [task], columns)))
                    written |= _write(path, hashes)
            if hashes is None or _intersect(hashes, wanted):
                found.append(task)
        if written:
            self._forget(table, folder, columns, 2 * len(tasks) + _FILES)
        return found

    def _entry(self, table: Table, task: FileScanTask, columns: Sequence[str]) -> str:
        """Return the name of a file's entry, which depends on the columns, their types and the hash function."""
        fields = [table.schema().find_field(name) for name in columns]
        kinds = [(field.field_id, str(field.field_type)) for field in fields]
        identity = repr((_FORM, self._made_by, kinds, task.file.file_path))
        return blake2b(identity.encode(), digest_size=20).hexdigest()

    def _forget(self, table: Table, folder: Path, columns: Sequence[str], most: int) -> None:
        with suppress(OSError):
            present = list(folder.iterdir())
            if len(present) <= most:
                return
            kept = {self._entry(table, task, columns) for task in all_files(table)}
            for path in present:
                # This may remove a file that another process is writing, which then keeps no entry.
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _read(path: Path, rows: int) -> Hashes | None:
    """Return the hashes in an entry, ascending; None if it is missing or damaged."""
    try:
        words = np.memmap(path, dtype=np.uint64, mode="r")
    except (OSError, ValueError):
        return None
    hashes = words[_HEAD:]
    if len(words) != _HEAD + rows or (words[0], words[1], words[2]) != (_FORM, rows, hashes.sum(dtype=np.uint64)):
        return None
    return hashes


def _write(path: Path, hashes: Hashes) -> bool:
    """Write the hashes; return whether that worked. A failure is no error: the keys are then read again."""
    header = np.array([_FORM, len(hashes), hashes.sum(dtype=np.uint64)], dtype=np.uint64)
    with suppress(OSError):
        write_whole(path, header.tobytes() + hashes.tobytes())
        return True
    return False


def _intersect(some: Hashes, others: Hashes) -> bool:
    """Whether two ascending lists have a number in common."""
    few, many = (some, others) if len(some) < len(others) else (others, some)
    if not len(few):
        return False
    at = np.minimum(np.searchsorted(many, few), len(many) - 1)
    return bool((many[at] == few).any())
