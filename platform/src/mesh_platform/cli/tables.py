"""`mesh build`, `status`, `history`, `rollback`: build tables, look at them and roll them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.completion import complete, products
from mesh_platform.cli.maintenance import maintenance
from mesh_platform.cli.output import format_option, read_settings, stop_on_signal, write_json
from mesh_platform.cli.progress import errors, progress_bar, tell
from mesh_platform.cli.text_table import cut_to, wrapped, write_cut_table, write_table
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.metadata.run_reports import run_reports
from mesh_platform.settings import Settings
from mesh_platform.text import counted, offer
from mesh_platform.text import shown as path_shown

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.build.job import Built
    from mesh_platform.lake.releases import Release
    from mesh_platform.query.status import TableStatus


# The columns of the status that a narrow terminal does not show, the first of them first.
_GIVE_WAY = ("snapshots", "files", "kind", "visible after", "newest event", "promise", "dangling")
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Bring tables up to date with what they are built from.")
@click.argument("tables", nargs=-1, metavar="[<domain>.<table>]...", shell_complete=complete(products))
@click.option("--full", is_flag=True, help="Rebuild everything, not only what changed.")
@click.option("--from", "first", type=_DAY, help="Rebuild partitions of the named tables from this UTC day on.")
@click.option("--to", "last", type=_DAY, help="Last UTC day to rebuild.  [default: the day of --from]")
@click.option("--plan", "only_plan", is_flag=True, help="Report what a build would do at most, and why.")
@click.option("--wide", is_flag=True, help="Show all columns and whole warnings, however narrow the terminal is.")
@click.option("--follow", "following", is_flag=True, help="Build again whenever events have landed, until Ctrl-C.")
@format_option
def build(
    tables: tuple[str, ...],
    full: bool,
    first: datetime | None,
    last: datetime | None,
    only_plan: bool,
    wide: bool,
    following: bool,
    output_format: str,
) -> None:
    """Build all tables, or those named and their inputs. If nothing changed, nothing is committed.

    If you name tables, only their SQL and the SQL of their inputs must be valid.

    `--from` rebuilds days (UTC) of the named tables even if nothing changed. It replaces as a whole each partition
    (day, month or year) that overlaps these days.

    `mode` says what happened to a table. `noop`: nothing that it is built from has changed. `incremental`: the
    changed rows of its inputs were applied. `rebuild`: its whole query ran. `partitions` and `rows` count what was
    written.

    `--follow` runs beside `mesh ingest` until Ctrl-C: it builds again and again what new events reach, and maintains
    a table after every 20 builds. It makes no release. If a table cannot be built, it says so and builds the others.
    It reports broken rules and held rows when they change. Its result counts what was done to each table.

    `--plan` only reports, and builds nothing: the mode of each table, or `blocked` if it cannot be built, and why.

    `engine` ran the query. MESH_SPARK_REMOTE has the address of Spark, which then runs whole queries; DuckDB applies
    changed rows. stderr names each table whose whole query stayed with DuckDB, and why.

    A broken rule of a contract blocks a table, holds rows back (`held`, see `<table>__held`) or warns (`warnings`).
    On a terminal, each warning is cut to one line; `--wide` and `--format json` show all of it.

    A build of all tables in which every table succeeds makes a release, unless the tables are unchanged since the
    newest release. Its name goes to stderr; `mesh query --as-of r3` reads the tables of release r3 together.

    Exit code 1: a table could not be built. Exit code 3: the lake or Spark does not answer.
    """
    from mesh_platform.build.build import build as build_tables
    from mesh_platform.build.build import plan_build
    from mesh_platform.build.plan import Plan
    from mesh_platform.governance.parity.building import spark_runs

    if last and not first:
        raise UsageError(f"--to {last:%Y-%m-%d}: from which day on? Give --from too.")
    if first and full:
        raise UsageError("--full rebuilds everything, --from rebuilds some days of the named tables. Give only one.")
    if following and (full or first or only_plan):
        raise UsageError("--follow builds what changed, until Ctrl-C. Leave --full, --from and --plan out.")
    if first and only_plan:
        raise UsageError("--from rebuilds the days that it names; there is nothing to plan. Leave --plan out.")
    between = (first.date(), (last or first).date()) if first else None
    settings, mesh, catalog = open_lake()
    if only_plan:
        plans = [asdict(each) for each in plan_build(mesh, catalog, tables, full)]
        show = write_table if wide else write_cut_table
        write_json(plans) if output_format == "json" else show(plans, columns=[field.name for field in fields(Plan)])
        return
    if following:
        _follow(settings, mesh, catalog, tables, output_format)
        return
    with (
        progress_bar("build", None, "table") as advance,
        run_reports(settings, mesh, tell) as report,
        spark_runs(settings, mesh) as spark,
    ):
        built = build_tables(
            mesh,
            catalog,
            tables,
            full,
            between,
            on_progress=lambda _built: advance(1),
            on_release=show_release,
            on_run=partial(report, "build"),
            spark=spark,
        )
    rows = [asdict(each) for each in built]
    if output_format == "json":
        write_json(rows)
    else:
        columns = ("table", "mode", "partitions", "rows", "held", "snapshot_id")
        if left_out := write_table(rows, columns=columns, optional=() if wide else columns[:1:-1]):
            tell(f"Not shown: {', '.join(left_out)}. '--wide' shows all columns.")
    show_warnings(built, wide)


def _follow(settings: Settings, mesh: Mesh, catalog: Catalog, tables: Sequence[str], output_format: str) -> None:
    from mesh_platform.build.follow import follow
    from mesh_platform.governance.parity.building import spark_runs

    counts: dict[str, dict[str, int]] = {}
    remarks: dict[str, list[str]] = {}
    tell("Waiting for events; Ctrl-C ends.")
    with (
        stop_on_signal() as stopped,
        progress_bar("build", None, "table") as advance,
        run_reports(settings, mesh, tell) as report,
        maintenance() as maintain,
    ):

        def add(built: Built) -> None:
            count = counts.setdefault(built.table, dict.fromkeys(("builds", "rows", "held"), 0))
            count["builds"] += 1
            count["rows"] += built.rows
            count["held"] += built.held
            # What a table computes whole breaks, it breaks in each round.
            for words in built.remarks:
                if words not in remarks.get(built.table, ()):
                    tell(words)
            remarks[built.table] = built.remarks
            advance(1)

        spark = partial(spark_runs, settings, mesh)
        follow(mesh, catalog, tables, stopped, add, tell, maintain, partial(report, "build"), spark)
    rows = [{"table": table, **count} for table, count in counts.items()]
    write_json(rows) if output_format == "json" else write_table(rows)


def show_release(release: Release) -> None:
    """Report a new release on stderr."""
    tell(f"Release {release.name}: {counted(len(release.tables), 'table')}.")


def show_warnings(built: Sequence[Built], wide: bool = False) -> None:
    """Report on stderr which rules that only warn were broken, and which tables have rows held back.

    On a terminal each is cut to one line, unless it shall be `wide`; a log or a pipe has all of it.
    """
    cut = 0
    for words in (words for each in built for words in each.remarks):
        line = words if wide or not errors.is_terminal else cut_to(words, errors.width)
        cut += line != words
        click.echo(line, err=True)
    if cut:
        tell(f"{counted(cut, 'message')} cut. 'mesh build TABLE --full --wide' shows all.")


@click.command(short_help="List the releases: tables that were built together.")
@format_option
def releases(output_format: str) -> None:
    """List the releases, newest first: `r1`, `r2`, ... with the time each was made.

    A number may be missing. `--format json` adds the snapshot of each table. In SQL, read `mesh.releases`.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.lake.releases import read_releases

    found = read_releases(open_catalog(read_settings()))
    if output_format == "json":
        write_json([asdict(release) for release in found])
        return
    rows = [
        {"release": r.name, "released_at": f"{r.released_at:%Y-%m-%d %H:%M:%S}", "tables": len(r.tables)}
        for r in found
    ]
    write_table(rows, columns=("release", "released_at", "tables"))


