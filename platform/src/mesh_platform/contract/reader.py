"""Reading contracts: an ODCS v3.1 file as a `Contract`, or all of its faults together.

Settings for which ODCS has no field are customProperties named `mesh.*`; docs/contracts.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mesh_platform.contract.contract import LANDING_COLUMNS, LEVELS, TIME_TRAVEL, Contract, Field, Shape
from mesh_platform.contract.odcs import find_faults, plain
from mesh_platform.contract.pattern import check_pattern
from mesh_platform.contract.quality_rule import Rule, read_rule, valid_values
from mesh_platform.contract.schema_change import former_name_faults
from mesh_platform.contract.types import FieldType, parse_type
from mesh_platform.contract.version import parse_version, read_version
from mesh_platform.contract.wall_clock import AMBIGUOUS, NONEXISTENT
from mesh_platform.contract.yaml_document import Document, Place, read_document
from mesh_platform.errors import Problem
from mesh_platform.text import counted, shown

SUFFIX = ".odcs.yaml"
CLASSIFICATIONS = ("public", "internal", "confidential", "pii")
TRANSFORMS = ("day", "month", "year", "identity")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TIMES = ("date", "timestamp", "timestamptz")
_OF_PROPERTY = ("mesh.renamedFrom", "mesh.idName", "mesh.ambiguousTime", "mesh.nonexistentTime")
_OF_CONTRACT = {
    **dict.fromkeys(("mesh.implements", "mesh.timeTravel", "mesh.level", "mesh.demands", "mesh.oldestVersion"), str),
    "mesh.maintain": bool,
}
_FORMS = {str: "a word", list: "a list", bool: "true or false"}
# A link from contracts/ to a term: of the own domain's glossary, or of another's.
_TERM = re.compile(r"\.\./(?:\.\./(?P<domain>[a-z0-9_]+)/)?glossary\.yaml#(?P<name>[a-z0-9_]+)")
_UNITS = {"h": 1, "d": 24, "m": 24 * 30, "y": 24 * 365}

_T = TypeVar("_T")


def read_contract(path: Path, root: Path, domain: str) -> tuple[Contract | None, list[Problem]]:
    """The contract at `path` of `domain`, and every problem in it; the contract is None where there is one."""
    document = read_document(path, root)
    if isinstance(document, Problem):
        return None, [document]
    document = Document(document.label, plain(document.data), document.lines)
    problems = find_faults(document)
    reader = _Reader(document, path, domain, is_odcs=not problems)
    contract = reader.part(reader.read)
    # One fault in a place is enough: what ODCS says of it comes first. An anchored part is read more than once.
    faults = {problem.line for problem in problems}
    problems += [problem for problem in reader.problems if problem.line not in faults]
    return (None, sorted(set(problems))) if problems else (contract, [])


class _Reader:
    """Reads one document; collects what the mesh asks beyond ODCS."""

    def __init__(self, document: Document, path: Path, domain: str, is_odcs: bool) -> None:
        self.document, self.data, self.domain, self.is_odcs = document, document.data, domain, is_odcs
        # What follows from a fault that is reported already is no fault of its own: references to columns that could
        # not be read, and whatever needs to know all of a file that is not ODCS or has not its schemas.
        self.unread: set[str] = set()
        self.knows_all = False
        self.expected_name = shown(path, path.parent).removesuffix(SUFFIX)
        self.problems: list[Problem] = []

    def part(self, read: Callable[..., _T], *arguments: Any) -> _T | None:
        """What `read` gives. What is not ODCS may have any form: there it is None, and the other parts are read."""
        if self.is_odcs:
            return read(*arguments)
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
            return read(*arguments)
        return None

    def read(self) -> Contract | None:
        """The contract; None where there are problems."""
        schema = self.data.get("schema") or []
        kinds = [shape.get("physicalType") if isinstance(shape, dict) else None for shape in schema]
        fits = kinds.count("table") == 1 and kinds.count("event") <= 1
        if set(kinds) <= {"table", "event"} and not fits:
            self._add(
                ("schema",),
                f"has {counted(kinds.count('table'), 'schema')} of physicalType 'table' and "
                f"{kinds.count('event')} of 'event'.",
                "A contract has one table, and one event where producers send it.",
            )
        self.knows_all = self.is_odcs and fits and len(kinds) == kinds.count("table") + kinds.count("event")
        shapes = [self.part(self._shape, i, shape) for i, shape in enumerate(schema)]
        found = [kind_and_shape for kind_and_shape in shapes if kind_and_shape]
        tables = [shape for kind, shape in found if kind == "table"]
        events = [shape for kind, shape in found if kind == "event"]
        custom = self.part(self._custom, self.data, (), _OF_CONTRACT) or {}
        time_travel = self._time_travel(custom.get("mesh.timeTravel"))
        self._names()
        freshness, retention = self.part(self._duration, "freshness"), self.part(self._duration, "retention")
        latency = self.part(self._duration, "latency")
        names = ("mesh.level", "mesh.demands")
        level, demands = (self._one_of(self.data, (), name, custom.get(name), LEVELS) for name in names)
        oldest = self._oldest_version(custom.get("mesh.oldestVersion"), bool(events))
        if events and not any(item["property"] == "freshness" for item in self.data.get("slaProperties") or []):
            fix = "Add {property: freshness, value: 24, unit: h, element: <table>.<timestamp column>}."
            self._add(("slaProperties",), "promises no freshness.", fix)
        column = self._freshness_column(tables[0]) if freshness and tables else None
        description = self.data.get("description") or {}
        if not description.get("purpose"):
            self._add(("description",), "has no description.purpose.", "Say in a sentence what the product is for.")
        if self.problems or not self.is_odcs:
            return None
        return Contract(
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
            retired=self.data.get("status") == "retired",
            time_travel=time_travel,
            latency=latency,
            level=level or LEVELS[0],
            demands=demands,
            oldest_version=oldest,
            maintained=custom.get("mesh.maintain") is not False,
        )

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

    def _oldest_version(self, text: str | None, has_event: bool) -> str | None:
        """The oldest version of events that is taken; None where the contract does not say."""
        if text is None:
            return None
        place = _custom_place(self.data, (), "mesh.oldestVersion")
        oldest, own = parse_version(text), read_version(str(self.data.get("version")))
        if not has_event:
            self._add(place, "mesh.oldestVersion is of events, and the contract has none.", "Remove it.")
        elif oldest is None or (own is not None and oldest > own):
            fix = f"Name three numbers up to the contract's own version, {self.data.get('version')}."
            self._add(place, f"mesh.oldestVersion is '{text}'.", fix)
        return text

    def _custom(self, owner: Mapping[str, Any], place: Place, known: Mapping[str, type]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for i, item in enumerate(owner.get("customProperties") or []):
            name, value = item["property"], item["value"]
            here: Place = (*place, "customProperties", i)
            if name.startswith("mesh.") and name not in known:
                self._add(here, f"'{name}' is not known here.", f"What may stand here is {', '.join(known)}.")
            elif name in result and name in known:
                self._add(here, f"'{name}' stands here twice.", "Keep one of them.")
            elif name in known and not isinstance(value, known[name]):
                self._add(here, f"'{name}' is {value!r}.", f"Give it {_FORMS[known[name]]}.")
                result[name] = None
            else:
                result[name] = value
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

    def _time_travel(self, value: str | None) -> timedelta:
        found = re.fullmatch(r"([1-9][0-9]{0,3})([hdmy])", value) if value is not None else None
        if value is not None and not found:
            fix = f"Write a number and a unit out of {', '.join(_UNITS)} (hours, days, months, years), such as 7d."
            self._add(_custom_place(self.data, (), "mesh.timeTravel"), f"mesh.timeTravel is '{value}'.", fix)
        return timedelta(hours=int(found[1]) * _UNITS[found[2]]) if found else TIME_TRAVEL

    def _one_of(
        self, owner: Mapping[str, Any], place: Place, name: str, value: str | None, allowed: tuple[str, ...]
    ) -> str | None:
        if value is not None and value not in allowed:
            self._add(
                _custom_place(owner, place, name), f"{name} is '{value}'.", f"It is one of {', '.join(allowed)}."
            )
        return value

    def _freshness_column(self, table: Shape) -> str | None:
        for i, item in enumerate(self.data["slaProperties"]):
            if item["property"] == "freshness":
                owner, _, column = str(item.get("element")).partition(".")
                field = table.by_name.get(column)
                if owner == table.name and field and field.type.name == "timestamptz":
                    return column
                if column in self.unread or not self.knows_all:
                    return None
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
        items = data.get("properties") or []
        fields = [self.part(self._field, (*place, "properties", i), item, kind) for i, item in enumerate(items)]
        every = tuple(field for field in fields if field)
        names = [field.name for field in every]
        for twice in {n for n in names if names.count(n) > 1}:
            self._add((*place, "properties"), f"property '{twice}' stands twice in '{name}'.", "Keep one of them.")
        for field, message, fix in former_name_faults(every, is_event=kind == "event"):
            self.problems.append(Problem(self.document.label, field.line, message, fix))
        read = tuple(field for field in every if not field.dropped)
        dropped = tuple(replace(field, required=False) for field in every if field.dropped)
        if len(dropped) == len(items):
            self._add(place, f"'{name}' has no properties.", "List its columns.")
        if not data.get("description"):
            self._add(place, f"'{name}' has no description.", "Say what one row is.")
        of_event = {"mesh.eventTime": str} if kind == "event" or not self.knows_all else {}
        of_table = {"mesh.history": list} if kind == "table" or not self.knows_all else {}
        custom = self.part(self._custom, data, place, {"mesh.partition": list} | of_event | of_table) or {}
        time = custom.get("mesh.eventTime", "")
        instants = [f.name for f in read if f.type.logical == "timestamp" and f.required]
        if kind == "event" and time not in (*instants, *self.unread) and time is not None and self.knows_all:
            allowed = " or ".join(instants) or "there is none"
            fix = f"Name the required timestamp that says when it happened: {allowed}."
            self._add(_custom_place(data, place, "mesh.eventTime"), f"mesh.eventTime is '{time}'.", fix)
        columns = {"event_time": "timestamptz"} if kind == "event" else {f.name: f.type.logical for f in read}
        here = _custom_place(data, place, "mesh.partition")
        partition = tuple(self._partition(here, text, columns) for text in custom.get("mesh.partition") or [])
        for field in read:
            if field.allow_non_finite and field.name in {column for _, column in partition}:
                message = f"mesh.allowNonFinite of '{field.name}', which the table is partitioned by."
                self.problems.append(Problem(self.document.label, field.line, message, "Drop one of the two."))
        history = self._history(_custom_place(data, place, "mesh.history"), custom.get("mesh.history"), read)
        line = self.document.line(place)
        rules = tuple(self._rules(place, data, kind, read))
        description = data.get("description", "")
        return kind, Shape(name, description, read, partition, time or None, line, history, rules, dropped=dropped)

    def _rules(self, place: Place, data: Mapping[str, Any], kind: str, fields: tuple[Field, ...]) -> Iterator[Rule]:
        """The quality rules of a schema and of its properties."""
        types = {field.name: (field.name, field.type) for field in fields}
        columns = (*types, *sorted(self.unread))
        places: list[tuple[Place, Mapping[str, Any], tuple[str, FieldType] | None]] = [(place, data, None)]
        for i, item in enumerate(data.get("properties") or []):
            if isinstance(item, dict) and item.get("name") in types:
                places.append(((*place, "properties", i), item, types[item["name"]]))
        for owner, owned, column in places:
            for j, item in enumerate(owned.get("quality") or []):
                here: Place = (*owner, "quality", j)
                self.part(self._custom, item, here, {"mesh.onFailure": str})
                line = self.document.line(here)
                rule = self.part(read_rule, item, kind, column, columns, line, partial(self._add, here))
                if rule:
                    yield rule

    def _check_name(self, place: Place, name: str) -> None:
        if not NAME.fullmatch(name):
            self._add((*place, "name"), f"name '{name}'.", "Use small letters, digits and single underscores.")

    def _history(self, place: Place, names: list[Any] | None, fields: tuple[Field, ...]) -> tuple[str, str] | None:
        instants = [field.name for field in fields if field.type.name == "timestamptz" and field.required]
        if names is None or not self.knows_all:
            return None
        if len(names) != 2 or any(name not in (*instants, *self.unread) for name in names):
            known = ", ".join(instants) or "there is none"
            fix = f"Name two required columns of type timestamptz, from and until: {known}."
            self._add(place, f"mesh.history is {names}.", fix)
            return None
        return names[0], names[1]

    def _partition(self, place: Place, text: Any, columns: Mapping[str, str]) -> tuple[str, str]:
        """`columns` has the logical type of each; an event's landing table is partitioned by the time in the id."""
        found = re.fullmatch(r"(\w+)\((\w+)\)", str(text))
        transform, column = (found[1], found[2]) if found else ("", "")
        logical = columns.get(column, "")
        if transform in TRANSFORMS and logical and (transform == "identity") == (logical not in _TIMES):
            return transform, column
        if column not in self.unread and self.knows_all:
            times = ", ".join(name for name, kind in columns.items() if kind in _TIMES) or "there is none"
            fix = f"Write day, month or year of a time ({times}), or identity of another column."
            self._add(place, f"mesh.partition '{text}'.", fix)
        return "", ""

    def _field(self, place: Place, data: Mapping[str, Any], kind: str) -> Field | None:
        name = data["name"]
        self._check_name(place, name)
        known = dict.fromkeys(_OF_PROPERTY, str) | {"mesh.renamedFrom": list, "mesh.allowNonFinite": bool}
        known |= {"mesh.dropped": bool} if kind == "event" or not self.knows_all else {}
        custom = self._custom(data, place, known)
        if kind == "event" and name in LANDING_COLUMNS:
            fix = f"Choose another name than {', '.join(LANDING_COLUMNS)}."
            self._add((*place, "name"), f"property '{name}' is a column of each landing table already.", fix)
        if not data.get("description"):
            self._add(place, f"property '{name}' has no description.", "Say what it means, and its unit.")
        classification = data.get("classification", "internal")
        if classification not in CLASSIFICATIONS:
            allowed = f"It is one of {', '.join(CLASSIFICATIONS)}."
            self._add((*place, "classification"), f"classification '{classification}' of '{name}'.", allowed)
        if data.get("primaryKey") and not data.get("required"):
            self._add(place, f"property '{name}' is of the primary key and may be missing.", "Add required: true.")
        try:
            field_type = parse_type(str(data.get("physicalType")))
        except ValueError as error:
            self._add((*place, "physicalType"), f"property '{name}': {error}", "Correct physicalType.")
            self.unread.add(name)
            return None
        if data.get("logicalType") != field_type.logical:
            self._add(
                (*place, "logicalType"),
                f"property '{name}' is {field_type.name} and its logicalType '{data.get('logicalType')}'.",
                f"Write logicalType: {field_type.logical}.",
            )
        allows = custom.get("mesh.allowNonFinite")
        if allows is not None and (kind != "table" or field_type.name != "double" or data.get("primaryKey")):
            column = "a key" if data.get("primaryKey") else f"a column of type {field_type.name}"
            what = "an event's property" if kind == "event" else column
            fix = "Only a double column of a table, outside its key, may hold NaN and infinities. Drop the line."
            self._add(_custom_place(data, place, "mesh.allowNonFinite"), f"mesh.allowNonFinite of {what}.", fix)
        words = {"mesh.ambiguousTime": AMBIGUOUS, "mesh.nonexistentTime": NONEXISTENT}
        said = [self._one_of(data, place, word, custom.get(word), allowed) for word, allowed in words.items()]
        for option in sorted(set(words) & set(custom)) if field_type.name != "timestamp" else ():
            fix = "Only a local time (physicalType: timestamp) can be odd: drop it."
            self._add(_custom_place(data, place, option), f"{option} of '{name}', which is {field_type.name}.", fix)
        if custom.get("mesh.idName") is not None and kind == "table":
            fix = "Ids are made of the columns of events. Drop the line."
            self._add(_custom_place(data, place, "mesh.idName"), f"mesh.idName of a table's column '{name}'.", fix)
        elif custom.get("mesh.idName") == "":
            self._add(_custom_place(data, place, "mesh.idName"), "mesh.idName is empty.", "Give it a name.")
        options = data.get("logicalTypeOptions") or {}
        for option in sorted(set(options) - {"minimum", "maximum", "pattern"}):
            fix = "Use minimum, maximum or pattern."
            self._add((*place, "logicalTypeOptions", option), f"nothing checks '{option}' of '{name}'.", fix)
        return Field(
            name=name,
            type=field_type,
            description=data.get("description", ""),
            required=bool(data.get("required")),
            key=data.get("primaryKeyPosition", 1) if data.get("primaryKey") else 0,
            line=self.document.line(place),
            examples=tuple(data.get("examples") or ()),
            classification=classification,
            minimum=self._bound((*place, "logicalTypeOptions", "minimum"), field_type, options.get("minimum")),
            maximum=self._bound((*place, "logicalTypeOptions", "maximum"), field_type, options.get("maximum")),
            pattern=self._pattern((*place, "logicalTypeOptions", "pattern"), options.get("pattern")),
            valid_values=self.part(valid_values, data.get("quality") or [], kind) or (),
            references=self._reference(place, data),
            renamed_from=tuple(str(old) for old in custom.get("mesh.renamedFrom") or ()),
            term=self.part(self._term, place, data.get("authoritativeDefinitions") or []),
            allow_non_finite=bool(allows),
            id_name=custom.get("mesh.idName"),
            ambiguous_time=said[0] or "reject",
            nonexistent_time=said[1] or "reject",
            dropped=bool(custom.get("mesh.dropped")),
        )

    def _term(self, place: Place, links: list[Mapping[str, Any]]) -> str | None:
        """The term that a column is linked to as its businessDefinition; whether it is there is another rule."""
        for i, link in enumerate(links):
            if link["type"] == "businessDefinition":
                if found := _TERM.fullmatch(link["url"]):
                    return f"{found['domain'] or self.domain}.{found['name']}"
                fix = "Write ../glossary.yaml#<term>, or ../../<domain>/glossary.yaml#<term> of another domain."
                self._add((*place, "authoritativeDefinitions", i, "url"), f"links to '{link['url']}'.", fix)
        return None

    def _bound(self, place: Place, type_: FieldType, value: Any) -> Decimal | None:
        with suppress(InvalidOperation):
            number = None if value is None else Decimal(str(value))
            if number is None or (type_.logical in ("integer", "number") and type_.holds(number)):
                return number
        fix = f"Only numbers have bounds, and {type_.name} takes {type_.on_wire}."
        self._add(place, f"bound '{value}' of a column of type {type_.name}.", fix)
        return None

    def _pattern(self, place: Place, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            check_pattern(value)
        except ValueError as error:
            fix = "Write a regular expression that both Python and RE2 know."
            self._add(place, f"pattern '{value}': {error}.", fix)
        return value

    def _reference(self, place: Place, data: Mapping[str, Any]) -> tuple[str, str] | None:
        relations = [str(relation["to"]) for relation in data.get("relationships") or []]
        if len(relations) > 1 or any(not re.fullmatch(r"(\w+\.)?\w+\.\w+", to) for to in relations):
            fix = "Name one {to: <table>.<column>}, or <domain>.<table>.<column> of another domain."
            self._add((*place, "relationships", 0), f"points to {relations!r}.", fix)
            return None
        if not relations:
            return None
        table, _, column = relations[0].rpartition(".")
        return (table if "." in table else f"{self.domain}.{table}"), column


def _custom_place(owner: Mapping[str, Any], place: Place, name: str) -> Place:
    names = [item["property"] for item in owner.get("customProperties") or []]
    return (*place, "customProperties", names.index(name)) if name in names else place
