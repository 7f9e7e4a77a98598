"""What SQL can read by name: the mesh arrives; its relations leave, their shapes and the SQL that makes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from mesh_platform.contract import Contract, Field, Shape
from mesh_platform.domain import Mesh, Site, interface_view
from mesh_platform.field_types import parse_type
from mesh_platform.lake.landing import landing_name, landing_shape

if TYPE_CHECKING:
    import duckdb

_SPANS = ("day", "month", "year")
SITES = "mesh.sites"
_PARTITION_VALUE = {
    "day": "CAST({} AS DATE)",
    "month": "date_trunc('month', {})",
    "year": "date_trunc('year', {})",
    "identity": "{}",
}


def relation_shapes(mesh: Mesh) -> dict[str, Shape]:
    """Every relation that a model may read: products, landing tables, interface unions, `mesh.sites`."""
    shapes = table_shapes(mesh)
    shapes |= {name: interface.table for name, (interface, _) in interface_unions(mesh).items()}
    return shapes | {SITES: SITES_SHAPE}


def table_shapes(mesh: Mesh) -> dict[str, Shape]:
    """The relations that are tables of the catalog: each product's own, and landing tables, of retired ones too."""
    shapes = {name: contract.table for name, contract in mesh.contracts.items()}
    sent = [contract for contract in (*mesh.contracts.values(), *mesh.retired.values()) if contract.event]
    return shapes | {landing_name(contract): landing_shape(contract) for contract in sent}


def interface_unions(mesh: Mesh) -> dict[str, tuple[Contract, list[Contract]]]:
    """Each interface union, such as `logistics_core.order_v1`: the interface and what implements it."""
    return {
        interface_view(interface.domain, name): (interface, mesh.implementations(name))
        for name, interface in mesh.interfaces.items()
    }


def tables_behind(mesh: Mesh, relation: str) -> tuple[str, ...]:
    """The tables of the catalog that `relation` is made of: itself, an interface's implementations, or none."""
    if relation == SITES:
        return ()
    unions = interface_unions(mesh)
    return tuple(c.identifier for c in unions[relation][1]) if relation in unions else (relation,)


def union_select(interface: Contract, sources: Mapping[str, Mapping[str, str]]) -> str:
    """The SQL of an interface union, by name.

    `sources` maps a relation to the expressions of those columns that are not simply the column of that name.
    """
    fields = interface.table.fields
    selects = [
        f"SELECT {', '.join(typed(field, own.get(field.name)) for field in fields)} FROM {quoted(relation)}"
        for relation, own in sources.items()
    ]
    return "\nUNION ALL\n".join(selects) or empty_select(interface.table)


def empty_select(shape: Shape, condition: str = "false") -> str:
    """The SQL of a relation without rows that has the columns of `shape`."""
    return f"SELECT {', '.join(typed(field, 'NULL') for field in shape.fields)} WHERE {condition}"


def typed(field: Field, expression: str | None = None) -> str:
    """The SQL of one column of a select, in the contract's type; by default the column of that name."""
    return f"CAST({expression or quoted(field.name)} AS {field.type.duckdb}) AS {quoted(field.name)}"


def quoted(name: str) -> str:
    """`name`, dotted or not, quoted for SQL."""
    return ".".join(f'"{part}"' for part in name.split("."))


def partition_values(shape: Shape, relation: str) -> list[str]:
    """SQL expressions on `relation` that tell the partitions of `shape` apart, as its Iceberg transforms do."""
    return [
        _PARTITION_VALUE[transform].format(f"{relation}.{quoted(column)}") for transform, column in shape.partition
    ]


def has_days(shape: Shape) -> bool:
    """Whether a table of this shape has partitions by time: days, months or years."""
    return any(transform in _SPANS for transform, _ in shape.partition)


def days_between(shape: Shape, relation: str, first: date, last: date) -> str:
    """The SQL condition that a row of `relation` lies in a partition by time that reaches into these days.

    The shape `has_days`; of several partitions by time the first counts.
    """
    partitions = zip(shape.partition, partition_values(shape, relation), strict=True)
    span, value = next((transform, value) for (transform, _), value in partitions if transform in _SPANS)
    begin, end = (f"date_trunc('{span}', DATE '{day.isoformat()}')" for day in (first, last))
    return f"{value} BETWEEN {begin} AND {end}"


def in_partitions(shape: Shape, relation: str, touched: str) -> str:
    """The SQL condition that a row of `relation` lies in a partition that `touched` has a row in."""
    pairs = zip(partition_values(shape, touched), partition_values(shape, relation), strict=True)
    columns, tests = ["true AS p"], ["true"]
    for number, (there, here) in enumerate(pairs):
        columns.append(f"{there} AS p{number}")
        tests.append(f"p{number} IS NOT DISTINCT FROM {here}")
    return f"EXISTS (SELECT 1 FROM (SELECT DISTINCT {', '.join(columns)} FROM {touched}) WHERE {' AND '.join(tests)})"


def table_definition(relation: str, shape: Shape) -> str:
    """The SQL that creates an empty table of `shape`."""
    columns = ", ".join(f"{quoted(field.name)} {field.type.duckdb}" for field in shape.fields)
    return f"CREATE TABLE {quoted(relation)} ({columns})"


def create_schemas(connection: duckdb.DuckDBPyConnection, mesh: Mesh) -> None:
    """Create a schema for each domain, and `mesh.sites` with its rows."""
    for name in (*mesh.domains, SITES.split(".")[0]):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")
    connection.execute(table_definition(SITES, SITES_SHAPE))
    for row in site_rows(mesh):
        connection.execute(f"INSERT INTO {quoted(SITES)} VALUES ({', '.join('?' * len(row))})", row)


def site_rows(mesh: Mesh) -> list[list[str]]:
    """The rows of `mesh.sites`: one for each domain that has a site, as text, in the order of `SITES_SHAPE`."""
    return [
        [domain.name, *(str(getattr(domain.site, name)) for name in Site.model_fields)]
        for domain in mesh.domains.values()
        if domain.site
    ]


def sites_hash(mesh: Mesh) -> str:
    """What `mesh.sites` holds, in 16 hexadecimal digits."""
    return content_hash(json.dumps(site_rows(mesh)).encode())


def content_hash(content: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def _site_column(name: str) -> Field:
    field_type = parse_type("date" if name == "opened_on" else "string")
    return Field(name=name, type=field_type, description=f"{name} in domain.yaml.", required=True, key=0, line=1)


SITES_SHAPE = Shape(
    name="sites",
    description="One row for each domain that has a site.",
    fields=tuple(_site_column(name) for name in ("domain", *Site.model_fields)),
    partition=(),
    time=None,
    line=1,
)
