"""The tests of a dbt project, from the promises and rules of contracts.

The verdict of each is that of a build: a test fails where a build blocks or holds rows back, and warns where it
warns. Its SQL is that of `sql.audit`; the generic tests are in assets/macros/mesh.sql.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import Any

import sqlglot
from sqlglot import exp

from mesh_platform.contract.contract import Contract, Field
from mesh_platform.engine.sql import quoted
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.metadata.dbt.jinja import plain
from mesh_platform.metadata.dbt.relations import Relations
from mesh_platform.policy.masks import Mask
from mesh_platform.sql.audit import Check, table_checks
from mesh_platform.sql.references import target

# A longer name of a test would be cut off by file systems, where dbt keeps its SQL.
_LONGEST = 60


def table_tests(mesh: Mesh, contract: Contract, masks: Mapping[str, Mask]) -> list[dict[str, Any]]:
    """Return the tests of a table as dbt's `data_tests`: required columns, the key, and each check of a build.

    `masks` are the columns whose values are hidden, as `policy.masks.masks` has them: what needs their values is not
    tested. A pseudonym keeps a key unique and is missing where the value is; other masks keep less.
    """
    nulled = {name for name, mask in masks.items() if not mask.keeps_presence}
    merged = {name for name, mask in masks.items() if not mask.keeps_keys}
    found = []
    required = [field.name for field in contract.table.fields if field.required and field.name not in nulled]
    if required:
        found.append(_test("mesh_required", "required", "Each required column has a value.", columns=required))
    if contract.table.key and merged.isdisjoint(contract.table.key):
        words = "The primary key is unique."
        found.append(_test("mesh_unique", "key", words, columns=list(contract.table.key)))
    own, hidden = ({name.lower() for name in names} for names in (contract.table.by_name, masks))
    found += [_of_check(check) for check in table_checks(mesh, contract) if hidden.isdisjoint(_columns(check, own))]
    return [*named(contract.identifier, found)]


def reference_tests(
    identifier: str, field: Field, masks: Mapping[str, Mask], target_masks: Mapping[str, Mask], relations: Relations
) -> list[dict[str, Any]]:
    """Return the test that each value of a column is in the dimension that it points to, for dbt's `data_tests`.

    It only warns: a build keeps such rows, and `mesh status` counts them as dangling.
    """
    if not field.references:
        return []
    name, column = target(field)
    # Pseudonyms can be compared with each other alone.
    mask = masks.get(field.name)
    if mask != target_masks.get(column) or (mask and not mask.keeps_keys):
        return []
    arguments = {"to": relations.reference(name), "field": quoted(column)}
    known = f"{identifier.replace('.', '__')}__{field.name}__reference"
    words = f"{field.name} is a {column} of {name}."
    body = {"name": known, "description": words, "arguments": arguments, "config": {"severity": "warn"}}
    return [{"relationships": body}]


def _of_check(check: Check) -> dict[str, Any]:
    severity = {"severity": "warn"} if check.on_failure == "warn" else {}
    words = f"{check.words} ({check.on_failure})"
    if check.is_of_rows:
        return _test("mesh_rows", check.name, words, severity, condition=f"({plain(str(check.failing))})")
    query = f"({plain(check.number)})"
    return _test("mesh_number", check.name, words, severity, query=query, must=check.bound.condition("number"))


def _test(
    test: str, name: str, words: str, config: Mapping[str, Any] | None = None, **arguments: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "description": plain(words), "arguments": arguments}
    return {test: {**found, **({"config": config} if config else {})}}


def named(identifier: str, tests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the tests with names that are unique in the project and that file systems take."""
    known: set[str] = set()
    for test in tests:
        (body,) = test.values()
        words = re.sub(r"[^a-z0-9]+", "_", body["name"].lower()).strip("_")[:_LONGEST].rstrip("_")
        name = next(
            name for name in chain([words], (f"{words}_{number}" for number in count(2))) if name not in known
        )
        known.add(name)
        body["name"] = f"{identifier.replace('.', '__')}__{name}"
        yield test


def _columns(check: Check, own: set[str]) -> set[str]:
    """Return those of a table's `own` columns that the SQL of a check may read, in lower case."""
    tree = sqlglot.parse_one(check.number, dialect="duckdb")
    names = {column.name.lower() for column in tree.find_all(exp.Column)}
    stars = any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star))
    # Another name may be that of a row as a whole.
    return own if stars or names - own else names
