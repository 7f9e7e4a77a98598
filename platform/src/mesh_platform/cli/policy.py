"""`mesh restrictions` and `mesh audit`: what a role may not read, and who has asked for what."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.tables import open_lake
from mesh_platform.cli.text_table import write_cut_table, write_table
from mesh_platform.errors import UsageError

# Tables of one record that a terminal has room for.
_SHOWN = 3


@click.command(short_help="Show what a role may not read of each table.")
@click.argument("tables", nargs=-1, metavar="[<domain>.<table>]...")
@click.option("--role", default="analyst", show_default=True, help="A role of `mesh query`.")
@format_option
def restrictions(tables: tuple[str, ...], role: str, output_format: str) -> None:
    """Show the masks and row filters of a role, for all tables of the lake or those named.

    `--format json` prints for each table the `read-restrictions` of Iceberg's REST specification, by field id, for a
    catalog that sends them to other engines. Tables without any are left out. Print them again when a contract has
    changed.
    """
    from mesh_platform.lake.catalog import find_tables
    from mesh_platform.lake.tables import all_tables
    from mesh_platform.policy.restrictions import read_restrictions
    from mesh_platform.policy.roles import check_role, role_named
    from mesh_platform.text import offer

    _settings, mesh, catalog = open_lake()
    reads_as = role_named(role)
    check_role(mesh, reads_as)
    known = {table.name: table for table in all_tables(mesh)}
    for name in tables:
        if name not in known:
            raise UsageError(f"{name}: no such table. {offer(name, dict.fromkeys(known))}")
    schemas = {name: table.schema() for name, table in find_tables(catalog, tables or known).items()}
    found = {name: read_restrictions(mesh, reads_as, known[name], schema) for name, schema in schemas.items()}
    if output_format == "json":
        write_json({name: each for name, each in found.items() if each})
        return
    rows = []
    for name, each in found.items():
        for projection in each.get("required-column-projections", ()):
            column = schemas[name].find_column_name(projection["field-id"])
            rows.append({"table": name, "column": column, "action": projection["action"]})
        if "required-row-filter" in each:
            rows.append({"table": name, "column": "", "action": f"rows: {json.dumps(each['required-row-filter'])}"})
    write_table(rows, columns=["table", "column", "action"])


@click.command(short_help="Show who asked for which tables as which role.")
@click.option("--role", default="steward", show_default=True, help="Only steward and owner may read it.")
@click.option("--user", "user_name", help="Only what this user asked.")
@click.option("--table", help="Only what reads this view, <domain>.<table>.")
@click.option("--wide", is_flag=True, help="Show all columns and whole texts, however narrow the terminal is.")
@format_option
def audit(role: str, user_name: str | None, table: str | None, wide: bool, output_format: str) -> None:
    """Show who asked for rows of the mesh, newest first: when, as which role, of which tables, by which SQL.

    In the SQL, `?` stands for each literal and for each name that is not public, because they can name a person.
    `rows` is how many rows a query showed, empty if it failed. Other commands than `query` wrote rows to files for
    others. The rows are those of the table `mesh.audit`; this command first moves there what waits in the state
    folder. A table that is wider than the terminal is cut, as `mesh query` cuts it.
    """
    from mesh_platform.lake.audit import move_records, read_audit
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.policy.roles import OWNER, STEWARD, reads_audit, role_named

    if not reads_audit(role_named(role)):
        raise UsageError(f"--role {role}: may not read who asked for what. Use {STEWARD} or {OWNER}.")
    catalog = open_catalog(read_settings())
    move_records(catalog)
    rows = [
        row
        for row in read_audit(catalog)
        if user_name in (None, row["user_name"]) and (table is None or table in row["tables"])
    ]
    if output_format == "json":
        write_json(rows)
        return
    columns = ("asked_at", "user_name", "role", "command", "rows", "tables", "statement")
    shown = [
        {**row, "asked_at": f"{row['asked_at']:%Y-%m-%d %H:%M:%S}", "tables": _some(row["tables"])} for row in rows
    ]
    write = write_table if wide else write_cut_table
    write([{name: row[name] for name in columns} for row in shown], columns=columns)


def _some(tables: Sequence[str]) -> str:
    more = len(tables) - _SHOWN
    return ", ".join(tables[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
