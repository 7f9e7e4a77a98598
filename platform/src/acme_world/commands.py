"""`mesh run` and `mesh answer-key`: run the pipelines on simulated days, and check the tables by the answer key."""

from __future__ import annotations

import gc
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
from mesh_platform.broker import connect, queue_of
from mesh_platform.cli.completion import complete, domains
from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.progress import progress_bar, tell
from mesh_platform.cli.text_table import write_table
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.metadata.run_reports import reported_ingest, run_reports
from mesh_platform.settings import Settings
from mesh_platform.text import counted

from acme_world.companion import Companion, Keys, compute_keys, find_sellers
from acme_world.progress_file import Progress, alone_in, note_begun, note_done, read_progress, write_whole
from acme_world.state_file import READINGS, recall, remember
from acme_world.wire.faults import parse_rates

if TYPE_CHECKING:
    from mesh_platform.ingest.ingest import Ingested
    from pyiceberg.catalog import Catalog

    from acme_world.key.key_check import Difference

DEFAULT_DAYS = 28
# The tables shown at the end: the star schema and its KPIs, which all other tables serve.
STAR = ("*.fact_*", "*.dim_*", "*.kpi_*")
# Its rows by day are plotted there.
ORDERS = "logistics_core.fact_orders"

_day = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Simulate days of the company, ingest, build, and compare with the answer key.")
@click.option("--seed", type=int, help="Seed of the simulation.  [default: 7, or the state folder's]")
@click.option("--start", type=_day, help="First day.  [default: 2025-10-01, or the state folder's]")
@click.option("--days", type=click.IntRange(1, 10_000), help="Days in total.  [default: 28, then one more per run]")
@click.option("--rates", help="Rates of faults.  [default: late=0.02,duplicate=0.01,malformed=0.005]")
@click.option("--domain", "only", help="Send events of this domain only.", shell_complete=complete(domains))
@click.option("--publish-only", is_flag=True, help="Leave ingest and build to another process, such as Airflow.")
@format_option
def run(
    seed: int | None,
    start: datetime | None,
    days: int | None,
    rates: str | None,
    only: str | None,
    publish_only: bool,
    output_format: str,
) -> None:
    """Simulate days of ACME, send their events, ingest, build, and compare every total with the answer key.

    The first run simulates 28 days; each further run adds one. `--days` sets the total number of days. Days that
    exist are not simulated again.

    After `--publish-only`, a run with the same `--days` ingests what still waits, builds and compares.

    Exit code 1: a total differs.
    """
    from mesh_platform.build.build import build
    from mesh_platform.cli.tables import show_warnings
    from mesh_platform.governance.parity.building import spark_runs
    from mesh_platform.ingest.ingest import ensure_tables, ingest
    from mesh_platform.lake.catalog import open_catalog

    # Nearly all objects of a run are freed without a collection; at the default of 700 they take a thirtieth of it.
    gc.set_threshold(100_000)
    settings = read_settings()
    # First, because if the lake cannot be opened, the simulation must not have advanced.
    catalog = None if publish_only else open_catalog(settings)
    mesh = load_remembered(settings)
    start_date, drawn = start.date() if start else None, parse_rates(rates) if rates else None
    products = {contract.identifier: contract for contract, _ in find_sellers(mesh, only)}
    domains = [contract.domain for contract in products.values()]
    seconds = _Seconds()
    with alone_in(settings), connect(settings.broker) as broker:
        world = read_progress(settings, seed, start_date, drawn)
        target = _target(world, domains, days)
        world = note_begun(settings, world, domains, target)
        _set_clock(settings, world)
        broker.declare([queue_of(contract) for contract in products.values()])
        if catalog is None:
            _publish(settings, mesh, only, world, domains, target, output_format)
            return
        results: list[Ingested] = []
        published = 0
        with Companion(settings, mesh, only, world, target) as company, run_reports(settings, mesh, tell) as report:
            with progress_bar("produce and ingest", None, "event") as advance:
                with seconds.spent("make tables"):
                    ensure_tables(catalog, *products.values())
                news = company.published()
                while True:
                    with seconds.spent("wait for producers"):
                        new = next(news, [])
                    if not new:
                        break
                    published += sum(each.events for each in new)
                    seconds.add("produce (beside)", sum(each.seconds for each in new))
                    contracts = [products[each.product] for each in new]
                    with seconds.spent("ingest"):
                        consume = partial(
                            ingest, catalog, broker, contracts, settings.now, until_empty=True, progress=advance
                        )
                        results += reported_ingest(report, contracts, consume)
            world = note_done(settings, world, domains, target)
            dead = sum(broker.depth(queue_of(contract).dead_letter) for contract in products.values())
            with (
                seconds.spent("build"),
                progress_bar("build", len(mesh.contracts), "table") as advance,
                spark_runs(settings, mesh) as spark,
            ):
                on_run = partial(report, "build")
                built = build(mesh, catalog, on_progress=lambda _built: advance(1), on_run=on_run, spark=spark)
            show_warnings(built)
            with seconds.spent("wait for the answer key"):
                keys = company.keys()
        seconds.add("answer key (beside)", keys.seconds)
        with seconds.spent("compare"):
            figures, differences = _compare(settings, mesh, catalog, keys)
    outcome = {
        "published": published,
        **{
            name: sum(getattr(result, name) for result in results)
            for name in ("appended", "quarantined", "duplicates")
        },
        "dead_lettered": dead,
        "key_ok": not differences,
    }
    if output_format == "json":
        found = [asdict(difference) for difference in differences]
        write_json({**outcome, "differences": found, "seconds": seconds.by_stage})
    else:
        _show(settings, mesh, catalog, world, outcome, seconds, figures, differences)
    sys.exit(1 if differences else 0)


