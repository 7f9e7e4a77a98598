"""The tour of the README does what it says: its commands run in order, and print the lines that stand below them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT, State


def tour() -> Iterator[tuple[str, list[str]]]:
    """(command, expected lines) of each console block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *expected = part.rstrip("\n").split("\n")
            yield command, expected


@pytest.mark.slow
def test_the_tour_of_the_readme(state: State, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository / name)
    subprocess.run(
        "git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm t",
        shell=True,
        cwd=repository,
        check=True,
    )
    environment = {k: v for k, v in state.environment.items() if not k.startswith("MESH_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    variables = ""
    _run("mesh run", repository, environment)
    for command, expected in tour():
        # The environment is there; what `make run` adds to `mesh run` is to set it up.
        if command.startswith("source "):
            continue
        done = _run(variables + re.sub(r"^make run$", "mesh run", command), repository, environment)
        if re.match(r"\w+=\$\(", command):
            variables += f"{command}\n"
        printed = [_squeezed(line) for line in done.splitlines()]
        for line in expected:
            pattern = re.escape(_squeezed(line)).replace(r"\.\.\.", ".*")
            assert any(re.fullmatch(pattern, each) for each in printed), (
                f"$ {command}\nlacks: {line}\nprinted:\n{done}"
            )


def _run(command: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"$ {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _squeezed(line: str) -> str:
    return " ".join(line.split())
