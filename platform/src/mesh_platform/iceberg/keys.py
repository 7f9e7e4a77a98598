"""Tell which keys a table already has.

Data files never change, nor do the manifests that list them. So each is read once and cached, whoever wrote it, and
the snapshot of the table decides which of them count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import FileScanTask, ManifestGroupPlanner
from pyiceberg.typedef import Record

from mesh_platform.iceberg.internals import split_by_partition
from mesh_platform.iceberg.snapshot_diff import read_files
from mesh_platform.iceberg.uuid_bits import parse_ids

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table

_Mask = npt.NDArray[np.bool_]
# Files that are read in parallel, as Arrow releases the interpreter's lock. Each may be large.
_AT_ONCE = 2
_ROWS_AT_ONCE = 128 * 1024
_READERS = ThreadPoolExecutor(_AT_ONCE, "keys")


@dataclass(frozen=True)
class Ids:
    """Ids as 128-bit numbers: `high` and `low` are their halves, two arrays of the same length."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The indices of the keys, ascending by `high`, in the original order if equal."""
        return np.argsort(self.high, kind="stable")

    def select(self, which: _Mask) -> Ids:
        """Return the keys that `which` marks."""
        return Ids(self.high[which], self.low[which])

    def sort(self) -> Ids:
        """Return the same keys, ascending by `high`."""
        return Ids(self.high[self.order], self.low[self.order])

    def firsts(self) -> _Mask:
        """Return which keys are the first among equal ones."""
        first = np.ones(len(self.high), dtype=bool)
        high = self.high[self.order]
        alike = high[1:] == high[:-1]
        shared = np.zeros(len(high), dtype=bool)
        shared[1:] = alike
        shared[:-1] |= alike
        # Few keys share their high half, and only these are compared completely.
        places = self.order[shared]
        if len(places):
            order = places[np.lexsort((self.low[places], self.high[places]))]
            high, low = self.high[order], self.low[order]
            first[order[1:]] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        return first


class IdIndex:
    """A cache of the keys of data files, up to `max_bytes`, and of the files that manifests list, up to `max_listed`.

    Both drop the least recently used entries first.
    """

    def __init__(self, max_bytes: int = 192 * 1024 * 1024, max_listed: int = 20_000) -> None:
        self._max_bytes = max_bytes
        self._max_listed = max_listed
        self._listed: OrderedDict[str, list[DataFile]] = OrderedDict()
        self._bytes = 0
        self._of_file: OrderedDict[str, Ids] = OrderedDict()

    def held(
        self,
        table: Table,
        keys: Ids,
        column: str,
        where: BooleanExpression | None = None,
        holders: list[FileScanTask] | None = None,
    ) -> _Mask:
        """Return which of `keys` are in `column` at the snapshot of `table`; `where` limits the files searched.

        The files that have some of them are added to `holders`.
        """
        found = np.zeros(len(keys.high), dtype=bool)
        if not len(found) or table.current_snapshot() is None:
            return found
        ascending = keys.sort()
        for task, there in self._find(table, column, where or AlwaysTrue()):
            if _look_up(ascending, there, found) and holders is not None:
                holders.append(task)
        unsorted = np.empty_like(found)
        unsorted[keys.order] = found
        return unsorted

    def remember(self, table: Table, files: Sequence[DataFile], rows: pa.Table, keys: Ids) -> None:
        """Cache the `keys` of new `files`, which consist of just `rows`, so that they need not be read."""
        if len(files) == 1:
            self._keep(files[0].file_path, keys.sort())
            return
        by_partition: dict[Record, list[DataFile]] = {}
        for file in files:
            by_partition.setdefault(file.partition, []).append(file)
        for partition, its_keys in _by_partition(table, rows, keys):
            # It is unknown which rows of a partition went to which of several files.
            if len(in_partition := by_partition.get(partition, [])) == 1:
                self._keep(in_partition[0].file_path, its_keys.sort())

    def _find(self, table: Table, column: str, where: BooleanExpression) -> Iterator[tuple[FileScanTask, Ids]]:
        """Yield each file that may have rows of `where`, with its keys, and some other files that are cached."""
        snapshot = table.current_snapshot()
        manifests = snapshot.manifests(table.io) if snapshot else []
        files: Iterable[DataFile]
        if any(manifest.content != ManifestContent.DATA for manifest in manifests):
            tasks = list(table.scan(row_filter=where).plan_files())
            files = [task.file for task in tasks if not task.delete_files]
            for task in tasks:
                if task.delete_files:
                    # The remaining rows depend on the delete files too, so they are not cached by data file.
                    yield task, to_ids(read_files(table, [task], [column])[column]).sort()
        else:
            files = self._files(table, manifests, where)
        known: list[DataFile] = []
        unknown: list[DataFile] = []
        for file in files:
            (known if file.file_path in self._of_file else unknown).append(file)
        for file in known:
            self._of_file.move_to_end(file.file_path)
            yield FileScanTask(file), self._of_file[file.file_path]
        for start in range(0, len(unknown), _AT_ONCE):
            some = unknown[start : start + _AT_ONCE]
            for file, keys in zip(some, _READERS.map(partial(_read, table, column), some), strict=True):
                self._keep(file.file_path, keys)
                yield FileScanTask(file), keys

    def _files(self, table: Table, manifests: Iterable[ManifestFile], where: BooleanExpression) -> Iterator[DataFile]:
        planner = ManifestGroupPlanner(table.metadata, table.io, where)
        may_list = cache(planner._build_manifest_evaluator)
        may_hold = _by_partition_once(planner)
        for manifest in manifests:
            if may_list(manifest.partition_spec_id)(manifest):
                for file in self._list(table, manifest):
                    if file.file_path in self._of_file or may_hold(manifest.partition_spec_id, file):
                        yield file

    def _list(self, table: Table, manifest: ManifestFile) -> list[DataFile]:
        path = manifest.manifest_path
        if path not in self._listed:
            self._listed[path] = [entry.data_file for entry in manifest.fetch_manifest_entry(table.io)]
            while len(self._listed) > 1 and sum(map(len, self._listed.values())) > self._max_listed:
                self._listed.popitem(last=False)
        self._listed.move_to_end(path)
        return self._listed[path]

    def _keep(self, path: str, keys: Ids) -> None:
        self._of_file[path] = keys
        self._bytes += _size(keys)
        while self._bytes > self._max_bytes:
            _, dropped = self._of_file.popitem(last=False)
            self._bytes -= _size(dropped)


