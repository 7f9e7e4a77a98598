"""Parse SQL models: their inputs, build order and faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import ContractError, Problem
from mesh_platform.lake.tables import LANDING_SUFFIX
from mesh_platform.mesh.mesh import Mesh, interface_view
from mesh_platform.sql.relations import relation_schemas, tables_behind
from mesh_platform.text import offer, shown

if TYPE_CHECKING:
    from sqlglot import exp


@dataclass(frozen=True)
class QueryText:
    """What the text of a model says by itself: each relation that it mentions with its line, and its faults.

    A fault is (line, what is wrong, how to fix it). A text that is not one query has faults only.
    """

    mentions: tuple[tuple[str, int], ...]
    faults: tuple[tuple[int, str, str], ...]
    is_query: bool = True


@dataclass(frozen=True)
class Model:
    """One SQL file, the model of `contract`; `mentions` are the relations that it names, each with its line."""

    contract: Contract
    path: str
    sql: str
    mentions: tuple[tuple[str, int], ...]

    @property
    def tree(self) -> exp.Query:
        """The query as parsed by sqlglot. Do not modify it: it is shared."""
        from mesh_platform.sql.query_text import tree_of

        return tree_of(self.sql)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The relations that it reads, `<namespace>.<table>`, each once, sorted by name."""
        return tuple(sorted({name for name, _ in self.mentions}))


def read_models(mesh: Mesh) -> dict[str, Model]:
    """Return every model by its output's identifier.

    Raises ContractError with all faults of all files: queries that cannot be parsed, and unknown inputs.
    """
    models, problems = find_models(mesh)
    if problems:
        raise ContractError(problems)
    return models


def read_models_remembered(mesh: Mesh, cache: Cache) -> dict[str, Model]:
    """`read_models` with a cache: only texts that are new are parsed. Raises ContractError."""
    models, problems = find_models(mesh, remembered_queries(cache))
    if problems:
        raise ContractError(problems)
    return models


def remembered_queries(cache: Cache) -> Callable[[Sequence[str]], Sequence[QueryText]]:
    """`read_queries` with a cache."""
    return lambda texts: cache.get_all("query", [(text.encode(), partial(read_query, text)) for text in texts])


def relations_read(sql: str, cache: Cache | None = None) -> list[str]:
    """Return the relations, `<namespace>.<table>`, that a SELECT reads, sorted; none if it cannot be parsed.

    With a `cache`, only texts that are new are parsed.
    """
    (found,) = remembered_queries(cache or Cache())([sql])
    return sorted({name for name, _ in found.mentions if "." in name})


def build_order(mesh: Mesh, models: Mapping[str, Model], names: Iterable[str] | None = None) -> list[str]:
    """Return the products `names`, by default all of the mesh, each after those that its model reads.

    Raises ContractError, which names the cycle, if they or their upstream products read each other.
    """
    chosen = set(mesh.contracts if names is None else names)
    needed, waiting = set(chosen), [*chosen]
    while waiting:
        new = {*upstream(mesh, models, waiting.pop())} - needed
        needed |= new
        waiting += new
    graph = {name: upstream(mesh, models, name) for name in mesh.contracts if name in needed}
    try:
        return [name for name in TopologicalSorter(graph).static_order() if name in chosen]
    except CycleError as error:
        cycle = list(reversed(error.args[1]))
        message = f"reads itself by way of {' <- '.join(cycle)}."
        raise ContractError(
            [Problem(models[cycle[0]].path, 1, message, "Break the cycle.", rule="no-cycle")]
        ) from error


def upstream(mesh: Mesh, models: Mapping[str, Model], name: str) -> list[str]:
    """Return the products that the model of `name` reads; none for reference data."""
    return [table for table in tables_read(mesh, models, name) if table in mesh.contracts]


def tables_read(mesh: Mesh, models: Mapping[str, Model], name: str) -> list[str]:
    """Return the catalog tables that the model of `name` reads, landing tables included; none for reference data."""
    inputs = models[name].inputs if name in models else ()
    return [table for relation in inputs for table in tables_behind(mesh, relation)]


