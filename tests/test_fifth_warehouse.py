"""A fifth warehouse: made from the template, tested, and in the facts, with no other file touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mesh_platform.broker import connect
from mesh_platform.build.build import build
from mesh_platform.errors import Problem
from mesh_platform.events.producer import batch, publish, read_csv, wrap
from mesh_platform.ingest.ingest import ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.scaffold.new import new_domain, propose_answers
from mesh_platform.settings import Settings

ROOT = Path(__file__).parents[1]
NAME = "central_warehouse"
# Each fact of the warehouses, and the events that it holds.
FACTS = {
    "fact_orders": ("order_created",),
    "fact_returns": ("order_returned",),
    "fact_inventory_movements": ("inventory_movement", "inventory_restock_event"),
    "fact_order_errors": ("order_error_event",),
    "fact_dispatch_logs": ("dispatch_log_event",),
}
EVENTS = [event for events in FACTS.values() for event in events]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy = tmp_path / "mesh"
    for folder in ("domains", "templates"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


@pytest.mark.slow
def test_a_fifth_warehouse_joins_by_its_own_folder_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprints(root)
    answers = {"team": "Central Ops", "steward": "Kim Lee", "events": ",".join(EVENTS)}
    new_domain(root, propose_answers(root, NAME, answers))
    for variable in [name for name in os.environ if name.startswith(("MESH_", "PYICEBERG_"))]:
        monkeypatch.delenv(variable)

    suite = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"domains/{NAME}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert suite.returncode == 0, suite.stdout
    assert "44 passed" in suite.stdout, suite.stdout

    mesh = load_mesh(root)
    catalog = open_catalog(settings := Settings(root=root, state=tmp_path / "state"))
    contracts = [contract for contract in mesh.ingested() if mesh.domains[contract.domain].site]
    assert len(contracts) == 5 * len(EVENTS)
    sent: Counter[tuple[str, str]] = Counter()
    with connect(settings.broker) as broker:
        for contract in contracts:
            domain = mesh.domains[contract.domain]
            assert domain.site is not None
            assert contract.event is not None
            sample = domain.folder / "producers" / f"{contract.name}.csv"
            lines = [event.to_json() for event in wrap(contract, read_csv(contract, domain, sample, fail), "test")]
            sent[contract.event.name, domain.site.warehouse_id] = publish(broker, contract, batch(lines, 50))
        ingest(catalog, broker, contracts, lambda: datetime(2025, 11, 1, tzinfo=UTC), until_empty=True)
    build(mesh, catalog)
    for fact, events in FACTS.items():
        rows = catalog.load_table(f"logistics_core.{fact}").scan().to_arrow()
        wanted: Counter[str] = Counter()
        for (event, warehouse), count in sent.items():
            wanted[warehouse] += count if event in events else 0
        assert len(wanted) == 5
        assert Counter(rows["warehouse_id"].to_pylist()) == wanted, fact
    warehouses = catalog.load_table("logistics_core.dim_warehouse").scan().to_arrow()
    assert (NAME, "WH-CENTRAL") in zip(
        warehouses["domain"].to_pylist(), warehouses["warehouse_id"].to_pylist(), strict=True
    )

    after = fingerprints(root)
    own = f"domains/{NAME}/"
    assert {path: value for path, value in after.items() if not path.startswith(own)} == before


def fail(problem: Problem) -> None:
    pytest.fail(str(problem))


def fingerprints(root: Path) -> dict[str, str]:
    """The hash of each file below `root`, but for what Python keeps for itself."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
