"""The DuckDB file that the sources of a dbt project are in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mesh_platform.engine.sql import literal, quoted
from mesh_platform.query.session import check_replaceable, open_session, write_views

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog

    from mesh_platform.mesh.mesh import Mesh

# The name of a domain has no hyphen, so it cannot be this one.
_COPY = "mesh-copy"


def write_sources(
    mesh: Mesh, catalog: Catalog, path: Path, sources: Collection[str], role: str | None = None
) -> None:
    """Write the DuckDB file of a dbt project; an existing DuckDB file is replaced atomically.

    Without a role it has the views of `mesh views`. For a role it has a table for each of `sources` with the rows as
    the role reads them: a view could not keep the key of pseudonyms, and would name the files with what it hides.
    Raises UsageError for an unknown role, and if `path` is a folder or any other file than a DuckDB file.
    """
    if role is None:
        write_views(mesh, catalog, path)
        return
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        open_session(mesh, catalog, role=role, only=sources, locked=False) as session,
        tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder,
    ):
        copy = Path(folder) / "sources.duckdb"
        session.execute(f"ATTACH {literal(str(copy))} AS {quoted(_COPY)}")
        for namespace in sorted({name.partition(".")[0] for name in sources}):
            session.execute(f"CREATE SCHEMA {quoted(f'{_COPY}.{namespace}')}")
        for name in sources:
            session.execute(f"CREATE TABLE {quoted(f'{_COPY}.{name}')} AS SELECT * FROM {quoted(name)}")
        session.execute(f"DETACH {quoted(_COPY)}")
        os.replace(copy, path)
