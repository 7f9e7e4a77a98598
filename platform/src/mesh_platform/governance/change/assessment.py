"""The requirements of a change of a contract: its kind, version and consents, with their reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mesh_platform.contract.contract import Contract
from mesh_platform.contract.version import Version, parse_version
from mesh_platform.errors import Problem
from mesh_platform.governance.change.changes import Changes, ContractChange
from mesh_platform.governance.change.consumers import Consumers
from mesh_platform.governance.change.contract_differences import Setting, contract_differences
from mesh_platform.governance.change.difference import Difference, Kind, worst
from mesh_platform.governance.consents import Given
from mesh_platform.lake.tables import landing_name
from mesh_platform.mesh.mesh import Mesh, interface_view
from mesh_platform.sql.model import Model
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.type_check import check_contracts


@dataclass(frozen=True)
class Needed:
    """A domain whose consent a change needs, as its files `by` read the product; `given` is the consent, if any."""

    domain: str
    by: tuple[str, ...]
    given: Given | None


@dataclass(frozen=True)
class Assessed:
    """A change with all its differences. `beside` is the product that still keeps the old promises, if any."""

    change: ContractChange
    differences: tuple[Difference, ...]
    consents: tuple[Needed, ...] = ()
    beside: str | None = None

    @property
    def kind(self) -> Kind | None:
        """The most severe kind of its differences."""
        return worst(self.differences)

    @property
    def is_other(self) -> bool:
        """Whether anything but comments and layout changed."""
        old, new = self.change.old, self.change.new
        return bool(self.differences) or old is None or new is None or old.version != new.version

    @property
    def least_version(self) -> Version | None:
        """The lowest version that it must have now; None if it is new or gone, or its old version is invalid."""
        old, new = self.change.old, self.change.new
        before = parse_version(old.version) if old else None
        return before.next(self.kind or "") if before and new and not self.change.is_gone else None

    @property
    def breaks_for_readers(self) -> list[Difference]:
        """The differences that break readers of what is published."""
        return [each for each in self.differences if each.kind == "breaking" and each.side == "readers"]

    @property
    def consent_to(self) -> Version | None:
        """The version to consent to: the present one if it is a new breaking version, else the next breaking one."""
        old, new = self.change.old, self.change.new
        before, now = (parse_version(each.version) if each else None for each in (old, new))
        if before is None:
            return None
        return now if now and now.line > before.line else before.next("breaking")


def assess(
    changes: Changes, consumers: Consumers, sql_faults: Iterable[Problem], given: Iterable[Given]
) -> list[Assessed]:
    """Each change with its requirements, ordered by name.

    `sql_faults` are the problems of the present SQL of the mesh: a change is breaking, whatever its differences, if
    it makes a query fail that worked with the old contract.
    """
    if not changes.contracts:
        return []
    given = [*given]
    broken = _Broken(changes, consumers, {problem.path for problem in sql_faults if problem.rule == "sql"})
    found = []
    for change in changes.contracts:
        differences = [*change.differences]
        if worst(differences) in ("additive", "cosmetic"):
            differences += broken.by(change)
        each = Assessed(change, tuple(differences))
        found.append(_with_consents(each, consumers, given))
    return found


def _with_consents(assessed: Assessed, consumers: Consumers, given: list[Given]) -> Assessed:
    change, version = assessed.change, assessed.consent_to
    columns = frozenset(difference.column for difference in assessed.breaks_for_readers)
    if not columns or version is None or change.old is None:
        return assessed
    if change.is_gone:
        # SQL that reads it by name fails, whoever consents. A union still works, but lacks its rows.
        readers = _readers_of_lost_union(change, consumers)
    elif beside := _kept_beside(change.old, consumers.mesh):
        return replace(assessed, beside=beside.identifier)
    else:
        readers = consumers.domains(change.relation, change.contract.domain, columns)
        # It may no longer implement its interface, so that the present union does not have it.
        for domain, files in _readers_of_lost_union(change, consumers).items():
            readers[domain] = sorted({*readers.get(domain, ()), *files})
    consents = (
        Needed(
            domain,
            tuple(files),
            next((g for g in given if g.domain.name == domain and g.covers(change.relation, version)), None),
        )
        for domain, files in sorted(readers.items())
    )
    return replace(assessed, consents=tuple(consents))


def _readers_of_lost_union(change: ContractChange, consumers: Consumers) -> dict[str, list[str]]:
    """The other domains that read a union that loses the product's rows; none if another product takes over."""
    old, new = change.old, change.new
    if old is None or old.implements is None or change.is_interface:
        return {}
    stays = new is not None and not new.retired and new.implements == old.implements
    interface = consumers.mesh.interfaces.get(old.implements)
    if stays or interface is None or change.taken_over:
        return {}
    view = interface_view(interface.domain, old.implements)
    return consumers.domains(view, old.domain, frozenset({None}))


