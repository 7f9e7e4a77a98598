"""The contracts that changed since the base, each in its old and its new state."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import SUFFIX, read_contract
from mesh_platform.contract.yaml_document import Document, read_document
from mesh_platform.governance.change.base import Base, read_base
from mesh_platform.governance.change.contract_differences import Setting, contract_differences, wording_differs
from mesh_platform.governance.change.difference import Difference
from mesh_platform.mesh.mesh import Mesh, ReadContract, interface_view

_CONTRACT = re.compile(r"domains/([^/]+)/(contracts|interfaces)/([^/]+)" + re.escape(SUFFIX), re.DOTALL)


@dataclass(frozen=True)
class ContractChange:
    """One contract at the base and now: `old` is None for a new one, `new` for a removed one.

    Products are identified by domain and table, interfaces by domain and name, whatever their files are called.
    `taken_over` is whether another product of the domain now implements the interface that this one implemented.
    """

    old: Contract | None
    new: Contract | None
    is_interface: bool
    taken_over: bool = False
    differences: tuple[Difference, ...] = ()

    @property
    def contract(self) -> Contract:
        """The new contract, else the old one."""
        found = self.new or self.old
        assert found
        return found

    @property
    def relation(self) -> str:
        """The relation by which SQL reads it."""
        contract = self.contract
        return interface_view(contract.domain, contract.name) if self.is_interface else contract.identifier

    @property
    def is_gone(self) -> bool:
        """Whether it was published at the base and no longer is."""
        was = self.old is not None and not self.old.retired
        return was and (self.new is None or self.new.retired)


@dataclass(frozen=True)
class Changes:
    """All changes. `not_compared` are contract files that are unreadable at the base or now."""

    base: Base | None = None
    contracts: tuple[ContractChange, ...] = ()
    not_compared: tuple[str, ...] = ()

    def touched(self, path: str) -> bool:
        """Whether a file, by its path as in messages, differs from the base."""
        return self.base is not None and path in self.base.differing


def read_changes(mesh: Mesh, revision: str | None, read: ReadContract = read_contract) -> Changes:
    """All changes of contracts since `revision`, by default since the main branch was left; none without a base.

    A contract that is unreadable at the base counts as new, as nobody could rely on it. `read` may be cached. Raises
    UsageError for an unknown revision, and NoBase where the repository lacks the base.
    """
    base = read_base(mesh.root, revision)
    if base is None:
        return Changes()
    paths = {path: found for path in base.differing if (found := _CONTRACT.fullmatch(path))}
    texts = base.texts(paths)
    now = {_key(contract, is_interface): (contract, is_interface) for contract, is_interface in _contracts(mesh)}
    changes: dict[tuple[str, str], ContractChange] = {}
    copies: dict[tuple[str, str], Path] = {}
    not_compared: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mesh-base-") as folder:
        for path, text in sorted(texts.items()):
            domain, place, name = paths[path].groups()
            if f"{domain}.{name}" in mesh.unread and (mesh.root / path).exists():
                not_compared.append(path)
                continue
            copy = Path(folder) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(text)
            old, _ = read(copy, Path(folder), domain)
            if old is None:
                not_compared.append(path)
                continue
            is_interface = place == "interfaces"
            key = _key(old, is_interface)
            new, _ = now.get(key, (None, is_interface))
            changes[key], copies[key] = ContractChange(old, new, is_interface), copy
        for key, (contract, is_interface) in now.items():
            if contract.path in base.differing and contract.path not in not_compared and key not in changes:
                changes[key] = ContractChange(None, contract, is_interface)
        joined = _new_implementations(changes.values())
        compared = tuple(
            _with_differences(changes[key], joined, copies.get(key), mesh.root) for key in sorted(changes)
        )
    return Changes(base, compared, tuple(sorted(not_compared)))


def _new_implementations(changes: Iterable[ContractChange]) -> dict[tuple[str, str | None], set[str]]:
    """The products that newly implement an interface, by their domain and the interface."""
    found: dict[tuple[str, str | None], set[str]] = {}
    for each in changes:
        old, new = each.old, each.new
        if new and new.implements and not new.retired and (old is None or old.implements != new.implements):
            found.setdefault((new.domain, new.implements), set()).add(each.relation)
    return found


def _with_differences(
    change: ContractChange, joined: Mapping[tuple[str, str | None], set[str]], copy: Path | None, root: Path
) -> ContractChange:
    """The change with its differences; `copy` has the old version of the file."""
    old, new = change.old, change.new
    if old is None or copy is None:
        return change
    follows = bool(joined.get((old.domain, old.implements), set()) - {change.relation})
    if new is None:
        differences = [] if old.retired else [Difference("breaking", "readers", "it is removed")]
    else:
        differences = contract_differences(old, new, Setting(change.is_interface, follows))
        if not differences and _wording_differs(copy, root / new.path):
            differences = [Difference("cosmetic", "readers", "words that promise nothing differ")]
    return replace(change, taken_over=follows, differences=tuple(differences))


def _wording_differs(one: Path, other: Path) -> bool:
    documents = [read_document(path, path.parent) for path in (one, other)]
    first, second = (each.data if isinstance(each, Document) else None for each in documents)
    return wording_differs(first, second)


def _key(contract: Contract, is_interface: bool) -> tuple[str, str]:
    name = contract.name if is_interface else contract.table.name
    return f"{contract.domain}.{name}", "interface" if is_interface else "product"


def _contracts(mesh: Mesh) -> Iterator[tuple[Contract, bool]]:
    """Each present contract, and whether it is an interface."""
    for domain in mesh.domains.values():
        yield from ((contract, False) for contract in (*domain.retired.values(), *domain.contracts.values()))
        yield from ((contract, True) for contract in domain.interfaces.values())
