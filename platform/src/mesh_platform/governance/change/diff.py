"""The effect of the present changes on the mesh: each change with what it reaches and whose consent it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh_platform.governance.change.assessment import Assessed
from mesh_platform.governance.change.impact import Affected, Impact
from mesh_platform.governance.change.model_changes import ModelChange, model_changes, read_before
from mesh_platform.governance.scope import Scope
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Owners
from mesh_platform.metadata.columns import CHART, Column


@dataclass(frozen=True)
class Effect:
    """The effect of one change: the columns and charts that it reaches, and whose they are.

    `charts` are `<domain>.<dashboard>.<chart>`; `files` are those of dashboards of other tools, which name a column.
    """

    reached: tuple[Affected, ...]
    charts: tuple[str, ...]
    files: tuple[str, ...]
    owners: Mapping[str, Owners]


@dataclass(frozen=True)
class Diff:
    """All changes with their effects. `commit` is the base, None without one."""

    commit: str | None
    contracts: tuple[tuple[Assessed, Effect], ...]
    models: tuple[tuple[ModelChange, Effect], ...]
    not_compared: tuple[str, ...]


def diff(scope: Scope) -> Diff:
    """Find the changes since the base, with their effects. Raises UsageError and NoBase as `read_changes` does."""
    changes = scope.changes
    before = read_before(changes, scope.mesh, scope.models)
    # Both states, as a removed column reaches nothing now, and a new one reached nothing before.
    was = Impact(before.mesh, before.models)
    impacts = (was, Impact(scope.mesh, scope.models, was))

    def effect(starts: Iterable[Column]) -> Effect:
        columns = sorted(set(starts))
        found = {each for impact in impacts for each in impact.affected(columns)}
        moved = [*columns, *((each.table, each.column) for each in sorted(found, key=_order) if each.column)]
        found |= impacts[1].broken_charts(moved)
        charts = {each.table.removeprefix(CHART) for each in found if each.table.startswith(CHART)}
        reached = sorted((each for each in found if not each.table.startswith(CHART)), key=_order)
        files = {each for relation, column in moved for each in impacts[1].consumers.other_files(relation, column)}
        names = {name.partition(".")[0] for name in (*charts, *(each.table for each in reached))}
        names |= {domain for domain, _ in files}
        owners = {name: domain.owners for name, domain in scope.mesh.domains.items() if name in names}
        return Effect(tuple(reached), tuple(sorted(charts)), tuple(sorted(path for _, path in files)), owners)

    shown = [each for each in scope.assessed if each.is_other]
    contracts = tuple((each, effect(_starts(each))) for each in shown)
    models = tuple(
        (each, effect((each.table, name) for name in _moved(each, scope)))
        for each in model_changes(changes, before, scope.mesh, scope.models)
    )
    return Diff(changes.base.commit if changes.base else None, contracts, models, changes.not_compared)


def _order(reached: Affected) -> tuple[str, str]:
    return reached.table, reached.column or ""


def _starts(assessed: Assessed) -> Iterable[Column]:
    """The columns that a change of a contract changes, by their old and new names."""
    change = assessed.change
    if change.is_gone and change.old:
        yield from ((change.relation, name) for name in change.old.table.by_name)
    for difference in assessed.differences:
        if difference.column is None or difference.kind == "cosmetic":
            continue
        relation = change.relation if difference.side == "readers" else landing_name(change.contract)
        yield relation, difference.column
        if change.new:
            schema = change.new.table if difference.side == "readers" else change.new.event
            for field in schema.fields if schema else ():
                if difference.column in field.renamed_from:
                    yield relation, field.name


def _moved(change: ModelChange, scope: Scope) -> tuple[str, ...]:
    """The columns whose values change: all of them if the rows change."""
    contract = scope.mesh.contracts.get(change.table)
    return tuple(contract.table.by_name) if change.rows and contract else change.columns
