"""Validation of documents against the JSON schema of ODCS, and what the mesh asks of the standard's versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.yaml_document import Document, Place
from mesh_platform.errors import Problem

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

# The versions of the standard that contracts may be written in; the last is that of the template.
VERSIONS = ("v3.1.0", "v3.2.0")
# Those keys of a schema or a property that v3.2 added.
_NEW_KEYS = frozenset({"enum", "synonyms", "deprecated", "context", "semanticType"})


@cache
def _odcs_validator() -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8")))


def find_faults(document: Document) -> list[Problem]:
    """The faults by the JSON schema of ODCS, without those that merely follow from a fault deeper in the document."""
    if not isinstance(document.data, dict):
        return [document.problem((), "is not a mapping.", "A contract begins with 'apiVersion: v3.2.0'.")]
    found = _odcs_validator().iter_errors(document.data)
    faults = {(tuple(error.instance_path), _words(error)): error for error in found}
    places = {place for place, _ in faults}

    def follows(place: Place, error: ValidationError) -> bool:
        inner = {other[len(place)] for other in places if len(other) > len(place) and other[: len(place)] == place}
        unexpected = getattr(error.kind, "unexpected", None)
        return error.kind.name != "required" and bool(inner) and (unexpected is None or inner.issuperset(unexpected))

    return [
        document.problem(place, f"not ODCS: {words}", "See the ODCS reference, v3.2.")
        for (place, words), error in faults.items()
        # `version_faults` offers only the versions that are read here.
        if not follows(place, error) and place != ("apiVersion",)
    ]


def version_faults(document: Document) -> Iterator[Problem]:
    """The faults of a document's version: one that is not read here, or one that is older than some of its keys."""
    version = document.data.get("apiVersion", VERSIONS[-1]) if isinstance(document.data, dict) else VERSIONS[-1]
    if version not in VERSIONS:
        fix = f"Write apiVersion: {VERSIONS[-1]}."
        yield document.problem(
            ("apiVersion",), f"apiVersion is {version}; {' and '.join(VERSIONS)} are read here.", fix
        )
    elif version != VERSIONS[-1]:
        for place, key in _new_keys(document.data):
            fix = f"Write apiVersion: {VERSIONS[-1]}, or leave it out."
            yield document.problem(place, f"'{key}' is of ODCS {VERSIONS[-1]}, and apiVersion is {version}.", fix)


def _new_keys(data: Any) -> Iterator[tuple[Place, str]]:
    for i, schema in enumerate(data.get("schema") or []):
        yield from ((("schema", i, key), key) for key in sorted(_NEW_KEYS & schema.keys()))
        for j, item in enumerate(schema.get("properties") or []):
            yield from ((("schema", i, "properties", j, key), key) for key in sorted(_NEW_KEYS & item.keys()))


def plain(value: Any) -> Any:
    """Convert YAML to JSON values: dates, which YAML parses from an unquoted 2025-10-01, and keys become strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _words(error: ValidationError) -> str:
    allowed = getattr(error.kind, "options", None)
    if isinstance(allowed, list):
        return f"{error.instance!r} is not one of {', '.join(str(value) for value in allowed)}."
    return f"{error.message[:200]}."