@click.command(short_help="Show rows, freshness and quarantine of every product.")
@click.argument("names", nargs=-1, metavar="[PATTERN]...", shell_complete=complete(products))
@click.option("--wide", is_flag=True, help="Show all tables and all columns, however wide the terminal is.")
@format_option
def status(names: tuple[str, ...], wide: bool, output_format: str) -> None:
    """Show the state of every product, or of the tables whose name matches a PATTERN.

    \b
    mesh status 'logistics_core.*' '*.orders_*'

    A product has one row: that of its own table, or of its landing table until that is built, with the count of its
    quarantine. A narrow terminal shows fewer columns. `--wide` and `--format json` show all tables and everything
    about them.

    `kind` is `landing` (events as sent), `quarantine` (what ingest refused), `ledger` (the ids of removed events,
    which ingest refuses), `product` (built by SQL), `reference` (read from a CSV file) or `held` (rows that a rule
    holds back). `quarantined` counts the refused events that have not been accepted since.

    `lag` is the age of the newest event; `fresh` compares it with the contract's promise. If the contract promises
    latency, `lag` is how long the oldest change of the inputs has waited. A time more than a day after now (such as
    the year 9999) does not count; status reports it on stderr and as `max_ahead_time`. A table that holds only such
    times is not fresh.

    `visible after` is how long events took from their receipt by ingest until a query of the table could find them:
    the 95th percentile over those of its newest 16 commits that brought events, each of which counts with the event
    that waited longest. All times are of the machine's clock, so late events and simulated days count as others do.
    The wait in the broker is not in it, and a table's first build does not count.

    `dangling` counts the rows that refer to a row which a dimension lacks. `<fact>__resolved` shows their key as
    `unknown`.

    Of a product whose events a model predicts, it shows the model in use, or the baseline that stands in because the
    model broke the promise of its contract (see `mesh ml score`); `accurate` is empty until it was scored.
    """
    from mesh_platform.lake.tables import tables_of

    settings, mesh, catalog = open_lake()
    known = {table.name: table for contract in mesh.contracts.values() for table in tables_of(contract)}
    for name in names:
        if not any(fnmatchcase(table, name) for table in known):
            raise UsageError(f"{name}: no product has a table of that name. {offer(name, known)}")
    if output_format == "json":
        write_json([asdict(each) for each in _read_status(settings, mesh, catalog, names)])
    else:
        show_status(settings, mesh, catalog, names, wide)


