"""Reading one property of a contract's schema as a `Field`: its type, its limits, and its custom properties."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from mesh_platform.contract.contract import Field
from mesh_platform.contract.event_reader import check_event_column
from mesh_platform.contract.link_reader import read_reference, read_term
from mesh_platform.contract.masking import MASK, STABLE, read_mask
from mesh_platform.contract.pattern import check_pattern
from mesh_platform.contract.quality_rule import quality_items, valid_values
from mesh_platform.contract.reading import Reading, custom_place, read_synonyms
from mesh_platform.contract.types import FieldType, parse_type
from mesh_platform.contract.wall_clock import AMBIGUOUS, NONEXISTENT
from mesh_platform.contract.yaml_document import Place

CLASSIFICATIONS = ("public", "internal", "confidential", "pii")
_CUSTOM: Mapping[str, type] = {
    **dict.fromkeys(("mesh.renamedFrom", "mesh.idName", "mesh.ambiguousTime", "mesh.nonexistentTime", MASK), str),
    "mesh.renamedFrom": list,
    "mesh.allowNonFinite": bool,
    STABLE: bool,
}
_ODD_TIMES = {"mesh.ambiguousTime": AMBIGUOUS, "mesh.nonexistentTime": NONEXISTENT}


def read_field(reading: Reading, place: Place, data: Mapping[str, Any], kind: str) -> Field | None:
    """The property `data` at `place` of a schema of `kind`; None where its type could not be read."""
    name = data["name"]
    reading.check_name(place, name)
    may_be_dropped = kind == "event" or not reading.knows_all
    custom = reading.custom(data, place, {**_CUSTOM, **({"mesh.dropped": bool} if may_be_dropped else {})})
    if kind == "event":
        check_event_column(reading, place, name)
    _check_description(reading, place, data)
    field_type = _read_type(reading, place, data)
    if field_type is None:
        return None
    _check_non_finite(reading, place, data, kind, field_type, custom)
    ambiguous_time, nonexistent_time = _read_odd_times(reading, place, data, field_type, custom)
    _check_id_name(reading, place, data, kind, custom)
    mask, stable = read_mask(reading, place, data, field_type, custom)
    listed = reading.part(quality_items, data) or []
    _check_enum(reading, place, data)
    options = data.get("logicalTypeOptions") or {}
    _check_options(reading, place, name, options)
    return Field(
        name=name,
        type=field_type,
        description=data.get("description", ""),
        required=bool(data.get("required")),
        key=data.get("primaryKeyPosition", 1) if data.get("primaryKey") else 0,
        line=reading.document.line(place),
        examples=tuple(data.get("examples") or ()),
        classification=data.get("classification", "internal"),
        minimum=_read_bound(reading, (*place, "logicalTypeOptions", "minimum"), field_type, options.get("minimum")),
        maximum=_read_bound(reading, (*place, "logicalTypeOptions", "maximum"), field_type, options.get("maximum")),
        pattern=_read_pattern(reading, (*place, "logicalTypeOptions", "pattern"), options.get("pattern")),
        valid_values=reading.part(valid_values, listed, kind) or (),
        references=read_reference(reading, place, data),
        renamed_from=tuple(str(old) for old in custom.get("mesh.renamedFrom") or ()),
        term=reading.part(read_term, reading, place, data.get("authoritativeDefinitions") or []),
        allow_non_finite=bool(custom.get("mesh.allowNonFinite")),
        id_name=custom.get("mesh.idName"),
        ambiguous_time=ambiguous_time or "reject",
        nonexistent_time=nonexistent_time or "reject",
        dropped=bool(custom.get("mesh.dropped")),
        deprecated=bool(data.get("deprecated")),
        synonyms=read_synonyms(data),
        mask=mask,
        stable_pseudonyms=stable,
    )


def _check_enum(reading: Reading, place: Place, data: Mapping[str, Any]) -> None:
    """Report an enum beside a rule that lists the valid values, too: which of them holds?"""
    rules = [item for item in data.get("quality") or [] if item.get("metric") == "invalidValues"]
    if "enum" in data and any("validValues" in (item.get("arguments") or {}) for item in rules):
        reading.add(
            (*place, "enum"), f"'{data['name']}' has an enum and a rule with validValues.", "Keep one of them."
        )


def _check_description(reading: Reading, place: Place, data: Mapping[str, Any]) -> None:
    """Report a missing description, an unknown classification, and a key that may be missing."""
    name = data["name"]
    if not data.get("description"):
        reading.add(place, f"property '{name}' has no description.", "Say what it means, and its unit.")
    classification = data.get("classification", "internal")
    if classification not in CLASSIFICATIONS:
        allowed = f"It is one of {', '.join(CLASSIFICATIONS)}."
        reading.add((*place, "classification"), f"classification '{classification}' of '{name}'.", allowed)
    if data.get("primaryKey") and not data.get("required"):
        reading.add(place, f"property '{name}' is of the primary key and may be missing.", "Add required: true.")


def _read_type(reading: Reading, place: Place, data: Mapping[str, Any]) -> FieldType | None:
    name = data["name"]
    try:
        field_type = parse_type(str(data.get("physicalType")))
    except ValueError as error:
        reading.add((*place, "physicalType"), f"property '{name}': {error}", "Correct physicalType.")
        reading.unread.add(name)
        return None
    if data.get("logicalType") != field_type.logical:
        reading.add(
            (*place, "logicalType"),
            f"property '{name}' is {field_type.name} and its logicalType '{data.get('logicalType')}'.",
            f"Write logicalType: {field_type.logical}.",
        )
    return field_type


def _check_non_finite(
    reading: Reading,
    place: Place,
    data: Mapping[str, Any],
    kind: str,
    field_type: FieldType,
    custom: Mapping[str, Any],
) -> None:
    allows = custom.get("mesh.allowNonFinite")
    if allows is not None and (kind != "table" or field_type.name != "double" or data.get("primaryKey")):
        column = "a key" if data.get("primaryKey") else f"a column of type {field_type.name}"
        what = "an event's property" if kind == "event" else column
        fix = "Only a double column of a table, outside its key, may hold NaN and infinities. Drop the line."
        reading.add(custom_place(data, place, "mesh.allowNonFinite"), f"mesh.allowNonFinite of {what}.", fix)


def _read_odd_times(
    reading: Reading, place: Place, data: Mapping[str, Any], field_type: FieldType, custom: Mapping[str, Any]
) -> list[str | None]:
    """The values of mesh.ambiguousTime and mesh.nonexistentTime."""
    found = [
        reading.one_of(data, place, option, custom.get(option), allowed) for option, allowed in _ODD_TIMES.items()
    ]
    for option in sorted(set(_ODD_TIMES) & set(custom)) if field_type.name != "timestamp" else ():
        fix = "Only a local time (physicalType: timestamp) can be odd: drop it."
        message = f"{option} of '{data['name']}', which is {field_type.name}."
        reading.add(custom_place(data, place, option), message, fix)
    return found


def _check_id_name(
    reading: Reading, place: Place, data: Mapping[str, Any], kind: str, custom: Mapping[str, Any]
) -> None:
    if custom.get("mesh.idName") is not None and kind == "table":
        fix = "Ids are made of the columns of events. Drop the line."
        message = f"mesh.idName of a table's column '{data['name']}'."
        reading.add(custom_place(data, place, "mesh.idName"), message, fix)
    elif custom.get("mesh.idName") == "":
        reading.add(custom_place(data, place, "mesh.idName"), "mesh.idName is empty.", "Give it a name.")


def _check_options(reading: Reading, place: Place, name: str, options: Mapping[str, Any]) -> None:
    for option in sorted(set(options) - {"minimum", "maximum", "pattern"}):
        fix = "Use minimum, maximum or pattern."
        reading.add((*place, "logicalTypeOptions", option), f"nothing checks '{option}' of '{name}'.", fix)


def _read_bound(reading: Reading, place: Place, field_type: FieldType, value: Any) -> Decimal | None:
    with suppress(InvalidOperation):
        number = None if value is None else Decimal(str(value))
        if number is None or (field_type.logical in ("integer", "number") and field_type.holds(number)):
            return number
    fix = f"Only numbers have bounds, and {field_type.name} takes {field_type.on_wire}."
    reading.add(place, f"bound '{value}' of a column of type {field_type.name}.", fix)
    return None


def _read_pattern(reading: Reading, place: Place, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        check_pattern(value)
    except ValueError as error:
        fix = "Write a regular expression that both Python and RE2 know."
        reading.add(place, f"pattern '{value}': {error}.", fix)
    return value
