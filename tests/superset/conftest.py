"""A Superset on three days of ACME, for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from mesh_platform.mesh.dashboards import Dashboard
from mesh_platform.mesh.mesh import Mesh
from superset_server import Superset, superset_server

from conftest import ROOT, missing, new_state


@pytest.fixture(scope="session")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    """A Superset on three days of ACME, on a copy of the repository whose files tests may change."""
    if not (ROOT / ".venv-superset" / "bin" / "gunicorn").exists():
        missing("Superset is not installed: make .venv-superset/done")
    folder = tmp_path_factory.mktemp("superset")
    root = folder / "repository"
    ignored = shutil.ignore_patterns(".git", ".venv*", ".mesh*", "build", "*_cache")
    shutil.copytree(ROOT, root, ignore=ignored, symlinks=True)
    for name in (".venv", ".venv-superset"):
        (root / name).symlink_to(ROOT / name)
    state = new_state(folder / "state", root)
    state.mesh("run", "--days", 3, "--format", "json")
    with superset_server(state) as server:
        yield server


@pytest.fixture
def dashboards(mesh: Mesh) -> list[Dashboard]:
    return [*mesh.dashboards.values()]
