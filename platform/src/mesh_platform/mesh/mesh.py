"""Reading the mesh: the domain folders as a `Mesh` of domains and contracts, or all faults of all files together."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, StringConstraints

from mesh_platform.contract.contract import Contract, Field
from mesh_platform.contract.reader import SUFFIX, read_contract
from mesh_platform.contract.yaml_model import FileModel, Word, read_model, read_with_lines
from mesh_platform.errors import ContractError, Problem, UsageError
from mesh_platform.mesh.dashboards import Dashboard, read_dashboards
from mesh_platform.mesh.glossary import GLOSSARY, Glossary, Term
from mesh_platform.text import offer, shown

ReadContract = Callable[[Path, Path, str], tuple[Contract | None, list[Problem]]]
Kind = Literal["source-aligned", "aggregate", "consumer-aligned"]
ProductKind = Literal["reference", "model"]
# Names that no domain may have, because its name is that of a schema in DuckDB: DuckDB's own databases and schemas,
# with which `temp.orders` would be ambiguous or read-only, and the platform's own schema. domain_answers.py has the
# same names.
RESERVED = frozenset({"information_schema", "main", "memory", "mesh", "pg_catalog", "system", "temp"})


@cache
def _known_zones() -> set[str]:
    # Cached, because reading the zone database takes as long as reading all files of a domain.
    return available_timezones()


def _known_zone(name: str) -> str:
    if name not in _known_zones():
        raise ValueError(f"'{name}' is not a time zone of the IANA database, such as 'America/Chicago'")
    return name


class Site(FileModel):
    """The site of a warehouse, as published in `mesh.sites` and `dim_warehouse`."""

    warehouse_id: Annotated[str, StringConstraints(pattern=r"^WH-[A-Z0-9-]+$")]
    name: Word
    region: Word
    city: Word
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    time_zone: Annotated[str, AfterValidator(_known_zone)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    opened_on: date

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the site."""
        return ZoneInfo(self.time_zone)


class Owners(FileModel):
    """Who is responsible for a domain, and how to reach them."""

    team: Word
    steward: Word
    contact: Word
    on_call: Word


# An e-mail address, which CODEOWNERS accepts as an owner besides @names.
_MAIL = re.compile(r"[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[A-Za-z]{2,}")
_PLACEHOLDER = re.compile(
    r"(?i)^\W*(unknown|nobody|n/?a|none|someone|somebody|x+|<.*>)?\W*$|\b(todo|tbd|fixme|changeme)\b"
)


