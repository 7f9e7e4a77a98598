"""Rules of conformance: products keep to what was agreed on, and their SQL runs on more than one engine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from mesh_platform.contract.contract import Contract
from mesh_platform.errors import Problem
from mesh_platform.governance.local_times import LocalTimes, find_misread, local_columns
from mesh_platform.governance.portable_sql import find_unportable
from mesh_platform.governance.registry import rule
from mesh_platform.governance.scope import Scope
from mesh_platform.sql.model import Model


@rule(waivable=False)
def interface(scope: Scope) -> Iterable[Problem]:
    """A product has every column of its interface, with the same type, and required if the interface requires it."""
    return scope.of_rule("interface")


@rule(waivable=False)
def reference(scope: Scope) -> Iterable[Problem]:
    """A column that refers to a dimension names a published product and one of its columns."""
    return scope.of_rule("reference")


@rule(waivable=False)
def sql(scope: Scope) -> Iterable[Problem]:
    """A model's SQL returns exactly the columns of its contract, with their types, from relations that exist.

    DuckDB derives the result of the query from the contracts of its inputs; no data is needed. Functions that return
    something else at each build, such as now(), are not allowed.
    """
    return scope.of_rule("sql")


@rule()
def portable_sql(scope: Scope) -> Iterable[Problem]:
    """A model's SQL uses nothing that only DuckDB supports, so that the same file runs on Spark.

    sqlglot translates it into Spark's SQL; the rule reports what it cannot translate, and SQL that reads files.
    """
    models = [*scope.models.values()]
    looks = [(model.sql.encode(), partial(_unportable, model)) for model in models]
    for model, faults in zip(models, scope.cache.get_all("portable", looks), strict=True):
        yield from (Problem(model.path, *fault) for fault in faults)


def _unportable(model: Model) -> list[tuple[int, str, str]]:
    return [*find_unportable(model.tree)]


@rule()
def local_time(scope: Scope) -> Iterable[Problem]:
    """A model reads a local time as the instant that its contract promises, even if the clock shows it twice.

    `timezone(zone, time)` returns the later of two instants. For the event's own time, `event_time` tells which of
    them it was; for other columns the contract may promise the earlier, by `mesh.ambiguousTime`. A call on such a
    column must be inside a CASE that compares the column with the local time of an instant, as the fix shows. A
    cast to an instant takes a local time for UTC, hours away from what the site's clock means. The rule examines
    columns of relations, and those that a subquery passes on unchanged.
    """
    local = local_columns(scope.mesh)
    models = [model for model in scope.models.values() if {name for name, _ in local} & {*model.inputs}]
    asked = [{key: test for key, test in local.items() if key[0] in model.inputs} for model in models]
    looks = [
        (repr((model.sql, sorted(own.items()))).encode(), partial(_misread, model, own))
        for model, own in zip(models, asked, strict=True)
    ]
    for model, faults in zip(models, scope.cache.get_all("local-times", looks), strict=True):
        yield from (Problem(model.path, *fault) for fault in faults)


def _misread(model: Model, local: LocalTimes) -> list[tuple[int, str, str]]:
    return [*find_misread(model.tree, local)]


@rule()
def conformed_keys(scope: Scope) -> Iterable[Problem]:
    """A fact refers to every dimension whose key it has, and to at least one.

    A column with the name of the key of a `dim_` table of the mesh has that table in its `relationships`, so that all
    facts join the same dimensions, and rows without a match are found.
    """
    keys: dict[str, list[Contract]] = {}
    for contract in scope.mesh.contracts.values():
        if contract.table.name.startswith("dim_") and len(contract.table.key) == 1:
            keys.setdefault(contract.table.key[0], []).append(contract)
    for contract in scope.mesh.contracts.values():
        if not contract.table.name.startswith("fact_"):
            continue
        for field in contract.table.fields:
            # There may be two versions of a dimension; the fact may refer to either.
            dimension, *others = keys.get(field.name, [None])
            # The rule `reference` reports references to unknown products.
            nowhere = field.references is not None and field.references[0] not in scope.mesh.contracts
            pointed = [(each.identifier, field.name) for each in (dimension, *others) if each]
            if dimension and not nowhere and field.references not in pointed:
                to = dimension.table.name if dimension.domain == contract.domain else dimension.identifier
                message = f"'{field.name}' is the key of {dimension.identifier} and does not point to it."
                fix = f"Add relationships: [{{to: {to}.{field.name}}}]."
                yield Problem(contract.path, field.line, message, fix)
        if keys and not any(field.references or field.name in keys for field in contract.table.fields):
            fix = f"Add one out of {', '.join(sorted(keys))}."
            yield Problem(contract.path, contract.table.line, "the fact has the key of no dimension.", fix)
