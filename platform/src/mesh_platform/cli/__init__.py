"""The command line `mesh`, with output as tables for people or JSON for programs. Other modules have the commands.

Exit codes: 0 success, 1 problems found or a fault in the code (with its traceback), 2 wrong use, 3 a service is
unavailable (try again).
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from mesh_platform import faults
from mesh_platform.errors import MeshError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from mesh_platform.events.producer import Producer

# Arrow reads this at its first import. Its default allocator keeps memory that one thread allocated and another
# freed, so that ingest needs a quarter more.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
# Pydantic would read the entry points of every installed package to find plugins of its own; nothing here has any.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

# The disk of a file or of the output fails.
_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
COMMANDS = {
    "produce": "mesh_platform.cli.events:produce",
    "ingest": "mesh_platform.cli.events:ingest",
    "faults": "mesh_platform.cli.events:faults",
    "build": "mesh_platform.cli.tables:build",
    "status": "mesh_platform.cli.tables:status",
    "query": "mesh_platform.cli.query:query",
    "audit": "mesh_platform.cli.policy:audit",
    "restrictions": "mesh_platform.cli.policy:restrictions",
    "views": "mesh_platform.cli.query:views",
    "history": "mesh_platform.cli.tables:history",
    "maintain": "mesh_platform.cli.maintenance:maintain",
    "erase": "mesh_platform.cli.erasure:erase",
    "erasures": "mesh_platform.cli.erasure:erasures",
    "ml": "mesh_platform.cli.ml:ml",
    "relocate": "mesh_platform.cli.maintenance:relocate",
    "retention": "mesh_platform.cli.maintenance:retention",
    "releases": "mesh_platform.cli.tables:releases",
    "rollback": "mesh_platform.cli.tables:rollback",
    "explain": "mesh_platform.cli.metadata:explain",
    "lineage": "mesh_platform.cli.metadata:lineage",
    "find": "mesh_platform.cli.metadata:find",
    "catalog": "mesh_platform.cli.metadata:catalog",
    "export": "mesh_platform.cli.metadata:export",
    "dashboards": "mesh_platform.cli.dashboards:dashboards",
    "dbt": "mesh_platform.cli.dbt:dbt",
    "check": "mesh_platform.cli.governance:check",
    "diff": "mesh_platform.cli.governance:diff",
    "parity": "mesh_platform.cli.governance:parity",
    "grants": "mesh_platform.cli.access:grants",
    "doctor": "mesh_platform.cli.services:doctor",
    "up": "mesh_platform.cli.stack:up",
    "down": "mesh_platform.cli.stack:down",
    "evolve": "mesh_platform.cli.evolution:evolve",
    "lesson": "mesh_platform.cli.lesson:lesson",
    "new": "mesh_platform.cli.scaffolding:new",
    "template": "mesh_platform.cli.scaffolding:template",
}


class _Mesh(click.Group):
    """Loads the module of a command when it is called, so that no command waits for modules of others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from importlib.metadata import entry_points

        return sorted({*COMMANDS, *(entry.name for entry in entry_points(group="mesh.commands"))})

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names of the commands, without loading any for its help text; options as click has them."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name) for name in self.list_commands(ctx) if name.startswith(incomplete)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name].partition(":")
            command = getattr(importlib.import_module(module), attribute)
        else:
            # It takes a tenth of the time of a short command.
            from importlib.metadata import entry_points

            found = entry_points(group="mesh.commands", name=name)
            if not found:
                return None
            command = next(iter(found)).load()
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Mesh, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--timing", is_flag=True, help="Say on stderr where the time of the command went.")
def mesh(timing: bool) -> None:
    """Run the data mesh: send events, ingest them, build tables, and query them."""
    if timing:
        from mesh_platform.cli.timing import Timing

        click.get_current_context().call_on_close(Timing().show)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `mesh` with `arguments` (default: those of the process) and exit with its exit code."""
    try:
        faults.check()
        mesh.main(args=list(arguments) if arguments is not None else None, prog_name="mesh", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except MeshError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of the output has closed the pipe.
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno in _OF_DISKS:
            _drop_output()
            click.echo(
                f"{error.filename or 'a file or the output'}: {error.strerror}. Mend that disk, then run again.",
                err=True,
            )
            sys.exit(3)
        if error.errno == errno.ENAMETOOLONG and error.filename:
            click.echo(f"{error.filename}: {error.strerror}. Choose a shorter one.", err=True)
            sys.exit(2)
        _tell_fault(error)
    except Exception as error:
        _tell_fault(error)


def _drop_output() -> None:
    """Keep Python from flushing the rest of the output to where it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_fault(error: Exception) -> NoReturn:
    traceback.print_exc()
    click.echo(
        f"{type(error).__name__}: this is a fault in the code, not in your data, files or services. What was "
        "committed or acknowledged before it is kept. Report it with the lines above to the maintainers.",
        err=True,
    )
    sys.exit(1)


def run_producer(producer: Producer) -> None:
    """The main function of a producer script: the modes and options of `mesh produce` for its product."""
    main(["produce", producer.product, *sys.argv[1:]])
