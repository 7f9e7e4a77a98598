"""`mesh build`, `status`, `query`, `views`, `history`, `rollback`, `explain`: build, query and roll back tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.output import (
    format_option,
    progress_bar,
    read_settings,
    tell,
    write_json,
    write_table,
)
from mesh_platform.errors import UsageError
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.settings import Settings
from mesh_platform.text import counted

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

    from mesh_platform.build.job import Built
    from mesh_platform.lake.releases import Release
    from mesh_platform.query.status import TableStatus


_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Bring tables up to date with what they are built from.")
@click.argument("tables", nargs=-1, metavar="[<domain>.<table>]...")
@click.option("--full", is_flag=True, help="Rebuild everything, not only what changed.")
@click.option("--from", "first", type=_DAY, help="Rebuild partitions of the named tables, from this day (UTC).")
@click.option("--to", "last", type=_DAY, help="The last day to rebuild; by default the first one.")
@format_option
def build(
    tables: tuple[str, ...], full: bool, first: datetime | None, last: datetime | None, output_format: str
) -> None:
    """Build all tables, or those named and their inputs. It commits nothing if nothing is new.

    Tables that are built together are a release, which 'mesh query --as-of r3' reads consistently.
    """
    from mesh_platform.build.build import build as build_tables

    if last and not first:
        raise UsageError(f"--to {last:%Y-%m-%d}: from which day on? Give --from too.")
    if first and full:
        raise UsageError(
            "--full rebuilds everything, --from rebuilds some days of the named tables. Give one of them."
        )
    between = (first.date(), (last or first).date()) if first else None
    _settings, mesh, catalog = _open()
    with progress_bar("build", None, "table") as advance:
        built = build_tables(
            mesh, catalog, tables, full, between, on_progress=lambda _built: advance(1), on_release=show_release
        )
    rows = [asdict(each) for each in built]
    if output_format == "json":
        write_json(rows)
    else:
        write_table(rows, columns=("table", "mode", "partitions", "rows", "held", "snapshot_id"))
    show_warnings(built)


def show_release(release: Release) -> None:
    """Report a new release on stderr."""
    tell(f"Release {release.name}: {counted(len(release.tables), 'table')}.")


def show_warnings(built: Sequence[Built]) -> None:
    """Report on stderr which rules that only warn were broken, and which tables have rows held back."""
    for each in built:
        if each.held:
            rows = counted(each.held, "row")
            click.echo(f"{each.table}: {rows} held back in {each.table}__held; held_reason says why.", err=True)
        for words in each.warnings:
            click.echo(f"{each.table}: warning: {words}", err=True)


@click.command(short_help="List the releases, newest first: tables that were built together.")
@format_option
def releases(output_format: str) -> None:
    """List the releases: each is a name, a time, and a snapshot of every table."""
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


@click.command(short_help="Show rows, snapshots, files, freshness with its promise, and quarantine of every table.")
@click.argument("names", nargs=-1, metavar="[PATTERN]...")
@format_option
def status(names: tuple[str, ...], output_format: str) -> None:
    """Show the state of every table, or of those whose name matches a PATTERN.

    \b
    mesh status 'logistics_core.*' '*.orders_*'
    """
    settings, mesh, catalog = _open()
    if output_format == "json":
        write_json([asdict(each) for each in _read_status(settings, mesh, catalog, names)])
    else:
        show_status(settings, mesh, catalog, names)


def show_status(settings: Settings, mesh: Mesh, catalog: Catalog, names: Sequence[str] = ()) -> None:
    """Write the status as a table for people, with the clock for the ages.

    `names` are shell patterns of the tables to show; without any, all are shown.
    """
    now = settings.now()
    found = _read_status(settings, mesh, catalog, names)
    rows = [
        {
            "table": each.table,
            "kind": each.kind,
            "rows": each.rows,
            "snapshots": each.snapshots,
            "files": each.files,
            "newest event": f"{each.max_event_time:%Y-%m-%d %H:%M}" if each.max_event_time else None,
            "lag": _duration(each.lag_s),
            "promise": _duration(each.promise_s),
            "fresh": each.fresh,
            "quarantined": each.quarantined,
            "orphans": each.orphans,
        }
        for each in found
    ]
    if not rows:
        what = f"No table is called {' or '.join(names)}. 'mesh status' lists them." if names else ""
        click.echo(what or "There are no tables yet. 'make run' makes them.")
        return
    write_table(rows, title=f"Tables in {settings.state_dir}, as of {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    for each in found:
        if each.max_ahead_time:
            tell(
                f"{each.table}: has rows of up to {each.max_ahead_time:%Y-%m-%d %H:%M}. A time over a day after now "
                "does not count as its newest event. Mend the source, or the SQL of that column."
            )


def _read_status(settings: Settings, mesh: Mesh, catalog: Catalog, names: Sequence[str]) -> list[TableStatus]:
    from mesh_platform.query.counts import Memo
    from mesh_platform.query.status import read_status

    found = read_status(mesh, catalog, settings.now(), Memo(settings.state_dir / "counted.json"))
    return [each for each in found if not names or any(fnmatchcase(each.table, name) for name in names)]


def _duration(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds} s"


@click.command(short_help="Query the tables with SQL; read only.")
@click.argument("sql")
@click.option(
    "--as-of",
    "as_of",
    metavar="TIME|RELEASE|TABLE@SNAPSHOT",
    help="The state at a time (system clock), in a release, or at a snapshot.",
)
@click.option("--role", help="Query as this role: personal data is masked unless a contract lists the role.")
@click.option("--format", "output_format", type=click.Choice(["table", "text", "json", "csv"]), default="table")
def query(sql: str, as_of: str | None, role: str | None, output_format: str) -> None:
    """Run one SELECT in DuckDB. Views are <namespace>.<table>; <fact>__resolved joins to every dimension.

    `mesh status` lists the tables, `describe <table>` the columns of one.
    """
    from mesh_platform.cli.result import write_result
    from mesh_platform.query.counts import Memo
    from mesh_platform.query.query import run_query, views_named
    from mesh_platform.query.session import open_session

    settings, mesh, catalog = _open()
    memo, views = Memo(settings.state_dir / "counted.json"), views_named(mesh, sql)
    with open_session(mesh, catalog, role=role, as_of=as_of, only=views, memo=memo) as session:
        result = run_query(session, sql)
    write_result(result, output_format)


@click.command(short_help="Write a DuckDB file with all views, for tools that open a file.")
@click.argument("file", type=click.Path(path_type=Path))
def views(file: Path) -> None:
    """Write FILE with a view for each table in its present state; run again to see later states.

    To open it, load DuckDB's extensions avro and iceberg first. With DUCKDB_PATH=FILE the domains' tests use it.
    """
    from mesh_platform.query.session import write_views

    _settings, mesh, catalog = _open()
    write_views(mesh, catalog, file)
    click.echo(f"{file} written. Its views are the tables' states of now.")


@click.command(short_help="List the snapshots of a table, newest first.")
@click.argument("table")
@format_option
def history(table: str, output_format: str) -> None:
    """List the snapshots that led to the current state of a table, for --as-of and rollback."""
    from mesh_platform.iceberg.history import read_history
    from mesh_platform.lake.catalog import existing_table

    _settings, _mesh, catalog = _open()
    rows = [asdict(entry) for entry in read_history(existing_table(catalog, table))]
    if output_format == "json":
        write_json(rows)
    else:
        write_table([{**row, "committed_at": f"{row['committed_at']:%Y-%m-%d %H:%M:%S}"} for row in rows])


@click.command(short_help="Set a table back to an earlier snapshot.")
@click.argument("table")
@click.option("--to", "snapshot_id", type=int, required=True, help="A snapshot id from 'mesh history TABLE'.")
@format_option
def rollback(table: str, snapshot_id: int, output_format: str) -> None:
    """Make a snapshot the current one.

    For a landing table this is lasting: removed events go to its ledger, so that no replay brings them back, and the
    tables downstream follow with the next 'mesh build'. A built table is updated to its inputs by the next build.
    """
    from mesh_platform.lake.rollback import roll_back

    _settings, mesh, catalog = _open()
    done = roll_back(mesh, catalog, table, snapshot_id)
    if output_format == "json":
        write_json(asdict(done))
    else:
        follow = (
            f"{counted(done.removed, 'event was', 'events were')} removed. "
            "Run 'mesh build' so that the tables above follow."
            if done.table.endswith("__raw")
            else "The next 'mesh build' brings it up to its inputs; to take events out, roll back a landing table."
        )
        click.echo(f"{done.table} is at snapshot {done.snapshot_id} (was {done.left}). {follow}")


@click.command(short_help="Show a product's owner, promises, columns, and the path from its queue to its readers.")
@click.argument("product")
@format_option
def explain(product: str, output_format: str) -> None:
    """Explain <domain>.<product> from its contract and SQL."""
    from mesh_platform.metadata.explain import explain_product

    settings = read_settings()
    mesh = load_mesh(settings.root)
    facts = explain_product(mesh, mesh.contract(product))
    if output_format == "json":
        write_json(facts)
        return
    columns = facts.pop("columns")
    click.echo(f"{facts.pop('product')} {facts.pop('version')}: {facts.pop('description')}\n")
    for name, value in facts.items():
        if value not in (None, []):
            click.echo(f"  {name:<15} {', '.join(value) if isinstance(value, list) else value}")
    click.echo()
    write_table([{**column, "from": ", ".join(column["from"]) or None} for column in columns])


def _open() -> tuple[Settings, Mesh, Catalog]:
    from mesh_platform.lake.catalog import open_catalog

    settings = read_settings()
    return settings, load_mesh(settings.root), open_catalog(settings)
