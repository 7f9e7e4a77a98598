"""Replace files by others with the same rows, in a snapshot of the operation `replace`.

pyiceberg's own overwrite reads all manifests three times, long enough for somebody else to commit first. So here the
manifests are read once for all attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus
from pyiceberg.table.snapshots import Operation, Summary

from mesh_platform.iceberg.commit import first_to_commit
from mesh_platform.iceberg.internals import CheapTransaction, ManifestMergeManager, OverwriteFiles
from mesh_platform.iceberg.provenance import read_provenance
from mesh_platform.iceberg.snapshot_diff import COMPACTION, current_snapshot_id

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table

MANIFEST_BYTES = 8 * 1024 * 1024
# More manifests than these are merged, because every reader opens each of them.
MANIFESTS = 8


class ManifestReader:
    """A cache of the entries of manifests for several attempts to commit: a manifest never changes."""

    def __init__(self, io: FileIO) -> None:
        self._io = io
        self._read: dict[str, list[ManifestEntry]] = {}

    def entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        """Return the entries of the files that `manifest` has in the table."""
        path = manifest.manifest_path
        if path not in self._read:
            self._read[path] = manifest.fetch_manifest_entry(self._io, discard_deleted=True)
        return self._read[path]

    def files(self, table: Table) -> set[str]:
        """Return the paths of the data files of the current snapshot."""
        return {entry.data_file.file_path for each in data_manifests(table) for entry in self.entries(each)}


def replace_same_rows(
    table: Table,
    removed: Iterable[DataFile] = (),
    added: Iterable[DataFile] = (),
    reader: ManifestReader | None = None,
) -> None:
    """Replace the files `removed` by `added`, with the same rows, on top of the snapshot that `table` was loaded at.

    If there are many manifests, they are merged. Without files, the table only gets a new snapshot, which makes
    commits in progress fail. Raises ConflictError if the table has a newer snapshot already.
    """
    noted = read_provenance(table, current_snapshot_id(table))
    notes = noted[1].to_summary() if noted else {}
    _commit(_Replace, table, removed, added, {**notes, COMPACTION: "same rows"}, reader)


def replace_without_trace(
    table: Table,
    removed: Iterable[DataFile],
    added: Iterable[DataFile],
    summary: Mapping[str, str],
    reader: ManifestReader | None = None,
    properties: Mapping[str, str] | None = None,
) -> None:
    """Replace the files `removed` by `added`, so that no manifest names a removed file, and set table properties.

    Iceberg lets a manifest name the files that its snapshot removed, with the bounds of their values (spec,
    "Manifests", status 2). Readers of a state need none of these entries, so those of earlier commits go as well.
    Raises ConflictError if the table has a newer snapshot already.
    """
    removed, added = list(removed), list(added)
    note = {} if removed or added else {COMPACTION: "same rows"}
    _commit(_WithoutTrace, table, removed, added, {**summary, **note}, reader, properties)


def _commit(
    kind: type[_Replace],
    table: Table,
    removed: Iterable[DataFile],
    added: Iterable[DataFile],
    summary: Mapping[str, str],
    reader: ManifestReader | None,
    properties: Mapping[str, str] | None = None,
) -> None:
    with first_to_commit(table), CheapTransaction(table) as transaction:
        if properties:
            transaction.set_properties({**properties})
        update = kind(Operation.OVERWRITE, transaction, table.io, snapshot_properties={**summary})
        update.reader = reader or ManifestReader(table.io)
        with update as snapshot:
            for file in removed:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)


def data_manifests(table: Table) -> list[ManifestFile]:
    """Return the manifests of the current snapshot that list data files, not deletes."""
    snapshot = table.current_snapshot()
    found = snapshot.manifests(table.io) if snapshot else []
    return [manifest for manifest in found if manifest.content == ManifestContent.DATA]


class _Replace(OverwriteFiles):
    """pyiceberg's overwrite, with the operation `replace`, which says that the rows are the same."""

    reader: ManifestReader

    def fetch_manifest_entry(self, manifest: ManifestFile, discard_deleted: bool = True) -> list[ManifestEntry]:
        # Deleted entries matter in the manifests of this commit, and in no others.
        if manifest.added_snapshot_id == self._snapshot_id:
            return super().fetch_manifest_entry(manifest, discard_deleted)
        return self.reader.entries(manifest)

    def _deleted_entries(self) -> list[ManifestEntry]:
        deleted = [
            _with_status(entry, ManifestEntryStatus.DELETED, self._snapshot_id)
            for manifest in data_manifests(self._transaction._table)
            for entry in self.reader.entries(manifest)
            if entry.data_file in self._deleted_data_files
        ]
        self._validate_required_deletes(deleted)
        return deleted

    def _existing_manifests(self) -> list[ManifestFile]:
        snapshot = self._transaction._table.current_snapshot()
        manifests = snapshot.manifests(self._io) if snapshot else []
        return [kept for manifest in manifests for kept in self._without_deleted(manifest)]

    def _without_deleted(self, manifest: ManifestFile) -> list[ManifestFile]:
        entries = self.reader.entries(manifest)
        kept = [entry for entry in entries if entry.data_file not in self._deleted_data_files]
        if len(kept) == len(entries):
            return [manifest]
        return [self._rewritten(manifest, kept)] if kept else []

    def _rewritten(self, manifest: ManifestFile, kept: list[ManifestEntry]) -> ManifestFile:
        with self.new_manifest_writer(self.spec(manifest.partition_spec_id)) as writer:
            for entry in kept:
                writer.add_entry(_with_status(entry, ManifestEntryStatus.EXISTING, entry.snapshot_id))
        return writer.to_manifest_file()

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        data = [manifest for manifest in manifests if manifest.content == ManifestContent.DATA]
        deletes = [manifest for manifest in manifests if manifest.content != ManifestContent.DATA]
        merger = ManifestMergeManager(
            target_size_bytes=MANIFEST_BYTES,
            min_count_to_merge=2,
            merge_enabled=len(data) > MANIFESTS,
            snapshot_producer=self,
        )
        return merger.merge_manifests(data) + deletes

    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006
        # pyiceberg computes totals for an overwrite only, and takes the snapshot's operation from this summary.
        summary = super()._summary(snapshot_properties)
        return Summary(Operation.REPLACE, **summary.additional_properties)


class _WithoutTrace(_Replace):
    """Leaves out the entries of deleted files; rows change if files do."""

    def _deleted_entries(self) -> list[ManifestEntry]:
        super()._deleted_entries()
        return []

    def _without_deleted(self, manifest: ManifestFile) -> list[ManifestFile]:
        if manifest.content != ManifestContent.DATA or manifest.deleted_files_count == 0:
            return super()._without_deleted(manifest)
        kept = [each for each in self.reader.entries(manifest) if each.data_file not in self._deleted_data_files]
        return [self._rewritten(manifest, kept)] if kept else []

    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006
        if self._deleted_data_files or self._added_data_files:
            return OverwriteFiles._summary(self, snapshot_properties)
        return super()._summary(snapshot_properties)


def _with_status(entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
