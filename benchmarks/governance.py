"""What it takes to hold the mesh to its rules, and one of a hundred domains and three thousand products.

Warm is a check that finds what it remembers of the files, as all but the first do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.figures import Bench

ROOT = Path(__file__).resolve().parent.parent
TIMES = 3
DOMAINS = 100
COPIES = 5
# The six products of the warehouse that all others are made like; its rates stay one product.
MODEL = "north"
_SHARED = "exchange_rates"


def measure(bench: Bench) -> None:
    """`mesh check` as a process of its own: the first, and the median of some more."""
    with bench.scratch() as folder:
        own = folder / "own"
        own.mkdir()
        for name in ("domains", "templates", ".github"):
            shutil.copytree(ROOT / name, own / name, ignore=shutil.ignore_patterns("__pycache__"))
        _measure(bench, "six domains", own, 2)
        large = folder / "large"
        domains = bench.size(DOMAINS)
        write_mesh(large, domains)
        products = len([*large.glob("domains/*/contracts/*")])
        _measure(bench, f"{domains} domains, {products:,} products", large, 10)


def _measure(bench: Bench, what: str, root: Path, at_most: float) -> None:
    shutil.rmtree(root / ".mesh", ignore_errors=True)
    bench.add(f"mesh check, {what}, cold", _check(root), "s")
    bench.add(f"mesh check, {what}, warm", median(_check(root) for _ in range(TIMES)), "s", at_most=at_most)


def write_mesh(root: Path, domains: int) -> None:
    """A mesh of so many domains below `root`: the real aggregate, and warehouses that are one of the real ones."""
    shutil.copytree(ROOT / "domains" / "logistics_core", root / "domains" / "logistics_core")
    for number in range(domains - 1):
        _write_warehouse(root / "domains", f"w{number:03}")
    _mesh(root, "--fix")


def _write_warehouse(domains: Path, region: str) -> None:
    source, target = ROOT / "domains" / f"{MODEL}_warehouse", domains / f"{region}_warehouse"
    shared = re.compile(rf"{_SHARED}\.|tests|dags|__init__|README|__pycache__")
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = str(path.relative_to(source))
        if "__pycache__" in name:
            continue
        text = path.read_text(encoding="utf-8").replace(f"{MODEL}_warehouse", f"{region}_warehouse")
        text = text.replace(f"WH-{MODEL.upper()}", f"WH-{region.upper()}").replace(
            f"region: {MODEL}", f"region: {region}"
        )
        if shared.search(name) or "/" not in name:
            _write(target / name.replace(MODEL, region), text)
            continue
        for copy in range(COPIES):
            end = f"{region}_{copy}"
            own = re.sub(rf"_{MODEL}\b|_{MODEL}(?=__)", f"_{end}", text)
            _write(target / name.replace(f"_{MODEL}", f"_{end}"), _with_own_event(own, copy))


def _with_own_event(text: str, copy: int) -> str:
    """Another event for each copy, by which the exchange of the domain tells them apart."""
    return re.sub(r"(  - name: [a-z_]+)(\n    physicalType: event)", rf"\1_{copy}\2", text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _check(root: Path) -> float:
    begin = perf_counter()
    _mesh(root)
    return perf_counter() - begin


def _mesh(root: Path, *options: str) -> None:
    command = [sys.executable, "-c", "from mesh_platform.cli import main; main()", "check", *options]
    environment = {**os.environ, "MESH_ROOT": str(root), "MESH_STATE": ".mesh"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