@click.command("answer-key", short_help="Compute what the tables must hold from the simulated company alone.")
@click.option("--seed", type=int, required=True, help="Seed of the simulation.")
@click.option("--start", type=_day, required=True, help="First day.")
@click.option("--days", type=click.IntRange(1, 10_000), required=True, help="Number of days.")
@click.option("--rates", default="", help="Rates of faults.  [default: late=0.02,duplicate=0.01,malformed=0.005]")
@format_option
def answer_key(seed: int, start: datetime, days: int, rates: str, output_format: str) -> None:
    """Compute what the tables must hold after a number of days: products, facts with their dangling references,
    dimensions, the KPI and the quarantine. It uses no code of the pipelines.

    In the JSON, `rows`, `sums` and `by_month` describe the table. `accepted` counts the well-formed events that
    arrived; `all` also counts those that were spoilt. `anomalies` lists what was planted to be found.
    """
    settings = read_settings()
    mesh = load_remembered(settings)
    domains = [contract.domain for contract, _ in find_sellers(mesh, None)]
    world = Progress(seed, start.date(), parse_rates(rates), dict.fromkeys(domains, days), {})
    (key,) = compute_keys(settings.root, mesh, world)
    if output_format == "json":
        write_json(key)
        return
    rows = [
        {
            "table": table,
            "rows": figures["rows"],
            "sums": ", ".join(f"{name} {total}" for name, total in figures.get("sums", {}).items()),
        }
        for table, figures in key.items()
        if table != "quarantine"
    ]
    write_table(rows)
    write_table([{"product": product, "quarantine": count} for product, count in key["quarantine"].items()])


def _target(world: Progress, domains: list[str], days: int | None) -> int:
    """The number of days to reach: as requested, else one more than now, and never less than a killed run began."""
    if unfinished := max(
        (world.begun.get(name, 0) for name in domains if world.begun.get(name, 0) > world.done(name)), default=0
    ):
        return max(days or 0, unfinished)
    return days or (max(world.days.values()) + 1 if world.days else DEFAULT_DAYS)


def _publish(
    settings: Settings,
    mesh: Mesh,
    only: str | None,
    world: Progress,
    domains: list[str],
    target: int,
    output_format: str,
) -> None:
    """Publish the missing days of the domains, and print the number of events that the broker confirmed."""
    published = 0
    with Companion(settings, mesh, only, world, target) as company, progress_bar("produce", None, "event") as advance:
        for new in company.published():
            published += sum(each.events for each in new)
            advance(sum(each.events for each in new))
        # It remembers the company before it sends them.
        company.keys()
    note_done(settings, world, domains, target)
    if output_format == "json":
        write_json({"published": published})
    else:
        write_table([{"published": published}])


