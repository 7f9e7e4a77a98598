"""Edits of a contract's data, each a function that changes it in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .changed_mesh import column, drop

Edit = Callable[[dict[str, Any]], object]
EVENT, TABLE = 0, -1


def sets(name: str, schema: int = TABLE, /, **facts: object) -> Edit:
    """Say these facts of a column."""
    return lambda data: column(data, name, schema).update(facts)


def adds(schema: int = TABLE, **facts: object) -> Edit:
    """Add an optional column `note`."""
    new = {"name": "note", "logicalType": "string", "physicalType": "string", "description": "A."}
    return lambda data: data["schema"][schema]["properties"].append(new | facts)


def drops(name: str, schema: int = TABLE) -> Edit:
    return lambda data: drop(data, name, schema)


def all_of(*edits: Edit) -> Edit:
    return lambda data: [edit(data) for edit in edits]


def promises(name: str, value: float, unit: str | None = None) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        kept = [item for item in data["slaProperties"] if item["property"] != name]
        data["slaProperties"] = [*kept, {"property": name, "value": value, **({"unit": unit} if unit else {})}]

    return edit


def custom(name: str, value: object, schema: int | None = None) -> Edit:
    def edit(data: dict[str, Any]) -> None:
        owner = data if schema is None else data["schema"][schema]
        kept = [item for item in owner.get("customProperties", ()) if item["property"] != name]
        owner["customProperties"] = [*kept, *([{"property": name, "value": value}] if value is not None else [])]

    return edit


def listed(*values: str, on_failure: str = "block") -> dict[str, Any]:
    custom = [{"property": "mesh.onFailure", "value": on_failure}]
    rule = {"metric": "invalidValues", "arguments": {"validValues": [*values]}, "mustBe": 0}
    return {"quality": [rule | {"customProperties": custom}]}


def has_rules(*rules: dict[str, Any]) -> Edit:
    return lambda data: data["schema"][TABLE].update(quality=[*rules])


def rule(on_failure: str, most: int = 0, **facts: object) -> dict[str, Any]:
    query = "SELECT count(*) FROM ${object} WHERE amount < 0"
    custom = [{"property": "mesh.onFailure", "value": on_failure}]
    return {"type": "sql", "query": query, "mustBeLessOrEqualTo": most, "customProperties": custom, **facts}


def nothing(data: dict[str, Any]) -> None:
    """As it is."""