def show_status(
    settings: Settings, mesh: Mesh, catalog: Catalog, names: Sequence[str] = (), wide: bool = False
) -> None:
    """Write the status as a table for people, with the clock for the ages.

    `names` are shell patterns of the tables to show; without any, each product is shown in one row, or with `wide`
    all tables.
    """
    now = settings.now()
    found = _read_status(settings, mesh, catalog, names)
    shown = found if names or wide else _of_products(found)
    rows = [
        {
            "table": each.table,
            "kind": each.kind,
            "rows": each.rows,
            "snapshots": each.snapshots,
            "files": each.files,
            "newest event": f"{each.max_event_time:%Y-%m-%d %H:%M}" if each.max_event_time else None,
            "lag": _lag(each.lag_s, each.promise_s),
            "promise": _duration(each.promise_s),
            "fresh": each.fresh,
            "visible after": _duration(each.visible_after_s),
            "quarantined": each.quarantined,
            "dangling": each.dangling,
        }
        for each in shown
    ]
    if not rows:
        what = f"called {' or '.join(names)} " if names else ""
        click.echo(f"There are no tables {what}yet. 'make run' makes them.")
        return
    what = "Tables" if names or wide else "Products"
    where = path_shown(settings.state_dir, settings.root)
    title = f"{what} in {where}, as of {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    left_out = write_table(rows, title, optional=() if wide else _GIVE_WAY)
    learned = [each for each in found if each.model]
    if learned:
        click.echo()
        models = [{"product": each.table, "predicted by": each.model, "accurate": each.accurate} for each in learned]
        write_table(models, title="Models in use")
    for each in found:
        if each.max_ahead_time:
            tell(
                f"{each.table}: has rows of up to {each.max_ahead_time:%Y-%m-%d %H:%M}. A time over a day after now "
                "does not count as its newest event. Mend the source, or the SQL of that column."
            )
    if more := len(found) - len(shown):
        left_out = [counted(more, "more table"), *left_out]
    if left_out:
        tell(wrapped(f"Not shown: {', '.join(left_out)}. 'mesh status --wide' shows everything."))


