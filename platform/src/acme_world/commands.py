"""`mesh run` and `mesh answer-key`: days of the simulated company go all the way, and are held against the key."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import click
from mesh_platform.broker import Broker, connect, queue_of
from mesh_platform.cli.output import errors, format_option, progress_bar, read_settings, write_json, write_table
from mesh_platform.domain import Mesh, load_mesh
from mesh_platform.errors import UsageError
from mesh_platform.producer import batch, find_producer, publish, sites_of
from mesh_platform.settings import Settings

from acme_world.answer_key import answer_key as compute_key
from acme_world.faults import Rates, parse_rates
from acme_world.key_check import PRODUCER, Difference, compare
from acme_world.progress_file import Progress, alone_in, note_begun, note_done, read_progress, write_whole
from acme_world.sources import Source

if TYPE_CHECKING:
    from mesh_platform.contract import Contract
    from pyiceberg.catalog import Catalog

DEFAULT_DAYS = 28
LINES_IN_MESSAGE = 500
# What is shown at the end: the star schema and its KPIs, for which all other tables are there.
STAR = ("*.fact_*", "*.dim_*", "*.kpi_*")

_day = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Simulate days of the company, move them all the way, check them against the answer key.")
@click.option("--seed", type=int, help="Which history is drawn.  [default: 7, or that of the state folder]")
@click.option("--start", type=_day, help="First day.  [default: 2025-10-01, or that of the state folder]")
@click.option("--days", type=click.IntRange(1, 10_000), help="Days in all.  [default: 28, and one more each time]")
@click.option("--rates", help="late=0.02,duplicate=0.01,malformed=0.005 are the defaults.")
@click.option("--domain", "only", help="Produce for this domain alone.")
@format_option
def run(
    seed: int | None,
    start: datetime | None,
    days: int | None,
    rates: str | None,
    only: str | None,
    output_format: str,
) -> None:
    """Produce, ingest and build; then compare every total with the answer key.

    The first run makes 28 days, each further run one more. With --days the simulation is brought to that length;
    days that it has already are not made again. Exit code 1 where a total differs.
    """
    from mesh_platform.build import build
    from mesh_platform.cli.tables import show_warnings
    from mesh_platform.ingest import ingest
    from mesh_platform.lake.catalog import open_catalog

    settings = read_settings()
    mesh = load_mesh(settings.root)
    sellers = _sellers(mesh, only)
    domains = [contract.domain for contract, _ in sellers]
    catalog = open_catalog(settings)
    with alone_in(settings), connect(settings.broker) as broker:
        world = read_progress(settings, seed, start.date() if start else None, parse_rates(rates) if rates else None)
        target = _target(world, domains, days)
        world = note_begun(settings, world, domains, target)
        published = _publish(settings, mesh, broker, sellers, world, target)
        _set_clock(settings, world)
        with progress_bar("ingest", published, "events") as advance:
            results = ingest(
                catalog,
                broker,
                [contract for contract, _ in sellers],
                settings.now,
                until_empty=True,
                progress=advance,
            )
        world = note_done(settings, world, domains, target)
        dead = sum(broker.depth(queue_of(contract).dead_letter) for contract, _ in sellers)
        with progress_bar("build", len(mesh.contracts), "tables") as advance:
            built = build(mesh, catalog, on_progress=lambda _built: advance(1))
        show_warnings(built)
        figures, differences = _check(settings, mesh, catalog, world)
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
        write_json({**outcome, "differences": [asdict(difference) for difference in differences]})
    else:
        _show(settings, mesh, catalog, world, outcome, figures, differences)
    sys.exit(1 if differences else 0)


@click.command("answer-key", short_help="What the tables must hold, computed from the simulated company alone.")
@click.option("--seed", type=int, required=True)
@click.option("--start", type=_day, required=True)
@click.option("--days", type=click.IntRange(1, 10_000), required=True)
@click.option("--rates", default="", help="late=0.02,duplicate=0.01,malformed=0.005 are the defaults.")
@format_option
def answer_key(seed: int, start: datetime, days: int, rates: str, output_format: str) -> None:
    """Rows, sums and rejects of each table after so many days; nothing of the pipelines is used.

    rows, sums and by_month are what the table holds; accepted counts events that are well-formed and arrived, all
    counts those that were spoilt too.
    """
    settings = read_settings()
    mesh = load_mesh(settings.root)
    sellers = _sellers(mesh, None)
    key = _key(settings, mesh, sellers, list(mesh.contracts), seed, start.date(), days, parse_rates(rates))
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


def _sellers(mesh: Mesh, only: str | None) -> list[tuple[Contract, Source]]:
    """The products that the world produces for, each with its producer's source."""
    sellers = []
    for contract in mesh.ingested((only,) if only else ()):
        source = find_producer(mesh, contract).source
        if isinstance(source, Source):
            sellers.append((contract, source))
    if not sellers:
        raise UsageError(
            f"{only or 'the mesh'}: no producer draws from the simulated company. Check domains/*/producers."
        )
    return sellers


