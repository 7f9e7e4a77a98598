"""What an incremental build costs beside a full one: new order lines land, the fact of sales takes them in.

The way is that of `mesh build logistics_core.fact_orders`: from the landing tables over the four products.
"""

from __future__ import annotations

import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from mesh_platform.build.build import build
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.settings import Settings

from benchmarks.figures import Bench
from benchmarks.order_lines import LATE, land_lines

FACT = "logistics_core.fact_orders"
# The last month has half of its days when the builds begin, and gets one more with each.
ROWS, FIRST, DAYS = 5_000_000, date(2025, 1, 1), 350
SHARE, TIMES, FULL_TIMES = 0.01, 5, 3


def measure(bench: Bench) -> None:
    """A full build of the fact, and incremental ones: of the lines of a new day, and with late ones among them."""
    mesh = load_mesh(Path(__file__).parent.parent)
    rows, newest = bench.size(ROWS, 10_000), FIRST + timedelta(days=DAYS)
    with bench.scratch() as folder:
        catalog = open_catalog(Settings(root=mesh.root, state=folder))
        land_lines(mesh, catalog, FIRST, DAYS, rows, "old")

        def seconds(mode: str) -> float:
            began = time.perf_counter()
            done = build(mesh, catalog, [FACT], full=mode == "rebuild")
            took = time.perf_counter() - began
            assert done[-1].mode == mode, f"{FACT} was built by {done[-1].mode}"
            return took

        seconds("rebuild")
        full = median(seconds("rebuild") for _ in range(FULL_TIMES))
        took: dict[float, list[float]] = {0.0: [], LATE: []}
        for number in range(TIMES):
            for late, times in took.items():
                land_lines(mesh, catalog, newest, 1, round(rows * SHARE), f"new {number} {late}", late)
                times.append(seconds("incremental"))
                newest += timedelta(days=1)
    bench.add("incremental build: full build", full, "s")
    for name, late, at_most in (("1 % on time", 0.0, 0.05), ("1 % with late ones", LATE, 0.20)):
        bench.add(f"incremental build: {name}, seconds", median(took[late]), "s")
        bench.ratio(
            f"incremental build: {name}",
            median(took[late]) / full,
            against="incremental build: full build",
            at_most=at_most,
        )
