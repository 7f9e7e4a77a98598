"""`python -m benchmarks`: measures, prints, and writes `bench.json` and `bench.svg`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import (
    catalog,
    commits,
    dag_parsing,
    dedupe,
    erasure,
    governance,
    hundred_domains,
    incremental_build,
    ingest_workers,
    latency,
    lineage,
    memory,
    next_day,
    openmetadata,
    queues,
    scattered_keys,
    stages,
    star_queries,
    throughput,
)
from benchmarks.figures import Bench, console, show_figures, write_json, write_page, write_plot

# In the order in which they run. A later one may look up what an earlier one measured.
BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    "batches": throughput.measure_batches,
    "singles": throughput.measure_singles,
    "dedupe": dedupe.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "queues": queues.measure,
    "commits": commits.measure,
    "stages": stages.measure,
    "next_day": next_day.measure,
    "incremental_build": incremental_build.measure,
    "scattered_keys": scattered_keys.measure,
    "erasure": erasure.measure,
    "star_queries": star_queries.measure,
    "dag_parsing": dag_parsing.measure,
    "governance": governance.measure,
    "hundred_domains": hundred_domains.measure,
    "ingest_workers": ingest_workers.measure,
    "lineage": lineage.measure,
    "catalog": catalog.measure,
    "openmetadata": openmetadata.measure,
}

# Rewritten where all is measured at its whole size.
_PAGE = Path("docs/speed.md")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS]))
@click.option("--scale", type=click.FloatRange(0.0001, 10), default=1.0, show_default=True, help="A small try: 0.01.")
@click.option("--long", is_flag=True, help="Measure what takes an hour, too.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build"), show_default=True)
def main(names: tuple[str, ...], scale: float, long: bool, out: Path) -> None:
    """Measure what is named, or all."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix="bench-") as folder:
        bench = Bench(scale, long, Path(folder).resolve())
        for name, measure in BENCHMARKS.items():
            if not names or name in names:
                console.rule(name, align="left")
                measure(bench)
    console.rule(align="left")
    show_figures(bench.figures)
    write_json(bench.figures, out / "bench.json")
    write_plot(bench.figures, out / "bench.svg")
    written = [out / "bench.json", out / "bench.svg"]
    if scale == 1 and not names:
        written.append(_PAGE)
        write_page(bench.figures, _PAGE)
    console.print(f"Written: {', '.join(map(str, written))}")


if __name__ == "__main__":
    main()
