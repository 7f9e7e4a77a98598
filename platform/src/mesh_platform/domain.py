"""The mesh: domain folders arrive, a `Mesh` of domains and contracts leaves, or all faults of all files together."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from mesh_platform.contract import Contract, Field
from mesh_platform.contract_reader import SUFFIX, read_contract
from mesh_platform.document import read_document
from mesh_platform.errors import ContractError, Problem, UsageError, shown

Kind = Literal["source-aligned", "aggregate", "consumer-aligned"]
ProductKind = Literal["reference", "model"]
Word = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"'{name}' is not a time zone of the IANA database, such as 'America/Chicago'")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Site(_Strict):
    """The one place of a warehouse: what `mesh.sites` and `dim_warehouse` know of it."""

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


class Owners(_Strict):
    """Who answers for a domain, and where to reach them."""

    team: Word
    steward: Word
    contact: Word
    on_call: Word


class _DomainFile(_Strict):
    name: Word
    kind: Kind
    description: Word
    site: Site | None = None


@dataclass(frozen=True)
class Domain:
    """One folder under `domains/`. `interfaces` are the least shapes that it asks other domains' products to have.

    `retired` are products that are no longer sent, built or shown; their landing tables are still there to be read.
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

    def model_path(self, contract: Contract) -> Path:
        """Where the SQL lies that builds the contract's table."""
        return self.folder / "models" / f"{contract.table.name}.sql"

    def reference_path(self, contract: Contract) -> Path:
        """Where the CSV lies that is the contract's table, for reference data."""
        return self.folder / "reference" / f"{contract.table.name}.csv"

    def product_kind(self, contract: Contract) -> ProductKind:
        """Whether the contract's table comes from a CSV file of the domain or from its SQL."""
        return "reference" if self.reference_path(contract).exists() else "model"


@dataclass(frozen=True)
class Mesh:
    """All domains. Contracts are found by `<domain>.<table>`, interfaces by `<name>.v<major>`."""

    root: Path
    domains: Mapping[str, Domain]

    @cached_property
    def contracts(self) -> Mapping[str, Contract]:
        """Every product's contract by its identifier, in the order of domains and names."""
        return {c.identifier: c for d in self.domains.values() for c in d.contracts.values()}

    @cached_property
    def retired(self) -> Mapping[str, Contract]:
        """The contracts of retired products that have an event, by their identifiers."""
        return {c.identifier: c for d in self.domains.values() for c in d.retired.values() if c.event}

    @cached_property
    def interfaces(self) -> Mapping[str, Contract]:
        """Every interface by its name, such as `order.v1`."""
        return {name: contract for d in self.domains.values() for name, contract in d.interfaces.items()}

    def contract(self, identifier: str) -> Contract:
        """The contract of `<domain>.<product>`. Raises UsageError that offers what comes near."""
        if identifier in self.contracts:
            return self.contracts[identifier]
        raise UsageError(f"{identifier}: no such product. {offer(identifier, self.contracts)}")

    def domain(self, name: str) -> Domain:
        """The domain called `name`. Raises UsageError that offers what comes near."""
        if name in self.domains:
            return self.domains[name]
        raise UsageError(f"{name}: no such domain. {offer(name, self.domains)}")

    def ingested(self, names: tuple[str, ...] = ()) -> list[Contract]:
        """The products that producers send: all, or those of the given domains and products."""
        chosen: list[Contract] = []
        for name in names or tuple(self.domains):
            chosen += [self.contract(name)] if "." in name else self.domain(name).contracts.values()
        sent = [contract for contract in dict.fromkeys(chosen) if contract.event]
        for name in names:
            if "." in name and not self.contract(name).event:
                raise UsageError(f"{name}: no event is sent for it; it is built by SQL. Use 'mesh build {name}'.")
        return sent

    def implementations(self, interface: str) -> list[Contract]:
        """The products whose contract says that they implement `interface`."""
        return [contract for contract in self.contracts.values() if contract.implements == interface]


def interface_view(domain: str, interface: str) -> str:
    """The name of the union over all implementations: `order.v1` of `logistics_core` is `logistics_core.order_v1`."""
    return f"{domain}.{interface.replace('.', '_')}"


# So many names are read, more are not.
_OFFERED = 12