def find_unreachable(owners: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The values for fields of `Owners` that reach nobody: the field, the fault and its fix."""
    for key, value in owners.items():
        if _PLACEHOLDER.search(value):
            yield key, f"{key} is '{value}'.", "Say who it is; a placeholder answers nobody."
        elif key == "contact" and not _MAIL.fullmatch(value):
            yield key, f"contact is '{value}'.", "Give one e-mail address, such as north-ops@acme.example."


class _DomainFile(FileModel):
    name: Word
    kind: Kind
    description: Word
    site: Site | None = None


@dataclass(frozen=True)
class Domain:
    """One folder under `domains/`. `interfaces` are the least that it requires of other domains' products.

    `retired` are products that are no longer sent, built or shown; their landing tables can still be read. `terms`
    are those that its glossary defines.
    """

    name: str
    kind: Kind
    description: str
    folder: Path
    site: Site | None
    owners: Owners
    contracts: Mapping[str, Contract]
    interfaces: Mapping[str, Contract]
    retired: Mapping[str, Contract] = dataclass_field(default_factory=dict)
    terms: Mapping[str, Term] = dataclass_field(default_factory=dict)
    dashboards: Mapping[str, Dashboard] = dataclass_field(default_factory=dict)

    def model_path(self, contract: Contract) -> Path:
        """The path of the SQL that builds the contract's table."""
        return self.folder / "models" / f"{contract.table.name}.sql"

    def reference_path(self, contract: Contract) -> Path:
        """The path of the CSV file that the contract's table is loaded from, for reference data."""
        return self.folder / "reference" / f"{contract.table.name}.csv"

    def product_kind(self, contract: Contract) -> ProductKind:
        """Whether the contract's table comes from a CSV file of the domain or from its SQL."""
        return "reference" if self.reference_path(contract).exists() else "model"


@dataclass(frozen=True)
class Mesh:
    """All domains. The keys of contracts are `<domain>.<table>`, those of interfaces `<name>.v<major>`.

    `unread` are the unreadable files, contracts as `<domain>.<name>`; it is empty after `load_mesh`.
    """

    root: Path
    domains: Mapping[str, Domain]
    unread: frozenset[str] = frozenset()

    @cached_property
    def contracts(self) -> Mapping[str, Contract]:
        """The contract of every product by its identifier, ordered by domain and name."""
        return {c.identifier: c for d in self.domains.values() for c in d.contracts.values()}

    @cached_property
    def retired(self) -> Mapping[str, Contract]:
        """The contracts of retired products with an event, by identifier."""
        return {c.identifier: c for d in self.domains.values() for c in d.retired.values() if c.event}

    @cached_property
    def interfaces(self) -> Mapping[str, Contract]:
        """Every interface by name, such as `order.v1`."""
        return {name: contract for d in self.domains.values() for name, contract in d.interfaces.items()}

    @cached_property
    def dashboards(self) -> Mapping[str, Dashboard]:
        """The dashboards of all domains by `<domain>.<name>`."""
        return {each.identifier: each for d in self.domains.values() for each in d.dashboards.values()}

    def contract(self, identifier: str) -> Contract:
        """The contract of `<domain>.<product>`. Raises UsageError, which suggests similar names."""
        if identifier in self.contracts:
            return self.contracts[identifier]
        raise UsageError(f"{identifier}: no such product. {offer(identifier, self.contracts)}")

    def domain(self, name: str) -> Domain:
        """The domain called `name`. Raises UsageError, which suggests similar names."""
        if name in self.domains:
            return self.domains[name]
        raise UsageError(f"{name}: no such domain. {offer(name, self.domains)}")

    def ingested(self, names: tuple[str, ...] = ()) -> list[Contract]:
        """The products with an event: all, or those among the given domains and products. Raises UsageError."""
        chosen: list[Contract] = []
        for name in names or tuple(self.domains):
            chosen += [self.contract(name)] if "." in name else self.domain(name).contracts.values()
        sent = [contract for contract in dict.fromkeys(chosen) if contract.event]
        for name in names:
            if "." in name and not self.contract(name).event:
                raise UsageError(f"{name}: no event is sent for it; it is built by SQL. Use 'mesh build {name}'.")
        return sent

    def implementations(self, interface: str) -> list[Contract]:
        """The products whose contracts implement `interface`."""
        return self._implementing.get(interface, [])

    @cached_property
    def _implementing(self) -> Mapping[str, list[Contract]]:
        found: dict[str, list[Contract]] = {}
        for contract in self.contracts.values():
            if contract.implements:
                found.setdefault(contract.implements, []).append(contract)
        return found


def interface_view(domain: str, interface: str) -> str:
    """The view over all implementations: `order.v1` of `logistics_core` is `logistics_core.order_v1`."""
    return f"{domain}.{interface.replace('.', '_')}"


def domain_folders(root: Path) -> list[Path]:
    """The folders of the domains below `root`, valid or not. Raises UsageError where there is no folder domains/."""
    if not (root / "domains").is_dir():
        raise UsageError(f"{root}: has no folder 'domains/'. Set MESH_ROOT to a repository that has it.")
    folders = sorted((root / "domains").iterdir())
    return [folder for folder in folders if folder.is_dir() and not folder.name.startswith((".", "_"))]


def load_mesh(root: Path) -> Mesh:
    """Read the mesh below `root`/domains.

    Raises ContractError with the problems of all files, and UsageError where the folder is missing.
    """
    mesh, problems = read_mesh(root)
    if problems:
        raise ContractError(problems)
    return mesh


def read_mesh(root: Path, read: ReadContract = read_contract) -> tuple[Mesh, list[Problem]]:
    """Read the valid parts of the mesh below `root`/domains, and the problems of all files.

    `read` may be a cached version of `read_contract`. Raises UsageError where the folder is missing.
    """
    problems: list[Problem] = []
    domains: dict[str, Domain] = {}
    unread: set[str] = set()
    for folder in domain_folders(root):
        domain, found = _read_domain(folder, root, read)
        problems += found
        names: set[str] = set()
        if domain:
            domains[domain.name] = domain
            names = {*domain.contracts, *domain.interfaces, *domain.retired}
        there = {path.name.removesuffix(SUFFIX) for path in folder.glob(f"*/*{SUFFIX}")}
        unread |= {f"{folder.name}.{name}" for name in there - names}
        if os.path.lexists(folder / GLOSSARY) and not (domain and domain.terms):
            unread.add(f"{folder.name}/{GLOSSARY}")
    mesh = Mesh(root, domains, frozenset(unread))
    return mesh, [*problems, *_problems_between(mesh)]


def _read_domain(folder: Path, root: Path, read: ReadContract) -> tuple[Domain | None, list[Problem]]:
    described, document, problems = read_with_lines(_DomainFile, folder / "domain.yaml", root)
    if folder.name in RESERVED:
        line = document.line(("name",)) if document else 1
        message = f"the domain is called '{folder.name}', a schema that DuckDB or the platform has already."
        fix = f"Choose another name for it and its folder, such as {folder.name}_domain."
        problems.append(Problem(shown(folder / "domain.yaml", root), line, message, fix, rule="domain-files"))
    owners, found = read_model(Owners, folder / "owners.yaml", root)
    problems += found
    glossary: Glossary | None = None
    if os.path.lexists(folder / GLOSSARY):
        glossary, found = read_model(Glossary, folder / GLOSSARY, root)
        problems += found
    dashboards, found = read_dashboards(folder, root)
    problems += found
    contracts: dict[str, dict[str, Contract]] = {"contracts": {}, "interfaces": {}}
    retired: dict[str, Contract] = {}
    for place, by_name in contracts.items():
        for path in sorted((folder / place).glob(f"*{SUFFIX}")):
            contract, found = read(path, root, folder.name)
            problems += found
            if contract:
                if described and described.site:
                    contract = replace(contract, time_zone=described.site.time_zone)
                of_kind = retired if contract.retired and place == "contracts" else by_name
                of_kind[path.name.removesuffix(SUFFIX)] = contract
    if described and described.name != folder.name:
        message = f"name is '{described.name}' in folder '{folder.name}'."
        problems.append(
            Problem(shown(folder / "domain.yaml", root), 1, message, "Make them equal.", rule="domain-files")
        )
    if described is None or owners is None:
        return None, problems
    return (
        Domain(
            name=folder.name,
            kind=described.kind,
            description=described.description,
            folder=folder,
            site=described.site,
            owners=owners,
            contracts=contracts["contracts"],
            interfaces=contracts["interfaces"],
            retired=retired,
            terms=glossary.terms if glossary else {},
            dashboards=dashboards,
        ),
        problems,
    )


def _problems_between(mesh: Mesh) -> list[Problem]:
    problems: list[Problem] = []
    sites: dict[str, str] = {}
    for domain in mesh.domains.values():
        if domain.site:
            other = sites.setdefault(domain.site.warehouse_id, domain.name)
            if other != domain.name:
                message = f"warehouse_id '{domain.site.warehouse_id}' is that of {other}."
                label = shown(domain.folder / "domain.yaml", mesh.root)
                problems.append(Problem(label, 1, message, "Choose another.", rule="one-of-a-name"))
        tables = {contract.table.name: contract.path for contract in domain.retired.values()}
        for contract in domain.contracts.values():
            other = tables.setdefault(contract.table.name, contract.path)
            if other != contract.path:
                message = f"table '{contract.table.name}' is that of {other}."
                line = contract.table.line
                problems.append(Problem(contract.path, line, message, "Choose another name.", rule="one-of-a-name"))
            problems += contract_problems(mesh, contract)
            if domain.model_path(contract).exists() == domain.reference_path(contract).exists():
                places = [shown(p, mesh.root) for p in (domain.model_path(contract), domain.reference_path(contract))]
                fix = f"Write one of {' and '.join(places)}."
                line, message = contract.table.line, "needs one source of its rows."
                problems.append(Problem(contract.path, line, message, fix, rule="one-source"))
    return problems


def contract_problems(mesh: Mesh, contract: Contract) -> list[Problem]:
    """Where a contract does not fit the interface that it implements, or the tables that it refers to."""
    return [*_conformance(mesh, contract), *_references(mesh, contract)]


def _conformance(mesh: Mesh, contract: Contract) -> list[Problem]:
    if contract.implements is None:
        return []
    interface = mesh.interfaces.get(contract.implements)
    if interface is None:
        # An interface file that exists but is invalid has faults of its own.
        if any(mesh.root.glob(f"domains/*/interfaces/{glob.escape(contract.implements)}{SUFFIX}")):
            return []
        message = f"implements '{contract.implements}', which no domain publishes."
        return [Problem(contract.path, 1, message, offer(contract.implements, mesh.interfaces), rule="interface")]

    def fault(wanted: Field) -> str | None:
        own = contract.table.by_name.get(wanted.name)
        if own is None:
            return f"lacks '{wanted.name}' ({wanted.type.name}), which interface {contract.implements} asks for."
        if own.type != wanted.type:
            return f"'{wanted.name}' is {own.type.name}; interface {contract.implements} asks for {wanted.type.name}."
        if wanted.required and not own.required:
            return f"'{wanted.name}' may be missing; interface {contract.implements} requires it."
        if own.allow_non_finite and not wanted.allow_non_finite:
            return f"'{wanted.name}' may be NaN; interface {contract.implements} promises finite numbers."
        return None

    fix = "Mend the column, or drop 'mesh.implements'."
    own = contract.table.by_name
    return [
        Problem(contract.path, (own.get(f.name) or contract.table).line, text, fix, rule="interface")
        for f in interface.table.fields
        if (text := fault(f))
    ]


def _references(mesh: Mesh, contract: Contract) -> list[Problem]:
    problems = []
    for field in contract.table.fields:
        if field.references is None:
            continue
        name, column = field.references
        domain, _, table = name.partition(".")
        retired = mesh.domains[domain].retired if domain in mesh.domains else {}
        if name in mesh.contracts:
            if column in mesh.contracts[name].table.by_name:
                continue
            near = offer(column, mesh.contracts[name].table.by_name)
        elif table not in retired and (mesh.root / "domains" / domain / "contracts" / f"{table}{SUFFIX}").exists():
            # A contract file that exists but is invalid has faults of its own.
            continue
        else:
            near = offer(name, mesh.contracts)
        message = f"'{field.name}' points to '{name}.{column}', which {domain} does not publish."
        problems.append(Problem(contract.path, field.line, message, near, rule="reference"))
    return problems
