"""`mesh dashboards`: dashboards as files of the domains, in Superset and as pages without a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh_platform.cli.output import format_option, read_settings, stop_on_signal, write_json, writing
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.dashboards.superset_server import Server
    from mesh_platform.mesh.mesh import Mesh

_PASSWORD = "MESH_SUPERSET_PASSWORD"


def _server_options(command: Callable[..., None]) -> Callable[..., None]:
    url = click.option("--url", help="Its address.  [default: MESH_SUPERSET_URL, or that of 'make superset']")
    user = click.option("--user", default="admin", show_default=True, help=f"Its password: {_PASSWORD}.")
    return url(user(command))


@click.group(short_help="Keep dashboards as files, and show them in Superset or as pages.")
def dashboards() -> None:
    """Keep dashboards as files of the domains, and show them in Superset or as pages without a server."""


@dashboards.command(short_help="Write the DuckDB files that dashboards read.")
@click.option("--follow", "following", is_flag=True, help="Write them again after each commit, until Ctrl-C.")
def data(following: bool) -> None:
    """Write a DuckDB file for each role of the dashboards into the state folder, with what that role may read.

    The files have the facts, dimensions and KPIs, and `mesh.health`, `mesh.refused` and `mesh.arrivals`. They are
    replaced, never changed, so they lock nobody out. `--follow` looks at the catalog every second, so it also sees
    commits of other machines. It prints the id and the name of the connection in Superset.
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.dashboards.files import follow_lake, star_tables, write_files
    from mesh_platform.dashboards.secrets import make_secrets
    from mesh_platform.dashboards.superset_ids import DATABASE, DATABASE_ID
    from mesh_platform.lake.audit import Record, write_record
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.policy.roles import dashboard_roles
    from mesh_platform.query.state_cache import StateCache

    settings = read_settings()
    home, catalog, mesh = settings.state_dir / "superset", open_catalog(settings), load_remembered(settings)
    write_record(catalog, Record("dashboards", ", ".join(dashboard_roles(mesh)), (*star_tables(mesh),)))
    if following:
        with stop_on_signal() as stopped:
            follow_lake(
                lambda: load_remembered(settings),
                catalog,
                home / "data",
                settings.now,
                stopped,
                lambda read: tell(f"{counted(read, 'table')} read, files replaced."),
                settings.state_dir,
            )
        return
    cache = StateCache(settings.state_dir / "counted.json")
    read = write_files(mesh, catalog, home / "data", settings.now(), cache, settings.state_dir)
    make_secrets(home / "secrets.json", dashboard_roles(mesh), os.environ.get(_PASSWORD))
    tell(f"{counted(len(dashboard_roles(mesh)), 'file')} in {home / 'data'}; {counted(read, 'table')} read.")
    click.echo(f"{DATABASE_ID} {DATABASE}")


@dashboards.command(short_help="Show what `apply` would create, change and delete.")
@_server_options
@format_option
def plan(url: str | None, user: str, output_format: str) -> None:
    """List what differs in Superset from the files of the domains: what would be created, changed and deleted.

    Deleted is only what the mesh has deployed and its files no longer have; what people made there is left alone.
    Exit code 1: something differs.
    """
    from mesh_platform.cli.progress import waiting
    from mesh_platform.dashboards.deploy import plan as compare

    mesh, server = _open(url, user)
    with server, waiting("compare with Superset"):
        steps = compare(mesh, server.export_assets(), server.dashboard_roles())
    _show([asdict(step) for step in steps], output_format, "Superset is as the files are.")
    if steps:
        sys.exit(1)


@dashboards.command(short_help="Make Superset as the files are.")
@_server_options
@format_option
def apply(url: str | None, user: str, output_format: str) -> None:
    """Make the dashboards in Superset as the files of the domains are; print what was created, changed and deleted.

    To go back to a version, check out its files and apply them: `git checkout REV -- domains/*/dashboards`.
    """
    from mesh_platform.cli.progress import waiting
    from mesh_platform.dashboards.deploy import apply as deploy

    mesh, server = _open(url, user)
    with server, waiting("deploy to Superset"):
        steps = deploy(mesh, server)
    _show([asdict(step) for step in steps], output_format, "Superset is as the files are.")


@dashboards.command(short_help="Write what was changed in Superset into the files.")
@_server_options
@format_option
def pull(url: str | None, user: str, output_format: str) -> None:
    """Bring changes that people made in Superset into the files of the domains, where git shows them.

    A chart that was added to a dashboard of a domain gets a file, one that was taken away loses its own.
    """
    from mesh_platform.cli.progress import waiting
    from mesh_platform.dashboards.deploy import pull as fetch

    mesh, server = _open(url, user)
    with server, waiting("read Superset"):
        done = fetch(mesh, server.export_assets())
    rows = [{"file": path, "done": what} for path, what in done.items()]
    _show(rows, output_format, "The files are as Superset is.")


