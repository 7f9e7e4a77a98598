"""Watches a table while others commit: I1 in every snapshot, I3 from each to the next. No code here is ingest's.

A table that is maintained keeps few of its snapshots, so that a look at its end would see few. Each look reads the
files that are new since the last one. A snapshot that came and went between two looks is not seen itself; what it did
is.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot


class HistoryWatch:
    """One table of a state folder; `key` is the column in which no value may stand twice."""

    def __init__(self, state: Path, identifier: str, key: str) -> None:
        self._identifier, self._key = identifier, key
        self._catalog = load_catalog(
            "mesh", type="sql", uri=f"sqlite:///{state}/catalog.db?timeout=60", warehouse=str(state / "warehouse")
        )
        self._last = 0
        self._files: frozenset[str] = frozenset()
        self._of_manifest: dict[str, frozenset[str]] = {}
        self._of_file: dict[str, list[Any]] = {}
        self.counts: Counter[Any] = Counter()
        self.operations: Counter[str] = Counter()
        self.faults: list[str] = []

    def look(self) -> None:
        """Check what was committed since the last look; `faults` says what is broken."""
        try:
            table = self._catalog.load_table(self._identifier)
        except (NoSuchTableError, NoSuchNamespaceError):
            return
        for snapshot in sorted(table.metadata.snapshots, key=lambda each: each.sequence_number or 0):
            if (snapshot.sequence_number or 0) > self._last:
                self._check(table, snapshot)
                self._last = snapshot.sequence_number or 0

    @property
    def commits(self) -> int:
        """How many snapshots the table has had."""
        return self._last

    def _check(self, table: Table, snapshot: Snapshot) -> None:
        assert snapshot.summary
        self.operations[snapshot.summary.operation.value] += 1
        now = self._files_at(table, snapshot)
        come = [value for path in now - self._files for value in self._values(table, path)]
        gone = [value for path in self._files - now for value in self._values(table, path)]
        self.counts.update(come)
        self.counts.subtract(gone)
        self._files = now
        where = f"{self._identifier} at {snapshot.snapshot_id}, {snapshot.summary.operation.value}"
        doubled = {value for value in come if self.counts[value] > 1}
        lost = {value for value in gone if not self.counts[value]}
        self.faults += [f"I1: {where}: {len(doubled)} keys twice, such as {min(doubled)}"] if doubled else []
        self.faults += [f"I3: {where}: {len(lost)} keys lost, such as {min(lost)}"] if lost else []

    def _files_at(self, table: Table, snapshot: Snapshot) -> frozenset[str]:
        found: set[str] = set()
        for manifest in snapshot.manifests(table.io):
            path = manifest.manifest_path
            if path not in self._of_manifest:
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                self._of_manifest[path] = frozenset(entry.data_file.file_path for entry in entries)
            found |= self._of_manifest[path]
        return frozenset(found)

    def _values(self, table: Table, path: str) -> list[Any]:
        if path not in self._of_file:
            with table.io.new_input(path).open() as file:
                self._of_file[path] = pq.read_table(file, columns=[self._key])[self._key].to_pylist()
        return self._of_file[path]
