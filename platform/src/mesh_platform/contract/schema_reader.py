"""Reading one schema of a contract as a `TableSchema`: its fields, partitions, history and quality rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mesh_platform.contract.contract import LANDING_PARTITION, Field, TableSchema, partition_name
from mesh_platform.contract.event_reader import check_event_time
from mesh_platform.contract.field_reader import read_field
from mesh_platform.contract.quality_rule import Rule, quality_items, read_rule
from mesh_platform.contract.reading import Reading, custom_place, read_synonyms
from mesh_platform.contract.schema_change import former_name_faults
from mesh_platform.contract.types import FieldType
from mesh_platform.contract.yaml_document import Place

TRANSFORMS = ("day", "month", "year", "identity")
_TIMES = ("date", "timestamp", "timestamptz")


def read_schema(reading: Reading, index: int, data: Mapping[str, Any]) -> tuple[str, TableSchema]:
    """The kind (physicalType) and the `TableSchema` of the contract's schema number `index`."""
    place: Place = ("schema", index)
    kind, name = data.get("physicalType", ""), data["name"]
    if kind not in ("table", "event"):
        reading.add((*place, "physicalType"), f"physicalType '{kind}' of '{name}'.", "It is 'table' or 'event'.")
    reading.check_name(place, name)
    every = _read_fields(reading, place, data, kind)
    fields = tuple(field for field in every if not field.dropped)
    dropped = tuple(replace(field, required=False) for field in every if field.dropped)
    if len(dropped) == len(data.get("properties") or []):
        reading.add(place, f"'{name}' has no properties.", "List its columns.")
    if not data.get("description"):
        reading.add(place, f"'{name}' has no description.", "Say what one row is.")
    custom = reading.part(reading.custom, data, place, _known_custom(reading, kind)) or {}
    time = custom.get("mesh.eventTime", "")
    if kind == "event":
        check_event_time(reading, place, data, time, fields)
    partition = _read_partitions(reading, place, data, kind, custom, fields)
    history = _read_history(reading, custom_place(data, place, "mesh.history"), custom.get("mesh.history"), fields)
    line = reading.document.line(place)
    rules = tuple(_read_rules(reading, place, data, kind, fields))
    description = data.get("description", "")
    return kind, TableSchema(
        name,
        description,
        fields,
        partition,
        time or None,
        line,
        history,
        rules,
        dropped=dropped,
        deprecated=bool(data.get("deprecated")),
        synonyms=read_synonyms(data),
        file_in_ids=bool(custom.get("mesh.fileInIds")),
    )


def _known_custom(reading: Reading, kind: str) -> dict[str, type]:
    known: dict[str, type] = {"mesh.partition": list}
    if kind == "event" or not reading.knows_all:
        known |= {"mesh.eventTime": str, "mesh.fileInIds": bool}
    if kind == "table" or not reading.knows_all:
        known["mesh.history"] = list
    return known


def _read_fields(reading: Reading, place: Place, data: Mapping[str, Any], kind: str) -> tuple[Field, ...]:
    """The readable fields of a schema, dropped ones too; reports repeated and ambiguous names."""
    items = data.get("properties") or []
    fields = [
        reading.part(read_field, reading, (*place, "properties", i), item, kind) for i, item in enumerate(items)
    ]
    every = tuple(field for field in fields if field)
    names = [field.name for field in every]
    for twice in {name for name in names if names.count(name) > 1}:
        message = f"property '{twice}' stands twice in '{data['name']}'."
        reading.add((*place, "properties"), message, "Keep one of them.")
    for field, message, fix in former_name_faults(every, is_event=kind == "event"):
        reading.add_at(field.line, message, fix)
    return every


def _read_partitions(
    reading: Reading,
    place: Place,
    data: Mapping[str, Any],
    kind: str,
    custom: Mapping[str, Any],
    fields: Sequence[Field],
) -> tuple[tuple[str, str], ...]:
    # The landing table of an event is partitioned by the time in the id.
    columns = {"event_time": "timestamptz"} if kind == "event" else {f.name: f.type.name for f in fields}
    here = custom_place(data, place, "mesh.partition")
    partition = tuple(_read_partition(reading, here, text, columns) for text in custom.get("mesh.partition") or [])
    _check_partition_names(reading, here, partition, fields, kind)
    return partition


