"""Write DuckDB files with the tables of the mesh, for tools that open a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mesh_platform.engine.duckdb import connect
from mesh_platform.engine.sql import literal, quoted
from mesh_platform.errors import UsageError
from mesh_platform.lake.catalog import find_tables
from mesh_platform.lake.platform_tables import PLATFORM_TABLES
from mesh_platform.query.as_of import find_states
from mesh_platform.query.session import create_views, open_session, view_names
from mesh_platform.query.state_cache import StateCache

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog

    from mesh_platform.mesh.mesh import Mesh
    from mesh_platform.policy.pseudonyms import Salts

# The name of a domain has no hyphen, so a database cannot be confused with one.
_FILE, _COPY = "new-tables.duckdb", "mesh-copy"


def write_database(
    mesh: Mesh,
    catalog: Catalog,
    path: Path,
    role: str | None = None,
    only: Collection[str] | None = None,
    salts: Salts | None = None,
) -> None:
    """Write a DuckDB file with the current state of all tables; an existing DuckDB file is replaced atomically.

    Without a role it has the views of `open_session`; readers must first load DuckDB's extensions avro and iceberg.
    For a role it has tables instead, which hold the rows as the role reads them: a view could not keep the key of
    pseudonyms, and would name the files with what it hides. `only` names the views to copy. `salts` are those of the
    session.

    Raises UsageError for an unknown role, and if `path` is a folder, a file that is no DuckDB file, or named after a
    domain.
    """
    check_replaceable(path)
    if path.name.partition(".")[0].lower() in mesh.domains:
        # DuckDB names the database after the file, so `shop.sales` would be ambiguous in shop.duckdb.
        raise UsageError(
            f"{path}: DuckDB would confuse the file with the domain of that name. Name another, such as views.duckdb."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        beside = Path(folder) / _FILE
        if role is None:
            with connect(catalog.properties, str(beside)) as connection:
                states = find_states(mesh, catalog, None, None)
                create_views(connection, mesh, states, find_tables(catalog, PLATFORM_TABLES), None, StateCache())
        else:
            _copy(mesh, catalog, beside, role, only, salts)
        os.replace(beside, path)


def _copy(
    mesh: Mesh, catalog: Catalog, path: Path, role: str, only: Collection[str] | None, salts: Salts | None
) -> None:
    with open_session(mesh, catalog, role=role, only=only, locked=False, salts=salts) as session:
        query = "SELECT table_schema || '.' || table_name FROM information_schema.tables"
        made = {name for (name,) in session.execute(query).fetchall()}
        names = [name for name in only or view_names(mesh) if name in made]
        session.execute(f"ATTACH {literal(str(path))} AS {quoted(_COPY)}")
        for namespace in sorted({name.partition(".")[0] for name in names}):
            session.execute(f"CREATE SCHEMA {quoted(f'{_COPY}.{namespace}')}")
        for name in names:
            session.execute(f"CREATE TABLE {quoted(f'{_COPY}.{name}')} AS SELECT * FROM {quoted(name)}")
        session.execute(f"DETACH {quoted(_COPY)}")


def check_replaceable(path: Path) -> None:
    """Raise UsageError if a DuckDB file would replace a folder or any other file."""
    if path.is_dir():
        raise UsageError(f"{path}: a folder. Name a file, such as views.duckdb.")
    if path.exists() and not _is_duckdb(path):
        raise UsageError(f"{path}: no DuckDB file; it would be replaced. Name another, or remove it.")


def _is_duckdb(path: Path) -> bool:
    """Whether a file begins as DuckDB's files do, with DUCK after a checksum of eight bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[8:] == b"DUCK"
