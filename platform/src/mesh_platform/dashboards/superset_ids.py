"""The ids of the mesh's things in Superset: a UUID made of the name, the same on each server."""

from __future__ import annotations

from uuid import UUID, uuid5

_MESH = UUID("6f1f4f1c-7a52-5c39-9b0e-3d2a3c1d9f10")
# The name of the connection, as people see it in SQL Lab.
DATABASE = "Mesh"


def asset_id(kind: str, name: str) -> str:
    """Return the UUID of a chart, dataset or dashboard by its name `<domain>.<dashboard>[.<name>]`."""
    return str(uuid5(_MESH, f"{kind}:{name}"))


DATABASE_ID = asset_id("database", DATABASE)
