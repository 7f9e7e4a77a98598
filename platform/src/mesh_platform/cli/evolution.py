"""`mesh evolve`: apply a changed contract to the tables of its product, or report what would break."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from mesh_platform.cli.completion import complete, products
from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.text_table import write_table
from mesh_platform.contract.schema_change import Change
from mesh_platform.errors import ContractError, UsageError
from mesh_platform.mesh.remembered import load_remembered


@click.command(short_help="Apply a changed contract to the tables of its product.")
@click.argument("product", metavar="<domain>.<product>", shell_complete=complete(products))
@click.option("--plan", is_flag=True, help="List the changes, and change nothing.")
@click.option("--purge", is_flag=True, help="Also delete the columns that the contract dropped.")
@click.option("--despite-releases", is_flag=True, help="Also purge columns that releases show.")
@format_option
def evolve(product: str, plan: bool, purge: bool, despite_releases: bool, output_format: str) -> None:
    """Apply a changed contract to the landing table and the published table of its product. No row, file or snapshot
    changes.

    If one change is breaking, the command refuses all of them, each with its reason, and changes nothing.
    docs/evolution.md explains what can change, and how a breaking change becomes version 2 beside version 1.

    `--purge` also deletes the columns that the contract dropped, so that their names can be used again, even with
    another type. It is refused as long as a kept snapshot shows these columns. `--despite-releases` purges them even
    if releases show them.

    Exit code 1: a change is breaking, also with `--plan`.
    """
    from mesh_platform.lake import evolution
    from mesh_platform.lake import purge as purging
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.sql.type_check import check_types

    if despite_releases and not purge:
        raise UsageError("--despite-releases: it goes with --purge.")
    settings = read_settings()
    mesh = load_remembered(settings)
    contract = mesh.contract(product)
    catalog = open_catalog(settings)
    # SQL that does not fit the contract would fail each later build.
    problems = check_types(mesh)
    if plan:
        changes = evolution.plan_evolution(catalog, contract)
        if purge:
            changes = purging.plan_purge(catalog, contract, despite_releases)
        _show(product, changes, output_format)
        if problems:
            raise ContractError(problems)
        sys.exit(1 if any(change.breaking for change in changes) else 0)
    if problems:
        raise ContractError(problems)
    done = purging.purge(catalog, contract, despite_releases) if purge else evolution.evolve(catalog, contract)
    _show(product, done, output_format)


def _show(product: str, changes: list[Change], output_format: str) -> None:
    rows = [{name: value for name, value in asdict(change).items() if name != "purgeable"} for change in changes]
    if output_format == "json":
        write_json(rows)
    elif rows:
        write_table([{**row, "reason": f"the table {row['reason']}"} for row in rows])
    else:
        click.echo(f"{product}: its tables are as the contract says, or not there yet.")
