"""What was read of tables for the comparison with the key, so that rows that were read once are not read again.

A file of an Iceberg table never changes, so what was read of a snapshot stays true. A later snapshot that still has
all its files differs from it by the rows of the added ones; of one that lacks some, all rows are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from mesh_platform.engine.duckdb import registered
from mesh_platform.iceberg.snapshot_diff import (
    all_files,
    changed_files,
    current_snapshot_id,
    has_snapshot,
    read_files,
)

from acme_world.wire.sources import PRODUCER

if TYPE_CHECKING:
    from mesh_platform.contract.contract import Contract
    from mesh_platform.engine.protocol import Connection
    from pyiceberg.table import FileScanTask, Table

# The name by which SQL reads rows that were added.
_ADDED = "rows_added"


@dataclass(frozen=True)
class Ask:
    """What is asked of a table, in SQL: `totals` of the rows for which `where` holds, and those of each `group`.

    `measures` are the columns that these read. Rows in which a reference points to nothing are counted: `references`
    are columns, each with the dimension and the key to which it points.
    """

    totals: tuple[str, ...]
    measures: tuple[str, ...]
    group: str = ""
    where: str = "true"
    references: tuple[tuple[str, str, str], ...] = ()

    def columns(self, contract: Contract) -> list[str]:
        """The columns of the table that are read."""
        pointing = [column for column, _, _ in self.references]
        # Rows without any column could not be counted.
        return [*dict.fromkeys((*self.measures, *pointing))] or [contract.table.fields[0].name]


@dataclass(frozen=True)
class Reading:
    """What was read of a snapshot when `ask` was asked.

    `totals` can be added up, by the name of a group; None is the group of all rows. `lost` counts the rows with
    references to nothing, by their values in the columns with references; a value is None where it is not lost.
    """

    ask: Ask
    snapshot: int | None
    totals: Mapping[str | None, tuple[Any, ...]]
    lost: Mapping[tuple[Any, ...], int] = field(default_factory=dict)

    def plus(self, more: Reading) -> Reading:
        """This reading and one of the rows that were added until the snapshot of that."""
        totals = {**self.totals}
        for name, values in more.totals.items():
            before = totals.get(name, (0,) * len(values))
            totals[name] = tuple(one + other for one, other in zip(before, values, strict=True))
        return Reading(more.ask, more.snapshot, totals, Counter(self.lost) + Counter(more.lost))


def added_since(table: Table | None, before: Reading | None, ask: Ask) -> list[FileScanTask] | None:
    """The files that a table has besides those of a reading; None if it lacks some, or if other things were asked."""
    if table is None or before is None or before.ask != ask or not has_snapshot(table, before.snapshot):
        return None
    if before.snapshot == current_snapshot_id(table):
        return []
    removed, added = changed_files(table, before.snapshot)
    return None if removed else added


def count_sent(table: Table | None, before: Reading | None, column: str) -> Reading:
    """The numbers of rows of a landing or quarantine table whose `column` names the simulation, and of the others.

    It names it alone, or followed by a colon. A file whose bounds say that all its rows do is not read.
    """
    ask = Ask((), (column,))
    files = added_since(table, before, ask)
    if table is None:
        return Reading(ask, None, {None: (0, 0)})
    number = table.schema().find_field(column).field_id
    ours = others = 0
    unclear = []
    for task in files if files is not None else all_files(table):
        bounds = [(each or {}).get(number) for each in (task.file.lower_bounds, task.file.upper_bounds)]
        if bounds == [PRODUCER.encode()] * 2 and not task.delete_files:
            ours += task.file.record_count
        else:
            unclear.append(task)
    if unclear:
        names = read_files(table, unclear, [column])[column]
        named = pc.fill_null(pc.match_substring_regex(names, f"^{PRODUCER}(:|$)"), False)
        found = pc.sum(named).as_py() or 0
        ours, others = ours + found, others + len(names) - found
    reading = Reading(ask, current_snapshot_id(table), {None: (ours, others)})
    return before.plus(reading) if before and files is not None else reading


def shrank(table: Table | None, before: Reading | None, column: str) -> bool:
    """Whether a dimension lacks a key that it had at a reading, or may lack one."""
    if table is None or before is None or not has_snapshot(table, before.snapshot):
        return True
    if before.snapshot == current_snapshot_id(table):
        return False
    removed, _ = changed_files(table, before.snapshot)
    had, has = (read_files(table, files, [column])[column] for files in (removed, all_files(table)))
    return not pc.all(pc.is_in(had, value_set=has.combine_chunks()), min_count=0).as_py()


def read(
    session: Connection,
    contract: Contract,
    table: Table | None,
    added: list[FileScanTask] | None,
    before: Reading | None,
    ask: Ask,
) -> Reading:
    """The reading of a table: what was read `before` and the `added` files, or its view in the session if None."""
    snapshot = current_snapshot_id(table) if table else None
    if table is None or added is None or before is None:
        return _read(session, contract.identifier, snapshot, ask)
    if not added:
        return before
    with registered(session, _ADDED, read_files(table, added, ask.columns(contract))):
        return before.plus(_read(session, _ADDED, snapshot, ask))


def keep_keys(session: Connection, keys: Mapping[str, str]) -> None:
    """Read the keys of dimensions, by their names, for all that looks for lost ones in this session."""
    for dimension, key in keys.items():
        session.execute(f"create temp table {_keys(dimension)} as select {key} from {dimension}")


def count_lost(session: Connection, reading: Reading) -> int:
    """The number of rows of a reading with a reference that its dimension lacks in the session."""
    lost = []
    for place, (_, dimension, key) in enumerate(reading.ask.references):
        values = [*{each[place] for each in reading.lost} - {None}]
        sql = f"select value from (select unnest(?) as value) where {_is_lost('value', dimension, key)}"
        lost.append({value for (value,) in session.execute(sql, [values]).fetchall()} if values else set())
    return sum(
        count
        for values, count in reading.lost.items()
        if any(value in missing for value, missing in zip(values, lost, strict=True))
    )


def _read(session: Connection, relation: str, snapshot: int | None, ask: Ask) -> Reading:
    group = f"group by rollup ({ask.group})" if ask.group else ""
    sql = f"select {ask.group or 'null'}, {', '.join(ask.totals)} from {relation} where {ask.where} {group}"
    totals = {name: tuple(values) for name, *values in session.execute(sql).fetchall()}
    if not ask.references:
        return Reading(ask, snapshot, totals)
    tests = {column: _is_lost(column, dimension, key) for column, dimension, key in ask.references}
    values = ", ".join(f"case when {test} then {column} end" for column, test in tests.items())
    some = " or ".join(tests.values())
    sql = f"select {values}, count(*) from {relation} where {ask.where} and ({some}) group by all"
    return Reading(ask, snapshot, totals, {tuple(lost): count for *lost, count in session.execute(sql).fetchall()})


def _is_lost(value: str, dimension: str, key: str) -> str:
    """The SQL condition that a value is no `key` of a dimension."""
    return f"{value} not in (select {key} from {_keys(dimension)})"


def _keys(dimension: str) -> str:
    return f"keys_of_{dimension.replace('.', '__')}"
