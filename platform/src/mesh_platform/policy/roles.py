"""The roles that read the mesh, and which rows each of them may read.

Contracts list roles that read their personal data. Every mesh also has ANALYST and STEWARD, who read all rows, a role
for each warehouse, called by its id, which reads the rows of that warehouse, and OWNER, who reads everything. What a
role may not see of a row is in `policy.masks`.
"""

from __future__ import annotations

from collections.abc import Collection

from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.references import UNKNOWN
from mesh_platform.text import offer

ANALYST, STEWARD, OWNER = "analyst", "steward", "owner"
# The column that names a warehouse, alone or after another word: `home_warehouse_id`.
_WAREHOUSE = "warehouse_id"


def known_roles(mesh: Mesh) -> list[str]:
    """Return the names of all roles but OWNER: analyst, steward, those of warehouses, those that contracts list."""
    listed = sorted({name for contract in mesh.contracts.values() for name in contract.roles})
    return [*dict.fromkeys([*dashboard_roles(mesh), *listed])]


def dashboard_roles(mesh: Mesh) -> list[str]:
    """Return the roles of dashboards: analyst, steward and one for each warehouse. None reads personal data."""
    return [ANALYST, STEWARD, *warehouse_roles(mesh)]


def warehouse_roles(mesh: Mesh) -> dict[str, str]:
    """Map the role of each warehouse, which is its id, to its domain."""
    return {domain.site.warehouse_id: domain.name for domain in mesh.domains.values() if domain.site}


def role_named(word: str) -> str | None:
    """Return the role that a user asks for by `word`; None, which is OWNER, hides nothing."""
    return None if word == OWNER else word


def reads_audit(role: str | None) -> bool:
    """Whether `role` reads who asked what: the steward and the owner do."""
    return role in (None, STEWARD)


def check_role(mesh: Mesh, role: str | None) -> None:
    """Raise UsageError if there is no such role; None means no role and is always accepted."""
    if role is not None and role not in (roles := known_roles(mesh)):
        offered = offer(role, dict.fromkeys([*roles, OWNER]))
        raise UsageError(f"--role {role}: no contract knows this role. {offered}")


def rows_of(
    mesh: Mesh, role: str | None, contract: Contract, schema: TableSchema, shown: Collection[str]
) -> str | None:
    """Return the SQL condition on the rows that `role` may read of a table of `contract`; None means all rows.

    `shown` are the columns of `schema` that the table has: a past state that does not name its warehouse has no rows.

    The role of a warehouse reads its own domain whole, of other warehouses nothing, and of shared domains the rows
    that name its warehouse; a shared table that names none, such as a calendar, is read whole.
    """
    allowed = row_filter(mesh, role, contract, schema, shown)
    if allowed is None:
        return "false"
    tests = (f"{quoted(name)} IN ({', '.join(map(literal, values))})" for name, values in allowed.items())
    return " AND ".join(tests) or None


def row_filter(
    mesh: Mesh, role: str | None, contract: Contract, schema: TableSchema, shown: Collection[str]
) -> dict[str, tuple[str, ...]] | None:
    """Return the values that columns of a readable row have, as `rows_of` states in SQL; None means that none is."""
    if contract.domain not in domains_read(mesh, role):
        return None
    own = warehouse_roles(mesh).get(role or "")
    if role is None or own is None or contract.domain == own:
        return {}
    named = [field.name for field in schema.fields if field.name.endswith(_WAREHOUSE)]
    return dict.fromkeys(named, (role, UNKNOWN)) if {*named} <= {*shown} else None


def domains_read(mesh: Mesh, role: str | None) -> list[str]:
    """Return the domains of which `role` reads anything: all, or for a warehouse its own and those without a site."""
    own = warehouse_roles(mesh).get(role or "")
    return [name for name, domain in mesh.domains.items() if own is None or name == own or not domain.site]
