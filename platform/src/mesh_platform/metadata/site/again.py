"""Building a site again after few changes: only what they touch is read, traced and turned into pages.

Notes of the last build say which files it read, and what pages say of other products. With them, a mesh of the
changed products and their neighbours is enough for the pages of these; all other pages are as they were. What the
notes do not cover makes it a build of the whole mesh: new and removed files, domain files, interfaces, a lake. So
does a small mesh, which is built as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import SUFFIX
from mesh_platform.mesh.mesh import Domain, Mesh, contract_problems
from mesh_platform.mesh.remembered import remembering
from mesh_platform.metadata.columns import CHART, Columns
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.site.facts import Facts
from mesh_platform.metadata.site.sources import Sources, changed
from mesh_platform.metadata.site.whole import OWN_SUFFIXES, Whole, outline, shown_by
from mesh_platform.sql.model import Model, find_models, remembered_queries
from mesh_platform.sql.references import tables_referred_to

Changes = Mapping[str, Any] | None
# For more products, a build of the whole mesh is as fast.
_FEW = 300


@dataclass(frozen=True)
class Notes:
    """What a build leaves for the next one: the files that it read, and what it knew of the whole mesh.

    `domains` are without contracts; `contracts` has the file of each product, retired or not, in the order of the
    mesh, and `made_by` the product of each file of one. `pages` has what each page of a product was made from.
    """

    root: Path
    sources: Sources
    whole: Whole
    domains: Mapping[str, Domain]
    contracts: Mapping[str, str]
    made_by: Mapping[str, str]
    changes: Changes
    pages: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Part:
    """Facts of a part of the mesh, and the products whose pages may have changed."""

    facts: Facts
    products: frozenset[str]


def notes_of(root: Path, sources: Sources, facts: Facts, pages: Mapping[str, Mapping[str, str]]) -> Notes:
    """Return the notes of a build of the whole mesh; `sources` were looked at before it read any."""
    mesh = facts.mesh
    every = [each for domain in mesh.domains.values() for each in (*domain.contracts.values(), *_sent(domain))]
    made_by = {contract.path: contract.identifier for contract in mesh.contracts.values()}
    models = facts.graph.columns.models
    made_by |= {model.path: name for name, model in models.items()}
    return Notes(
        root,
        sources,
        facts.whole,
        {name: replace(domain, contracts={}, retired={}) for name, domain in mesh.domains.items()},
        {contract.identifier: contract.path for contract in every},
        made_by,
        facts.changes,
        pages,
    )


def _sent(domain: Domain) -> Iterable[Contract]:
    return (contract for contract in domain.retired.values() if contract.event)


class _TooMuchError(Exception):
    """The notes are not enough for what has changed."""


def part_again(notes: Notes, sources: Sources, cache: Cache, changes: Changes, lost: Iterable[str]) -> Part | None:
    """Return what must be made again; `sources` and `changes` are those of now.

    `lost` are products whose pages are not as they were made. Returns None where the whole mesh must be read: if much
    has changed, or what the notes do not cover, or if something is wrong.
    """
    files = changed(sources, notes.sources)
    if not notes.whole.is_large or not notes.made_by.keys() >= files:
        return None
    core = {notes.made_by[path] for path in files}
    others = {*lost, *_with_other_history(notes, changes)}
    if len(core | others) > _FEW:
        return None
    try:
        return _Again(notes, cache).part(core, others, changes)
    except _TooMuchError:
        return None


def _with_other_history(notes: Notes, changes: Changes) -> Iterable[str]:
    if notes.changes is None or changes is None:
        return notes.whole.products if notes.changes is not changes else ()
    paths = ((name, notes.contracts[name]) for name in notes.whole.products)
    return [name for name, path in paths if notes.changes.get(path) != changes.get(path)]


class _Again:
    def __init__(self, notes: Notes, cache: Cache) -> None:
        self._notes, self._cache = notes, cache
        self._contracts: dict[str, Contract] = {}

    def part(self, core: set[str], others: set[str], changes: Changes) -> Part:
        """Return the facts of the products `core`, which changed, of `others`, and of all that this touches."""
        before = self._notes.whole
        after = self._whole_after(core)
        reshaped = [name for name in core if after.products[name].shape != before.products[name].shape]
        # The lineage of a relation depends on its SQL and on the columns of what it reads.
        near = {reader for name in reshaped for own in _relations(name) for reader in after.readers.get(own, ())}
        touched = near | {own for name in core for own in _relations(name) if own in after.inputs}
        # Pages have the edges on both sides of a relation.
        ends = {end for whole in (before, after) for own in touched for end in (own, *whole.inputs[own])}
        dirty = core | others | (self._owners(ends) & after.products.keys())
        if after.inputs != before.inputs:
            dirty |= {name for name in after.products if _drawn(after, name) != _drawn(before, name)}
        if len(dirty) > _FEW:
            raise _TooMuchError
        mesh, models = self._mesh_around(dirty, after)
        checked = core | (self._owners(near) & after.products.keys())
        if any(contract_problems(mesh, mesh.contracts[name]) for name in checked):
            raise _TooMuchError
        graph = mesh_graph(mesh, models, self._cache)
        graph.columns.trace(touched)
        problems = {name: problem for name, problem in before.problems.items() if name not in checked}
        whole = replace(after, problems=problems | graph.columns.problems)
        charts = {name: shown_by(graph.columns, name) for name in touched if name.startswith(CHART)}
        whole = replace(whole, shown={**before.shown, **charts})
        return Part(Facts(graph, None, changes, whole), frozenset(dirty))

    def _whole_after(self, core: set[str]) -> Whole:
        """Return what all pages share, with the products `core` as they are now."""
        before = self._notes.whole
        products, inputs = dict(before.products), dict(before.inputs)
        # The texts alone say what they read.
        alone, _ = find_models(self._mesh(core), remembered_queries(self._cache))
        mentioned = {name for model in alone.values() for name in model.inputs}
        mesh, models = self._mesh_around(core, before, mentioned)
        relations = Columns(mesh, models).relations
        for name in core:
            products[name] = outline(mesh.contracts[name], models)
            if products[name].frame != before.products[name].frame:
                raise _TooMuchError
            for own in _relations(name):
                if (own in relations) != (own in inputs):
                    raise _TooMuchError
                if own in relations:
                    inputs[own] = relations[own].inputs
        return replace(before, products=products, inputs=inputs)

    def _mesh_around(
        self, names: Iterable[str], whole: Whole, also: Iterable[str] = ()
    ) -> tuple[Mesh, dict[str, Model]]:
        """Return products, those that their lineage and that of their readers depends on, and those of `also`."""
        own = {relation for name in names for relation in _relations(name)}
        readers = {reader for relation in own for reader in whole.readers.get(relation, ())}
        ends = {end for relation in own | readers for end in (relation, *whole.inputs.get(relation, ()))}
        mesh = self._mesh({*names, *self._owners({*ends, *also})})
        models, problems = find_models(mesh, remembered_queries(self._cache))
        # Those of others are about what was left out.
        paths = {path for path, name in self._notes.made_by.items() if name in names}
        if any(problem.path in paths for problem in problems):
            raise _TooMuchError
        return mesh, models

    def _owners(self, relations: Iterable[str]) -> set[str]:
        owners = {self._notes.whole.owner(relation) for relation in relations}
        return {owner for owner in owners if owner is not None}

    def _mesh(self, names: Iterable[str]) -> Mesh:
        """Return a mesh of these products and those that their columns refer to."""
        waiting = [*names]
        for name in waiting:
            waiting += {*tables_referred_to(self._contract(name))} - {*waiting}
        wanted = {*waiting}
        domains = {name: replace(domain, contracts={}, retired={}) for name, domain in self._notes.domains.items()}
        for name, path in self._notes.contracts.items():
            if name in wanted:
                contract = self._contract(name)
                domain = domains[contract.domain]
                own = domain.retired if contract.retired else domain.contracts
                assert isinstance(own, dict)
                own[PurePosixPath(path).name.removesuffix(SUFFIX)] = contract
        return Mesh(self._notes.root, domains)

    def _contract(self, name: str) -> Contract:
        if name not in self._contracts:
            if name not in self._notes.contracts:
                raise _TooMuchError
            root, path = self._notes.root, self._notes.contracts[name]
            domain = self._notes.domains[path.split("/")[1]]
            contract, problems = remembering(self._cache)(root / path, root, domain.name)
            is_same = contract is not None and contract.identifier == name
            if (
                problems
                or contract is None
                or not is_same
                or contract.retired == (name in self._notes.whole.products)
            ):
                raise _TooMuchError
            zone = domain.site.time_zone if domain.site else contract.time_zone
            self._contracts[name] = replace(contract, time_zone=zone)
        return self._contracts[name]


def _relations(product: str) -> tuple[str, ...]:
    """Return the names of all relations that a product can have."""
    return (product, f"queue:{product}", *(f"{product}{suffix}" for suffix in OWN_SUFFIXES))


def _drawn(whole: Whole, product: str) -> object:
    return whole.up(product), whole.down(product)
