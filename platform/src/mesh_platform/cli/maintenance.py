"""`mesh maintain` and `mesh relocate`: maintain tables, and make a copied or moved lake independent."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import timedelta

import click

from mesh_platform.cli.output import format_option, progress_bar, read_settings, tell, write_json, write_table
from mesh_platform.errors import NeedsAttention, UsageError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.text import counted


@click.command(short_help="Compact tables, expire old snapshots, remove orphans.")
@click.argument("tables", nargs=-1, metavar="[<domain>[.<table>]]...")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be done.")
@format_option
def maintain(tables: tuple[str, ...], dry_run: bool, output_format: str) -> None:
    """Maintain all tables, or those named: merge small files, expire old snapshots, remove unreferenced files.

    Rows stay as they are. Tables of a contract with mesh.maintain: false are skipped. It can run at the same time as
    ingest and builds, and be stopped at any time.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.lake.maintain import maintain as maintain_tables

    settings = read_settings()
    mesh, catalog = load_mesh(settings.root), open_catalog(settings)
    with progress_bar("maintain", None, "table") as advance:
        done = maintain_tables(
            mesh, catalog, tables, dry_run, timedelta(seconds=settings.orphan_age_s), lambda _tended: advance(1)
        )
    rows = [asdict(each) for each in done]
    if output_format == "json":
        write_json(rows)
    else:
        _show(rows, dry_run)
    failed = [each for each in done if each.failed]
    if failed:
        raise NeedsAttention("\n".join(f"{each.table}: {each.skipped}" for each in failed))


@click.command(short_help="Make a copied or moved state folder, or S3 prefix, an independent lake.")
@click.option(
    "--from",
    "old_places",
    metavar="OLD",
    multiple=True,
    help="The old place of the lake: its state folder, or its warehouse. By default what the catalog names.",
)
@format_option
def relocate(old_places: tuple[str, ...], output_format: str) -> None:
    """Change the paths in the tables' metadata and in the catalog to their present place.

    Snapshots, tags and releases stay as they are, and the original is not changed. Stop ingest, builds and Airflow on
    the copy first. It can be killed and run again; it skips what is already changed.
    """
    from mesh_platform.iceberg.relocate import relocate as relocate_tables
    from mesh_platform.lake.catalog import open_catalog

    catalog = open_catalog(read_settings(), copied=True)
    places = [place if "://" in place else os.path.abspath(place) for place in old_places]
    with progress_bar("relocate", None, "table") as advance:
        done = relocate_tables(catalog, places, lambda _table: advance(1))
    if not done:
        raise UsageError("there is no table to relocate. Say with MESH_STATE where the copied lake is.")
    columns = ("table", "mode", "from", "to", "snapshots", "rewritten")
    rows = [
        dict(zip(columns, (d.table, d.mode, d.came_from, d.location, d.snapshots, d.rewritten), strict=True))
        for d in done
    ]
    if output_format == "json":
        write_json(rows)
        return
    moved = [row for row in rows if row["mode"] != "noop"]
    write_table(moved, columns=columns)
    tell(f"{counted(len(rows), 'table')} checked; {len(rows) - len(moved)} of them were in their place already.")


def _show(rows: list[dict[str, object]], dry_run: bool) -> None:
    counts = ("compacted", "expired", "orphans_removed", "failed", "untended")
    worked = [row for row in rows if any(row[name] for name in counts)]
    columns = ("table", "compacted", "expired", "orphans_removed", "skipped")
    write_table([{name: row[name] for name in columns} for row in worked], columns=columns)
    would = "would be done" if dry_run else "was done"
    idle = len(rows) - len([row for row in worked if not row["untended"]])
    tell(f"{counted(len(rows), 'table')} checked; for {idle} of them nothing {would}.")
