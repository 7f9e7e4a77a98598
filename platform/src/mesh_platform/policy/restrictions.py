"""Read restrictions of a table for a role, as a catalog of Iceberg's REST specification sends them to engines."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from mesh_platform.contract.contract import platform_column
from mesh_platform.contract.masking import applies
from mesh_platform.contract.schema_change import present_name
from mesh_platform.lake.catalog import contract_type
from mesh_platform.policy.masks import masks, reads_all, withheld
from mesh_platform.policy.roles import row_filter

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

    from mesh_platform.lake.tables import MeshTable
    from mesh_platform.mesh.mesh import Mesh


def read_restrictions(mesh: Mesh, role: str | None, table: MeshTable, schema: Schema) -> dict[str, Any]:
    """Return the `ReadRestrictions` of a table with this Iceberg schema, by field id; empty if it reads everything.

    A column that the contract does not have, such as one that it dropped, is shown to roles of the contract alone.
    """
    contract, columns = table.contract, {column.name: column for column in schema.fields}
    names = {present_name(field, columns): field for field in table.schema.fields}
    known = {}
    for name, column in columns.items():
        field = names.get(name) or platform_column(name, "string", "")
        known[name] = replace(field, name=name, type=contract_type(column.field_type), required=column.required)
    found = masks(role, contract, known.values(), table.kind == "quarantine")
    if not reads_all(role, contract):
        found |= {name: withheld(field) for name, field in known.items() if name not in names}
    projections = [
        {
            "field-id": columns[name].field_id,
            "action": mask.action
            if applies(mask.action, mask.kind, known[name].required)
            else withheld(known[name]).action,
        }
        for name, mask in found.items()
    ]
    allowed = row_filter(mesh, role, contract, table.schema, [field.name for name, field in names.items() if name])
    restrictions: dict[str, Any] = {"required-column-projections": projections} if projections else {}
    if allowed is None:
        return {**restrictions, "required-row-filter": False}
    present = {field.name: name for name, field in names.items() if name}
    terms = [
        {
            "type": "in",
            "child": {"type": "reference", "id": columns[present[name]].field_id},
            "values": [*values],
        }
        for name, values in allowed.items()
    ]
    if terms:
        both = reduce(lambda left, right: {"type": "and", "left": left, "right": right}, terms)
        restrictions["required-row-filter"] = both
    return restrictions
