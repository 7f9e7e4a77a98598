"""Describe for the audit what somebody asks, without the personal values that a query can name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from mesh_platform.engine.duckdb import NAME, WORD, function_names, tokens
from mesh_platform.lake.audit import Record
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.policy.roles import OWNER, known_roles
from mesh_platform.query.session import view_names
from mesh_platform.sql.health_schemas import HEALTH_SCHEMAS

# What a statement shows of a literal, and of a name that is not public.
_HIDDEN = "?"
_LONGEST = 4000
# Blanks between tokens that nobody writes.
_GAPS = re.compile(r" (?=[.,;)])|(?<=[.(]) ")


def asked(mesh: Mesh, command: str, role: str, sql: str | None = None, tables: Iterable[str] = ()) -> Record:
    """Return the record of a command that shows rows to `role`: those of `tables`, and those that `sql` names."""
    known = role if role in (*known_roles(mesh), OWNER) else _HIDDEN
    if sql is None:
        return Record(command, known, tuple(tables))
    found = tokens(sql)
    named = _views_read(mesh, [text for _, text in found])
    return Record(command, known, tuple(dict.fromkeys([*named, *tables])), _statement(mesh, found))


def _views_read(mesh: Mesh, words: Sequence[str]) -> list[str]:
    """Return the views that a query, given as its tokens, names as `<namespace>.<table>`."""
    dots = [place for place, word in enumerate(words[:-1]) if word == "."]
    named = {f"{_plain(words[dot - 1])}.{_plain(words[dot + 1])}" for dot in dots}
    return [name for name in _views(mesh) if name.lower() in named]


def _statement(mesh: Mesh, found: Sequence[tuple[str, str]]) -> str:
    """Return the SQL of these tokens, with ? for whatever could be about a person.

    It keeps keywords, operators, the names of the mesh's views and columns, and those of DuckDB's functions. A
    literal and any other name, such as an alias, becomes ?.
    """
    called = {_plain(text) for (kind, text), (_, after) in pairwise(found) if kind == NAME and after.startswith("(")}
    public = _public(mesh) | function_names(called)
    shown = (text if kind == WORD or (kind == NAME and _plain(text) in public) else _HIDDEN for kind, text in found)
    return _GAPS.sub("", " ".join(shown))[:_LONGEST]


def _views(mesh: Mesh) -> list[str]:
    return [*view_names(mesh), *HEALTH_SCHEMAS]


def _public(mesh: Mesh) -> set[str]:
    """Return the names in contracts, in lower case: of domains, of views and of columns."""
    schemas = [schema for each in mesh.contracts.values() for schema in (each.table, each.event) if schema]
    columns = {field.name.lower() for schema in schemas for field in schema.fields}
    return columns | {part for name in _views(mesh) for part in name.lower().split(".")}


def _plain(name: str) -> str:
    return name.strip('"').lower()
