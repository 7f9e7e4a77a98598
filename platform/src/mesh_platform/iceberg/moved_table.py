"""Walk the files of a table that was copied or moved: which are missing, and how each must be rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pyarrow.fs import FileSelector, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO

from mesh_platform.errors import AttentionError
from mesh_platform.iceberg.moved_files import (
    CONTENT,
    DELETED,
    FILE_PATH,
    POSITION_DELETES,
    SIZE,
    STATUS,
    Moves,
    former_metadata,
    listed_manifests,
    metadata_places,
    move_list,
    move_manifest,
    move_metadata,
    named_files,
    read_metadata,
    snapshot_files,
    statistics_files,
)
from mesh_platform.iceberg.place import Entry


@dataclass
class MovedTable:
    """The files of a table by their new location, in the order in which they are rewritten.

    `data` maps each data or statistics file to its size in bytes, -1 if that is unknown. `strangers` are named files
    that are neither in an old place nor in a new one.
    """

    entry: Entry
    io: PyArrowFileIO
    moves: Moves
    metadata: str
    location: str = ""
    snapshots: int = 0
    came_from: str | None = None
    manifests: dict[str, None] = field(default_factory=dict)
    lists: dict[str, None] = field(default_factory=dict)
    former: dict[str, None] = field(default_factory=dict)
    data: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def walk(table: MovedTable, metadata: dict[str, Any]) -> None:
    """Record in `table` all files that its states name, and which are missing; nothing is changed.

    Files that only former metadata names may be missing. Raises AttentionError for position deletes.
    """
    # Former metadata need not exist, so its location is no stranger.
    passed = {*former_metadata(metadata)}
    named = [place for place in metadata_places(metadata) if place not in passed]
    table.strangers += [place for place in named if table.moves.find(place) is None]
    if table.strangers:
        return
    _walk_snapshots(table, metadata, needed=True)
    waiting = [table.moves.apply(each) for each in former_metadata(metadata)]
    while waiting:
        location = waiting.pop()
        if location in table.former or not table.moves.find(location):
            continue
        content = read_file(table.io, location)
        if content is None:
            continue
        table.former[location] = None
        former = parsed(table, location, lambda c=content, at=location: read_metadata(c, at))  # type: ignore[misc]
        if former:
            _walk_snapshots(table, former, needed=False)
            waiting += [table.moves.apply(each) for each in former_metadata(former)]
    _note_missing(table)


def _walk_snapshots(table: MovedTable, metadata: dict[str, Any], needed: bool) -> None:
    moves = table.moves
    if needed:
        table.data |= dict.fromkeys(map(moves.apply, statistics_files(metadata)), -1)
    for listed, named, has_files in snapshot_files(metadata):
        manifests: list[tuple[str, int | None]] = [(manifest, None) for manifest in named]
        if listed is not None and moves.find(listed):
            at = moves.apply(listed)
            if at in table.lists:
                continue
            content = read_file(table.io, at)
            if content is None:
                table.missing += [at] if needed else []
                continue
            table.lists[at] = None
            manifests = parsed(table, at, lambda c=content: listed_manifests(c)) or []  # type: ignore[misc]
            # An Avro file that is cut between two blocks looks complete, with fewer records.
            table.missing += [at] if has_files and not manifests and at not in table.missing else []
        for manifest, count in manifests:
            _walk_manifest(table, manifest, count, needed)


def _walk_manifest(table: MovedTable, named: str, count: int | None, needed: bool) -> None:
    at = table.moves.find(named)
    if at is None:
        table.strangers += [named] if needed else []
        return
    if at in table.manifests:
        return
    content = read_file(table.io, at)
    if content is None:
        table.missing += [at] if needed else []
        return
    table.manifests[at] = None
    entries = parsed(table, at, lambda: named_files(content))
    if entries is None:
        return
    if count not in (None, len(entries)):
        table.missing.append(at)
    for entry in entries:
        path = table.moves.find(entry[FILE_PATH])
        if entry.get(CONTENT) == POSITION_DELETES:
            raise AttentionError(
                f"{table.entry.name}: {at} names deletes by position, as other engines write them. They hold the "
                "paths of data files and are not rewritten. In the original have that engine merge them "
                "(rewrite_data_files, then expire the older snapshots), and copy again. Nothing was changed."
            )
        if path is None:
            table.strangers += [entry[FILE_PATH]] if needed else []
        elif needed and entry[STATUS] != DELETED:
            table.data[path] = entry[SIZE]


def parsed(table: MovedTable, location: str, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except ValueError:
        table.missing.append(location)
        return None


def _note_missing(table: MovedTable) -> None:
    """Record the data files that do not exist, or whose size differs from that in their manifest."""
    sizes = dict(_sizes(table.io, table.location, table.data))
    for path, size in table.data.items():
        if path not in sizes or size not in (-1, sizes[path]):
            table.missing.append(path)


def _sizes(io: PyArrowFileIO, folder: str, locations: Iterable[str]) -> Iterator[tuple[str, int]]:
    listed: dict[str, int] = {}
    scheme, host, path = io.parse_location(folder, io.properties)
    files = io.fs_by_scheme(scheme, host)
    if scheme != "file":
        # One listing, because one request for each file is slow in an object store.
        for info in files.get_file_info(FileSelector(path, recursive=True, allow_not_found=True)):
            listed[info.path] = info.size
    for location in locations:
        path = io.parse_location(location, io.properties)[2]
        if path in listed:
            yield location, listed[path]
            continue
        (info,) = files.get_file_info([path])
        if info.type == FileType.File:
            yield location, info.size


def read_file(io: PyArrowFileIO, location: str) -> bytes | None:
    try:
        with io.new_input(location).open() as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def rewritten_files(table: MovedTable) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield each metadata file's location, content and new content; lists follow their manifests, for the lengths."""
    lengths: dict[str, int] = {}
    steps: list[tuple[Iterable[str], Callable[[bytes, str], bytes]]] = [
        (table.manifests, lambda content, _: move_manifest(content, table.moves)),
        (table.lists, lambda content, _: move_list(content, table.moves, lengths)),
        (table.former, lambda content, at: move_metadata(content, at, table.moves)),
        ([table.metadata] if table.moves.pairs else [], lambda content, at: move_metadata(content, at, table.moves)),
    ]
    for locations, move in steps:
        for location in locations:
            content = read_file(table.io, location)
            if content is None:
                raise AttentionError(f"{location}: it was there a moment ago. Copy the lake again, then relocate.")
            new = move(content, location)
            if locations is table.manifests:
                lengths[location] = len(new)
            yield location, content, new
