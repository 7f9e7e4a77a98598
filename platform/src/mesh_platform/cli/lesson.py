"""`mesh lesson`: lessons that teach by breaking, run in a folder of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mesh_platform.cli.output import format_option, read_settings, write_json
from mesh_platform.cli.progress import tell
from mesh_platform.cli.text_table import write_table
from mesh_platform.errors import UsageError
from mesh_platform.text import counted

if TYPE_CHECKING:
    from mesh_platform.lessons.lesson import Lesson
    from mesh_platform.lessons.workshop import Workshop


@click.command(short_help="Learn by breaking: predict, break, see, mend.")
@click.argument("number", type=int, required=False, metavar="[N]")
@click.option("--check", "checking", is_flag=True, help="Ask nothing; compare what the commands print with the text.")
@format_option
def lesson(number: int | None, checking: bool, output_format: str) -> None:
    """List the lessons, or take lesson N. Each asks what you expect, breaks something, shows what came of it, and
    mends it. On a terminal, Enter runs the next command.

    Lessons run on a copy of the mesh with one simulated day, in `lessons/bench` of the state folder. Your tables,
    contracts and queues are not touched. The first lesson makes the day, which takes half a minute. Afterwards the
    bench stays, and you can try things there yourself.

    Exit code 1: with `--check`, a command printed something else than the text of the lesson says.
    """
    from mesh_platform.lessons.lesson import read_lessons
    from mesh_platform.lessons.workshop import Workshop

    settings = read_settings()
    lessons = read_lessons(settings.root)
    if number is None:
        if checking:
            raise UsageError(f"--check: which lesson? Give its number, 1 to {max(lessons)}.")
        rows = [{"lesson": each.number, "title": each.title} for each in lessons.values()]
        if output_format == "json":
            write_json(rows)
            return
        write_table(rows)
        click.echo("\n'mesh lesson 1' begins the first.")
        return
    if number not in lessons:
        raise UsageError(f"lesson {number}: there is none. 'mesh lesson' lists {counted(len(lessons), 'lesson')}.")
    workshop = Workshop(settings.root, settings.state_dir / "lessons")
    workshop.open(lambda: tell("Simulating a day for the lessons, once ..."))
    if checking:
        _check(lessons[number], workshop, output_format)
    elif output_format == "json":
        raise UsageError("--format json: a lesson is for people. Give --check too, or leave it out.")
    else:
        _teach(lessons[number], workshop)


def _teach(lesson: Lesson, workshop: Workshop) -> None:
    from mesh_platform.lessons.console import Command

    waits = sys.stdin.isatty() and sys.stdout.isatty()
    click.secho(f"{lesson.number}. {lesson.title}", bold=True)
    for part in lesson.parts:
        if not isinstance(part, Command):
            _tell_text(part, waits)
            continue
        first, *more = part.text.splitlines()
        click.secho("\n".join([f"\n$ {first}", *(f"> {line}" for line in more)]), fg="cyan")
        if waits:
            click.prompt("[Enter runs it]", default="", show_default=False, prompt_suffix=" ")
        printed = workshop.run(part)
        click.echo(printed.out, nl=False)
        click.secho(printed.err, nl=False, dim=True, err=True)
        if printed.code:
            click.echo(f"(exit code {printed.code})")
    click.echo(f"\nThe bench stays as it is: cd {workshop.bench}")


def _tell_text(text: str, waits: bool) -> None:
    """Print a piece of a lesson; after the one that asks for a prediction, wait for it."""
    for paragraph in text.split("\n\n"):
        heading = paragraph.startswith("## ")
        click.secho(f"\n{paragraph.removeprefix('## ')}", bold=heading)
        if waits and paragraph.rstrip().endswith("?"):
            click.prompt("Your prediction", default="", show_default=False)


def _check(lesson: Lesson, workshop: Workshop, output_format: str) -> None:
    differences = []
    for command in lesson.commands:
        printed = workshop.run(command)
        if printed.code or not command.prints(printed.out):
            shown = {"command": command.text, "expected": "\n".join(command.expected)}
            differences.append({**shown, "exit_code": printed.code, "printed": printed.out, "stderr": printed.err})
    if output_format == "json":
        write_json({"lesson": lesson.number, "commands": len(lesson.commands), "differences": differences})
    else:
        for each in differences:
            click.echo(
                f"$ {each['command']}\nshould print:\n{each['expected']}\nprinted (exit code {each['exit_code']}):\n"
                f"{each['printed']}{each['stderr']}"
            )
        commands = counted(len(lesson.commands), "command")
        click.echo(f"Lesson {lesson.number}: {commands}, {counted(len(differences), 'difference')}.")
    sys.exit(1 if differences else 0)