def _set_clock(settings: Settings, world: Progress) -> None:
    """Set the clock of the state folder to the end of the simulation."""
    now = datetime.combine(world.start + timedelta(days=max(world.begun.values())), time(), UTC)
    write_whole(settings.clock_file, now.isoformat())


def _compare(settings: Settings, mesh: Mesh, catalog: Catalog, keys: Keys) -> tuple[int, list[Difference]]:
    """Compare with the keys; return the number of figures compared, and the differences."""
    from acme_world.key.key_check import compare

    figures, differences = 0, []
    readings = recall(settings, READINGS, None) or {}
    for key in keys.groups:
        compared, found = compare(mesh, catalog, key, readings)
        figures += compared
        differences += found
    remember(settings, READINGS, None, readings)
    return figures, differences


class _Seconds:
    """The time that each stage of a run takes. Stages of the other process only delay those that wait for it."""

    def __init__(self) -> None:
        self.by_stage: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add `seconds` to a stage."""
        self.by_stage[stage] = round(self.by_stage.get(stage, 0.0) + seconds, 3)

    @contextmanager
    def spent(self, stage: str) -> Iterator[None]:
        """Add the duration of the block to a stage."""
        begin = perf_counter()
        yield
        self.add(stage, perf_counter() - begin)


def _show(
    settings: Settings,
    mesh: Mesh,
    catalog: Catalog,
    world: Progress,
    outcome: dict[str, Any],
    seconds: _Seconds,
    figures: int,
    differences: list[Difference],
) -> None:
    from mesh_platform.cli.tables import show_status

    show_status(settings, mesh, catalog, STAR)
    click.echo()
    write_table([outcome], title="This run")
    click.echo()
    stages = [{"stage": stage, "seconds": f"{spent:.1f}"} for stage, spent in seconds.by_stage.items()]
    write_table(stages, title="Where the time went")
    click.echo()
    if differences:
        write_table([asdict(d) for d in differences], title="The answer key disagrees")
    else:
        click.echo(
            f"Answer key (seed {world.seed}, from {world.start}): {counted(figures, 'figure')} compared, all equal."
        )
    _plot_orders(mesh, catalog)
    click.echo("\nWhere to look next:")
    prefix = (
        ""
        if settings.state_dir == (settings.root / ".mesh").resolve()
        else f"MESH_STATE={shlex.quote(str(settings.state_dir))} "
    )
    program = (
        sys.argv[0] if not sys.argv[0].startswith(str(settings.root)) else sys.argv[0][len(str(settings.root)) + 1 :]
    )
    for command in (
        """query "select region, sum(amount_usd) as usd
    from logistics_core.fact_orders join logistics_core.dim_warehouse
    using (warehouse_id) group by all order by all\"""",
        """query "select reason, field, count(*) as events
    from north_warehouse.orders_north__rejected group by all\"""",
        "explain logistics_core.fact_orders",
        "status",
        "catalog build",
    ):
        click.echo(f"  {prefix}{program} {command}")
    index = settings.state_dir / "catalog" / "index.html"
    if index.exists():
        click.echo(f"The catalog, as it was last built: {index.as_uri()}")
    if differences:
        tell("The tables do not hold what the company did. Nothing was changed; see the differences above.")


def _plot_orders(mesh: Mesh, catalog: Catalog) -> None:
    """Show how many order lines each day has, as the fact of all warehouses counts them."""
    from mesh_platform.cli.plot import plot_days
    from mesh_platform.query.query import run_query, views_named
    from mesh_platform.query.session import open_session

    sql = f"select order_date, count(*) as lines from {ORDERS} group by all order by all"
    if ORDERS not in mesh.contracts:
        return
    with open_session(mesh, catalog, only=views_named(mesh, sql)) as session:
        found = run_query(session, sql)
    values = list(zip(*(found.column(name).to_pylist() for name in ("order_date", "lines")), strict=True))
    plain = not sys.stdout.isatty()
    for line in plot_days(values, "\nOrder lines a day, all warehouses", plain):
        click.echo(line)
