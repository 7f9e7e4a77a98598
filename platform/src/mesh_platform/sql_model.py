"""SQL models: a contract and its SQL file arrive; inputs, types, lineage and build order leave, or all faults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage as trace

from mesh_platform.contract import Contract, Field
from mesh_platform.domain import Mesh, offer
from mesh_platform.errors import ContractError, Problem, shown
from mesh_platform.quality import find_problems
from mesh_platform.relation import (
    SITES,
    create_schemas,
    relation_shapes,
    table_definition,
    tables_behind,
)
from mesh_platform.sql_tree import line_of, name_of, relations, unstable_calls, works_row_by_row


@dataclass(frozen=True)
class Model:
    """One SQL file. `contract` is its output's; `tree` is the query as sqlglot reads it."""

    contract: Contract
    path: str
    sql: str
    tree: exp.Query = dataclass_field(repr=False, compare=False)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The relations it reads, `<namespace>.<table>`, each once, in the order of their names."""
        return tuple(sorted({name for name, _ in relations(self.tree)}))


def read_models(mesh: Mesh) -> dict[str, Model]:
    """Every model by its output's identifier.

    Raises ContractError with all faults of all files: what keeps a query from being read, and unknown inputs.
    """
    models, problems = _read_all(mesh)
    if problems:
        raise ContractError(problems)
    return models


def check_types(mesh: Mesh) -> list[Problem]:
    """Everything wrong with the SQL of the mesh; no data is needed.

    That is what cannot be read, unknown inputs, cycles, and columns that are not those of the contract in name and
    type. Their order does not matter: a build selects by name. And what is wrong with the SQL of contracts' rules.
    """
    models, problems = _read_all(mesh)
    try:
        build_order(mesh, models)
    except ContractError as error:
        problems += error.problems
    faulty = {problem.path for problem in problems}
    with duckdb.connect(config={"python_enable_replacements": "false"}) as connection:
        create_schemas(connection, mesh)
        for relation, shape in relation_shapes(mesh).items():
            if relation != SITES:
                connection.execute(table_definition(relation, shape))
        connection.execute("SET enable_external_access = false")
        # There are no rows: to plan well takes longer than to run badly.
        connection.execute("PRAGMA disable_optimizer")
        for model in models.values():
            if model.path not in faulty:
                problems += _type_problems(model, connection)
        for contract in (*mesh.contracts.values(), *mesh.interfaces.values()):
            if contract.table.rules:
                problems += find_problems(contract, connection)
    return problems


def build_order(mesh: Mesh, models: Mapping[str, Model]) -> list[str]:
    """All products of the mesh, each after those that its model reads. Raises ContractError that names a cycle."""
    graph = {name: upstream(mesh, models, name) for name in mesh.contracts}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        message = f"reads itself by way of {' <- '.join(cycle)}."
        raise ContractError([Problem(models[cycle[0]].path, 1, message, "Break the cycle.")]) from error


def upstream(mesh: Mesh, models: Mapping[str, Model], name: str) -> list[str]:
    """The products that the model of `name` reads; none for reference data."""
    inputs = models[name].inputs if name in models else ()
    return [table for relation in inputs for table in tables_behind(mesh, relation) if table in mesh.contracts]


def driving_inputs(model: Model) -> tuple[str, ...]:
    """The relations that the model maps row by row, or none.

    They are the FROM tables of the outer select, or of each select of a UNION ALL: each output row comes of one of
    their rows and of lookups (the other relations). The model of some of their rows is then some of the model's rows,
    so that new rows can be appended.
    """
    branches = _branches(model.tree)
    driving = {_driving_table(branch) for branch in branches}
    names = [name for name, _ in relations(model.tree)]
    found = sorted(name for name in driving if name is not None)
    # One that is a lookup too, even in another select, gives new rows for old ones of the others.
    starts = len(branches)
    return tuple(found) if None not in driving and sum(names.count(name) for name in found) == starts else ()


def _branches(tree: exp.Expr) -> list[exp.Expr]:
    """The selects of a UNION ALL, or the query itself."""
    plain = {"this", "expression", "distinct", "by_name"}
    if not isinstance(tree, exp.Union) or tree.args.get("distinct") or {k for k, v in tree.args.items() if v} - plain:
        return [tree]
    return [*_branches(tree.this), *_branches(tree.expression)]


def _driving_table(tree: exp.Expr) -> str | None:
    start = tree.args.get("from_")
    if not isinstance(tree, exp.Select) or start is None or not works_row_by_row(tree):
        return None
    if any(join.side in ("RIGHT", "FULL") or join.method == "POSITIONAL" for join in tree.find_all(exp.Join)):
        return None
    return name_of(start.this) if isinstance(start.this, exp.Table) else None


def lineage(model: Model, mesh: Mesh) -> dict[str, list[tuple[str, str]]]:
    """For each output column the (input relation, column) pairs that its value comes of, sorted."""
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for relation, shape in relation_shapes(mesh).items():
        namespace, table = relation.split(".")
        schema.setdefault(namespace, {})[table] = {field.name: field.type.duckdb for field in shape.fields}
    roots = trace(None, model.tree, schema=schema, dialect="duckdb")
    found: dict[str, list[tuple[str, str]]] = {}
    for field in model.contract.table.fields:
        leaves = roots[field.name].walk() if field.name in roots else ()
        found[field.name] = sorted(
            {
                (name, leaf.name.split(".")[-1].strip('"'))
                for leaf in leaves
                if isinstance(leaf.expression, exp.Table) and (name := name_of(leaf.expression)) in model.inputs
            }
        )
    return found


def _read_all(mesh: Mesh) -> tuple[dict[str, Model], list[Problem]]:
    models: dict[str, Model] = {}
    problems: list[Problem] = []
    known = relation_shapes(mesh)
    for domain in mesh.domains.values():
        for contract in domain.contracts.values():
            if domain.product_kind(contract) != "model":
                continue
            path = domain.model_path(contract)
            label = shown(path, mesh.root)
            try:
                sql = path.read_text(encoding="utf-8").rstrip().removesuffix(";")
                trees = _parsed(sql)
            except (SqlglotError, OSError, UnicodeDecodeError) as error:
                problems.append(_unreadable(label, error))
                continue
            if len(trees) != 1 or not isinstance(trees[0], exp.Query):
                problems.append(Problem(label, 1, "is not one query.", "A model is one SELECT; drop the rest."))
                continue
            models[contract.identifier] = Model(contract, label, sql, trees[0])
            problems += _unknown_relations(label, trees[0], known)
            problems += _unstable_calls(label, trees[0])
    return models, problems


@cache
def _parsed(sql: str) -> list[exp.Expr]:
    """The statements of a model; nobody changes them. A build reads each model twice, to check it and to run it."""
    return [tree for tree in sqlglot.parse(sql, dialect="duckdb") if tree is not None]


def _unreadable(label: str, error: Exception) -> Problem:
    details = getattr(error, "errors", None) or [{}]
    what = details[0].get("description") or str(error).splitlines()[0]
    return Problem(label, details[0].get("line") or 1, f"cannot be read: {what}.", "Mend the syntax.")


def _unknown_relations(label: str, tree: exp.Query, known: Mapping[str, object]) -> Iterable[Problem]:
    for name, line in relations(tree):
        if name not in known:
            yield Problem(label, line, f"reads '{name}', which is no relation of the mesh.", offer(name, known))


def _unstable_calls(label: str, tree: exp.Query) -> Iterable[Problem]:
    for call in unstable_calls(tree):
        message = f"calls {call.sql(dialect='duckdb')}, which answers otherwise at each build."
        yield Problem(label, line_of(call), message, "Take the time or id from an input's column.")


def _type_problems(model: Model, connection: duckdb.DuckDBPyConnection) -> list[Problem]:
    try:
        described = connection.execute(f"DESCRIBE {model.sql}").fetchall()
    except duckdb.Error as error:
        text, _, where = str(error).partition("\n\nLINE ")
        line = re.match(r"\d+", where)
        message = f"DuckDB says: {' '.join(text.split())}."
        return [Problem(model.path, int(line[0]) if line else 1, message, "Mend the query.")]
    actual = [(row[0], row[1]) for row in described]
    problems = []
    lines = {column.alias_or_name: line_of(column) for column in model.tree.selects}
    wanted = model.contract.table.by_name
    for name, found in actual:
        fault = _column_fault(model, wanted.get(name), found)
        if [other for other, _ in actual].count(name) > 1:
            fault = ("stands twice in the select.", "Name each column once.")
        if fault:
            problems.append(Problem(model.path, lines.get(name, 1), f"column '{name}' {fault[0]}", fault[1]))
    for name, field in wanted.items():
        if name not in dict(actual):
            message = f"column '{name}' ({field.type.duckdb}) of the contract is not selected."
            fix = f"Select it, or drop it from {model.contract.path}:{field.line}."
            problems.append(Problem(model.path, line_of(model.tree), message, fix))
    return problems


def _column_fault(model: Model, field: Field | None, found: str) -> tuple[str, str] | None:
    if field is None:
        return "is not in the contract.", f"Drop it, or add it to {model.contract.path}:{model.contract.table.line}."
    if found != field.type.duckdb:
        where = f"{model.contract.path}:{field.line}"
        return (
            f"is {found}; the contract ({where}) says {field.type.name}.",
            f"Write cast(... as {field.type.duckdb.lower()}) as {field.name}.",
        )
    return None
