"""Random edits of a contract's file, as Hypothesis draws them: of its text, of its data, and such as people make."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import strategies as st

TYPES = {
    "string": "string",
    "int": "integer",
    "long": "integer",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
    "decimal(12,2)": "number",
    "decimal(20,2)": "number",
    "decimal(38,4)": "number",
}
JUNK = [
    None,
    0,
    -1,
    1.5,
    1e308,
    float("nan"),
    True,
    "",
    "x",
    "no",
    "a\nb",
    "ü|<&",
    "1.0.0",
    [],
    {},
    [[]],
    {"x": {}},
    10**30,
]
WORDS = [
    "required: true",
    "- ",
    "  ",
    ":",
    "{",
    "]",
    "&a",
    "*order_id",
    "<<: *x",
    "\t",
    "\x00",
    "'",
    "#",
    "---",
    "!!binary x",
]

Draw = Callable[[st.SearchStrategy[Any]], Any]


@st.composite
def edited(draw: Draw, text: str) -> bytes:
    """The file `text` after some edits: one to three that a person would make, or one that an accident would."""
    if draw(st.integers(0, 5)) == 0:
        return _accident(draw, text)
    data = copy.deepcopy(yaml.load(text, yaml.CSafeLoader))
    # Mostly one: of several each hides what is thought of the others.
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        edit = draw(st.sampled_from(_EDITS))
        edit(draw, data)
    if draw(st.integers(0, 7)) == 0:
        _junk(draw, data)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()


def _accident(draw: Draw, text: str) -> bytes:
    raw = text.encode()
    lines = text.splitlines(keepends=True)
    one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    match draw(st.sampled_from(["truncate", "drop", "double", "swap", "insert", "byte"])):
        case "truncate":
            return raw[: draw(st.integers(0, len(raw)))]
        case "drop":
            del lines[min(one, other) : min(one, other) + draw(st.integers(1, 3))]
        case "double":
            lines.insert(one, lines[other])
        case "swap":
            lines[one], lines[other] = lines[other], lines[one]
        case "insert":
            lines[one] = lines[one][: draw(st.integers(0, 40))] + draw(st.sampled_from(WORDS)) + lines[one]
        case _:
            place = draw(st.integers(0, len(raw) - 1))
            return raw[:place] + bytes([draw(st.integers(0, 255))]) + raw[place + 1 :]
    return "".join(lines).encode()


def _schema(draw: Draw, data: Any) -> Any:
    return draw(st.sampled_from(data["schema"]))


def _column(draw: Draw, data: Any) -> Any:
    return draw(st.sampled_from(_schema(draw, data)["properties"]))


def _retype(draw: Draw, data: Any) -> None:
    name = draw(st.sampled_from([*TYPES]))
    _column(draw, data).update(physicalType=name, logicalType=TYPES[name])


def _set(draw: Draw, data: Any) -> None:
    facts: list[dict[str, Any]] = [
        {"required": True},
        {"required": False},
        {"classification": "pii"},
        {"classification": "internal"},
        {"primaryKey": True, "required": True},
        {"primaryKey": False},
        {"description": "Other words."},
        {"description": "No longer in the contract. Words."},
        {"examples": ["x"]},
        {"logicalTypeOptions": {"minimum": 1}},
        {"logicalTypeOptions": {"pattern": "^x"}},
        {"quality": [{"metric": "invalidValues", "arguments": {"validValues": ["a", "b"]}, "mustBe": 0}]},
        {"quality": []},
        {"relationships": []},
    ]
    _column(draw, data).update(draw(st.sampled_from(facts)))


def _rename(draw: Draw, data: Any) -> None:
    column = _column(draw, data)
    if draw(st.booleans()):
        column["customProperties"] = [{"property": "mesh.renamedFrom", "value": [column["name"]]}]
    column["name"] = draw(st.sampled_from(["other", "event_id", "order_id", "note", "held_rule"]))


def _add(draw: Draw, data: Any) -> None:
    name = draw(st.sampled_from([*TYPES]))
    column = {"name": draw(st.sampled_from(["note", "status", "label", "total"])), "description": "New."}
    column |= {"physicalType": name, "logicalType": TYPES[name], "required": draw(st.booleans())}
    properties = _schema(draw, data)["properties"]
    properties.insert(draw(st.integers(0, len(properties))), column)


def _drop(draw: Draw, data: Any) -> None:
    properties = _schema(draw, data)["properties"]
    if len(properties) > 1:
        properties.pop(draw(st.integers(0, len(properties) - 1)))


def _reorder(draw: Draw, data: Any) -> None:
    _schema(draw, data)["properties"].reverse()


def _of_schema(draw: Draw, data: Any) -> None:
    schema = _schema(draw, data)
    custom = [
        {"property": "mesh.partition", "value": ["day(event_time)"]},
        {"property": "mesh.partition", "value": ["month(event_time)"]},
        {"property": "mesh.partition", "value": ["identity(event_id)"]},
    ]
    match draw(st.integers(0, 3)):
        case 0:
            schema["name"] = draw(st.sampled_from(["other", "fact_sales"]))
        case 1:
            kept = [item for item in schema.get("customProperties") or [] if item["property"] != "mesh.partition"]
            schema["customProperties"] = [*kept, draw(st.sampled_from(custom))]
        case 2:
            schema["quality"] = [{"metric": "rowCount", "mustBeGreaterThan": 0}]
        case _:
            data["schema"].remove(schema) if len(data["schema"]) > 1 else None


def _of_contract(draw: Draw, data: Any) -> None:
    facts: list[dict[str, Any]] = [
        {"version": "1.1.0"},
        {"version": "2.0.0"},
        {"version": "0.1"},
        {"status": "retired"},
        {"status": "deprecated"},
        {"roles": []},
        {"customProperties": []},
        {"customProperties": [{"property": "mesh.level", "value": "gold"}]},
        {"slaProperties": [{"property": "retention", "value": 1, "unit": "d"}]},
        {"description": {"purpose": "Something else."}},
        {"name": "other"},
        {"domain": "other"},
    ]
    data.update(draw(st.sampled_from(facts)))


def _junk(draw: Draw, data: Any) -> None:
    """Put anything in the place of anything, or drop it, wherever it is."""
    node = data
    while True:
        keys = [*node] if isinstance(node, dict) else [*range(len(node))]
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and draw(st.integers(0, 3)):
            node = node[key]
            continue
        if draw(st.booleans()):
            del node[key]
        else:
            node[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        return


_EDITS = [_retype, _retype, _set, _set, _rename, _add, _add, _drop, _drop, _reorder, _of_schema, _of_contract]
