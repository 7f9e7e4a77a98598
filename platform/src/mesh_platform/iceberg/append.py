"""Append rows exactly once: rows that the table has already, or that are delivered again, are left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThan, Or

from mesh_platform import faults
from mesh_platform.errors import AttentionError, ConflictError, UnavailableError
from mesh_platform.iceberg.commit import commit_files, write_files
from mesh_platform.iceberg.keys import IdIndex, to_ids
from mesh_platform.iceberg.outage import explain
from mesh_platform.iceberg.retention import kept_from
from mesh_platform.iceberg.reused_ids import Reused, compare_copies
from mesh_platform.iceberg.snapshot_diff import current_snapshot_id, maintained_since

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table

_CONFLICTS = 100
_FAILURES = 3
_TOKEN = "mesh.append"
_MEND = "Nothing was acknowledged; mend the storage or the catalog, then run again."


@dataclass(frozen=True)
class Appended:
    """What happened to the rows: `appended` are new; `duplicates` were there, came twice or were removed on purpose.

    `of_others` of the duplicates are known from another sender. `reused` rows are neither: the table, or an earlier
    row, has their key with other content. `snapshot_id` is the table's newest snapshot, None while it has none.
    """

    appended: int
    duplicates: int
    snapshot_id: int | None
    reused: Sequence[Reused] = ()
    of_others: int = 0


def append_new(
    load: Callable[[], Table],
    rows: pa.Table,
    key: str,
    time_column: str | None,
    refused: Callable[[pa.Table], pa.Array] | None = None,
    known: IdIndex | None = None,
    content: Sequence[str] = (),
    sender: str | None = None,
    summary: Mapping[str, str] | None = None,
) -> Appended:
    """Append the rows whose `key` the table lacks, as of the very snapshot that the commit asserts.

    If `time_column` is given, the key must determine it; then only the days of the rows are searched, because every
    copy of a key is there. Rows from before the time at which the rows of the table begin, since retention removed
    older ones, count as duplicates. `refused` returns keys that must not be appended. `known` caches keys that were
    read. A row with a known key that differs in one of the columns `content` is not a duplicate, but `reused`; one
    that differs in the column `sender` alone is a duplicate `of_others`. `summary` has entries for the snapshot's
    summary. After a commit with an unknown outcome, the whole procedure is repeated, which finds out. Raises
    UnavailableError if the lake fails repeatedly, and AttentionError; a fault in the code is raised at once. The
    caller must then acknowledge nothing.
    """
    known = known or IdIndex()
    keys = to_ids(rows[key])
    firsts = keys.firsts()
    where = days_filter(time_column, rows[time_column]) if time_column and rows.num_rows else None
    failures = conflicts = attempted = 0
    token = uuid4().hex
    written = _Written()
    reused: Sequence[Reused] = ()
    of_others = 0

    def result(table: Table) -> Appended:
        duplicates = rows.num_rows - attempted - len(reused)
        return Appended(attempted, duplicates, current_snapshot_id(table), reused, of_others)

    while True:
        try:
            table = load()
            if attempted and _has_landed(table, token):
                return result(table)
            holders: list[FileScanTask] = []
            held = known.held(table, keys, key, where, holders)
            fresh, copies = firsts & ~held, ~firsts | held
            if (kept := kept_from(table)) and kept[0] == time_column:
                limit = pa.scalar(kept[1], rows[time_column].type)
                young = pc.greater_equal(rows[time_column], limit).to_numpy(zero_copy_only=False)
                fresh, copies = fresh & young, copies & (held | young)
            if refused is not None and len(no := refused(rows)):
                removed = pc.is_in(rows[key], no.cast(rows[key].type)).to_numpy(zero_copy_only=False)
                fresh, copies = fresh & ~removed, copies & (held | ~removed)
            faults.point("append.deduplicated")
            # Nothing found by an earlier attempt counts: what was there then may be gone.
            reused, of_others = (), 0
            if content and copies.any():
                reused, of_others = compare_copies(table, holders, rows, key, content, sender, fresh, copies)
            attempted = int(fresh.sum())
            if attempted:
                written.write(table, rows, fresh)
                commit_files(table, (), written.files, {**(summary or {}), _TOKEN: token})
                known.remember(table, written.files, written.rows, keys.select(fresh))
                faults.point("append.committed")
            return result(table)
        except ConflictError as error:
            conflicts += 1
            if conflicts > _CONFLICTS:
                raise UnavailableError(
                    f"{error} It went so {conflicts} times in a row: stop other writers, then run again."
                ) from error
        except AttentionError:
            raise
        except Exception as error:
            # A missing file may have been removed by maintenance since the table was loaded.
            explained = explain(error, "", "the lake does not take rows", _MEND)
            if explained is None:
                raise
            failures += 1
            if failures > _FAILURES:
                raise explained from error
            time.sleep(0.2 * failures)


class _Written:
    """The files written by one append. A later attempt uses them again if it has to append the same rows.

    It does not if the table was maintained meanwhile, because maintenance may have removed files that no snapshot
    names. Unused files are left to `mesh maintain`, because a commit whose outcome is unknown may still name them.
    """

    def __init__(self) -> None:
        self.files: list[DataFile] = []
        self.rows = pa.table({})
        self._fresh: npt.NDArray[np.bool_] | None = None
        self._since: int | None = None

    def write(self, table: Table, rows: pa.Table, fresh: npt.NDArray[np.bool_]) -> None:
        """Write the rows marked `fresh`, unless they are written already."""
        same = self._fresh is not None and np.array_equal(fresh, self._fresh)
        if same and not maintained_since(table, self._since):
            return
        self._fresh = None
        self.rows = rows if fresh.all() else rows.filter(pa.array(fresh))
        self.files = write_files(table, self.rows)
        self._fresh, self._since = fresh, current_snapshot_id(table)


def days_filter(column: str, times: pa.ChunkedArray) -> BooleanExpression:
    """Return a filter for all rows on the same UTC days as `times`; adjacent days are one range."""
    numbers = sorted(set(pc.unique(times.cast(pa.timestamp("us")).cast(pa.date32()).cast(pa.int32())).to_pylist()))
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    days = [And(GreaterThanOrEqual(column, _day(low)), LessThan(column, _day(high))) for low, high in ranges]
    # One call makes a balanced tree: a chain of hundreds of days is too deep for pyiceberg's recursion.
    return Or(*days) if len(days) > 1 else days[0]


def _has_landed(table: Table, token: str) -> bool:
    """Whether a commit of this call is in the table, even though it was reported as failed."""
    summaries = (snapshot.summary for snapshot in reversed(table.metadata.snapshots))
    return any(summary is not None and summary.additional_properties.get(_TOKEN) == token for summary in summaries)


def _day(number: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).isoformat()