def _read(table: Table, column: str, file: DataFile) -> Ids:
    with table.io.new_input(file.file_path).open() as opened:
        # A part at a time, because keys are large as text.
        parts = pq.ParquetFile(opened).iter_batches(_ROWS_AT_ONCE, columns=[column], use_threads=False)
        keys = [to_ids(part[column]) for part in parts] or [to_ids(pa.array([], pa.string()))]
    return Ids(np.concatenate([part.high for part in keys]), np.concatenate([part.low for part in keys])).sort()


def to_ids(values: pa.ChunkedArray | pa.Array) -> Ids:
    """Convert strings to ids: a UUID to its own 128 bits, any other string to its BLAKE2b digest of 128 bits."""
    high, low, well_formed = parse_ids(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)
    others = np.flatnonzero(~well_formed)
    if len(others):
        texts = values.take(pa.array(others)).to_pylist()
        digests = b"".join(blake2b(text.encode(), digest_size=16).digest() for text in texts)
        halves = np.frombuffer(digests, dtype=">u8").reshape(-1, 2)
        high[others], low[others] = halves[:, 0], halves[:, 1]
    return Ids(high, low)


def _look_up(wanted: Ids, there: Ids, found: _Mask) -> bool:
    """Mark in `found` which of `wanted` are `there`, and return whether any is; both ascend by their high half."""
    if not len(there.high):
        return False
    begin = int(np.searchsorted(wanted.high, there.high[0], "left"))
    end = int(np.searchsorted(wanted.high, there.high[-1], "right"))
    if begin == end:
        return False
    high, low = wanted.high[begin:end], wanted.low[begin:end]
    at = np.searchsorted(there.high, high)
    rows = np.flatnonzero(there.high[at] == high)
    # Ids with the same high half are adjacent: advance until it ends.
    any_found = False
    while len(rows):
        equal = there.low[at[rows]] == low[rows]
        any_found |= bool(equal.any())
        found[begin + rows] |= equal
        at[rows] += 1
        rows = rows[at[rows] < len(there.high)]
        rows = rows[there.high[at[rows]] == high[rows]]
    return any_found


def _by_partition_once(planner: ManifestGroupPlanner) -> Callable[[int, DataFile], bool]:
    """Return a test whether a file may have wanted rows, which evaluates each partition only once."""
    of_spec = cache(planner._build_partition_evaluator)
    of_values = planner._build_metrics_evaluator()
    of_partition: dict[tuple[int, Record], bool] = {}

    def may_hold(spec_id: int, file: DataFile) -> bool:
        partition = spec_id, file.partition
        if partition not in of_partition:
            of_partition[partition] = of_spec(spec_id)(file)
        return of_partition[partition] and of_values(file)

    return may_hold


def _by_partition(table: Table, rows: pa.Table, keys: Ids) -> Iterable[tuple[Record, Ids]]:
    spec, schema = table.spec(), table.schema()
    if spec.is_unpartitioned():
        return
    columns = {schema.find_field(field.source_id).name for field in spec.fields}
    numbered = rows.select(sorted(columns)).append_column("mesh_row", pa.array(np.arange(rows.num_rows)))
    for partition, part in split_by_partition(spec, schema, numbered):
        at = part["mesh_row"].to_numpy()
        yield partition, Ids(keys.high[at], keys.low[at])


def _size(keys: Ids) -> int:
    return keys.high.nbytes + keys.low.nbytes