def driving_inputs(model: Model) -> tuple[str, ...]:
    """Return the relations that the model maps row by row, or none.

    They are the FROM tables of the outer select, or of each select of a UNION ALL: each output row is made from one
    of their rows and from lookups (the other relations). So running the model on some of their rows gives some of its
    output rows, and the output of new rows can be appended.
    """
    from mesh_platform.sql.query_text import driving_tables

    starts, driving = driving_tables(model.tree)
    names = [name for name, _ in model.mentions]
    found = sorted(name for name in driving if name is not None)
    # A relation that is also a lookup, even in another select, can change the output for old rows of the others.
    return tuple(found) if None not in driving and sum(names.count(name) for name in found) == starts else ()


def binding_problem(model: Model, error: Exception) -> Problem:
    """Return the problem of a model that DuckDB cannot bind to its inputs: its `error`, with the line it names."""
    text, _, where = str(error).partition("\n\nLINE ")
    line = re.match(r"\d+", where)
    message = f"DuckDB says: {' '.join(text.split())}."
    return Problem(model.path, int(line[0]) if line else 1, message, "Mend the query.", rule="sql")


def read_queries(texts: Sequence[str]) -> list[QueryText]:
    """Parse the text of each model."""
    return [read_query(text) for text in texts]


def read_query(text: str) -> QueryText:
    """Parse the text of a model."""
    # sqlglot takes long to import, and texts that did not change are not parsed.
    from mesh_platform.sql.query_text import parse_query

    return parse_query(text)


def of_tables(mesh: Mesh, tables: Collection[str], problems: Iterable[Problem]) -> list[Problem]:
    """Return those of the problems that concern the SQL of `tables`."""
    chosen = [contract for name, contract in mesh.contracts.items() if name in tables]
    paths = {shown(mesh.domains[contract.domain].model_path(contract), mesh.root) for contract in chosen}
    return [problem for problem in problems if problem.path in paths]


def find_models(
    mesh: Mesh, read: Callable[[Sequence[str]], Sequence[QueryText]] = read_queries
) -> tuple[dict[str, Model], list[Problem]]:
    """Return every model that can be parsed, by its output's identifier, and all faults found without running any.

    `read` may be a cached version of `read_queries`.
    """
    models: dict[str, Model] = {}
    texts, problems = _read_texts(mesh)
    known = relation_schemas(mesh)
    for (contract, label, sql), found in zip(texts, read([sql for _, _, sql in texts]), strict=True):
        problems += [Problem(label, *fault, rule="sql") for fault in found.faults]
        if found.is_query:
            models[contract.identifier] = Model(contract, label, sql, found.mentions)
            problems += _unknown_relations(mesh, models[contract.identifier], known)
    return models, problems


def _read_texts(mesh: Mesh) -> tuple[list[tuple[Contract, str, str]], list[Problem]]:
    """Return the contract, path and text of each model, and a problem for each file that is not text."""
    texts: list[tuple[Contract, str, str]] = []
    problems: list[Problem] = []
    for domain in mesh.domains.values():
        for contract in domain.contracts.values():
            path = domain.model_path(contract)
            # A missing file is reported by whoever needs it.
            if domain.product_kind(contract) == "model" and path.exists():
                label = shown(path, mesh.root)
                try:
                    texts.append((contract, label, path.read_text(encoding="utf-8").rstrip().removesuffix(";")))
                except (OSError, UnicodeDecodeError) as error:
                    problems.append(Problem(label, 1, f"cannot be read: {error}.", "Save it as UTF-8.", rule="sql"))
    return texts, problems


def _unknown_relations(mesh: Mesh, model: Model, known: Mapping[str, object]) -> Iterable[Problem]:
    for name, line in model.mentions:
        if name not in known and not _is_unread(mesh, name):
            message = f"reads '{name}', which is no relation of the mesh."
            yield Problem(model.path, line, message, offer(name, known), rule="sql")


def _is_unread(mesh: Mesh, relation: str) -> bool:
    """Whether a relation belongs to a contract that exists but cannot be read, which is reported separately."""
    parts = [name.partition(".") for name in mesh.unread]
    return any(relation in (f"{d}.{n}", f"{d}.{n}{LANDING_SUFFIX}", interface_view(d, n)) for d, _, n in parts)
