"""`mesh dashboards`: dashboards as files of the domains, in Superset and as pages without a server."""

from __future__ import annotations

import click

from mesh_platform.cli.output import read_settings, stop_on_signal
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.text import counted


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
    from mesh_platform.dashboards.files import dashboard_roles, follow_lake, write_files
    from mesh_platform.dashboards.secrets import make_secrets
    from mesh_platform.dashboards.superset_ids import DATABASE, DATABASE_ID
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.query.state_cache import StateCache

    settings = read_settings()
    home, catalog = settings.state_dir / "superset", open_catalog(settings)
    if following:
        with stop_on_signal() as stopped:
            follow_lake(
                lambda: load_remembered(settings),
                catalog,
                home / "data",
                settings.now,
                stopped,
                lambda read: tell(f"{counted(read, 'table')} read, files replaced."),
            )
        return
    mesh = load_remembered(settings)
    cache = StateCache(settings.state_dir / "counted.json")
    read = write_files(mesh, catalog, home / "data", settings.now(), cache)
    make_secrets(home / "secrets.json", dashboard_roles(mesh))
    tell(f"{counted(len(dashboard_roles(mesh)), 'file')} in {home / 'data'}; {counted(read, 'table')} read.")
    click.echo(f"{DATABASE_ID} {DATABASE}")
