"""`mesh query` and `mesh views`: read tables as a role."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from mesh_platform.cli.completion import complete, roles
from mesh_platform.cli.output import writing
from mesh_platform.cli.progress import tell
from mesh_platform.cli.tables import open_lake
from mesh_platform.mesh.mesh import Mesh

_role_option = click.option(
    "--role",
    default="analyst",
    show_default=True,
    shell_complete=complete(roles),
    help="Read as this role: analyst, steward, owner, the id of a warehouse, or one of a contract.",
)


@click.command(short_help="Run a SELECT on the tables.")
@click.argument("sql")
@click.option(
    "--as-of",
    "as_of",
    metavar="TIME|RELEASE|day:DAY|TABLE@SNAPSHOT",
    help="Read the tables as they were at a time, in a release, at the end of a day of events, or at a snapshot.",
)
@_role_option
@click.option("--wide", is_flag=True, help="Show all columns and whole texts, however narrow the terminal is.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "text", "json", "csv"]),
    default="table",
    help="text is the same as table; json: one value on stdout.",
)
def query(sql: str, as_of: str | None, role: str, wide: bool, output_format: str) -> None:
    """Run one SELECT in DuckDB, read only. Views are named `<namespace>.<table>`; `<fact>__resolved` joins to every
    dimension. `mesh status` lists the tables; the SQL `describe <table>` lists the columns of one.

    `--as-of` takes a TIME (of the commits, by the machine's clock), a RELEASE (dimensions and facts that were built
    together; it has no landing tables and no quarantines), day:2025-10-20 (the newest release that has no event of a
    later day, in UTC) or TABLE@SNAPSHOT.

    Personal data, and messages that were refused, are hidden from a role unless the contract of the data lists it. A
    text is then a pseudonym, the same in all of one query, and anything else is NULL, or the zero of its type in a
    required column; a contract may name another mask (docs/personal-data.md). The role `owner` reads everything in
    the clear. The role of a warehouse is its id, such as WH-NORTH, and reads the rows of that warehouse
    alone. The query says on stderr which of its columns are hidden.

    `mesh.health` has a row for each product: its age and promise, rows, quarantined and held events. `mesh.refused`
    and `mesh.arrivals` count events by product and day: those that ingest refused, and those that it accepted. All
    three are as of now.

    A table that is wider than the terminal is cut: long texts first, then the last columns. stderr says which.

    Who asked for which tables as which role is recorded before the answer is shown: `mesh audit`.
    """
    from mesh_platform.cli.result import write_result
    from mesh_platform.lake.audit import AUDIT, move_records, recorded
    from mesh_platform.policy.pseudonyms import Salts
    from mesh_platform.policy.roles import reads_audit, role_named
    from mesh_platform.query.asked import asked
    from mesh_platform.query.health import add_health
    from mesh_platform.query.query import run_query, views_named
    from mesh_platform.query.session import open_session
    from mesh_platform.query.state_cache import StateCache
    from mesh_platform.sql.health_schemas import health_named

    settings, mesh, catalog = open_lake()
    cache, views = StateCache(settings.state_dir / "counted.json"), views_named(mesh, sql)
    reads_as, salts = role_named(role), Salts(state=settings.state_dir)
    with recorded(catalog, asked(mesh, "query", role, sql)) as record:
        if AUDIT in views and reads_audit(reads_as):
            move_records(catalog)
        with open_session(mesh, catalog, role=reads_as, as_of=as_of, only=views, cache=cache, salts=salts) as session:
            record.as_of = as_of
            add_health(session, mesh, catalog, settings.now(), health_named(sql), role=reads_as, cache=cache)
            result = run_query(session, sql)
        record.rows = result.num_rows
    if not any(map(catalog.namespace_exists, mesh.domains)):
        tell(f"The lake in {settings.state_dir} has no tables yet, so all views are empty. 'make run' makes them.")
    _tell_what_is_hidden(mesh, role, views, f"{sql} {' '.join(result.column_names)}".lower())
    write_result(result, output_format, wide)


def _tell_what_is_hidden(mesh: Mesh, role: str, views: Sequence[str], text: str) -> None:
    """Say which of the columns that `text` names are masked; and to the owner, which are personal."""
    from mesh_platform.policy.roles import ANALYST, OWNER
    from mesh_platform.query.session import hidden_columns

    words = set(re.findall(r"\w+", text))
    hidden = hidden_columns(mesh, ANALYST if role == OWNER else role, views)
    named = {table: [each for each in columns if each in words] for table, columns in hidden.items()}
    listed = "; ".join(f"{', '.join(columns)} of {table}" for table, columns in named.items() if columns)
    if listed and role == OWNER:
        tell(f"Read by the owner, in the clear: {listed}. Other roles do not see it; keep it to yourself.")
    elif listed:
        tell(f"Masked for {role}: {listed}. '--role owner' reads it in the clear.")


@click.command(short_help="Write a DuckDB file with all tables.")
@click.argument("file", type=click.Path(path_type=Path))
@_role_option
def views(file: Path, role: str) -> None:
    """Write FILE, a DuckDB file with each table as it is now, for tools that open a file.

    It has copies of the rows as the role reads them in `mesh query`. With `--role owner` it has views instead, which
    read the tables themselves, personal data in the clear: load DuckDB's extensions `avro` and `iceberg` before you
    read them. `DUCKDB_PATH=FILE pytest domains` checks that each table exists and has rows.

    An existing FILE is replaced; run the command again to see later states. Do not name FILE after a domain: DuckDB
    would confuse the two.
    """
    from mesh_platform.lake.audit import write_record
    from mesh_platform.policy.pseudonyms import Salts
    from mesh_platform.policy.roles import role_named
    from mesh_platform.query.asked import asked
    from mesh_platform.query.database import write_database
    from mesh_platform.query.session import view_names

    settings, mesh, catalog = open_lake()
    write_record(catalog, asked(mesh, "views", role, tables=view_names(mesh)))
    with writing(file):
        write_database(mesh, catalog, file, role_named(role), salts=Salts(state=settings.state_dir))
    if role_named(role) is None:
        click.echo(f"{file} written. Its views are the tables' states of now, with personal data in the clear.")
    else:
        click.echo(f"{file} written. It has the rows of now as {role} reads them.")
