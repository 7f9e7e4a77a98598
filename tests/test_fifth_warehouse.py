"""A fifth warehouse: made from the template, tested, and in the facts, with no other file touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pytest
from mesh_platform.broker import connect
from mesh_platform.build import build
from mesh_platform.domain import load_mesh
from mesh_platform.ingest import ingest
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.producer import batch, find_producer, publish, wrap
from mesh_platform.scaffold import new_domain, propose_answers
from mesh_platform.settings import Settings

ROOT = Path(__file__).parents[1]
NAME = "central_warehouse"
SOLD = 120


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
    new_domain(root, propose_answers(root, NAME, {"team": "Central Ops", "steward": "Kim Lee"}))
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
    assert "7 passed" in suite.stdout, suite.stdout

    mesh = load_mesh(root)
    catalog = open_catalog(settings := Settings(root=root, state=tmp_path / "state"))
    contracts = mesh.ingested()
    assert len(contracts) == 5
    with connect(settings.broker) as broker:
        for contract in contracts:
            site = mesh.domains[contract.domain].site
            assert site is not None
            source = find_producer(mesh, contract).source
            records = source.records(contract.domain, site, root=root, seed=3, start=date(2025, 10, 1))
            lines = [event.to_json() for event in islice(wrap(contract, records, "test"), SOLD)]
            assert publish(broker, contract, batch(lines, 50)) == SOLD
        ingest(catalog, broker, contracts, lambda: datetime(2025, 10, 2, tzinfo=UTC), until_empty=True)
    build(mesh, catalog)
    facts = catalog.load_table("logistics_core.fact_orders").scan().to_arrow()
    sites = ("NORTH", "SOUTH", "EAST", "WEST", "CENTRAL")
    assert Counter(facts["warehouse_id"].to_pylist()) == {f"WH-{site}": SOLD for site in sites}
    warehouses = catalog.load_table("logistics_core.dim_warehouse").scan().to_arrow()
    assert (NAME, "WH-CENTRAL") in zip(
        warehouses["domain"].to_pylist(), warehouses["warehouse_id"].to_pylist(), strict=True
    )

    after = fingerprints(root)
    own = f"domains/{NAME}/"
    assert {path: value for path, value in after.items() if not path.startswith(own)} == before


def fingerprints(root: Path) -> dict[str, str]:
    """The hash of each file below `root`, but for what Python keeps for itself."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
