"""Asks the lake of MESH_STATE one SELECT, as `mesh query --role analyst` does."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.policy.pseudonyms import Salts
from mesh_platform.policy.roles import ANALYST
from mesh_platform.query.query import run_query, views_named
from mesh_platform.query.session import open_session
from mesh_platform.settings import Settings, find_root


def ask(query: str) -> pd.DataFrame:
    """The rows of one SELECT. Raises UsageError for what DuckDB refuses, with its hint."""
    mesh = load_mesh(find_root(Path(__file__)))
    settings = Settings(root=mesh.root)
    catalog, salts = open_catalog(settings), Salts(state=settings.state_dir)
    with open_session(mesh, catalog, role=ANALYST, only=views_named(mesh, query), salts=salts) as session:
        return run_query(session, query).to_pandas()
