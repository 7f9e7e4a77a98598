"""Which data files may hold a key, where no bounds tell: hashes of the keys of each file, kept on this disk.

It is a cache of what immutable files hold. Without its folder, or where an entry is missing, damaged or of another
version, the keys are read from the data file again. It only rules files out: what it does not rule out is read.
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
# To read fewer keys than these, from fewer files, takes no longer than to look them up.
_ROWS, _FILES = 100_000, 16
_FORM = 1
# Before the hashes: the form, how many there are, and their sum.
_HEAD = 3


class KeyIndex:
    """The hashes of keys by data file, below `folder`; without one, every file may hold every key.

    `hash_keys` gives a 64-bit number for each row of a table, the same for equal keys; `made_by` names it and its
    version.
    """

    def __init__(self, folder: Path | None, hash_keys: Callable[[pa.Table], Hashes], made_by: str) -> None:
        self._folder, self._hash_keys, self._made_by = folder, hash_keys, made_by

    def may_hold(self, table: Table, tasks: Sequence[FileScanTask], keys: pa.Table) -> list[FileScanTask]:
        """Those of the files `tasks` that may have a row with one of `keys`, whose columns are those of `table`.

        Where entries are written, those of files that `table` has no more are removed once they are the most.
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
            # What another engine deleted of a file is no matter of the file alone.
            if not task.delete_files:
                path = folder / self._entry(table, task, columns)
                hashes = _read(path, task.file.record_count)
                if hashes is None:
                    hashes = np.sort(self._hash_keys(read_files(table, [task], columns)))
                    written |= _write(path, hashes)
            if hashes is None or _meet(hashes, wanted):
                found.append(task)
        if written:
            self._forget(table, folder, columns, 2 * len(tasks) + _FILES)
        return found

    def _entry(self, table: Table, task: FileScanTask, columns: Sequence[str]) -> str:
        """The name of a file's entry: of the same columns in other types, or by another hash, it is another."""
        fields = [table.schema().find_field(name) for name in columns]
        kinds = [(field.field_id, str(field.field_type)) for field in fields]
        told = repr((_FORM, self._made_by, kinds, task.file.file_path))
        return blake2b(told.encode(), digest_size=20).hexdigest()

    def _forget(self, table: Table, folder: Path, columns: Sequence[str], most: int) -> None:
        with suppress(OSError):
            there = list(folder.iterdir())
            if len(there) <= most:
                return
            kept = {self._entry(table, task, columns) for task in all_files(table)}
            for path in there:
                # What another process writes at this moment is gone too, and then it keeps nothing.
                if path.name not in kept:
                    path.unlink(missing_ok=True)


def _read(path: Path, rows: int) -> Hashes | None:
    """The hashes in an entry, ascending; None where it is not there, or is not what was written."""
    try:
        words = np.memmap(path, dtype=np.uint64, mode="r")
    except (OSError, ValueError):
        return None
    hashes = words[_HEAD:]
    if len(words) != _HEAD + rows or (words[0], words[1], words[2]) != (_FORM, rows, hashes.sum(dtype=np.uint64)):
        return None
    return hashes


def _write(path: Path, hashes: Hashes) -> bool:
    """Keep the hashes; whether the disk took them. One that takes none is no fault: they are read again."""
    head = np.array([_FORM, len(hashes), hashes.sum(dtype=np.uint64)], dtype=np.uint64)
    with suppress(OSError):
        write_whole(path, head.tobytes() + hashes.tobytes())
        return True
    return False


def _meet(some: Hashes, others: Hashes) -> bool:
    """Whether two ascending lists have one in common."""
    few, many = (some, others) if len(some) < len(others) else (others, some)
    if not len(few):
        return False
    at = np.minimum(np.searchsorted(many, few), len(many) - 1)
    return bool((many[at] == few).any())