def _key(
    settings: Settings,
    mesh: Mesh,
    sellers: list[tuple[Contract, Source]],
    tables: list[str],
    seed: int,
    start: date,
    days: int,
    rates: Rates,
) -> dict[str, dict[str, Any]]:
    feeds = {contract.identifier: source.line.event for contract, source in sellers}
    return compute_key(settings.root, sites_of(mesh), feeds, tables, seed, start, days, rates)


def _publish(
    settings: Settings,
    mesh: Mesh,
    broker: Broker,
    sellers: list[tuple[Contract, Source]],
    world: Progress,
    target: int,
) -> int:
    """Send the days that each domain lacks; how many events the broker confirmed."""
    todo = [
        (contract, source, day) for contract, source in sellers for day in range(world.done(contract.domain), target)
    ]
    published, sites = 0, sites_of(mesh)
    with progress_bar("produce", len(todo), "days") as advance:
        for contract, source, day in todo:
            assert contract.event is not None
            lines = source.arrivals(
                contract.domain,
                sites,
                root=settings.root,
                seed=world.seed,
                start=world.start,
                day=day,
                rates=world.rates,
                product=contract.identifier,
                event_type=contract.event.name,
                producer=PRODUCER,
                schema_version=contract.version,
            )
            published += publish(broker, contract, batch(lines, LINES_IN_MESSAGE, prefix=f"{PRODUCER}:"))
            advance(1)
    return published


def _target(world: Progress, domains: list[str], days: int | None) -> int:
    """How many days the domains are to have: as asked, or one more than there are, and no less than was begun."""
    if unfinished := max(
        (world.begun.get(name, 0) for name in domains if world.begun.get(name, 0) > world.done(name)), default=0
    ):
        return max(days or 0, unfinished)
    return days or (max(world.days.values()) + 1 if world.days else DEFAULT_DAYS)


def _set_clock(settings: Settings, world: Progress) -> None:
    """Let the state folder's clock stand at the end of the simulation."""
    now = datetime.combine(world.start + timedelta(days=max(world.begun.values())), time(), UTC)
    write_whole(settings.clock_file, now.isoformat())


def _check(settings: Settings, mesh: Mesh, catalog: Catalog, world: Progress) -> tuple[int, list[Difference]]:
    """How many figures were compared, and which differ; domains of another length are compared for themselves."""
    from mesh_platform.view import open_session

    sellers = _sellers(mesh, None)
    lengths = {contract.domain: world.done(contract.domain) for contract, _ in sellers}
    whole = len(set(lengths.values())) == 1
    figures, differences = 0, []
    with open_session(mesh, catalog, locked=False) as session:
        for domains, length in [({*lengths}, min(lengths.values()))] if whole else _apart(lengths):
            chosen = [each for each in sellers if each[0].domain in domains]
            # What is made of several domains' events is compared where all have come as far.
            tables = list(mesh.contracts) if whole else []
            key = _key(settings, mesh, chosen, tables, world.seed, world.start, length, world.rates)
            compared, found = compare(mesh, session, key)
            figures += compared
            differences += found
    return figures, differences


def _apart(lengths: dict[str, int]) -> list[tuple[set[str], int]]:
    return [({domain}, length) for domain, length in lengths.items() if length]


def _show(
    settings: Settings,
    mesh: Mesh,
    catalog: Catalog,
    world: Progress,
    outcome: dict[str, Any],
    figures: int,
    differences: list[Difference],
) -> None:
    from mesh_platform.cli.tables import show_status

    show_status(settings, mesh, catalog, STAR)
    click.echo()
    write_table([outcome], title="This run")
    click.echo()
    if differences:
        write_table([asdict(d) for d in differences], title="The answer key disagrees")
    else:
        click.echo(f"Answer key (seed {world.seed}, from {world.start}): {figures} figures compared, all equal.")
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
        "query \"select w.region, date_trunc('month', f.order_ts) as month, sum(f.amount_usd) as revenue_usd "
        "from logistics_core.fact_orders f join logistics_core.dim_warehouse w using (warehouse_id) "
        'group by all order by all"',
        'query "select reason, field, count(*) as events from north_warehouse.orders_north__rejected group by all"',
        "explain logistics_core.fact_orders",
        "status",
    ):
        click.echo(f"  {prefix}{program} {command}")
    if differences:
        errors.print("The tables do not hold what the company did. Nothing was changed; see the differences above.")
