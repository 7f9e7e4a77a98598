"""Find a value in a table: in the rows of every state that is kept, and in what manifests say of them.

Files whose bounds exclude the value are not opened, and of the others only the columns in question are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFileContent, ManifestContent, ManifestEntryStatus
from pyiceberg.table import FileScanTask

from mesh_platform.iceberg.key_search import Wanted
from mesh_platform.iceberg.snapshot_diff import all_files, read_files

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table

# What a longer name would have before or behind: C-104 is not in C-1042.
_PART = rb"[0-9A-Za-z_-]"
# Texts that are not UTF-8, as refused messages can be.
_OTHERS = ("utf-16-le", "utf-16-be")


@dataclass(frozen=True)
class Value:
    """A value to look for, as text: as a whole, and within texts and bytes, where it must be a word of its own."""

    text: str

    @cached_property
    def _spelled(self) -> tuple[bytes, ...]:
        """Its bytes as UTF-8 and as JSON escapes them."""
        return tuple(dict.fromkeys((self.text.encode(), *(f(self.text) for f in (_as_json, _as_ascii_json)))))

    @cached_property
    def _pattern(self) -> re.Pattern[bytes]:
        words = b"|".join(re.escape(each) for each in self._spelled)
        others = b"|".join(re.escape(self.text.encode(each)) for each in _OTHERS)
        return re.compile(rb"(?<!%s)(?:%s)(?!%s)|%s" % (_PART, words, _PART, others))

    def is_in(self, content: bytes) -> bool:
        """Whether bytes contain the value."""
        return self._pattern.search(content) is not None

    def masked(self, content: bytes) -> bytes:
        """Return bytes with asterisks for the value, of the same length."""
        return self._pattern.sub(lambda found: b"*" * len(found[0]), content)

    def equals(self, column: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Return which rows of a column have the value; None if its type cannot have it."""
        typed = self.of_type(column.type)
        return None if typed is None else pc.equal(column, typed)

    def of_type(self, kind: pa.DataType) -> pa.Scalar | None:
        """Return the value in a type of Arrow; None if that cannot have it."""
        try:
            return pa.scalar(self.text).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None

    def within(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return which rows of a column of texts or bytes contain the value."""
        data = column.cast(pa.large_binary())
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        spelled = (*self._spelled, *(() if is_text else (self.text.encode(each) for each in _OTHERS)))
        # Arrow's search is quick, and knows no words.
        found = [pc.match_substring(data, each) for each in spelled]
        maybe = pc.fill_null(found[0], False)
        for each in found[1:]:
            maybe = pc.or_(maybe, pc.fill_null(each, False))
        if not pc.any(maybe).as_py():
            return maybe
        exact = [
            bool(each) and self.is_in(value) for each, value in zip(maybe.to_pylist(), data.to_pylist(), strict=True)
        ]
        return pa.chunked_array([pa.array(exact, pa.bool_())])


def _as_json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def _as_ascii_json(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


@dataclass(frozen=True)
class Sought:
    """A value in a table: rows that have it in one of the columns `equal`, or within one of the columns `within`."""

    value: Value
    equal: tuple[str, ...]
    within: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read for it."""
        return (*self.equal, *self.within)

    def marks(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return which rows have the value."""
        marked = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
        for found in (
            *(self.value.equals(rows[name]) for name in self.equal),
            *(self.value.within(rows[name]) for name in self.within),
        ):
            if found is not None:
                marked = pc.or_(marked, pc.fill_null(found, False))
        return marked

    def count_in(self, table: Table, file: DataFile) -> int:
        """Return how many rows of a data file have the value, those included that delete files remove."""
        there = {field.name for field in table.schema().fields}
        if not there.issuperset(self.columns) or not self._may_be_in(table, file):
            return 0
        rows = read_files(table, [FileScanTask(file)], self.columns)
        return int(pc.sum(self.marks(rows)).as_py() or 0)

    def _may_be_in(self, table: Table, file: DataFile) -> bool:
        if self.within:
            return True
        fields = [table.schema().find_field(name) for name in self.equal]
        arrow = table.schema().select(*self.equal).as_arrow()
        typed = [(field, self.value.of_type(arrow.field(field.name).type)) for field in fields]
        return any(
            Wanted(field, pa.chunked_array([pa.array([value.as_py()], value.type)])).may_be_in(file)
            for field, value in typed
            if value is not None
        )

    def bounds(self, table: Table, file: DataFile) -> bool:
        """Whether the bounds or the partition of a file, as a manifest has them, show the value."""
        numbers = [field.field_id for field in table.schema().fields if field.name in self.columns]
        whole = self.value.text.encode()
        # Bounds of texts have their first 16 characters.
        shown = {whole, self.value.text[:16].encode()}
        both = ((file.lower_bounds or {}), (file.upper_bounds or {}))
        at = {bounds[number] for bounds in both for number in numbers if number in bounds}
        return bool(at & shown) or any(
            str(file.partition[place]) == self.value.text for place in range(len(file.partition))
        )


@dataclass(frozen=True)
class Survey:
    """Where a table has a value.

    `hits` are the files of all kept snapshots that have such rows, by path: the file and the number of these rows.
    `now` are those of the current snapshot. `stale` are the snapshots that name a hit, or whose manifests show the
    value; `clean` is whether the current one is none of these.
    """

    hits: Mapping[str, tuple[DataFile, int]]
    now: tuple[FileScanTask, ...]
    stale: frozenset[int]
    clean: bool

    @property
    def rows(self) -> int:
        """The rows of the current snapshot."""
        return sum(self.hits[task.file.file_path][1] for task in self.now)


def survey(table: Table, sought: Sought, known: dict[str, int] | None = None) -> Survey:
    """Look for a value in all kept snapshots; `known` keeps the count of each file for the next call."""
    known = {} if known is None else known
    hits: dict[str, tuple[DataFile, int]] = {}
    shown: dict[str, bool] = {}
    stale = set()
    for snapshot in table.metadata.snapshots:
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in shown:
                shown[manifest.manifest_path] = _look(table, manifest, sought, known, hits)
            if shown[manifest.manifest_path]:
                stale.add(snapshot.snapshot_id)
    now = tuple(task for task in all_files(table) if task.file.file_path in hits) if hits else ()
    current = table.current_snapshot()
    return Survey(hits, now, frozenset(stale), current is None or current.snapshot_id not in stale)


def _look(
    table: Table,
    manifest: ManifestFile,
    sought: Sought,
    known: dict[str, int],
    hits: dict[str, tuple[DataFile, int]],
) -> bool:
    """Add the hits of a manifest; return whether it names one or shows the value."""
    if manifest.content != ManifestContent.DATA:
        return False
    found = False
    for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
        file = entry.data_file
        if entry.status == ManifestEntryStatus.DELETED or file.content != DataFileContent.DATA:
            found |= sought.bounds(table, file)
            continue
        if file.file_path not in known:
            known[file.file_path] = sought.count_in(table, file)
        if known[file.file_path]:
            hits[file.file_path] = file, known[file.file_path]
            found = True
    return found


def refs_to(table: Table, snapshots: Collection[int]) -> list[str]:
    """Return the tags and branches, except `main`, that name one of these snapshots, sorted."""
    refs = table.metadata.refs.items()
    return sorted(name for name, ref in refs if name != "main" and ref.snapshot_id in snapshots)
