"""`mesh produce`, `mesh ingest`, `mesh faults`: events from sources to queues, and from queues to tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import click

from mesh_platform import faults as fault_points
from mesh_platform.broker import connect, queue_of
from mesh_platform.cli.completion import complete, domains, products
from mesh_platform.cli.maintenance import maintenance
from mesh_platform.cli.output import format_option, read_settings, stop_on_signal, write_json
from mesh_platform.cli.progress import progress_bar, tell
from mesh_platform.cli.text_table import write_table
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import Problem, UsageError
from mesh_platform.events.event import Event
from mesh_platform.events.producer import (
    batch,
    find_producer,
    name_sender,
    pace,
    publish,
    read_csv,
    sites_of,
    stamp,
    wrap,
    write,
)
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.metadata.run_reports import reported_ingest, run_reports
from mesh_platform.settings import Settings
from mesh_platform.text import counted


@click.command(short_help="Send events to a product's queue: live, in a burst, or from a CSV file.")
@click.argument(
    "words",
    nargs=-1,
    required=True,
    metavar="<domain>.<product>|--all live|burst|replay [FILE.csv]",
    shell_complete=complete(products),
)
@click.option("--all", "everything", is_flag=True, help="Send for all products that have a producer.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.001),
    default=10.0,
    show_default=True,
    help="live: seconds.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0.001), default=1000.0, show_default=True, help="burst: events per second."
)
@click.option("--count", type=click.IntRange(min=1), help="Number of events.  [default: burst 1000, live endless]")
@click.option("--seed", type=int, default=1, show_default=True, help="Determines the events, with the day.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="burst: the day of the events.  [default: today]")
@click.option("--batch", "size", type=click.IntRange(1, 100_000), help="Events per message.  [default: 500, live 1]")
@click.option("--to", "target", type=click.Choice(["broker", "-"]), default="broker", help="-: NDJSON to stdout.")
@format_option
def produce(
    words: tuple[str, ...],
    everything: bool,
    interval: float,
    rate: float,
    count: int | None,
    seed: int,
    start: datetime | None,
    size: int | None,
    target: str,
    output_format: str,
) -> None:
    """Send events of a product to its queue. A producer script takes the same arguments.

    \b
    mesh produce north_warehouse.orders_north live --interval 10
    mesh produce north_warehouse.orders_north burst --rate 5000 --count 20000
    mesh produce north_warehouse.orders_north replay orders.csv
    mesh produce --all burst

    `live` sends one event every `--interval` seconds, with the current time of the state folder's clock. `burst`
    sends `--count` events at `--rate` per second. `replay` sends the lines of a CSV file; its columns may have
    their present or former names. It reports malformed lines and sends the rest.

    Equal records in one file stay separate events. An equal record in another file is the same event sent again:
    ingest counts it as a duplicate, and says that the known event came from another file: the column `producer` of
    the landing table names the script and the file. If two files can hold equal records that are both real (two
    tills, the same sale in the same second), give the event a column that tells the sources apart, or
    `mesh.fileInIds: true`, with which the name of the file counts, too.

    `--seed` and `--start` determine which events are drawn. The same values give the same events, which ingest
    recognizes as duplicates.

    Exit code 1: `replay` found malformed lines.
    """
    settings = read_settings()
    mesh = load_remembered(settings)
    products, mode, path = _read_words(mesh, words, everything)
    malformed: list[Problem] = []

    def report(problem: Problem) -> None:
        malformed.append(problem)
        tell(str(problem))

    first_day = start.date() if start else settings.now().date()
    with stop_on_signal() as stopped:

        def events(contract: Contract) -> Iterator[Event]:
            if path:
                records = read_csv(contract, mesh.domains[contract.domain], path, report)
                return wrap(contract, records, f"produce_{contract.name} {path.name}", path.name)
            return _drawn(settings, mesh, contract, mode, seed, first_day, stopped, interval, rate, count)

        confirmed = _send(settings, products, events, mode, size, target, stopped, count)
    result = {"confirmed": confirmed, "malformed_lines": len(malformed)}
    if target == "-":
        tell(f"{counted(confirmed, 'event')} written, {counted(len(malformed), 'malformed line')}.")
    elif output_format == "json":
        write_json(result)
    else:
        lines = counted(len(malformed), "malformed line")
        click.echo(f"{counted(confirmed, 'event')} confirmed by the broker, {lines}.")
    sys.exit(1 if malformed else 0)


def _read_words(mesh: Mesh, words: tuple[str, ...], everything: bool) -> tuple[list[Contract], str, Path | None]:
    rest = list(words)
    products = mesh.ingested() if everything else mesh.ingested((rest.pop(0),))
    mode = rest.pop(0) if rest else ""
    wanted = 1 if mode == "replay" else 0
    if mode not in ("live", "burst", "replay") or len(rest) != wanted:
        raise UsageError(
            f"mesh produce {' '.join(words)}: after the product (or --all) comes live, burst or replay FILE.csv."
        )
    if mode == "replay" and len(products) != 1:
        raise UsageError("replay sends one file to one product: name it as <domain>.<product>.")
    if not products:
        raise UsageError(f"{words[0]}: no event is sent for any of its products.")
    return products, mode, Path(rest[0]) if rest else None


def _drawn(
    settings: Settings,
    mesh: Mesh,
    contract: Contract,
    mode: str,
    seed: int,
    start: date,
    stopped: Callable[[], bool],
    interval: float,
    rate: float,
    count: int | None,
) -> Iterator[Event]:
    site = mesh.domains[contract.domain].site
    source = find_producer(mesh, contract).source
    records = source.records(contract.domain, sites_of(mesh), root=settings.root, seed=seed, start=start)
    if mode == "live":
        # The clock of the state folder may be a simulated one, which does not advance.
        begin, now = time.monotonic(), settings.now()
        clock = iter(lambda: now + timedelta(seconds=time.monotonic() - begin), None)
        now_and_then = stamp(contract, site, pace(records, 1 / interval, stopped), clock)
        return wrap(contract, islice(now_and_then, count), name_sender(source, contract))
    # A burst imitates a peak: its events follow one another at its rate, starting at midnight.
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
    peak = (midnight + timedelta(seconds=number / rate) for number in range(count or 1000))
    stamped = pace(stamp(contract, site, records, peak), rate, stopped)
    return wrap(contract, stamped, name_sender(source, contract))


def _send(
    settings: Settings,
    products: list[Contract],
    events: Callable[[Contract], Iterator[Event]],
    mode: str,
    size: int | None,
    target: str,
    stopped: Callable[[], bool],
    count: int | None,
) -> int:
    lines_in_message = size or (1 if mode == "live" else 500)
    with connect(settings.broker) if target == "broker" else nullcontext() as broker:
        if mode == "live" and len(products) > 1:
            raise UsageError("live sends one product; start one call for each. burst takes --all.")
        confirmed = 0
        for contract in products:
            if stopped():
                break
            lines = (event.to_json() for event in events(contract))
            if broker is None:
                confirmed += write(lines, sys.stdout.buffer)
                continue
            total = None if mode == "replay" else count or (1000 if mode == "burst" else None)
            with progress_bar(contract.identifier, total, "event") as advance:
                confirmed += publish(broker, contract, batch(lines, lines_in_message), advance)
        return confirmed


@click.command(short_help="Consume queues, validate, and commit to the lake exactly once.")
@click.argument("names", nargs=-1, metavar="[<domain>[.<product>]]...", shell_complete=complete(domains, products))
@click.option("--until-empty", is_flag=True, help="Stop when the queues are empty.")
@click.option("--max-seconds", type=click.FloatRange(min=0), help="Stop after this time.")
@click.option("--replay-rejected", is_flag=True, help="Ingest the events in the quarantine again instead.")
@click.option("--dead-letters", is_flag=True, help="Consume the dead-letter queues instead.")
@format_option
def ingest(
    names: tuple[str, ...],
    until_empty: bool,
    max_seconds: float | None,
    replay_rejected: bool,
    dead_letters: bool,
    output_format: str,
) -> None:
    """Consume the queues of all products, or of those named, and commit each event exactly once.

    Without `--until-empty` or `--max-seconds` it runs until Ctrl-C.

    The result counts the records of each product: `deliveries` are all that came, and each of them is counted in one
    of the other columns. `appended` is new, `quarantined` is refused with a reason (docs/quarantine.md), `duplicates`
    were there already; a message says how many of them another sender or file had sent. `dead_lettered` counts
    messages that the broker moved to the dead-letter queue during the run, because they were delivered 20 times and
    never acknowledged.

    `--dead-letters` consumes the dead-letter queues, once the reason for their failures is mended.

    If a RabbitMQ queue has other arguments than the platform declares, ingest warns and still consumes it; producers
    cannot publish to it.
    """
    settings = read_settings()
    mesh = load_remembered(settings)
    contracts = mesh.ingested(names)
    if not contracts:
        raise UsageError(
            f"{', '.join(names) or 'the mesh'}: no event is sent for it. 'mesh build' builds its tables."
        )
    if replay_rejected and dead_letters:
        raise UsageError("--replay-rejected and --dead-letters are two runs. Give one of them.")
    from mesh_platform.ingest import ingest as ingesting
    from mesh_platform.lake.catalog import open_catalog

    catalog = open_catalog(settings)

    if replay_rejected:
        with run_reports(settings, mesh, tell) as report:
            replay = partial(ingesting.replay_rejected, catalog, contracts, settings.now)
            results = reported_ingest(report, contracts, replay)
    else:
        if not until_empty and max_seconds is None:
            tell("Waiting for events; Ctrl-C ends.")
        with (
            connect(settings.broker) as broker,
            stop_on_signal() as stopped,
            progress_bar("ingest", None, "event") as advance,
            run_reports(settings, mesh, tell) as report,
            maintenance() as maintain,
        ):
            consume = partial(
                ingesting.ingest,
                catalog,
                broker,
                contracts,
                settings.now,
                until_empty=until_empty,
                max_seconds=max_seconds,
                dead_letters=dead_letters,
                stopped=stopped,
                progress=advance,
                limits=ingesting.Limits(lines=settings.flush_lines, seconds=settings.flush_seconds),
                maintain=maintain,
            )
            results = reported_ingest(report, contracts, consume)
            for queue in map(queue_of, contracts):
                if not dead_letters and (waiting := broker.depth(queue.dead_letter)):
                    again = f"mesh ingest {queue.name} --dead-letters"
                    wait = counted(waiting, "message waits that was", "messages wait that were")
                    tell(f"{queue.dead_letter}: {wait} given up on. {again}")
    rows = [asdict(result) for result in results]
    if output_format == "json":
        write_json(rows)
        return
    write_table([{name: value for name, value in row.items() if name != "duplicates_of_others"} for row in rows])
    for result in results:
        if result.duplicates_of_others:
            tell(
                f"{result.table}: of the duplicates, {result.duplicates_of_others} had come from another sender or "
                "file (column 'producer'). If two of them can both be real, see 'mesh produce --help'."
            )


@click.group(short_help="Points at which a test can kill, stop or fail the process.")
def faults() -> None:
    """Points at which tests kill or stop a process."""


@faults.command("list")
@format_option
def list_faults(output_format: str) -> None:
    """List the fault points in the order in which an event passes them.

    `MESH_FAULT=<point>:kill|raise|stop[:N]` makes a process die, fail or freeze when it passes that point for the
    Nth time.
    """
    rows = [{"point": name, "meaning": meaning} for name, meaning in fault_points.POINTS.items()]
    if output_format == "json":
        write_json(rows)
    else:
        write_table(rows)
