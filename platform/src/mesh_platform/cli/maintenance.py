"""`mesh maintain`: tables tended."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import click

from mesh_platform.cli.output import format_option, progress_bar, read_settings, tell, write_json, write_table
from mesh_platform.domain import load_mesh
from mesh_platform.errors import NeedsAttention, counted


@click.command(short_help="Compact tables, expire old snapshots, remove orphans.")
@click.argument("tables", nargs=-1, metavar="[<domain>[.<table>]]...")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
@format_option
def maintain(tables: tuple[str, ...], dry_run: bool, output_format: str) -> None:
    """Tend all tables, or those named: merge small files, expire old snapshots, remove files that nothing names.

    Rows stay as they are. Tables of a contract with mesh.maintain: false are skipped. It can run beside ingest and
    builds, and be stopped at any time.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.maintain import maintain as maintain_tables

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


def _show(rows: list[dict[str, object]], dry_run: bool) -> None:
    told = ("compacted", "expired", "orphans_removed", "failed", "untended")
    worked = [row for row in rows if any(row[name] for name in told)]
    columns = ("table", "compacted", "expired", "orphans_removed", "skipped")
    write_table([{name: row[name] for name in columns} for row in worked], columns=columns)
    would = "would be done" if dry_run else "was done"
    idle = len(rows) - len([row for row in worked if not row["untended"]])
    tell(f"{counted(len(rows), 'table')} looked at; at {idle} of them nothing {would}.")
