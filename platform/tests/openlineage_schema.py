"""Checks events against the classes that openlineage-python generates from the JSON schemas of the standard."""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

import attr
from openlineage.client import generated
from openlineage.client.generated import base


def faults(event: dict[str, Any]) -> list[str]:
    """What is not valid in an event: unknown and missing keys, wrong types, facets of another version or place."""
    # The classes have defaults for these two.
    found = [f"event.{name}: missing" for name in ("producer", "schemaURL") if not event.get(name)]
    found += _check(event, _classes()["RunEvent"], "event")
    if not found:
        UUID(event["run"]["runId"])
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    return found


@cache
def _classes() -> dict[str, Any]:
    modules = [
        importlib.import_module(f"{generated.__name__}.{m.name}") for m in pkgutil.iter_modules(generated.__path__)
    ]
    found = {name: each for module in modules for name, each in vars(module).items() if attr.has(each)}
    return {**found, **{name: each for name, each in vars(base).items() if attr.has(each)}}


def _check(value: Any, kind: Any, where: str) -> list[str]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        tried = [_check(value, each, where) for each in inner if each is not type(None)]
        return [] if [] in tried else tried[0]
    if kind is Any:
        return []
    if origin is list:
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [fault for i, each in enumerate(value) for fault in _check(each, inner[0], f"{where}[{i}]")]
    if origin is dict:
        if not isinstance(value, dict):
            return [f"{where}: no object"]
        check = _facet if attr.has(inner[1]) and issubclass(inner[1], base.BaseFacet) else _check
        return [fault for name, each in value.items() for fault in check(each, inner[1], f"{where}.{name}")]
    if attr.has(kind):
        return _check_object(value, kind, where)
    if issubclass(kind, Enum):
        return [] if value in [each.value for each in kind] else [f"{where}: {value!r}"]
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return [] if fits else [f"{where}: {value!r} is no {kind.__name__}"]


def _check_object(value: Any, kind: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    # A subclass in another module does not import the names that its bases use.
    hints = typing.get_type_hints(kind, localns=vars(typing) | vars(importlib.import_module(kind.__module__)))
    fields = {each.name: each for each in attr.fields(kind)}
    needed = {name for name, each in fields.items() if each.default is attr.NOTHING}
    found = [f"{where}.{name}: unknown" for name in sorted(value.keys() - fields.keys())]
    found += [f"{where}.{name}: missing" for name in sorted(needed - value.keys())]
    return found + [
        fault for name in value if name in fields for fault in _check(value[name], hints[name], f"{where}.{name}")
    ]


def _facet(value: dict[str, Any], place: Any, where: str) -> list[str]:
    kind = _classes().get(str(value.get("_schemaURL")).rpartition("/")[2])
    if kind is None or not issubclass(kind, place):
        return [f"{where}: {value.get('_schemaURL')} is no facet for this place"]
    if value["_schemaURL"] != kind._get_schema():
        return [f"{where}: {value['_schemaURL']} is of another version"]
    return _check_object(value, kind, where)