def _of_products(found: Sequence[TableStatus]) -> list[TableStatus]:
    """One status for each product: its own table's, else its landing table's; with the count of its quarantine."""
    from mesh_platform.lake.tables import split_name

    products: dict[str, dict[str, TableStatus]] = {}
    for each in found:
        product, kind = split_name(each.table)
        products.setdefault(product, {})[kind] = each
    chosen: list[TableStatus] = []
    for kinds in products.values():
        own, landing = kinds.get("product"), kinds.get("landing")
        if own and landing:
            own = replace(own, quarantined=landing.quarantined)
        chosen += [each for each in (own or landing,) if each]
    return chosen


def _read_status(settings: Settings, mesh: Mesh, catalog: Catalog, names: Sequence[str]) -> list[TableStatus]:
    from mesh_platform.query.state_cache import StateCache
    from mesh_platform.query.status import read_status

    def wanted(table: str) -> bool:
        return not names or any(fnmatchcase(table, name) for name in names)

    return read_status(mesh, catalog, settings.now(), StateCache(settings.state_dir / "counted.json"), wanted)


def _lag(lag_s: int | None, promise_s: int | None) -> str | None:
    """A lag in words that differ from those of its promise, if the lag is longer."""
    lag, promise = _duration(lag_s), _duration(promise_s)
    return f"{lag} + {lag_s - promise_s} s" if lag_s and promise_s and lag == promise and lag_s > promise_s else lag


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.1f} s" if isinstance(seconds, float) and seconds < 10 else f"{seconds:.0f} s"


@click.command(short_help="List the snapshots of a table, newest first.")
@click.argument("table", shell_complete=complete(products))
@format_option
def history(table: str, output_format: str) -> None:
    """List the snapshots that led to the current state of a table, for `mesh query --as-of` and `mesh rollback`.

    `engine` ran the query that made it, if that was not DuckDB.
    """
    from mesh_platform.iceberg.history import read_history
    from mesh_platform.lake.catalog import existing_table

    _settings, _mesh, catalog = open_lake()
    rows = [asdict(entry) for entry in read_history(existing_table(catalog, table))]
    if output_format == "json":
        write_json(rows)
    else:
        write_table([{**row, "committed_at": f"{row['committed_at']:%Y-%m-%d %H:%M:%S}"} for row in rows])


@click.command(short_help="Set a table back to an earlier snapshot.")
@click.argument("table", shell_complete=complete(products))
@click.option("--to", "snapshot_id", type=int, required=True, help="A snapshot id from 'mesh history TABLE'.")
@format_option
def rollback(table: str, snapshot_id: int, output_format: str) -> None:
    """Make an earlier snapshot of a table the current one.

    The rollback of a landing table is permanent: its ledger records the removed events, ingest refuses them from then
    on, and the next `mesh build` updates the tables downstream. The next build brings a built table up to date with
    its inputs again.
    """
    from mesh_platform.lake.rollback import roll_back
    from mesh_platform.lake.tables import table_named

    _settings, mesh, catalog = open_lake()
    done = roll_back(mesh, catalog, table, snapshot_id)
    if output_format == "json":
        write_json(asdict(done))
    else:
        known = table_named(mesh, done.table)
        follow = (
            f"{counted(done.removed, 'event was', 'events were')} removed. "
            "Run 'mesh build' to update the tables downstream."
            if known and known.kind == "landing"
            else "The next 'mesh build' brings it up to its inputs; to take events out, roll back a landing table."
        )
        click.echo(f"{done.table} is at snapshot {done.snapshot_id} (was {done.previous_id}). {follow}")


def open_lake() -> tuple[Settings, Mesh, Catalog]:
    from mesh_platform.lake.catalog import open_catalog

    settings = read_settings()
    return settings, load_remembered(settings), open_catalog(settings)
