"""The documents do what they say: their commands run in order, and print the lines that stand below them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest
import terminal
from mesh_in_shell import mesh_in_shell
from mesh_platform.lessons.console import Command, parts, pattern, squeezed

from conftest import HANG, ROOT, SERVER, State

Shell = Callable[[str], str]


def commands(document: str) -> list[Command]:
    """The commands of a document, with the lines that stand below them."""
    return [part for part in parts((ROOT / document).read_text(encoding="utf-8")) if isinstance(part, Command)]


def clone(repository: Path, make_state: Callable[..., State], *before: Path) -> Shell:
    """Runs a command in a copy of what git has of this repository, which is a repository too.

    Programs are looked for in the folders `before` first.
    """
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository / name)
    environment = {k: v for k, v in make_state(repository).environment.items() if not k.startswith("MESH_")}
    environment["PATH"] = os.pathsep.join([*map(str, before), str(Path(sys.executable).parent), environment["PATH"]])

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG,
        )
        assert done.returncode == 0, f"$ {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run("git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm t")
    return run


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, make_state: Callable[..., State]) -> Iterator[Shell]:
    """Runs a command in a clone in which `make run` has been called; `mesh` is forked, as in most tests."""
    with mesh_in_shell(SERVER, timeout=HANG) as folder:
        run = clone(tmp_path_factory.mktemp("documents") / "repository", make_state, folder)
        run("mesh run")
        yield run


# Before the tour, which changes the tables.
@pytest.mark.slow
def test_a_terminal_of_80_or_120_columns_gets_what_its_page_shows(shell: Shell) -> None:
    repository = Path(shell("pwd").strip())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    made = terminal.page(repository, environment)
    # Masked words have other lengths elsewhere, so the spaces beside them do not count.
    shown = squeezed(terminal.PAGE.read_text(encoding="utf-8"))
    differs = "\n".join(unified_diff(shown.splitlines(), squeezed(made).splitlines(), "shown", "printed", n=0))
    assert not differs, f"see tests/terminal.py on how to write it anew:\n{differs}"
    for columns, block in re.findall(r"(\d+) columns:\n\n```text\n(.*?)```", made, re.DOTALL):
        assert max(map(len, block.splitlines())) <= int(columns), f"{columns} columns:\n{block}"


# The first three leave everything as it was; the tour does not, and comes last.
@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "docs/answers.md", "docs/lineage.md", "docs/tutorials/tour.md"])
def test_the_commands_of_a_document_print_what_stands_below_them(shell: Shell, document: str) -> None:
    follow(document, shell)


# The rules that each patch breaks on purpose; the documents say which.
BROKEN = {
    "add_gift": set(),
    "add_phone": {"change", "pii-classified"},
    "allow_diamond": {"change"},
    "drop_return_ts": {"contract"},
    "retype_quantity": {"change", "interface"},
}


@pytest.mark.slow
def test_the_patches_of_the_documents_break_the_rules_that_they_are_meant_to_break(
    tmp_path: Path, make_state: Callable[..., State]
) -> None:
    shell = clone(tmp_path / "repository", make_state)
    broken = {}
    for patch in sorted((ROOT / "docs/examples").glob("*.patch")):
        shell(f"git apply docs/examples/{patch.name}")
        problems = json.loads(shell("mesh check --base HEAD --format json || true"))
        broken[patch.stem] = {problem["rule"] for problem in problems if problem["severity"] == "error"}
        shell("git checkout -q domains")
    assert broken == BROKEN


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", ["new_domain", "new_product"])
def test_a_tutorial_leads_from_a_command_to_rows_in_a_query(
    tmp_path: Path, make_state: Callable[..., State], tutorial: str
) -> None:
    shell = clone(tmp_path / "repository", make_state)
    follow(f"docs/tutorials/{tutorial}.md", shell)
    assert shell("git status --porcelain") == "", "it leaves something behind"


def follow(document: str, shell: Shell) -> None:
    """Run the commands of a document in order; asserts that they succeed and print what is shown below them."""
    variables = ""
    for each in commands(document):
        command, expected = each.text, each.expected
        # The environment is there; what `make run` adds to `mesh run` is to set it up.
        if command.startswith("source "):
            continue
        variable = re.match(r"(\w+)=\$\(", command)
        printed = f'\nprintf %s "${variable[1]}"' if variable else ""
        done = shell(variables + re.sub(r"^make run$", "mesh run", command) + printed)
        if variable:
            # Later commands have its value, and do not ask for it again.
            variables += f"{variable[1]}={shlex.quote(done)}\n"
            continue
        # Only answers.md may leave lines out without a line `...`: its commands print more than a reader wants.
        if document == "docs/answers.md":
            shown = all(re.search(rf"(?m)^{pattern([line])}", squeezed(done)) for line in expected)
        else:
            shown = each.prints(done)
        assert shown, f"{document}: $ {command}\nshows:\n" + "\n".join(expected) + f"\nprinted:\n{done}"
