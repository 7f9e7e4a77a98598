"""The input of rules: the readable parts of the mesh, and facts about it that several rules need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

from mesh_platform.cache.cache import Cache
from mesh_platform.cache.parallel import parallel_map
from mesh_platform.contract.contract import Contract, Field, TableSchema
from mesh_platform.errors import Problem
from mesh_platform.governance.change.assessment import Assessed, assess
from mesh_platform.governance.change.changes import Changes, read_changes
from mesh_platform.governance.change.consumers import Consumers
from mesh_platform.governance.consents import Given, read_consents
from mesh_platform.mesh.glossary import Term
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.mesh.remembered import remembering
from mesh_platform.sql.model import Model, find_models, remembered_queries
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.type_check import check_contracts, find_cycles
from mesh_platform.text import shown

# The number of contracts whose SQL is checked in one session of DuckDB.
_TOGETHER = 400


@dataclass(frozen=True)
class Scope:
    """A mesh to check. `faults` are the problems of unreadable files; `base` is the revision to compare with."""

    mesh: Mesh
    faults: tuple[Problem, ...]
    today: date
    base: str | None = None
    cache: Cache = field(default_factory=Cache, compare=False)

    @cached_property
    def models(self) -> dict[str, Model]:
        """Every readable model, by the identifier of its output."""
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[dict[str, Model], list[Problem]]:
        return find_models(self.mesh, remembered_queries(self.cache))

    @cached_property
    def sql_faults(self) -> tuple[Problem, ...]:
        """The problems of the mesh's SQL: its models and its quality rules."""
        models, faults = self._found
        general = [*faults, *find_cycles(self.mesh, models)]
        faulty = {problem.path for problem in general}
        sound = {name: model for name, model in models.items() if model.path not in faulty}
        contracts = [*self.contracts()]
        by_path = {model.contract.path: model for model in sound.values()}
        sources = [self._source(each, by_path.get(each.path)) for each in contracts]

        def look(new: list[Contract]) -> list[list[Problem]]:
            parts = [new[i : i + _TOGETHER] for i in range(0, len(new), _TOGETHER)]
            found: dict[str, list[Problem]] = {}
            for checked in parallel_map([partial(check_contracts, self.mesh, sound, part) for part in parts], few=2):
                found |= checked
            return [found[each.path] for each in new]

        of_each = self.cache.get_together("types", sources, contracts, look)
        return (*general, *chain.from_iterable(of_each))

    def _source(self, contract: Contract, model: Model | None) -> bytes:
        """Everything that the check of a product's SQL depends on."""
        inputs = [self._columns.get(name, "") for name in model.inputs] if model else []
        own = [(each.name, each.type.name, each.line) for each in contract.table.fields]
        sql = (model.path, model.sql) if model else None
        return repr((contract.path, contract.table.line, own, contract.table.rules, sql, inputs)).encode()

    @cached_property
    def _columns(self) -> dict[str, str]:
        """The names and types of each relation's columns."""
        schemas = relation_schemas(self.mesh)
        return {name: str([(f.name, f.type.name) for f in schema.fields]) for name, schema in schemas.items()}

    @cached_property
    def changes(self) -> Changes:
        """The changes of contracts since the base. Raises UsageError and NoBase as `read_changes` does."""
        return read_changes(self.mesh, self.base, remembering(self.cache))

    @cached_property
    def assessed(self) -> list[Assessed]:
        """Each change of a contract with its requirements; raises as `changes` does."""
        faults = self.sql_faults if self.changes.contracts else ()
        return assess(self.changes, self.consumers, faults, self.consents[0])

    @cached_property
    def consents(self) -> tuple[list[Given], list[Problem]]:
        """All consents, and the problems of their files."""
        return read_consents(self.mesh)

    @cached_property
    def consumers(self) -> Consumers:
        """The readers of what is published."""
        return Consumers(self.mesh, self.models)

    @cached_property
    def terms(self) -> dict[str, Term]:
        """Every term of every glossary, as `<domain>.<term>`."""
        return {f"{d.name}.{name}": term for d in self.mesh.domains.values() for name, term in d.terms.items()}

    def of_rule(self, rule: str) -> list[Problem]:
        """The problems by one rule that reading the mesh and its SQL has found."""
        return [problem for problem in (*self.faults, *self.sql_faults) if problem.rule == rule]

    def contracts(self) -> Iterator[Contract]:
        """Every contract, of products and of interfaces."""
        yield from self.mesh.contracts.values()
        yield from self.mesh.interfaces.values()

    def published_fields(self) -> Iterator[tuple[Contract, Field]]:
        """Every column that others can read."""
        for contract in self.contracts():
            for column in contract.table.fields:
                yield contract, column

    def fields(self) -> Iterator[tuple[Contract, TableSchema, Field]]:
        """Every column of every event and table."""
        for contract in self.contracts():
            for schema in (contract.event, contract.table):
                for column in schema.fields if schema else ():
                    yield contract, schema or contract.table, column

    def path(self, domain: Domain, name: str) -> str:
        """The path of a file in a domain's folder, for messages."""
        return shown(domain.folder / name, self.mesh.root)

    def files(self, domain: Domain, pattern: str) -> Sequence[Path]:
        """The files of a domain's folder that match `pattern`, sorted."""
        return sorted(path for path in domain.folder.glob(pattern) if path.is_file())
