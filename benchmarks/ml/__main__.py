"""`python -m benchmarks.ml`: backtests on held-out seeds; writes docs/ml-figures.md and build/bench-ml.json."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click

# One thread each: the seeds share the cores, and the same figures come out everywhere.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from benchmarks.figures import Bench, console, show_figures, write_json
from benchmarks.ml.backtest import Scores, backtest, demand_scores
from benchmarks.ml.page import add_real_orders, add_seeds, write_page
from benchmarks.ml.real_orders import read_panel

# Models were chosen on seed 11 alone.
HELD_OUT = (101, 102, 103)
# The last five times four weeks.
REAL_ORIGINS = (406, 434, 462, 490, 518)


@click.command()
@click.option("--seed", "seeds", type=int, multiple=True, default=HELD_OUT, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build"), show_default=True)
def main(seeds: tuple[int, ...], out: Path) -> None:
    """Backtest on each seed."""
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(len(seeds), multiprocessing.get_context("spawn")) as pool:
        found: dict[int, Scores] = dict(zip(seeds, pool.map(backtest, seeds), strict=True))
    bench = Bench(1.0, False, out)
    add_seeds(bench, found)
    add_real_orders(bench, demand_scores(read_panel(), REAL_ORIGINS))
    console.rule(align="left")
    show_figures(bench.figures)
    write_json(bench.figures, out / "bench-ml.json")
    if seeds == HELD_OUT:
        write_page(bench.figures)


if __name__ == "__main__":
    main()
