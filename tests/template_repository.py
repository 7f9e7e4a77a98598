"""A repository for tests of the template: the templates, what the mesh agrees on, and one domain, all committed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from mesh_platform.scaffold.new import new_domain, propose_answers, template_status
from mesh_platform.scaffold.sync import Outcome, find_folders, sync_domains
from mesh_platform.scaffold.template_version import Templates

from conftest import ROOT

NAME = "central_warehouse"
TEMPLATE = "templates/domain/{{cookiecutter.domain}}"
LINE = "templates/lines/order_created/{{cookiecutter.domain}}"
SUITE = "tests/test_domain.py"


def make_repository(
    root: Path, monkeypatch: pytest.MonkeyPatch, folders: tuple[str, ...] = ("domains/logistics_core", "templates")
) -> Path:
    """A git repository with these folders of this one and, unless it has all domains, central_warehouse."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for folder in folders:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(root, "init", "-q")
    if "domains" not in folders:
        new_domain(root, propose_answers(root, NAME, {"team": "Größe & Söhne 東京 😀"}))
    commit(root)
    return root


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "t")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text, f"{path} lacks {old!r}"
    path.write_bytes(text.replace(old, new, 1).encode())


def sync(root: Path) -> Outcome:
    """Sync the one domain."""
    (outcome,), _ = sync_domains(root, [NAME])
    return outcome


def version(root: Path, folder: str = NAME) -> str:
    text = (root / "domains" / folder / "template.yaml").read_text(encoding="utf-8")
    return str(yaml.safe_load(text)["version"])


def today(root: Path) -> str:
    with Templates(root) as templates:
        return templates.today.version


def state_of(root: Path) -> str:
    (status,) = template_status(root, find_folders(root, [NAME]))
    return status.state


def tree(folder: Path) -> dict[str, bytes]:
    """Every file that is part of a repository below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file() and not {"__pycache__", ".git"} & {*path.parts})
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
