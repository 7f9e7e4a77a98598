"""A data product's contract: an ODCS v3.1 file arrives, a `Contract` leaves, or all its faults together.

What ODCS has no field for stands in customProperties named `mesh.*`; docs/contracts.md lists them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesh_platform.document import Document, Place, read_document
from mesh_platform.errors import Problem
from mesh_platform.field_types import FieldType, parse_type

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

SUFFIX = ".odcs.yaml"
CLASSIFICATIONS = ("public", "internal", "confidential", "pii")
TRANSFORMS = ("day", "month", "year", "identity")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_UNITS = {"h": 1, "d": 24, "m": 24 * 30, "y": 24 * 365}


@dataclass(frozen=True)
class Field:
    """One column. `minimum`, `maximum`, `pattern` and `valid_values` are what each value must keep to.

    `references` is `<table>.<column>` of the dimension that this column points to, in the same domain.
    """

    name: str
    type: FieldType
    description: str
    required: bool
    key: int
    line: int
    examples: tuple[Any, ...] = ()
    classification: str = "internal"
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    pattern: str | None = None
    valid_values: tuple[str, ...] = ()
    references: str | None = None


@dataclass(frozen=True)
class Shape:
    """One schema of a contract: the event as sent, or the table as published.

    `partition` is a list of (transform, column); an event's `time` names its column of the event time.
    """

    name: str
    description: str
    fields: tuple[Field, ...]
    partition: tuple[tuple[str, str], ...]
    time: str | None
    line: int

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The fields by their names."""
        return {field.name: field for field in self.fields}

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, in order."""
        return tuple(f.name for f in sorted((f for f in self.fields if f.key), key=lambda f: f.key))


@dataclass(frozen=True)
class Contract:
    """What one product promises. `table` is what it publishes; `event` is what its producers send, if any.

    `freshness` is the longest allowed age of the newest row by `freshness_column`; None means that the table holds
    no running events.
    `roles` may read columns classified `pii`.
    """

    path: str
    domain: str
    name: str
    version: str
    description: str
    table: Shape
    event: Shape | None
    freshness: timedelta | None
    freshness_column: str | None
    retention: timedelta
    implements: str | None
    roles: tuple[str, ...]

    @property
    def identifier(self) -> str:
        """`<domain>.<table>`: the product's name across the mesh, and its table's in the catalog and in SQL."""
        return f"{self.domain}.{self.table.name}"


def read_contract(path: Path, root: Path, domain: str) -> tuple[Contract | None, list[Problem]]:
    """The contract at `path` of `domain`, and every problem in it; the contract is None where there is one."""
    document = read_document(path, root)
    if isinstance(document, Problem):
        return None, [document]
    problems = _schema_problems(document)
    reader = _Reader(document, path, domain)
    if not problems:
        return reader.read()
    # What is not ODCS may have any form; the reader still finds the mesh's own faults up to where it stumbles.
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        reader.read()
    return None, problems + reader.problems


class _Reader:
    """Reads one document that is valid ODCS; collects what the mesh asks beyond that."""

    def __init__(self, document: Document, path: Path, domain: str) -> None:
        self.document, self.data, self.domain = document, document.data, domain
        self.expected_name = path.name.removesuffix(SUFFIX)
        self.problems: list[Problem] = []

    def read(self) -> tuple[Contract | None, list[Problem]]:
        shapes = [self._shape(i, shape) for i, shape in enumerate(self.data.get("schema") or [])]
        tables = [shape for kind, shape in shapes if kind == "table"]
        events = [shape for kind, shape in shapes if kind == "event"]
        if len(tables) != 1 or len(events) > 1:
            self._add(
                ("schema",),
                f"has {len(tables)} schemas of physicalType 'table' and {len(events)} of 'event'.",
                "A contract has one table, and one event where producers send it.",
            )
        custom = self._custom(self.data, ())
        self._names()
        freshness, retention = self._duration("freshness"), self._duration("retention")
        if events and freshness is None:
            fix = "Add {property: freshness, value: 24, unit: h, element: <table>.<timestamp column>}."
            self._add(("slaProperties",), "promises no freshness.", fix)
        column = self._freshness_column(tables[0]) if freshness and tables else None
        description = self.data.get("description") or {}
        if not description.get("purpose"):
            self._add(("description",), "has no description.purpose.", "Say in a sentence what the product is for.")
        if self.problems:
            return None, self.problems
        contract = Contract(
            path=self.document.label,
            domain=self.domain,
            name=self.data["name"],
            version=self.data["version"],
            description=description["purpose"].strip(),
            table=tables[0],
            event=events[0] if events else None,
            freshness=freshness,
            freshness_column=column,
            retention=retention or timedelta(days=365 * 10),
            implements=custom.get("mesh.implements"),
            roles=tuple(role["role"] for role in self.data.get("roles") or []),
        )
        return contract, []

    def _add(self, place: Place, message: str, fix: str) -> None:
        self.problems.append(self.document.problem(place, message, fix))

    def _names(self) -> None:
        for key, expected in (("name", self.expected_name), ("domain", self.domain)):
            if self.data.get(key) != expected:
                self._add(
                    (key,),
                    f"{key} is '{self.data.get(key)}', the file's place says '{expected}'.",
                    "Make them equal.",
                )

    def _custom(self, owner: Mapping[str, Any], place: Place) -> dict[str, Any]:
        known = ("mesh.implements", "mesh.partition", "mesh.eventTime")
        result: dict[str, Any] = {}
        for i, item in enumerate(owner.get("customProperties") or []):
            name = item["property"]
            if name.startswith("mesh.") and name not in known:
                self._add(
                    (*place, "customProperties", i), f"'{name}' is not known.", f"It is one of {', '.join(known)}."
                )
            result[name] = item["value"]
        return result

    def _duration(self, name: str) -> timedelta | None:
        for i, item in enumerate(self.data.get("slaProperties") or []):
            if item["property"] != name:
                continue
            hours = _UNITS.get(str(item.get("unit")))
            if hours is None or not isinstance(item["value"], int | float) or not 0 < item["value"] <= 1000:
                self._add(
                    ("slaProperties", i, "value"),
                    f"{name} is '{item['value']}{item.get('unit', '')}'.",
                    f"Give a number up to 1000 and a unit out of {', '.join(_UNITS)} (hours, days, months, years).",
                )
                return None
            return timedelta(hours=item["value"] * hours)
        return None

    def _freshness_column(self, table: Shape) -> str | None:
        for i, item in enumerate(self.data["slaProperties"]):
            if item["property"] == "freshness":
                owner, _, column = str(item.get("element")).partition(".")
                field = table.by_name.get(column)
                if owner == table.name and field and field.type.name == "timestamptz":
                    return column
                instants = [f"{table.name}.{f.name}" for f in table.fields if f.type.name == "timestamptz"]
                fix = f"Name the column that it is measured by: {' or '.join(instants) or 'a timestamptz'}."
                self._add(("slaProperties", i), f"freshness has the element '{item.get('element')}'.", fix)
        return None

    def _shape(self, index: int, data: Mapping[str, Any]) -> tuple[str, Shape]:
        place: Place = ("schema", index)
        kind, name = data.get("physicalType", ""), data["name"]
        if kind not in ("table", "event"):
            self._add((*place, "physicalType"), f"physicalType '{kind}' of '{name}'.", "It is 'table' or 'event'.")
        self._check_name(place, name)
        fields = [self._field((*place, "properties", i), item) for i, item in enumerate(data.get("properties") or [])]
        read = tuple(field for field in fields if field)
        names = [field.name for field in read]
        for twice in {n for n in names if names.count(n) > 1}:
            self._add((*place, "properties"), f"property '{twice}' stands twice in '{name}'.", "Keep one of them.")
        if not fields:
            self._add(place, f"'{name}' has no properties.", "List its columns.")
        if not data.get("description"):
            self._add(place, f"'{name}' has no description.", "Say what one row is.")
        custom = self._custom(data, place)
        time = custom.get("mesh.eventTime")
        if kind == "event" and not any(f.name == time and f.type.logical == "timestamp" for f in read):
            self._add(
                place, f"mesh.eventTime is '{time}'.", "Name the timestamp property that says when it happened."
            )
        partition = tuple(self._partition(place, text, names) for text in custom.get("mesh.partition") or [])
        return kind, Shape(name, data.get("description", ""), read, partition, time, self.document.line(place))

    def _check_name(self, place: Place, name: str) -> None:
        if not NAME.fullmatch(name):
            self._add((*place, "name"), f"name '{name}'.", "Use small letters, digits and single underscores.")

    def _partition(self, place: Place, text: Any, names: list[str]) -> tuple[str, str]:
        found = re.fullmatch(r"(\w+)\((\w+)\)", str(text))
        # An event's landing table is partitioned by the time in the id, which is no column of the event.
        if not found or found[1] not in TRANSFORMS or found[2] not in (*names, "event_time"):
            self._add(
                (*place, "customProperties"),
                f"mesh.partition '{text}'.",
                f"Write transform(column): a transform out of {', '.join(TRANSFORMS)}, a column of the same schema.",
            )
            return "identity", ""
        return found[1], found[2]

    def _field(self, place: Place, data: Mapping[str, Any]) -> Field | None:
        name = data["name"]
        self._check_name(place, name)
        if not data.get("description"):
            self._add(place, f"property '{name}' has no description.", "Say what it means, and its unit.")
        classification = data.get("classification", "internal")
        if classification not in CLASSIFICATIONS:
            allowed = f"It is one of {', '.join(CLASSIFICATIONS)}."
            self._add((*place, "classification"), f"classification '{classification}' of '{name}'.", allowed)
        try:
            field_type = parse_type(str(data.get("physicalType")))
        except ValueError as error:
            self._add((*place, "physicalType"), f"property '{name}': {error}", "Correct physicalType.")
            return None
        if data.get("logicalType") != field_type.logical:
            self._add(
                (*place, "logicalType"),
                f"property '{name}' is {field_type.name} and its logicalType '{data.get('logicalType')}'.",
                f"Write logicalType: {field_type.logical}.",
            )
        options = data.get("logicalTypeOptions") or {}
        relations = data.get("relationships") or []
        return Field(
            name=name,
            type=field_type,
            description=data.get("description", ""),
            required=bool(data.get("required")),
            key=data.get("primaryKeyPosition", 1) if data.get("primaryKey") else 0,
            line=self.document.line(place),
            examples=tuple(data.get("examples") or ()),
            classification=classification,
            minimum=self._bound(place, options.get("minimum")),
            maximum=self._bound(place, options.get("maximum")),
            pattern=self._pattern(place, options.get("pattern")),
            valid_values=self._valid_values(data),
            references=relations[0]["to"] if relations else None,
        )

    def _bound(self, place: Place, value: Any) -> Decimal | None:
        try:
            return None if value is None else Decimal(str(value))
        except InvalidOperation:
            self._add((*place, "logicalTypeOptions"), f"bound '{value}' is not a number.", "Write a number.")
            return None

    def _pattern(self, place: Place, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            self._add((*place, "logicalTypeOptions"), f"pattern '{value}': {error}.", "Mend the regular expression.")
        return value

    def _valid_values(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        for rule in data.get("quality") or []:
            if rule.get("metric") == "invalidValues":
                return tuple(rule.get("arguments", {}).get("validValues", ()))
        return ()


@cache
def _odcs_validator() -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text()))


def _schema_problems(document: Document) -> list[Problem]:
    """What the JSON schema of ODCS finds, without what merely follows from a deeper fault."""
    if not isinstance(document.data, dict):
        return [document.problem((), "is not a mapping.", "A contract begins with 'apiVersion: v3.1.0'.")]
    # JSON has no dates, which YAML makes of an unquoted 2025-10-01.
    plain = json.loads(json.dumps(document.data, default=str))
    faults = {(tuple(error.instance_path), _words(error)): error for error in _odcs_validator().iter_errors(plain)}
    places = {place for place, _ in faults}

    def follows(place: Place, error: ValidationError) -> bool:
        inner = {other[len(place)] for other in places if len(other) > len(place) and other[: len(place)] == place}
        unexpected = getattr(error.kind, "unexpected", None)
        return bool(inner) and (unexpected is None or inner.issuperset(unexpected))

    return [
        document.problem(place, f"not ODCS: {words}", "See the ODCS reference, v3.1.")
        for (place, words), error in faults.items()
        if not follows(place, error)
    ]


def _words(error: ValidationError) -> str:
    allowed = getattr(error.kind, "options", None)
    if isinstance(allowed, list):
        return f"{error.instance!r} is not one of {', '.join(str(value) for value in allowed)}."
    return f"{error.message[:200]}."
