"""The lessons do what they say: their commands run in order, and print what stands below them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mesh_in_shell import mesh_in_shell
from mesh_platform.lessons.console import Command, parts
from mesh_platform.lessons.lesson import SECTIONS, read_lessons
from mesh_platform.lessons.workshop import Workshop

from conftest import HANG, ROOT, SERVER, State

LESSONS = read_lessons(ROOT)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A workshop whose one day all lessons share; `mesh` is forked, as in most tests."""
    with mesh_in_shell(SERVER, timeout=HANG) as folder:
        yield Workshop(ROOT, tmp_path_factory.mktemp("lessons"), (folder,))


@pytest.mark.parametrize("number", LESSONS)
def test_the_commands_of_a_lesson_print_what_stands_below_them(workshop: Workshop, number: int) -> None:
    workshop.open()
    for command in LESSONS[number].commands:
        printed = workshop.run(command)
        assert printed.code == 0, f"$ {command.text}\n{printed}"
        assert command.prints(printed.out), f"$ {command.text}\n{printed.out}"


def test_there_are_six_and_each_asks_before_it_shows() -> None:
    assert [*LESSONS] == [1, 2, 3, 4, 5, 6]
    for lesson in LESSONS.values():
        texts = [part for part in lesson.parts if isinstance(part, str)]
        headings = [line[3:] for text in texts for line in text.splitlines() if line.startswith("## ")]
        assert tuple(headings) == SECTIONS, lesson.title
        first = lesson.parts[0]
        assert isinstance(first, str)
        asked = first.partition("## Predict")[2].partition("## Break")[0]
        assert asked.strip().endswith("?"), f"{lesson.title}: asks for no prediction"


def test_a_command_that_prints_something_else_is_noticed() -> None:
    (text, command) = parts("Some text.\n\n```console\n$ echo a\n> b\nbefore ... after\n...\nend\n```\n")
    assert text == "Some text."
    assert isinstance(command, Command)
    assert command.text == "echo a\nb"
    assert command.prints("before   it comes after\n\nmore\nend\n")
    for output in ("", "before after\n", "before it comes after\nend\nmore\n", "before it comes after\n"):
        assert not command.prints(output), output


def test_the_day_is_made_again_when_a_domain_changes_and_kept_when_not(mesh_copy: Path, tmp_path: Path) -> None:
    (mesh_copy / "docs" / "examples").mkdir(parents=True)
    folder = tmp_path / "mesh-of-the-test"
    folder.mkdir()
    (folder / "mesh").write_text("#!/bin/sh\nmkdir -p .mesh && echo day > .mesh/day\n")
    (folder / "mesh").chmod(0o755)
    workshop, made = Workshop(mesh_copy, tmp_path / "lessons", (folder,)), []
    workshop.open(lambda: made.append(1))
    (workshop.bench / ".mesh" / "day").write_text("broken by a lesson")
    workshop.open(lambda: made.append(2))
    assert (workshop.bench / ".mesh" / "day").read_text() == "day\n"
    (mesh_copy / "domains" / "west_warehouse" / "README.md").write_text("changed")
    workshop.open(lambda: made.append(3))
    assert made == [1, 3]
    assert (workshop.bench / "domains" / "west_warehouse" / "README.md").read_text() == "changed"
    # As a call leaves it that is killed while it makes the day.
    (workshop.folder / "day" / "of").unlink()
    workshop.open(lambda: made.append(4))
    assert made == [1, 3, 4]


@pytest.mark.slow
def test_the_command_lists_teaches_and_checks_lessons_beside_the_state_of_the_user(state: State) -> None:
    assert [each["lesson"] for each in state.json("lesson")] == [*LESSONS]
    checked = state.json("lesson", 3, "--check", MESH_FLUSH_LINES="1", MESH_BROKER_URL="sqlite:////nowhere/broker.db")
    assert checked == {"lesson": 3, "commands": len(LESSONS[3].commands), "differences": []}
    taught = state.mesh("lesson", 1).out
    assert "Predict" in taught
    assert "$ mesh produce west_warehouse.orders_west replay diamond.csv\n20 events confirmed" in taught
    assert sorted(path.name for path in state.folder.iterdir()) == ["lessons"]
    assert "'mesh lesson' lists 6 lessons" in state.mesh("lesson", 7, check=2).err
