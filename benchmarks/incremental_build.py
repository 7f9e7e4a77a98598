"""What an incremental build costs beside a full one: new order lines land, the fact of sales takes them in."""

from __future__ import annotations

import resource
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from statistics import median

from mesh_platform.build import build
from mesh_platform.domain import load_mesh
from mesh_platform.lake.catalog import open_catalog
from mesh_platform.settings import Settings

from benchmarks.order_lines import LATE, land_lines

FACT = "logistics_core.fact_orders"
ROWS, DAYS, FIRST = 5_000_000, 360, date(2025, 1, 1)
SHARE, TIMES = 0.01, 5


def main(scale: float) -> None:
    mesh = load_mesh(Path(__file__).parent.parent)
    rows = round(ROWS * scale)
    with TemporaryDirectory(dir="/tmp/lab/read-tmp") as folder:
        catalog = open_catalog(Settings(root=mesh.root, state=Path(folder)))
        start = time.perf_counter()
        land_lines(mesh, catalog, FIRST, DAYS, rows, "old")
        print("filled", time.perf_counter() - start)
        newest = FIRST + timedelta(days=DAYS - 1)

        def timed(full: bool) -> tuple[float, float]:
            start, cpu = time.perf_counter(), time.process_time()
            done = build(mesh, catalog, [FACT], full)
            took = time.perf_counter() - start, time.process_time() - cpu
            print([(b.table, b.mode, b.rows, b.partitions) for b in done if b.mode != "noop"], took, flush=True)
            return took

        first = timed(False)
        full = [timed(True) for _ in range(3)]
        on_time, late = [], []
        for number in range(TIMES):
            land_lines(mesh, catalog, newest, 1, round(rows * SHARE), f"new{number}")
            on_time.append(timed(False))
            land_lines(mesh, catalog, newest, 1, round(rows * SHARE), f"late{number}", LATE)
            late.append(timed(False))
        for clock, name in enumerate(("wall", "cpu")):
            f, o, l = (median(x[clock] for x in xs) for xs in (full, on_time, late))
            print(f"{name}: full {f:.2f}  1% {o:.3f} = {o / f:.3f}   late {l:.3f} = {l / f:.3f}")
        print("peak MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(float(sys.argv[1]))
