"""Find and remove orphans: files in a table's folder, older than an age, that no state of the table names.

Two things must not happen. A reader must not lose a file: the files of a state that is kept, or that was the current
one less than the age ago, stay. And a running commit must not name a removed file, however long its process slept: so
after the folder is listed and before a file is removed, the table gets a snapshot that replaces nothing. A commit
asserts the snapshot that it loaded, so it then fails; and no file that was written before such a snapshot is
committed after it (`maintained_since`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from pyarrow.fs import FileSelector, LocalFileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.serializers import FromInputFile

from mesh_platform.iceberg.expiry import NEWEST
from mesh_platform.iceberg.replace import replace_same_rows
from mesh_platform.iceberg.retry import on_conflict
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

# Iceberg's own pointer for file-based catalogs, which other tools may write.
_NOT_OURS = "version-hint.text"
_ATTEMPTS = 8
# Files of an object store that are removed side by side.
_AT_ONCE = 16


def find_orphans(table: Table, before: datetime) -> dict[str, int]:
    """Return the files written before a time that no state of the table since names: path in its storage -> bytes.

    Raises OSError if the folder cannot be listed, or is listed by other names than the table uses; then nothing is
    known.
    """
    old = _list_files(table, before)
    named = _named(table, before) if old else set()
    own = _as_listed(table, [table.metadata_location])
    if old and not any(path in own for path, *_ in _listed(table)):
        raise OSError(f"{table.location()}: its files are listed by other names than the table gives them")
    return {path: size for path, size in old.items() if path not in named}


def remove_orphans(load: Callable[[], Table], before: datetime, on_removed: Callable[[int], object]) -> None:
    """Remove what `find_orphans` finds; `on_removed` is called with the bytes of each file. Raises ConflictError.

    A table without a snapshot keeps all files, because its first commit cannot be made to fail.
    """
    table = load()
    found = find_orphans(table, before)
    if not found or current_snapshot_id(table) is None:
        return
    advice = f"others committed first, {_ATTEMPTS} times in a row; the next run tries again"
    on_conflict(_ATTEMPTS, lambda: replace_same_rows(load()), advice)
    table = load()
    named = _named(table, before)
    files, _ = _storage(table, table.location())

    def remove(path: str) -> int | None:
        with suppress(FileNotFoundError):
            files.delete_file(path)
            return found[path]
        return None

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        # A store answers many requests at once, and Arrow sends three for each file.
        each = map if isinstance(files, LocalFileSystem) else threads.map
        for size in each(remove, [path for path in found if path not in named]):
            if size is not None:
                on_removed(size)


def table_files(table: Table) -> tuple[FileSystem, Iterator[tuple[str, int]]]:
    """Return the storage of a table, and the path in it and the bytes of each file in the table's folder."""
    return _storage(table, table.location())[0], ((path, size) for path, size, _ in _listed(table))


def table_folders(catalog: Catalog) -> dict[str, str]:
    """Return the folder of every table in the catalog."""
    names = [name for namespace in catalog.list_namespaces() for name in catalog.list_tables(namespace)]
    return {".".join(name): catalog.load_table(name).location().rstrip("/") + "/" for name in names}


def shared_with(table: Table, folders: Mapping[str, str]) -> str | None:
    """Return another table whose folder is the same, inside or around this one's, so that orphans cannot be told."""
    name, own = ".".join(table.name()), table.location().rstrip("/") + "/"
    shared = (other for other, its in folders.items() if its.startswith(own) or own.startswith(its))
    return next((other for other in shared if other != name), None)


def _list_files(table: Table, before: datetime) -> dict[str, int]:
    oldest = before.timestamp()
    return {
        path: size
        for path, size, changed in _listed(table)
        if changed < oldest and path.rpartition("/")[2] != _NOT_OURS
    }


def _listed(table: Table) -> Iterator[tuple[str, int, float]]:
    return files_in(table, table.location())


def files_in(table: Table, location: str) -> Iterator[tuple[str, int, float]]:
    """Yield the path, bytes and modification time of each file in a folder of the table's storage, if it is there."""
    files, folder = _storage(table, location)
    if isinstance(files, LocalFileSystem):
        # Arrow's own listing follows links.
        for parent, _, names in os.walk(folder):
            for name in names:
                with suppress(FileNotFoundError):
                    found = os.lstat(os.path.join(parent, name))
                    yield os.path.join(parent, name), found.st_size, found.st_mtime
        return
    for info in files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True)):
        if info.is_file and info.mtime_ns is not None:
            yield info.path, int(info.size), info.mtime_ns / 1e9


def remove_file(table: Table, path: str) -> None:
    """Remove a file that `files_in` found, unless it is gone."""
    with suppress(FileNotFoundError):
        _storage(table, table.location())[0].delete_file(path)


def _storage(table: Table, location: str) -> tuple[FileSystem, str]:
    """Return the file system of a location in the table's storage, and its path there."""
    if not isinstance(table.io, PyArrowFileIO):
        raise OSError(f"{type(table.io).__name__} cannot list files")
    scheme, host, path = table.io.parse_location(location, table.io.properties)
    return table.io.fs_by_scheme(scheme, host), path


def _named(table: Table, since: datetime) -> set[str]:
    """Return the paths that the table's states since a time name, and those of its former metadata."""
    former = _former(table, int(since.timestamp() * 1000))
    names = {table.metadata_location}
    seen: set[str] = set()
    for metadata in (table.metadata, *former):
        names |= {entry.metadata_file for entry in metadata.metadata_log}
        names |= {each.statistics_path for each in (*metadata.statistics, *metadata.partition_statistics)}
        for snapshot in metadata.snapshots:
            # The files of a former state may partly have been removed already.
            missing = suppress(FileNotFoundError) if metadata is not table.metadata else nullcontext()
            with missing:
                names |= _named_by(table, snapshot, seen)
    return _as_listed(table, names)


def _named_by(table: Table, snapshot: Snapshot, seen: set[str]) -> set[str]:
    """Return the files of a snapshot, except those of manifests that are in `seen`."""
    if snapshot.manifest_list in seen:
        return set()
    names = {snapshot.manifest_list}
    for manifest in snapshot.manifests(table.io):
        if manifest.manifest_path not in seen:
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            names |= {manifest.manifest_path, *(entry.data_file.file_path for entry in entries)}
            seen.add(manifest.manifest_path)
    seen.add(snapshot.manifest_list)
    return names


def _former(table: Table, at: int) -> list[TableMetadata]:
    """Return the metadata that was the current one at a time, and those read on the way to it, as far as they exist.

    Together with the current metadata they name all files that any state in between names, except files that are
    younger than that time.
    """
    metadata, found = table.metadata, []
    while metadata.last_updated_ms > at and metadata.metadata_log:
        # Between two entries further apart, a state could appear and expire without being named by either.
        log = metadata.metadata_log[-NEWEST:]
        entry = next((entry for entry in reversed(log) if entry.timestamp_ms <= at), log[0])
        try:
            metadata = FromInputFile.table_metadata(table.io.new_input(entry.metadata_file))
        except FileNotFoundError:
            break
        found.append(metadata)
    return found


def _as_listed(table: Table, names: Iterable[str]) -> set[str]:
    """Return locations as their storage lists them; those with characters special in URLs both raw and parsed."""
    assert isinstance(table.io, PyArrowFileIO)
    plain = {name.partition("://")[2] for name in names if "://" in name}
    return plain | {table.io.parse_location(name, table.io.properties)[2] for name in names}
