"""Validation of documents against the JSON schema of ODCS v3.1."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.yaml_document import Document, Place
from mesh_platform.errors import Problem

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator


@cache
def _odcs_validator() -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8")))


def find_faults(document: Document) -> list[Problem]:
    """The faults by the JSON schema of ODCS, without those that merely follow from a fault deeper in the document."""
    if not isinstance(document.data, dict):
        return [document.problem((), "is not a mapping.", "A contract begins with 'apiVersion: v3.1.0'.")]
    found = _odcs_validator().iter_errors(document.data)
    faults = {(tuple(error.instance_path), _words(error)): error for error in found}
    places = {place for place, _ in faults}

    def follows(place: Place, error: ValidationError) -> bool:
        inner = {other[len(place)] for other in places if len(other) > len(place) and other[: len(place)] == place}
        unexpected = getattr(error.kind, "unexpected", None)
        return error.kind.name != "required" and bool(inner) and (unexpected is None or inner.issuperset(unexpected))

    return [
        document.problem(place, f"not ODCS: {words}", "See the ODCS reference, v3.1.")
        for (place, words), error in faults.items()
        if not follows(place, error)
    ]


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