def offer(wrong: str, known: Mapping[str, object]) -> str:
    """A sentence that offers the names in `known` nearest to `wrong`, else all, or the first of many."""
    whole = [name for name in known if name.endswith(f".{wrong}")]
    near = whole or difflib.get_close_matches(wrong, known, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    more = f" and {len(known) - _OFFERED} more" if len(known) > _OFFERED else ""
    return f"There is {', '.join([*known][:_OFFERED]) or 'none'}{more}."


def domain_folders(root: Path) -> list[Path]:
    """The folders of the domains below `root`, valid or not. Raises UsageError where there is no folder domains/."""
    if not (root / "domains").is_dir():
        raise UsageError(f"{root}: has no folder 'domains/'. Set MESH_ROOT to a repository that has it.")
    folders = sorted((root / "domains").iterdir())
    return [folder for folder in folders if folder.is_dir() and not folder.name.startswith((".", "_"))]


def load_mesh(root: Path) -> Mesh:
    """The mesh below `root`/domains.

    Raises ContractError with the problems of all files, and UsageError where there is no such folder.
    """
    problems: list[Problem] = []
    domains: dict[str, Domain] = {}
    for folder in domain_folders(root):
        domain, found = _read_domain(folder, root)
        problems += found
        if domain:
            domains[domain.name] = domain
    mesh = Mesh(root, domains)
    problems += _problems_between(mesh)
    if problems:
        raise ContractError(problems)
    return mesh


_Model = TypeVar("_Model", bound=BaseModel)


def _read_model(model: type[_Model], path: Path, root: Path) -> tuple[_Model | None, list[Problem]]:
    document = read_document(path, root)
    if isinstance(document, Problem):
        return None, [document]
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        return None, [
            document.problem(
                tuple(detail["loc"]),
                f"{'.'.join(str(part) for part in detail['loc']) or 'the file'}: {detail['msg']}.",
                f"It has {', '.join((Site if detail['loc'][:1] == ('site',) else model).model_fields)}.",
            )
            for detail in error.errors()
        ]


def _read_domain(folder: Path, root: Path) -> tuple[Domain | None, list[Problem]]:
    described, problems = _read_model(_DomainFile, folder / "domain.yaml", root)
    owners, found = _read_model(Owners, folder / "owners.yaml", root)
    problems += found
    contracts: dict[str, dict[str, Contract]] = {"contracts": {}, "interfaces": {}}
    retired: dict[str, Contract] = {}
    for place, by_name in contracts.items():
        for path in sorted((folder / place).glob(f"*{SUFFIX}")):
            contract, found = read_contract(path, root, folder.name)
            problems += found
            if contract:
                of_kind = retired if contract.retired and place == "contracts" else by_name
                of_kind[path.name.removesuffix(SUFFIX)] = contract
    if described and described.name != folder.name:
        message = f"name is '{described.name}' in folder '{folder.name}'."
        problems.append(Problem(shown(folder / "domain.yaml", root), 1, message, "Make them equal."))
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
                problems.append(
                    Problem(shown(domain.folder / "domain.yaml", mesh.root), 1, message, "Choose another.")
                )
        tables = {contract.table.name: contract.path for contract in domain.retired.values()}
        for contract in domain.contracts.values():
            other = tables.setdefault(contract.table.name, contract.path)
            if other != contract.path:
                message = f"table '{contract.table.name}' is that of {other}."
                problems.append(Problem(contract.path, contract.table.line, message, "Choose another name."))
            problems += _conformance(mesh, contract)
            problems += _references(mesh, contract)
            if domain.model_path(contract).exists() == domain.reference_path(contract).exists():
                places = [shown(p, mesh.root) for p in (domain.model_path(contract), domain.reference_path(contract))]
                fix = f"Write one of {' and '.join(places)}."
                problems.append(Problem(contract.path, contract.table.line, "needs one source of its rows.", fix))
    return problems


def _conformance(mesh: Mesh, contract: Contract) -> list[Problem]:
    if contract.implements is None:
        return []
    interface = mesh.interfaces.get(contract.implements)
    if interface is None:
        # One that is there and cannot be read is reported as itself.
        if any(mesh.root.glob(f"domains/*/interfaces/{glob.escape(contract.implements)}{SUFFIX}")):
            return []
        message = f"implements '{contract.implements}', which no domain publishes."
        return [Problem(contract.path, 1, message, offer(contract.implements, mesh.interfaces))]

    def fault(wanted: Field) -> str | None:
        own = contract.table.by_name.get(wanted.name)
        if own is None:
            return f"lacks '{wanted.name}' ({wanted.type.name}), which interface {contract.implements} asks for."
        if own.type != wanted.type:
            return f"'{wanted.name}' is {own.type.name}; interface {contract.implements} asks for {wanted.type.name}."
        if wanted.required and not own.required:
            return f"'{wanted.name}' may be missing; interface {contract.implements} requires it."
        return None

    fix = "Mend the column, or drop 'mesh.implements'."
    return [
        Problem(
            contract.path, own.line if (own := contract.table.by_name.get(f.name)) else contract.table.line, text, fix
        )
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
            # One that is there and cannot be read is reported as itself.
            continue
        else:
            near = offer(name, mesh.contracts)
        message = f"'{field.name}' points to '{name}.{column}', which {domain} does not publish."
        problems.append(Problem(contract.path, field.line, message, near))
    return problems