def _kept_beside(old: Contract, mesh: Mesh) -> Contract | None:
    """Another version of the product, `<table>_v<n>`, with the old promises, which readers can use instead."""
    name = re.compile(re.escape(re.sub(r"_v\d+$", "", old.table.name)) + r"(_v\d+)?")
    domain = mesh.domains.get(old.domain)
    for other in domain.contracts.values() if domain else ():
        if name.fullmatch(other.table.name) and other.table.name != old.table.name:
            differences = contract_differences(
                replace(old, event=None), replace(other, event=None), Setting(taken_over=True)
            )
            if worst(differences) != "breaking":
                return other
    return None


class _Broken:
    """Finds SQL broken by a change without a breaking difference, such as a column that makes a name ambiguous."""

    def __init__(self, changes: Changes, consumers: Consumers, faulty: set[str]) -> None:
        self.mesh, self.consumers, self.faulty = consumers.mesh, consumers, faulty
        self.changed = [each for each in changes.contracts if each.old and each.new]
        self._blamed: dict[str, set[str]] = {}

    def by(self, change: ContractChange) -> list[Difference]:
        if change.old is None or change.new is None:
            return []
        own = change.contract.identifier
        relations = [change.relation]
        if not change.is_interface:
            relations.append(landing_name(change.contract))
        models = {m.path: m for name in relations for m in self.consumers.readers.get(name, ())}
        return [
            Difference("breaking", "readers", f"{model.path} cannot be run with it and could before", 1)
            for model in models.values()
            if model.path in self.faulty and model.contract.identifier != own and self._mends(change, model)
        ]

    def _mends(self, change: ContractChange, model: Model) -> bool:
        """Whether the model works with the old version of this contract, or of all changed contracts together."""
        if model.path not in self._blamed:
            others = [each for each in self.changed if each.contract.identifier != model.contract.identifier]
            blamed = [each for each in others if self._runs_with([each], model)]
            if not blamed and self._runs_with(others, model):
                blamed = others
            elif blamed and not self._runs_with(others, model):
                blamed = []
            self._blamed[model.path] = {each.relation for each in blamed}
        return change.relation in self._blamed[model.path]

    def _runs_with(self, changes: Iterable[ContractChange], model: Model) -> bool:
        mesh = mesh_with_old(self.mesh, changes)
        name = model.contract.identifier
        readable = relation_schemas(mesh).keys() >= {*model.inputs}
        found = check_contracts(mesh, {name: model}, [model.contract])
        return readable and all(problem.path != model.path for problem in found[model.contract.path])


def mesh_with_old(mesh: Mesh, changes: Iterable[ContractChange]) -> Mesh:
    """The mesh with the old versions of these contracts."""
    domains = dict(mesh.domains)
    for change in changes:
        domain = domains.get(change.contract.domain)
        if domain is None:
            continue
        contracts = dict(domain.interfaces if change.is_interface else domain.contracts)
        if change.new:
            contracts.pop(change.new.name, None)
        if change.old and not change.old.retired:
            contracts[change.old.name] = change.old
        if change.is_interface:
            domains[domain.name] = replace(domain, interfaces=contracts)
        else:
            domains[domain.name] = replace(domain, contracts=contracts)
    return replace(mesh, domains=domains)
