"""`mesh maintain`, `mesh retention` and `mesh relocate`: maintain tables, list what retention removed, relocate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.completion import complete, domains, products
from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.progress import progress_bar, tell
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import AttentionError, UsageError
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.metadata.run_reports import run_reports
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.lake.maintain import Maintained
    from mesh_platform.lake.maintenance_turns import Maintain


@contextmanager
def maintenance() -> Iterator[Maintain]:
    """Yield a function that starts the maintenance of tables in a process of its own, which ends with the block.

    It returns False while the process of an earlier call runs.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(tables: Sequence[str]) -> bool:
        # In its own process, because merging files takes more memory and time than ingest may use.
        if started and started[-1].poll() is None:
            return False
        if started and started[-1].returncode:
            tell("The maintenance of tables failed. 'mesh maintain' shows why.")
        command = [sys.executable, "-c", "from mesh_platform.cli import main; main()", "maintain", *tables]
        environment = {name: value for name, value in os.environ.items() if name != "MESH_FAULT"}
        quiet = subprocess.DEVNULL
        started[:] = [subprocess.Popen(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)]
        return True

    try:
        yield start
    finally:
        for process in started:
            # The next maintenance continues its work.
            process.terminate()
            process.wait()


@click.command(short_help="Remove rows past their retention, merge files, expire snapshots.")
@click.argument("tables", nargs=-1, metavar="[<domain>[.<table>]]...", shell_complete=complete(domains, products))
@click.option("--dry-run", is_flag=True, help="Report what would be done, and change nothing.")
@format_option
def maintain(tables: tuple[str, ...], dry_run: bool, output_format: str) -> None:
    """Maintain all tables, or those named: remove rows past the retention of their contract, merge small files,
    expire old snapshots, and remove files that no snapshot uses any more.

    Other rows do not change. The command can run while ingest and builds run, and you can stop it at any time. It
    skips tables whose contract says `mesh.maintain: false`.

    Exit code 1: a table could not be maintained.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.lake.maintain import maintain as maintain_tables

    settings = read_settings()
    mesh, catalog = load_remembered(settings), open_catalog(settings)
    with progress_bar("maintain", None, "table") as advance, run_reports(settings, mesh, tell) as report:

        def on_start(table: str) -> None:
            if not dry_run:
                report("maintain", table, None)

        def on_progress(maintained: Maintained) -> None:
            advance(1)
            if not dry_run:
                report("maintain", maintained.table, maintained)

        orphan_age = timedelta(seconds=settings.orphan_age_s)
        done = maintain_tables(mesh, catalog, tables, dry_run, orphan_age, on_progress, on_start, settings.now())
    rows = [asdict(each) for each in done]
    if output_format == "json":
        write_json(rows)
    else:
        _show(rows, dry_run)
    failed = [each for each in done if each.failed]
    if failed:
        raise AttentionError("\n".join(f"{each.table}: {each.skipped}" for each in failed))


@click.command(short_help="List what was removed past the retention of contracts, newest first.")
@format_option
def retention(output_format: str) -> None:
    """List what `mesh maintain` removed because it was past the retention of its contract, from `mesh.retention`.

    `removed`: rows left a table. `cleared`: no past state of the table shows such rows any more; the releases, tags
    and branches that named one are void.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.lake.retention import read_removals

    rows = [asdict(each) for each in read_removals(open_catalog(read_settings()))]
    if output_format == "json":
        write_json(rows)
        return
    columns = ("table", "step", "at", "until", "rows", "snapshots", "voided")
    write_table([{**row, "voided": ", ".join(row["voided"])} for row in rows], columns=columns)


@click.command(short_help="Turn a copied or moved state folder or S3 prefix into a lake of its own.")
@click.option(
    "--from",
    "old_places",
    metavar="OLD",
    multiple=True,
    help="Where the lake was: its state folder or its warehouse.  [default: the place that the catalog names]",
)
@format_option
def relocate(old_places: tuple[str, ...], output_format: str) -> None:
    """Rewrite the file paths in the catalog and in the tables' metadata to the place where the files are now.

    Run it on a copied or moved state folder or S3 prefix. Until then, every command that opens its tables refuses the
    lake (exit code 2). Stop ingest, builds and Airflow on the copy first. Snapshots, tags and releases do not change,
    and the original is not touched. If the command is killed, run it again; it skips what is done already.

    JSON: `[{table, mode: relocated|noop, from, to, snapshots, rewritten}]`.

    Exit code 1: files are missing in the copy.
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
    tell(f"{counted(len(rows), 'table')} checked; {len(rows) - len(moved)} already in place.")


def _show(rows: list[dict[str, object]], dry_run: bool) -> None:
    counts = ("removed", "compacted", "expired", "orphans_removed", "failed", "excluded")
    worked = [row for row in rows if any(row[name] for name in counts)]
    columns = ("table", "removed", "compacted", "expired", "orphans_removed", "skipped")
    write_table(worked, columns=columns)
    would = "would be done" if dry_run else "was done"
    idle = len(rows) - len([row for row in worked if not row["excluded"]])
    tell(f"{counted(len(rows), 'table')} checked; for {idle} of them nothing {would}.")
