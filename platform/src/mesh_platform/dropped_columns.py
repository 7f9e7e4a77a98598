"""Columns that an event had once: `mesh.droppedColumns` -> fields that files may still have, for the ids alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from mesh_platform.contract import Field
from mesh_platform.field_types import parse_type


def read_dropped_columns(
    dropped: Mapping[str, Any], fields: Collection[Field], line: int, add: Callable[[str, str], None]
) -> tuple[Field, ...]:
    """The dropped columns of an event, from their names and types; `fields` are the columns that it has.

    `add` is called with what is wrong, and how to mend it: a type that is none, a name that a column of the event
    has, or had before, or has in ids. Which of the two a file means could not be told.
    """
    taken = {name: field.name for field in fields for name in (field.name, *field.renamed_from, field.name_in_ids)}
    found = []
    for name, text in dropped.items():
        what = f"mesh.droppedColumns has '{name}'"
        if name in taken:
            add(
                f"{what}, a name of the column '{taken[name]}'.", "Give that column another name, or remove this one."
            )
            continue
        try:
            found.append(Field(name, parse_type(str(text)), "", False, 0, line))
        except ValueError as error:
            add(f"{what}: {error}", "Give it the physicalType that the column had.")
    return tuple(found)
