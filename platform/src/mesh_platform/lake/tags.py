"""Tag snapshots of several tables with one name, which keeps them from expiring.

Tables are always tagged in the same order and a tag is never overwritten, so of two callers that want a name at once,
the later one fails on the other's tag.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from mesh_platform.iceberg.commit import first_to_commit

if TYPE_CHECKING:
    from pyiceberg.table import Table


def tag_snapshot(table: Table, snapshot_id: int, name: str, dead: Collection[str] = ()) -> None:
    """Tag a snapshot, and remove the tags `dead`. Raises ConflictError if the tag or a newer state is there."""
    with first_to_commit(table), table.manage_snapshots() as manage:
        for tag in dead:
            manage.remove_tag(tag)
        manage.create_tag(snapshot_id, name)


def remove_tags(table: Table, tags: Collection[str]) -> None:
    """Remove tags, if there are any to remove. Raises ConflictError if somebody else commits meanwhile."""
    if tags:
        with first_to_commit(table), table.manage_snapshots() as manage:
            for tag in tags:
                manage.remove_tag(tag)


def newest_number(prefix: str, tables: Mapping[str, Table]) -> int:
    """The highest number among tags that are `prefix` and a number; 0 without one."""
    return max((number for table in tables.values() for number in _numbers(prefix, table.refs())), default=0)


def dead_tags(prefix: str, table: Table, newest: int, kept: Collection[str]) -> set[str]:
    """The tags of a table that are `prefix` and a number up to `newest`, the highest one recorded, and not `kept`.

    A tag with a higher number may be of somebody who has not recorded it yet. A lower one cannot: recording it would
    fail, because the newer record is there.
    """
    return {f"{prefix}{number}" for number in _numbers(prefix, table.refs()) if number <= newest} - {*kept}


def _numbers(prefix: str, names: Iterable[str]) -> Iterator[int]:
    plain = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return (int(number) for number in plain if number.isdecimal())
