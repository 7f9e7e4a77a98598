"""Derive who may read and write what, from domains, contracts and SQL.

A domain has its own queues and tables. Of other domains it reads the published tables that its models read and
that its contracts refer to (for the `__resolved` views), and nothing else: no queue, no landing table, no
quarantine. So a model or contract that names a new table is the request for the right, and its review is the grant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mesh_platform.broker import queue_of
from mesh_platform.lake.releases import RELEASES
from mesh_platform.lake.tables import tables_of
from mesh_platform.mesh.mesh import Domain, Mesh
from mesh_platform.sql.model import Model, tables_read
from mesh_platform.sql.references import tables_referred_to

Access = Literal["read", "write"]
OWN = "its own"


@dataclass(frozen=True, order=True)
class Right:
    """What a domain may do with a queue or a table: `<domain>.<name>`, and why."""

    domain: str
    resource: Literal["queue", "table"]
    name: str
    access: Access
    reason: str = ""


def rights_of(mesh: Mesh, models: Mapping[str, Model]) -> list[Right]:
    """Return all rights of all domains, sorted by domain, resource and name."""
    found = {
        (right.domain, right.resource, right.name, right.access): right
        for domain in mesh.domains.values()
        for right in (*_foreign(mesh, models, domain), *_own(domain))
    }
    return sorted(found.values())


def _own(domain: Domain) -> Iterator[Right]:
    retired = (contract for contract in domain.retired.values() if contract.event)
    for contract in (*domain.contracts.values(), *retired):
        if contract.event:
            queue = queue_of(contract)
            yield Right(domain.name, "queue", queue.name, "read", OWN)
            yield Right(domain.name, "queue", queue.dead_letter, "read", OWN)
            if not contract.retired:
                yield Right(domain.name, "queue", queue.name, "write", OWN)
        for table in tables_of(contract):
            yield Right(domain.name, "table", table.name, "read", OWN)
            yield Right(domain.name, "table", table.name, "write", OWN)


def _foreign(mesh: Mesh, models: Mapping[str, Model], domain: Domain) -> Iterator[Right]:
    yield Right(domain.name, "table", RELEASES, "read", "the releases of the mesh")
    for contract in domain.contracts.values():
        reasons = dict.fromkeys(tables_referred_to(contract), "referred to by")
        reasons |= dict.fromkeys(tables_read(mesh, models, contract.identifier), "read by the model of")
        for table, reason in reasons.items():
            if table.partition(".")[0] != domain.name:
                yield Right(domain.name, "table", table, "read", f"{reason} {contract.identifier}")
