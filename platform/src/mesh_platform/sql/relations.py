"""List the relations that SQL of a mesh can read by name, their schemas, and the SQL that creates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mesh_platform.contract.contract import Contract, Field, TableSchema, platform_column
from mesh_platform.engine.sql import empty_select, literal, quoted, table_definition, typed
from mesh_platform.lake.tables import landing_name, landing_schema
from mesh_platform.mesh.mesh import Mesh, Site, interface_view

if TYPE_CHECKING:
    from mesh_platform.engine.protocol import Connection

SITES = "mesh.sites"


def relation_schemas(mesh: Mesh) -> dict[str, TableSchema]:
    """Return every relation that a model may read: products, landing tables, interface unions, `mesh.sites`."""
    interfaces = {name: interface.table for name, (interface, _) in interface_unions(mesh).items()}
    return {**table_schemas(mesh), **interfaces, SITES: SITES_SCHEMA}


def table_schemas(mesh: Mesh) -> dict[str, TableSchema]:
    """Return the relations that are catalog tables: of products, and landing tables, also of retired products."""
    found = {name: contract.table for name, contract in mesh.contracts.items()}
    sent = [contract for contract in (*mesh.contracts.values(), *mesh.retired.values()) if contract.event]
    return found | {landing_name(contract): landing_schema(contract) for contract in sent}


def interface_unions(mesh: Mesh) -> dict[str, tuple[Contract, list[Contract]]]:
    """Return each interface union, such as `logistics_core.order_v1`: the interface and its implementations."""
    return {
        interface_view(interface.domain, name): (interface, mesh.implementations(name))
        for name, interface in mesh.interfaces.items()
    }


def tables_behind(mesh: Mesh, relation: str) -> tuple[str, ...]:
    """Return the catalog tables that `relation` consists of: itself, an interface's implementations, or none."""
    if relation == SITES:
        return ()
    unions = interface_unions(mesh)
    return tuple(c.identifier for c in unions[relation][1]) if relation in unions else (relation,)


def union_select(interface: Contract, sources: Mapping[str, Mapping[str, str]]) -> str:
    """Return the SQL of an interface union, whose columns are matched by name.

    `sources` maps each relation to the expressions of the columns that are not simply its column of that name.
    """
    fields = interface.table.fields
    selects = [
        f"SELECT {', '.join(typed(field, own.get(field.name)) for field in fields)} FROM {quoted(relation)}"
        for relation, own in sources.items()
    ]
    return "\nUNION ALL\n".join(selects) or empty_select(interface.table)


def create_schemas(connection: Connection, mesh: Mesh) -> None:
    """Create a schema for each domain, and `mesh.sites` with its rows."""
    statements = [f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}" for name in (*mesh.domains, SITES.split(".")[0])]
    statements.append(table_definition(SITES, SITES_SCHEMA))
    if rows := site_rows(mesh):
        # Literals, because for each parameter DuckDB's client looks for pandas on the disk.
        listed = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
        statements.append(f"INSERT INTO {quoted(SITES)} VALUES {listed}")
    # One call: each takes a millisecond.
    connection.execute("; ".join(statements))


def site_rows(mesh: Mesh) -> list[list[str]]:
    """Return the rows of `mesh.sites`: one for each domain with a site, as text, in the order of `SITES_SCHEMA`."""
    return [
        [domain.name, *(str(getattr(domain.site, name)) for name in Site.model_fields)]
        for domain in mesh.domains.values()
        if domain.site
    ]


def _site_column(name: str) -> Field:
    return platform_column(name, "date" if name == "opened_on" else "string", f"{name} in domain.yaml.")


SITES_SCHEMA = TableSchema(
    name="sites",
    description="One row for each domain that has a site.",
    fields=tuple(_site_column(name) for name in ("domain", *Site.model_fields)),
    partition=(),
    time=None,
    line=1,
)
