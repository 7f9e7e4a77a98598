"""`mesh check` and `mesh diff`: all rules of the mesh on the files as they stand, and what a change does to it."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime

import click

from mesh_platform.cli.output import read_settings
from mesh_platform.errors import MeshError, UsageError
from mesh_platform.text import shown


@click.command(short_help="Hold the mesh to its rules; each problem with its place and how to mend it.")
@click.option("--rule", "only", multiple=True, help="Only this rule; can be given again. docs/rules/ lists them.")
@click.option("--base", metavar="REV", help="What changes are compared with.  [default: where main was left]")
@click.option("--fix", is_flag=True, help="Mend what is mechanical first.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="For people, for programs, for code hosts.",
)
def check(only: tuple[str, ...], base: str | None, fix: bool, output_format: str) -> None:
    """Read every file of every domain and tell all problems at once; needs no lake and no broker.

    Exit code 0 where all rules hold, 1 where there are problems, 2 where it could not run.
    """
    from mesh_platform.governance.cache import Cache
    from mesh_platform.governance.check import check as run
    from mesh_platform.governance.check import mend, open_scope
    from mesh_platform.governance.registry import all_rules
    from mesh_platform.governance.report import FORMATS

    # What is read stays until the process ends, which is soon.
    gc.disable()
    settings = read_settings()
    # The simulated clock is that of the data; who waives a rule goes by the calendar on the wall.
    today = (settings.clock or datetime.now(UTC)).date()
    cache = Cache(settings.state_dir / "check.cache")
    try:
        scope = open_scope(settings.root, today, base, cache)
        if fix:
            for path in mend(scope):
                click.echo(f"Wrote {shown(path, settings.root)}.", err=True)
        problems = run(scope, only)
        # Of some rules alone it knows less than before.
        if not only:
            cache.save()
    except MeshError as error:
        raise UsageError(str(error)) from error
    click.echo(FORMATS[output_format](problems, {name: all_rules()[name] for name in only or all_rules()}))
    sys.exit(1 if any(problem.severity == "error" for problem in problems) else 0)


@click.command(short_help="What a change does: to contracts, to columns downstream, to whom.")
@click.option("--base", metavar="REV", help="What is compared with.  [default: where main was left]")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="For people, for programs, for a pull request.",
)
def diff(base: str | None, output_format: str) -> None:
    """Tell what changed in contracts and SQL since REV was left, what it reaches, and whose consent it needs.

    Exit code 0 whatever changed, 2 where it could not run. `mesh check` is what refuses.
    """
    from mesh_platform.governance.cache import Cache
    from mesh_platform.governance.change.diff import diff as run
    from mesh_platform.governance.change.diff_report import FORMATS
    from mesh_platform.governance.check import open_scope

    settings = read_settings()
    today = (settings.clock or datetime.now(UTC)).date()
    try:
        # What a check remembers holds here, too; not all that it asks for is asked for, so nothing is kept.
        found = run(open_scope(settings.root, today, base, Cache(settings.state_dir / "check.cache")))
    except MeshError as error:
        raise UsageError(str(error)) from error
    click.echo(FORMATS[output_format](found))
