"""Tag snapshots of several tables with one name, which keeps them from expiring.

Tables are always tagged in the same order and a tag is never overwritten, so of two callers that want a name at once,
the later one fails on the other's tag.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def newest_number(prefix: str, tables: Mapping[str, Table]) -> int:
    """The highest number among tags that are `prefix` and a number; 0 without one."""
    numbers = [
        int(name.removeprefix(prefix))
        for table in tables.values()
        for name in table.refs()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    ]
    return max(numbers, default=0)
