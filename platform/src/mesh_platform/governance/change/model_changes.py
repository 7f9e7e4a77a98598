"""The effect of a change of SQL: the columns that the model now computes differently."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node
from sqlglot.lineage import lineage as trace

from mesh_platform.governance.change.assessment import mesh_with_old
from mesh_platform.governance.change.changes import Changes
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import Model, read_query
from mesh_platform.sql.relations import relation_schemas

_MODEL = re.compile(r"domains/([^/]+)/models/([^/]+)\.sql", re.DOTALL)


@dataclass(frozen=True)
class ModelChange:
    """SQL that differs from the base. `columns` are computed differently; `rows` is whether the set of rows changes.

    `gone` are columns that it no longer returns. If not `told`, the effect is unknown, and `columns` are all columns
    of the table.
    """

    path: str
    table: str
    status: str
    columns: tuple[str, ...] = ()
    rows: bool = False
    told: bool = True
    gone: tuple[str, ...] = ()


@dataclass(frozen=True)
class Before:
    """The mesh and its models with the contracts and SQL of the base, otherwise as now."""

    mesh: Mesh
    models: Mapping[str, Model]


def read_before(changes: Changes, mesh: Mesh, models: Mapping[str, Model]) -> Before:
    """The state before `changes`. Raises NoBase."""
    was = mesh_with_old(mesh, changes.contracts)
    old_models = {
        name: replace(model, contract=was.contracts[name]) for name, model in models.items() if name in was.contracts
    }
    if changes.base is None:
        return Before(was, old_models)
    names = {path: f"{found[1]}.{found[2]}" for path in changes.base.differing if (found := _MODEL.fullmatch(path))}
    texts = changes.base.texts(names)
    for path, name in names.items():
        old_models.pop(name, None)
        if path in texts and name in was.contracts:
            sql = texts[path].decode("utf-8", "replace").rstrip().removesuffix(";")
            text = read_query(sql)
            if text.is_query:
                old_models[name] = Model(was.contracts[name], path, sql, text.mentions)
    return Before(was, old_models)


def model_changes(changes: Changes, before: Before, mesh: Mesh, models: Mapping[str, Model]) -> list[ModelChange]:
    """Each SQL file that differs in more than comments and layout, ordered by path."""
    found = []
    for path in sorted(changes.base.differing if changes.base else ()):
        if not (place := _MODEL.fullmatch(path)):
            continue
        name = f"{place[1]}.{place[2]}"
        old, new = before.models.get(name), models.get(name)
        if old and new:
            found += _compared(path, old, before.mesh, new, mesh)
        elif old or new or (mesh.root / path).exists():
            is_there = (mesh.root / path).exists()
            was_there = changes.base is not None and changes.base.differing[path] is not None
            status = "new" if not was_there else "changed" if is_there else "removed"
            columns = tuple(new.contract.table.by_name) if new else ()
            found.append(ModelChange(path, name, status, columns, told=status != "changed"))
    return found


def _compared(path: str, old: Model, before: Mesh, new: Model, now: Mesh) -> list[ModelChange]:
    if _text(old.tree) == _text(new.tree):
        return []
    table = new.contract.identifier
    try:
        was, comes = _ways(old, before), _ways(new, now)
    except (SqlglotError, KeyError, ValueError):
        return [ModelChange(path, table, "changed", tuple(new.contract.table.by_name), told=False)]
    columns = tuple(name for name in comes if comes[name] != was.get(name))
    rows = _rows(old.tree) != _rows(new.tree)
    # A change of a subquery that is only used in a condition is in neither, so the effect may be unknown.
    gone = tuple(name for name in was if name not in comes)
    known = rows or bool(columns or gone)
    return [ModelChange(path, table, "changed", columns if known else tuple(comes), rows, known, gone)]


def _ways(model: Model, mesh: Mesh) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(_text(node.expression) for node in nodes) for name, nodes in _derivations(model, mesh).items()
    }


def _derivations(model: Model, mesh: Mesh) -> dict[str, list[Node]]:
    """Return, for each output column, the steps that derive its value, from the select to the inputs.

    Raises SqlglotError for a query that does not fit the relations that it reads.
    """
    schema: dict[str, dict[str, dict[str, str]]] = {}
    table_schemas = relation_schemas(mesh)
    for relation in table_schemas.keys() & {*model.inputs}:
        namespace, table = relation.split(".")
        columns = {field.name: field.type.duckdb for field in table_schemas[relation].fields}
        schema.setdefault(namespace, {})[table] = columns
    roots = trace(None, model.tree, schema=schema, dialect="duckdb")
    fields = model.contract.table.fields
    return {field.name: [*roots[field.name].walk()] if field.name in roots else [] for field in fields}


def _rows(tree: exp.Expr) -> str:
    """The query without its selected expressions, which determines the rows."""
    copy = tree.copy()
    for select in copy.find_all(exp.Select):
        select.set("expressions", [])
    return _text(copy)


def _text(tree: exp.Expr) -> str:
    """The normalized SQL: no comments, small letters where case does not matter."""
    return tree.sql(dialect="duckdb", comments=False, normalize=True)
