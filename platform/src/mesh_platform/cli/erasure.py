"""`mesh erase` and `mesh erasures`: remove a person from the lake, and list what was removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.progress import progress_bar, tell
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import UsageError
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.erasure.erase import ErasurePlan, Result


@click.command(short_help="Remove a person from all tables, their past, queues and logs, and prove it.")
@click.option("--where", required=True, metavar="COLUMN=VALUE", help="Whom: customer_id=C-1042.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be removed, and change nothing.")
@click.option("--request", metavar="ID", help="What the request is called; the same again goes on after a kill.")
@click.option("--by", metavar="NAME", help="Who erases.")
@click.option("--reason", metavar="TEXT", help="Why, without the value.")
@format_option
def erase(
    where: str, only_plan: bool, request: str | None, by: str | None, reason: str | None, output_format: str
) -> None:
    """Remove a person from landing tables, quarantine, held rows, products, facts, dimensions and features.

    The mesh finds the columns: those of the name, those that refer to one, and copies of these. Snapshots and files
    that still have the value are removed, with the releases, tags and trainings that name them. Tables computed from
    the rows are built again. From the request on, ingest refuses the person's events. The end is recorded after the
    value was looked for in all files of the lake.

    This cannot be undone. If the command is killed, run it again with the same request.

    Exit code 1: the value is still found, or a table cannot be built; the request stays open.
    """
    from mesh_platform.erasure.erase import Lake, plan, read_value
    from mesh_platform.erasure.erase import erase as erase_value
    from mesh_platform.lake.catalog import open_catalog

    column, sign, text = where.partition("=")
    if not sign or not column or not text:
        raise UsageError(f"--where {where}: write COLUMN=VALUE, such as customer_id=C-1042.")
    value = read_value(column, text)
    settings = read_settings()
    lake = Lake(load_remembered(settings), open_catalog(settings), settings.state_dir, settings.broker)
    if only_plan:
        planned = plan(lake, column, value)
        if output_format == "json":
            write_json(asdict(planned))
        else:
            _show_plan(planned)
        return
    given = {"--request": request, "--by": by, "--reason": reason}
    if missing := [name for name, word in given.items() if not word]:
        raise UsageError(f"mesh erase: {', '.join(missing)} missing. Say who erases, why, and for which request.")
    with progress_bar("erase", None, "table") as advance:
        result = erase_value(lake, column, value, str(request), str(by), str(reason), lambda _table: advance(1))
    if output_format == "json":
        write_json({"request": request, **asdict(result)})
    else:
        _show_result(str(request), result)


@click.command(short_help="List the requests to erase persons, newest first.")
@format_option
def erasures(output_format: str) -> None:
    """List the requests of `mesh erase`: when, by whom and why, what was removed, and how it was proved.

    A request without an end was killed or failed: run `mesh erase` again with it. No value is stored, only a hash
    with a key.
    """
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.lake.erasures import read_erasures

    rows = [asdict(each) for each in read_erasures(open_catalog(read_settings()))]
    if output_format == "json":
        write_json(rows)
        return
    shown = [
        {
            "request": row["request"],
            "requested_at": row["requested_at"],
            "by": row["by"],
            "column": row["column_name"],
            "reason": row["reason"],
            "ended_at": row["ended_at"],
            "rows": sum(each["rows"] for each in row["result"]["tables"].values()) if row["result"] else None,
        }
        for row in rows
    ]
    write_table(shown, columns=("request", "requested_at", "by", "column", "reason", "ended_at", "rows"))


def _show_plan(planned: ErasurePlan) -> None:
    columns = ("table", "columns", "rows", "files", "bytes", "snapshots")
    rows = [{**asdict(each), "columns": ", ".join(each.columns)} for each in planned.tables]
    write_table(rows, columns=columns)
    _tell_others(asdict(planned), "would be")


def _show_result(request: str, result: Result) -> None:
    rows: list[dict[str, Any]] = [{"table": name, **counts} for name, counts in result.tables.items()]
    write_table(rows, columns=("table", "rows", "files", "bytes"))
    _tell_others(asdict(result), "were")
    looked = counted(result.proof["files"], "file")
    tell(f"{request}: the value is in none of {looked}. Ingest refuses the person's events from now on.")


def _tell_others(found: dict[str, Any], verb: str) -> None:
    if found["messages"]:
        tell(f"Messages that {verb} removed or shortened in queues: {found['messages']}.")
    if found["state_files"]:
        tell(f"Files of the state folder that {verb} cleaned: {', '.join(found['state_files'])}.")
    for name, words in (("releases", "Releases"), ("trainings", "Trainings"), ("refs", "Tags and branches")):
        if found[name]:
            tell(f"{words} that {verb} voided: {_some(found[name])}.")
    for sentence in found["left"]:
        tell(sentence)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
