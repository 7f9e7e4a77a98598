"""`mesh check` and `mesh diff`: apply all rules to the files of the mesh, and show the effect of a change."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime

import click

from mesh_platform.cli.output import read_settings
from mesh_platform.errors import MeshError, UsageError
from mesh_platform.text import shown


@click.command(short_help="Check the rules of the mesh; show each problem with its line and its fix.")
@click.option("--rule", "only", multiple=True, help="Only this rule; can be repeated. docs/rules/ lists them.")
@click.option("--base", metavar="REV", help="Compare changes with this revision.  [default: where main was left]")
@click.option("--fix", is_flag=True, help="First apply automatic fixes.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="For people, for programs, for code hosts.",
)
def check(only: tuple[str, ...], base: str | None, fix: bool, output_format: str) -> None:
    """Read every file of every domain and show all problems at once; needs no lake and no broker.

    Exit code 0 if all rules hold, 1 if there are problems, 2 if it could not run.
    """
    from mesh_platform.governance.cache import Cache
    from mesh_platform.governance.check import check as run
    from mesh_platform.governance.check import mend, open_scope
    from mesh_platform.governance.registry import all_rules
    from mesh_platform.governance.report import FORMATS

    # Everything read is needed until the process ends, which is soon.
    gc.disable()
    settings = read_settings()
    # Not the simulated clock, which is for data: waivers end by the real calendar.
    today = (settings.clock or datetime.now(UTC)).date()
    cache = Cache(settings.state_dir / "check.cache")
    try:
        scope = open_scope(settings.root, today, base, cache)
        if fix:
            for path in mend(scope):
                click.echo(f"Wrote {shown(path, settings.root)}.", err=True)
        problems = run(scope, only)
        # A run of some rules only would remove results of the others from the cache.
        if not only:
            cache.save()
    except MeshError as error:
        raise UsageError(str(error)) from error
    click.echo(FORMATS[output_format](problems, {name: all_rules()[name] for name in only or all_rules()}))
    sys.exit(1 if any(problem.severity == "error" for problem in problems) else 0)


@click.command(short_help="Show the effect of a change: on contracts, on columns downstream, on whom.")
@click.option("--base", metavar="REV", help="Compare with this revision.  [default: where main was left]")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="For people, for programs, for a pull request.",
)
def diff(base: str | None, output_format: str) -> None:
    """Show what changed in contracts and SQL since REV was left, what it reaches, and whose consent it needs.

    Exit code 0 whatever changed, 2 if it could not run. `mesh check` fails for problems.
    """
    from mesh_platform.governance.cache import Cache
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
