"""`mesh check`, `mesh diff`, `mesh parity`: apply all rules, show the effect of a change, compare the engines."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from mesh_platform.cli.collector import without_collector
from mesh_platform.cli.output import format_option, read_settings, write_json, writing
from mesh_platform.errors import MeshError, UsageError
from mesh_platform.files import write_whole
from mesh_platform.text import offer, shown


@click.command(short_help="Check the mesh against its rules; report each problem and its fix.")
@click.option("--rule", "only", multiple=True, help="Check only this rule; repeatable. docs/rules/ lists the rules.")
@click.option("--base", metavar="REV", help="Compare contracts with this.  [default: where the branch left main]")
@click.option("--fix", is_flag=True, help="First fix what can be fixed mechanically.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="text: for people; json: for programs; sarif and github: for code hosts.",
)
@without_collector
def check(only: tuple[str, ...], base: str | None, fix: bool, output_format: str) -> None:
    """Check every file of every domain against the rules and report all problems at once. It needs no lake and no
    broker. docs/governance.md explains the rules.

    Exit code 1: there are problems. Exit code 2: the check could not run.
    """
    from mesh_platform.cache.cache import Cache
    from mesh_platform.cli.progress import progress_bar
    from mesh_platform.cli.text_table import wrapped
    from mesh_platform.governance.check import check as run
    from mesh_platform.governance.check import mend, open_scope
    from mesh_platform.governance.registry import all_rules
    from mesh_platform.governance.report import FORMATS

    settings = read_settings()
    # Not the simulated clock, which is for data: waivers end by the real calendar.
    today = (settings.clock or datetime.now(UTC)).date()
    cache = Cache(settings.state_dir / "check.cache")
    try:
        scope = open_scope(settings.root, today, base, cache)
        if fix:
            for path in mend(scope):
                click.echo(f"Wrote {shown(path, settings.root)}.", err=True)
        with progress_bar("check", len(all_rules()), "rule") as advance:
            problems = run(scope, only, advance)
        # A run of some rules only would remove results of the others from the cache.
        if not only:
            cache.save()
    except MeshError as error:
        raise UsageError(str(error)) from error
    report = FORMATS[output_format](problems, {name: all_rules()[name] for name in only or all_rules()})
    if output_format == "text":
        report = "\n".join(wrapped(line, indent=2) for line in report.split("\n"))
    click.echo(report)
    sys.exit(1 if any(problem.severity == "error" for problem in problems) else 0)


@click.command(short_help="Show what a change does to contracts, columns downstream, and consumers.")
@click.option("--base", metavar="REV", help="Compare with this revision.  [default: where the branch left main]")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="text: for people; json: for programs; markdown: for a pull request.",
)
def diff(base: str | None, output_format: str) -> None:
    """Show what changed in contracts and SQL since the branch left REV: each change with its kind and the version
    that it asks for, the columns and dashboards downstream that it reaches, and whose consent is given or missing.

    The exit code is 0 whatever changed, and 2 if the command could not run. `mesh check` is the command that refuses.
    """
    from mesh_platform.cache.cache import Cache
    from mesh_platform.governance.change.diff import diff as run
    from mesh_platform.governance.change.diff_report import FORMATS
    from mesh_platform.governance.check import open_scope

    settings = read_settings()
    today = (settings.clock or datetime.now(UTC)).date()
    try:
        # Reads the cache of checks, but does not save it, because it would lose results that only a check uses.
        found = run(open_scope(settings.root, today, base, Cache(settings.state_dir / "check.cache")))
    except MeshError as error:
        raise UsageError(str(error)) from error
    click.echo(FORMATS[output_format](found))


@click.command(short_help="Run each model on DuckDB and on Spark, and compare the rows.")
@click.argument("tables", nargs=-1)
@click.option("--no-lake", is_flag=True, help="Compare on generated rows alone, even if there is a lake.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there, as Markdown.")
@format_option
def parity(tables: tuple[str, ...], no_lake: bool, page: Path | None, output_format: str) -> None:
    """Run each model (or those of TABLES) on DuckDB and on Spark, on generated rows at the edges of each type and on
    the rows of the lake, and compare what they return.

    \b
    mesh parity
    mesh parity logistics_core.dim_date --no-lake
    mesh parity --page docs/parity.md

    MESH_SPARK_REMOTE has the address of Spark; without one it is Sail, in this process. The rows are sent there. Both
    need the packages of requirements/spark.txt. A domain writes the differences that it expects into its parity.yaml;
    docs/governance.md has the form.

    Exit code 1: there is a difference that nobody expects, or an expected one is gone.
    """
    from mesh_platform.cli.progress import progress_bar
    from mesh_platform.cli.text_table import write_table
    from mesh_platform.engine.spark import spark_session
    from mesh_platform.governance.parity.report import as_row, as_value, parity_page
    from mesh_platform.governance.parity.run import compare_models
    from mesh_platform.lake.catalog import open_catalog
    from mesh_platform.mesh.remembered import load_remembered
    from mesh_platform.sql.model import read_models

    settings = read_settings()
    mesh = load_remembered(settings)
    models = read_models(mesh)
    for name in tables:
        if name not in models:
            raise UsageError(f"{name}: no table with a model. {offer(name, models)}")
    catalog = open_catalog(settings) if settings.has_lake and not no_lake else None
    runs = len(tables or models) * (2 if catalog else 1)
    with (
        spark_session(settings.spark_remote.get_secret_value()) as spark,
        progress_bar("compare", runs, "run") as advance,
    ):
        found = [*compare_models(mesh, models, catalog, spark, tables, advance)]
    if page:
        with writing(page):
            write_whole(page, parity_page(found).encode())
    if output_format == "json":
        write_json([as_value(finding) for finding in found])
    else:
        write_table([as_row(finding) for finding in found])
        for finding in found:
            if finding.is_fault:
                click.echo(f"\n{finding.table}, {finding.source}, {finding.verdict}: {finding.advice}", err=True)
    sys.exit(1 if any(finding.is_fault for finding in found) else 0)
