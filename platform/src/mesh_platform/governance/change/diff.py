"""What a change does to the mesh: a scope arrives; each change leaves, with what it reaches and whom it asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mesh_platform.governance.change.assessment import Assessed
from mesh_platform.governance.change.model_changes import ModelChange, model_changes, read_before
from mesh_platform.governance.change.reach import Column, Flow, Reached
from mesh_platform.governance.scope import Scope
from mesh_platform.lake.tables import landing_name


@dataclass(frozen=True)
class Effect:
    """What one change reaches: columns of products, and dashboards by their files."""

    reached: tuple[Reached, ...]
    dashboards: tuple[str, ...]


@dataclass(frozen=True)
class Diff:
    """All of it. `commit` is what was compared with, None where there is nothing to compare with."""

    commit: str | None
    contracts: tuple[tuple[Assessed, Effect], ...]
    models: tuple[tuple[ModelChange, Effect], ...]
    not_compared: tuple[str, ...]


def diff(scope: Scope) -> Diff:
    """What changed since the base. Raises UsageError and NoBase where that cannot be told."""
    changes = scope.changes
    before = read_before(changes, scope.mesh, scope.models)
    # A column that is gone flows nowhere now, and a new one flowed nowhere then.
    flows = (Flow(before.mesh, before.models), Flow(scope.mesh, scope.models))

    def effect(starts: Iterable[Column]) -> Effect:
        columns = sorted(set(starts))
        reached = {each for flow in flows for each in flow.reached(columns)}
        shown = [*columns, *((each.table, each.column) for each in sorted(reached, key=_order) if each.column)]
        files = {path for relation, column in shown for _, path in flows[1].consumers.dashboards(relation, column)}
        return Effect(tuple(sorted(reached, key=_order)), tuple(sorted(files)))

    said = [each for each in scope.assessed if each.is_other]
    contracts = tuple((each, effect(_starts(each))) for each in said)
    models = tuple(
        (each, effect((each.table, name) for name in _moved(each, scope)))
        for each in model_changes(changes, before, scope.mesh, scope.models)
    )
    return Diff(changes.base.commit if changes.base else None, contracts, models, changes.not_compared)


def _order(reached: Reached) -> tuple[str, str]:
    return reached.table, reached.column or ""


def _starts(assessed: Assessed) -> Iterable[Column]:
    """The columns that a change of a contract changes, by their names before and now."""
    change = assessed.change
    if change.is_gone and change.old:
        yield from ((change.relation, name) for name in change.old.table.by_name)
    for difference in assessed.differences:
        if difference.column is None or difference.kind == "cosmetic":
            continue
        relation = change.relation if difference.side == "readers" else landing_name(change.contract)
        yield relation, difference.column
        if change.new:
            shape = change.new.table if difference.side == "readers" else change.new.event
            for field in shape.fields if shape else ():
                if difference.column in field.renamed_from:
                    yield relation, field.name


def _moved(change: ModelChange, scope: Scope) -> tuple[str, ...]:
    """The columns whose values are others: where there are other rows, all of them."""
    contract = scope.mesh.contracts.get(change.table)
    return tuple(contract.table.by_name) if change.rows and contract else change.columns
