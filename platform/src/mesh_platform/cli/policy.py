"""`mesh restrictions`: what a role may not read."""

from __future__ import annotations

import json

import click

from mesh_platform.cli.output import format_option, write_json
from mesh_platform.cli.tables import open_lake
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import UsageError


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
