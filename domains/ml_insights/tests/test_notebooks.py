"""Each notebook answers by one query, and agrees with `mesh query` and with a dashboard: `make test-ml`."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import find_root
from mesh_platform.sql.chart_query import chart_sql

FOLDER = Path(__file__).parents[1] / "notebooks"
NEW_ANOMALIES = FOLDER.parent / "dags" / "new_order_anomalies.sql"
# The domain, dashboard and chart that give the same numbers.
CHARTS = {
    "demand": ("ml_insights", "stock_and_forecast", "forecast_by_day"),
    "stockouts": ("ml_insights", "stock_and_forecast", "risk_by_region"),
    "sla_violations": ("logistics_core", "deliveries", "violations_by_vehicle_and_region"),
    "order_anomalies": ("ml_insights", "stock_and_forecast", "order_anomalies"),
}
# From the fifteenth on days are judged; the eighteenth has an anomaly.
DAYS = 18
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def cells(name: str) -> list[dict[str, Any]]:
    found = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def query_of(name: str) -> str:
    """The SELECT that the notebook calls QUERY."""
    assigned = [
        ast.literal_eval(node.value)
        for cell in cells(name)
        for node in ast.parse("".join(cell["source"])).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "QUERY"
    ]
    (query,) = assigned
    return str(query)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_short_and_stored_without_output(name: str) -> None:
    assert len(cells(name)) <= 3
    for cell in cells(name):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), (
            f"{name}.ipynb has outputs. Clear them before you commit: they are as old as the lake they came from."
        )


def test_each_notebook_has_its_chart() -> None:
    assert sorted(CHARTS) == NOTEBOOKS


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a lake of some days, made once."""
    pytest.importorskip("nbclient", reason="the notebooks' packages are not in this environment: make test-ml")
    environment = {**os.environ, "MESH_STATE": str(tmp_path_factory.mktemp("lake"))}
    mesh(environment, "run", "--days", str(DAYS), "--format", "json")
    return environment


def mesh(environment: dict[str, str], *words: str) -> str:
    command = [str(Path(sys.executable).with_name("mesh")), *words]
    return subprocess.run(
        command, env=environment, cwd=find_root(FOLDER), capture_output=True, text=True, check=True
    ).stdout


def asked(environment: dict[str, str], query: str) -> list[tuple[Any, ...]]:
    rows = json.loads(mesh(environment, "query", "--role", "analyst", "--format", "json", query))
    return alike(row.values() for row in rows)


def alike(rows: Any) -> list[tuple[Any, ...]]:
    """The rows in one order; a number is a float of nine digits, and a time is its day."""
    return sorted((tuple(map(_plain, row)) for row in rows), key=repr)


def _plain(value: Any) -> Any:
    try:
        return float(f"{float(value):.9g}")
    except (TypeError, ValueError):
        return value[:10] if isinstance(value, str) and value[4:5] == "-" else value


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_query_and_chart_give_the_same_numbers(name: str, lake: dict[str, str]) -> None:
    import nbclient
    import nbformat

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    numbers = "print(found.to_json(orient='values', date_format='iso', double_precision=15, default_handler=float))"
    notebook.cells.append(nbformat.v4.new_code_cell(numbers))
    resources = {"metadata": {"path": str(FOLDER)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute(env=lake)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", ()) for output in outputs), "it has no plot"
    shown = alike(json.loads(outputs[-1]["text"]))
    assert shown, "the lake has nothing to show"

    domain, dashboard, chart = CHARTS[name]
    assert shown == asked(lake, query_of(name))
    assert shown == asked(lake, chart_sql(load_mesh(find_root(FOLDER)).domain(domain).dashboards[dashboard], chart))


def test_make_notebooks_writes_pages_that_show_the_numbers_and_the_plot_and_load_nothing(
    lake: dict[str, str], tmp_path: Path
) -> None:
    def pages(state: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(FOLDER / "pages.py"), str(tmp_path)]
        environment = {**lake, "MESH_STATE": state}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    nothing = pages(str(tmp_path / "nothing"))
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "no lake is here yet. 'make run' makes one." in nothing.stderr
    done = pages(lake["MESH_STATE"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / f"{name}.html") for name in NOTEBOOKS]
    for name in NOTEBOOKS:
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert "<h1>" in text
        assert '<table border="1" class="dataframe">' in text
        assert 'src="data:image/png;base64,iVBOR' in text
        assert not re.search(r"<script|https?://|src=\"[^d]", text)


def test_an_alert_names_the_warehouse_the_day_and_its_owners(lake: dict[str, str]) -> None:
    (alert,) = json.loads(mesh(lake, "query", "--format", "json", "--", NEW_ANOMALIES.read_text(encoding="utf-8")))
    assert alert["id"] == "WH-NORTH 2025-10-18 largest_line"
    assert alert["domain"] == "north_warehouse"
    assert "WH-NORTH on 2025-10-18: 12 units in one order line; usual is 6.6." in alert["message"]
