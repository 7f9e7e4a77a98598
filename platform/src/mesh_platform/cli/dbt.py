"""`mesh dbt export`: the mesh as a dbt project."""

from __future__ import annotations

from pathlib import Path

import click

from mesh_platform.cli.output import format_option, read_settings, write_json, writing
from mesh_platform.mesh.remembered import load_remembered
from mesh_platform.text import counted


@click.group(short_help="Give the mesh to people who work with dbt.")
def dbt() -> None:
    """Give the mesh to people who work with dbt."""


@dbt.command(short_help="Write the mesh as a dbt project.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the DuckDB file with the sources, for MESH_DUCKDB.",
)
@click.option(
    "--role",
    default="owner",
    show_default=True,
    help="Export what this role may read: but for the owner, all products as sources, personal data masked.",
)
@format_option
def export(folder: Path, database: Path | None, role: str, output_format: str) -> None:
    """Write a dbt project to DIR: sources, models, tests and documentation, from contracts and SQL.

    \b
    mesh dbt export analysis --database lake.duckdb
    cd analysis
    pip install -r requirements.txt
    MESH_DUCKDB=../lake.duckdb dbt build

    Products whose SQL reads landing tables are sources with freshness, all others models. `dbt build` makes tables
    of a DuckDB file from them, and tests all promises and rules; it writes nothing to the lake.

    The project alone needs no lake. The views of `--database` show the tables as they are now; run the command again
    to see later states, personal data in the clear. For another role than the owner the file has copies of the rows
    as the role reads them.

    A further export replaces what changed and removes what left the mesh. It touches no file that it did not write,
    and stops where somebody has changed one that it wrote, so models of your own can be in DIR too.
    """
    from dataclasses import asdict

    from mesh_platform.cli.progress import tell, waiting
    from mesh_platform.lake.audit import write_record
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.metadata.dbt.project import dbt_project
    from mesh_platform.metadata.dbt.relations import relations_of
    from mesh_platform.metadata.dbt.write import write_project
    from mesh_platform.policy.pseudonyms import Salts
    from mesh_platform.policy.roles import role_named
    from mesh_platform.query.asked import asked
    from mesh_platform.query.database import write_database
    from mesh_platform.sql.model import read_models

    settings = read_settings()
    mesh = load_remembered(settings)
    with waiting("export"):
        models = read_models(mesh)
        reads_as = role_named(role)
        project = dbt_project(mesh, models, reads_as)
        relations = relations_of(mesh, models, reads_as)
        with writing(folder):
            written = write_project(folder, project)
        if database is not None:
            lake, salts = open_catalog(settings), Salts(state=settings.state_dir)
            write_record(lake, asked(mesh, "dbt", role, tables=relations.sources))
            with writing(database):
                write_database(mesh, lake, database, reads_as, relations.sources, salts)
    if output_format == "json":
        facts = {"sources": len(relations.sources), "models": len(relations.models), **asdict(written)}
        write_json(facts)
        return
    tell(
        f"{counted(len(relations.sources), 'source')} and {counted(len(relations.models), 'model')} in {folder}: "
        f"{counted(written.written, 'file')} written, {written.unchanged} unchanged, {written.removed} removed."
    )
