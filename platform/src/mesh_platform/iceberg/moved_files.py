"""Read and replace the locations in a table's metadata files, manifest lists and manifests."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mesh_platform.iceberg.avro_edit import edit_records, read_records
from mesh_platform.iceberg.place import plain, within

# Ids of fields, by Iceberg's specification: https://iceberg.apache.org/spec/#manifests
STATUS, PARTITION, FILE_PATH, SIZE, CONTENT, REFERENCED_FILE = 0, 102, 100, 104, 134, 143
MANIFEST_PATH, MANIFEST_LENGTH, COUNTS = 500, 501, (504, 505, 506)
DELETED = 2
POSITION_DELETES = 1
# Table properties that say where new files go.
_PLACES = ("write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path")


@dataclass(frozen=True)
class Moves:
    """The places that were moved, as pairs of the old and the new place."""

    pairs: tuple[tuple[str, str], ...]

    def find(self, location: str) -> str | None:
        """Return where the file of a location is now; None if it is neither in an old place nor in a new one."""
        if any(within(location, new) for _, new in self.pairs):
            return location
        for old, new in sorted(self.pairs, key=lambda pair: -len(pair[0])):
            if within(location, old):
                return new.rstrip("/") + plain(location).removeprefix(plain(old))
        return None

    def apply(self, location: str) -> str:
        """Return what `find` does, or the location itself if it is in neither."""
        return self.find(location) or location


def read_metadata(content: bytes, location: str) -> dict[str, Any]:
    """Parse a metadata.json, including what pyiceberg does not know. Raises ValueError."""
    try:
        found = json.loads(gzip.decompress(content) if location.endswith(".gz.metadata.json") else content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"no metadata of a table: {error}") from error
    if not isinstance(found, dict) or "location" not in found:
        raise ValueError("no metadata of a table")
    return found


def metadata_places(metadata: dict[str, Any]) -> list[str]:
    """Return all locations that a metadata.json names."""
    found: list[str] = []

    def note(place: str) -> str:
        found.append(place)
        return place

    _each_place(metadata, note)
    return found


def move_metadata(content: bytes, location: str, moves: Moves) -> bytes:
    """Return a metadata.json with each location moved; the same object if none is."""
    metadata = read_metadata(content, location)
    before = json.dumps(metadata)
    _each_place(metadata, moves.apply)
    if json.dumps(metadata) == before:
        return content
    written = json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()
    return gzip.compress(written, mtime=0) if location.endswith(".gz.metadata.json") else written


def _each_place(metadata: dict[str, Any], change: Callable[[str], str]) -> None:
    metadata["location"] = change(metadata["location"])
    for log, name in (
        ("metadata-log", "metadata-file"),
        ("snapshots", "manifest-list"),
        ("statistics", "statistics-path"),
        ("partition-statistics", "statistics-path"),
    ):
        for entry in metadata.get(log) or ():
            if name in entry:
                entry[name] = change(entry[name])
    for snapshot in metadata.get("snapshots") or ():
        # In format version 1 a snapshot may name manifests without a list.
        if "manifests" in snapshot:
            snapshot["manifests"] = [change(path) for path in snapshot["manifests"]]
    properties = metadata.get("properties") or {}
    for name in _PLACES:
        if name in properties:
            properties[name] = change(properties[name])


def former_metadata(metadata: dict[str, Any]) -> list[str]:
    """Return the earlier metadata files that this one names."""
    return [entry["metadata-file"] for entry in metadata.get("metadata-log") or ()]


def snapshot_files(metadata: dict[str, Any]) -> Iterator[tuple[str | None, list[str], bool]]:
    """Yield the manifest list of each snapshot, or None and its manifests; and whether it has data files."""
    for snapshot in metadata.get("snapshots") or ():
        files = (snapshot.get("summary") or {}).get("total-data-files", "0")
        yield snapshot.get("manifest-list"), list(snapshot.get("manifests") or ()), str(files) != "0"


def statistics_files(metadata: dict[str, Any]) -> list[str]:
    """Return the statistics files that a metadata.json names."""
    both = (*(metadata.get("statistics") or ()), *(metadata.get("partition-statistics") or ()))
    return [entry["statistics-path"] for entry in both]


def listed_manifests(content: bytes) -> list[tuple[str, int | None]]:
    """Return the manifests in a manifest list, each with its number of files if it is recorded. Raises ValueError."""
    found: list[tuple[str, int | None]] = []
    for record in read_records(content, (MANIFEST_PATH, *COUNTS)):
        counts = [record.get(number) for number in COUNTS]
        recorded = [count for count in counts if count is not None]
        found.append((record[MANIFEST_PATH], sum(recorded) if len(recorded) == len(COUNTS) else None))
    return found


def move_list(content: bytes, moves: Moves, lengths: dict[str, int]) -> bytes:
    """Return a manifest list with each manifest moved, and with its length from `lengths`, by new location."""

    def move(record: Any) -> dict[int, Any]:
        path = moves.apply(record[MANIFEST_PATH])
        return {MANIFEST_PATH: path, MANIFEST_LENGTH: lengths.get(path, record[MANIFEST_LENGTH])}

    return edit_records(content, (MANIFEST_PATH, MANIFEST_LENGTH), move)


def named_files(content: bytes) -> list[dict[int, Any]]:
    """Return each file's fields in a manifest: `STATUS`, `FILE_PATH`, `SIZE`, and `CONTENT` from version 2 on."""
    return [dict(record) for record in read_records(content, (STATUS, FILE_PATH, SIZE, CONTENT), (PARTITION,))]


def move_manifest(content: bytes, moves: Moves) -> bytes:
    """Return a manifest with each file moved."""
    paths = (FILE_PATH, REFERENCED_FILE)

    def move(record: Any) -> dict[int, Any]:
        return {number: path and moves.apply(path) for number, path in record.items()}

    return edit_records(content, paths, move, (PARTITION,))