@dashboards.command(short_help="Check the files of dashboards without a server.")
@click.option("--fix", is_flag=True, help="Write files that are valid as `pull` writes them.")
def check(fix: bool) -> None:
    """Check that all SQL runs on what is published, and that the files are as `pull` writes them.

    Exit code 1: something is wrong. `mesh check` does the first part too.
    """
    from mesh_platform.cli.progress import tell
    from mesh_platform.dashboards.deploy import uncanonical, write_texts

    mesh = load_remembered(read_settings())
    other = uncanonical(mesh)
    if fix:
        write_texts(mesh, other)
    if other and not fix:
        listed = "\n".join(sorted(other))
        raise AttentionError(f"{listed}\nThese are not as 'pull' writes them: 'mesh dashboards check --fix' does.")
    tell(f"{counted(len(mesh.dashboards), 'dashboard')}: valid.")


@dashboards.command(short_help="Write a ZIP file that Superset imports.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def bundle(file: Path) -> None:
    """Write all dashboards to FILE, a ZIP file for Superset's own import of assets.

    It names the connection by its id, which `mesh dashboards data` prints; that Superset must have it. The import is
    `POST /api/v1/assets/import/` with `sparse=true`: without it, Superset asks for the connection in the file.
    """
    from mesh_platform.dashboards.superset_assets import superset_assets
    from mesh_platform.dashboards.superset_server import archive_of
    from mesh_platform.files import write_whole

    mesh = load_remembered(read_settings())
    with writing(file):
        write_whole(file, archive_of(superset_assets(mesh)))


@dashboards.command(short_help="Write dashboards as pages that open without a server.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--role", default="analyst", show_default=True, help="Show what this role may read, as in `mesh query`."
)
def html(folder: Path, role: str) -> None:
    """Write a page for each dashboard to DIR, with the same charts and numbers, as of now.

    The pages need no server and no network. They have the filters of values and of time; each chart has its numbers
    as a table too. A role gets the dashboards that are for it.
    """
    from mesh_platform.cli.progress import progress_bar, tell
    from mesh_platform.dashboards.pages import page_of
    from mesh_platform.files import write_whole
    from mesh_platform.lake.audit import write_record
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.policy.pseudonyms import Salts
    from mesh_platform.policy.roles import role_named
    from mesh_platform.query.asked import asked
    from mesh_platform.query.health import add_health
    from mesh_platform.query.query import views_named
    from mesh_platform.query.session import open_session
    from mesh_platform.sql.health_schemas import health_named

    settings = read_settings()
    mesh, catalog, now = load_remembered(settings), open_catalog(settings), settings.now()
    reads_as = role_named(role)
    shown = {name: each for name, each in mesh.dashboards.items() if reads_as is None or each.is_for(reads_as)}
    sql = "\n".join(text for each in shown.values() for text in each.sql.values())
    only, salts = views_named(mesh, sql), Salts(state=settings.state_dir)
    write_record(catalog, asked(mesh, "dashboards", role, tables=only))
    with (
        writing(folder),
        progress_bar("write pages", len(shown), "page") as advance,
        open_session(mesh, catalog, role=reads_as, only=only, salts=salts) as session,
    ):
        add_health(session, mesh, catalog, now, health_named(sql), role=reads_as)
        for name, each in shown.items():
            page = page_of(mesh, each, session, now)
            write_whole(folder / f"{name}.html", page.encode())
            advance(1)
    tell(f"{counted(len(shown), 'page')} in {folder}.")


def _open(url: str | None, user: str) -> tuple[Mesh, Server]:
    from mesh_platform.dashboards.secrets import read_secrets
    from mesh_platform.dashboards.superset_server import Server

    settings = read_settings()
    home = settings.state_dir / "superset"
    port = (home / "port").read_text().strip() if (home / "port").exists() else "8088"
    password = os.environ.get(_PASSWORD) or read_secrets(home / "secrets.json").get("passwords", {}).get(user)
    if password is None:
        raise UsageError(f"--user {user}: no password is known. Set {_PASSWORD}, or run 'make superset'.")
    return load_remembered(settings), Server(
        url or settings.superset_url or f"http://127.0.0.1:{port}", user, password
    )


def _show(rows: Sequence[Mapping[str, Any]], output_format: str, nothing: str) -> None:
    from mesh_platform.cli.progress import tell
    from mesh_platform.cli.text_table import write_table

    if output_format == "json":
        write_json([*rows])
    elif rows:
        write_table([{name: value for name, value in row.items() if name != "uuid"} for row in rows])
    else:
        tell(nothing)
