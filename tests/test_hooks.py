"""A hook that is installed in a fresh clone lets a good commit in and stops a bad one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT

CONTRACT = Path("domains/east_warehouse/contracts/orders_east.odcs.yaml")


def run(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # A hook has git's own variables set, and so may whoever runs the tests in one.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MESH_"))}
    who = {f"GIT_{role}_{what}": "t@acme.example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**kept, **who, "PRE_COMMIT_HOME": str(where.parent / "cache")}
    return subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of the files as they stand, with the hooks installed as `make hooks` does."""
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "As it stands"]):
        assert run(source, "git", *words).returncode == 0
    clone = tmp_path / "clone"
    assert run(tmp_path, "git", "clone", "-q", str(source), str(clone)).returncode == 0
    (clone / ".venv").symlink_to(ROOT / ".venv")
    (clone / ".git" / "info" / "exclude").write_text(".venv\n")
    done = run(clone, ".venv/bin/pre-commit", "install")
    assert done.returncode == 0, done.stderr
    return clone


def commit(clone: Path) -> subprocess.CompletedProcess[str]:
    return run(clone, "git", "commit", "-a", "-m", "A change")


def test_a_hook_stops_a_bad_commit_and_lets_a_good_one_in(clone: Path) -> None:
    text = (clone / CONTRACT).read_text()
    (clone / CONTRACT).write_text(text.replace("classification: pii\n", "classification: internal\n", 1))
    stopped = commit(clone)
    assert stopped.returncode == 1
    assert f"{CONTRACT}:" in stopped.stdout + stopped.stderr
    assert "pii-classified" in stopped.stdout + stopped.stderr
    (clone / CONTRACT).write_text(text)
    (clone / "domains/east_warehouse/models/orders_east.sql").unlink()
    removed = commit(clone)
    assert removed.returncode == 1
    assert "one-source" in removed.stdout + removed.stderr
    assert run(clone, "git", "reset", "-q", "--hard").returncode == 0
    (clone / "README.md").write_text("# Ours\n")
    (clone / "domains/east_warehouse/README.md").write_text("# East\n")
    done = commit(clone)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hooks_are_local_and_pinned_by_the_requirements() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert "repo: local" in text
    assert "http" not in text