def _read_partition(reading: Reading, place: Place, text: Any, columns: Mapping[str, str]) -> tuple[str, str]:
    """The (transform, column) of `text`; `columns` has the type of each column."""
    found = re.fullmatch(r"(\w+)\((\w+)\)", str(text))
    transform, column = (found[1], found[2]) if found else ("", "")
    kind = columns.get(column, "")
    if (transform, kind) == ("identity", "double"):
        # pyiceberg takes 0.0 and -0.0 for two partitions, and writes the rows of both to each.
        fix = (
            "Partition by a column of another type, or drop it; 'mesh evolve' and 'mesh build --full' then mend a "
            "table that has such partitions."
        )
        reading.add(place, f"mesh.partition '{text}' is of a double, which has two zeros.", fix)
        return "", ""
    if transform in TRANSFORMS and kind and (transform == "identity") == (kind not in _TIMES):
        return transform, column
    if column not in reading.unread and reading.knows_all:
        times = ", ".join(name for name, kind in columns.items() if kind in _TIMES) or "there is none"
        fix = f"Write day, month or year of a time ({times}), or identity of another column."
        reading.add(place, f"mesh.partition '{text}'.", fix)
    return "", ""


def _check_partition_names(
    reading: Reading, place: Place, partition: Sequence[tuple[str, str]], fields: Sequence[Field], kind: str
) -> None:
    """Report each partition that is there twice, and each column with the name of a partition of another one."""
    every = tuple(each for each in partition if any(each)) or (LANDING_PARTITION if kind == "event" else ())
    for transform, column in sorted({each for each in every if every.count(each) > 1}):
        reading.add(place, f"mesh.partition has {transform}({column}) twice.", "Keep one of them.")
    lines = {field.name: field.line for field in fields}
    for transform, column in dict.fromkeys(every):
        name = partition_name(transform, column)
        if name != column and name in lines:
            message = f"property '{name}' has the name that Iceberg gives to the partition {transform}({column})."
            reading.add_at(lines[name], message, "Rename it, or partition by another column.")


def _read_history(
    reading: Reading, place: Place, names: list[Any] | None, fields: Sequence[Field]
) -> tuple[str, str] | None:
    instants = [field.name for field in fields if field.type.name == "timestamptz" and field.required]
    if names is None or not reading.knows_all:
        return None
    if len(names) != 2 or any(name not in (*instants, *reading.unread) for name in names):
        known = ", ".join(instants) or "there is none"
        fix = f"Name two required columns of type timestamptz, from and until: {known}."
        reading.add(place, f"mesh.history is {names}.", fix)
        return None
    return names[0], names[1]


def _read_rules(
    reading: Reading, place: Place, data: Mapping[str, Any], kind: str, fields: Sequence[Field]
) -> Iterator[Rule]:
    """The quality rules of a schema and of its properties."""
    types = {field.name: (field.name, field.type) for field in fields}
    columns = (*types, *sorted(reading.unread))
    owners: list[tuple[Place, Mapping[str, Any], tuple[str, FieldType] | None]] = [(place, data, None)]
    for i, item in enumerate(data.get("properties") or []):
        if isinstance(item, dict) and item.get("name") in types:
            owners.append(((*place, "properties", i), item, types[item["name"]]))
    for owner_place, owner, column in owners:
        written = len(owner.get("quality") or [])
        for j, item in enumerate(quality_items(owner)):
            here: Place = (*owner_place, "quality", j) if j < written else (*owner_place, "enum")
            reading.part(reading.custom, item, here, {"mesh.onFailure": str})
            line = reading.document.line(here)
            rule = reading.part(read_rule, item, kind, column, columns, line, partial(reading.add, here))
            if rule:
                yield rule
