"""The last task of a build keeps OpenMetadata in step, where it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesh_platform.dags import tasks
from mesh_platform.sql.model import read_models

from ..metadata.openmetadata.double import TOKEN, Double
from ..metadata.openmetadata.double_http import serving
from ..metadata.openmetadata.published import owned_mesh


def test_the_last_task_publishes_where_openmetadata_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mesh = owned_mesh(tmp_path).mesh
    models = read_models(mesh)
    monkeypatch.delenv("MESH_OPENMETADATA_URL", raising=False)
    assert tasks.publish(mesh, models) is None
    double = Double()
    with serving(double) as url:
        monkeypatch.setenv("MESH_OPENMETADATA_URL", url)
        monkeypatch.setenv("MESH_OPENMETADATA_TOKEN", TOKEN)
        assert (tasks.publish(mesh, models) or 0) > 0
        assert ("table", "mesh.mesh.core.fact_sales") in double.by_name
        assert tasks.publish(mesh, models) == 0
