"""Versions of the template are computed without git and read from git, with a clear message where unavailable."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mesh_platform.errors import AttentionError, ContractError, UsageError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.scaffold.new import template_drift, template_status
from mesh_platform.scaffold.sync import find_folders, sync_domains
from mesh_platform.scaffold.template_version import _pack
from template_repository import NAME, SUITE, TEMPLATE, commit, edit, git, make_repository, sync, today, tree, version

from conftest import State


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path / "copy", monkeypatch)


@pytest.fixture
def domain(root: Path) -> Path:
    return root / "domains" / NAME


def test_drift_is_told_from_being_behind(root: Path, domain: Path) -> None:
    edit(root / TEMPLATE / SUITE, "The tests", "All tests")
    commit(root)
    behind = [problem for problem in template_drift(load_mesh(root)) if NAME in problem.path]
    assert [(problem.path, problem.line) for problem in behind] == [(f"domains/{NAME}/template.yaml", 4)]
    assert behind[0].fix == f"Run 'mesh template sync {NAME}'."
    assert today(root)[:10] in behind[0].message
    edit(domain / SUITE, "DomainSuite):", "object):")
    assert [problem.line for problem in template_drift(load_mesh(root)) if SUITE in problem.path] == [6]


def test_a_version_that_git_has_not_makes_a_conflict_of_each_difference(root: Path, domain: Path) -> None:
    edit(domain / "README.md", "Say here", "Ours: say here")
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    shutil.rmtree(root / ".git")
    git(root, "init", "-q")
    (status,) = template_status(root, find_folders(root, [NAME]))
    assert status.state == "behind"
    assert f"git has no template {version(root)[:10]}" in status.note
    outcome = sync(root)
    assert f"git has no template {(outcome.came_from or '')[:10]}" in outcome.note
    assert (outcome.changed, outcome.conflicts) == ([], ["README.md"])
    readme = (domain / "README.md").read_text()
    for part in ("Ours: say here", "Run it from", "Run all of it from"):
        assert part in readme
    assert readme.count("<<<<<<< domain") == 2
    assert version(root) == today(root)


@pytest.mark.slow
def test_outside_git_it_is_told_that_no_version_can_be_looked_up(
    root: Path, domain: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    shutil.rmtree(root / ".git")
    mesh = make_state(tmp_path / "state", root)
    assert mesh.json("template", "status", NAME)[0]["state"] == "today"
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    edit(domain / "README.md", "Run it", "Do run it")
    behind = mesh.mesh("template", "status", NAME, check=1)
    assert "behind" in behind.out
    assert "not a git repository" in behind.out
    done = mesh.mesh("template", "sync", NAME, check=1)
    assert "There is no git repository here" in done.err
    assert "Every difference is marked as a conflict." in done.out
    assert "Do run it" in (domain / "README.md").read_text()
    made = mesh.mesh("new", "domain", "east", "--no-input")
    assert "There is no git repository here" in made.err


def test_the_id_is_that_of_git_whether_it_is_committed_or_not(root: Path, tmp_path: Path) -> None:
    assert today(root) == git(root, "rev-parse", "HEAD:templates") == version(root)
    odd = root / TEMPLATE / "odd"
    odd.mkdir()
    for name in ("a.b", "a", "a-b/c", "a0", "b/c", "b.c", "größe 😀"):
        (odd / name).parent.mkdir(exist_ok=True)
        (odd / name).write_bytes(b"\r\n\x00\xff")
    (odd / "link").symlink_to("a")
    (odd / "a").chmod(0o755)
    (odd / "empty" / "folder").mkdir(parents=True)
    now = today(root)
    commit(root)
    assert today(root) == now == git(root, "rev-parse", "HEAD:templates")
    cache = root / TEMPLATE / "__pycache__"
    cache.mkdir()
    (cache / "x.pyc").write_bytes(b"x")
    (root / TEMPLATE / ".DS_Store").write_bytes(b"x")
    git(root, "commit", "-q", "--amend", "-m", "other words")
    assert today(root) == now == git(root, "rev-parse", "HEAD:templates")


def test_a_version_that_was_never_committed_can_be_looked_up(root: Path, domain: Path) -> None:
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    (outcome,), note = sync_domains(root, [NAME])
    assert "templates/ is not committed as it stands" in note
    edit(domain / "README.md", "Say here", "Read here")
    edit(root / TEMPLATE / "README.md", "Run all of it", "Run some of it")
    commit(root)
    assert git(root, "cat-file", "-t", outcome.to or "") == "tree"
    (outcome,), note = sync_domains(root, [NAME])
    assert (outcome.changed, outcome.conflicts, outcome.note, note) == (["README.md"], [], "", "")
    assert not list((root / "templates").rglob("*.pyc"))


@pytest.mark.parametrize("broken", ["README.md", "../domain_answers.py"])
def test_a_version_that_cannot_be_rendered_is_told(root: Path, domain: Path, broken: str) -> None:
    whole = (root / TEMPLATE / broken).read_bytes()
    (root / TEMPLATE / broken).write_bytes(whole + b"\n{% if %}\n")
    commit(root)
    recorded = git(root, "rev-parse", "HEAD:templates")
    before = tree(domain)
    with pytest.raises(AttentionError, match=r"cannot be (rendered|loaded)"):
        sync(root)
    assert tree(domain) == before

    (root / TEMPLATE / broken).write_bytes(whole)
    edit(domain / "template.yaml", version(root), recorded)
    edit(domain / "README.md", "Say here", "Read here")
    outcome = sync(root)
    assert f"template {recorded[:10]} cannot be" in outcome.note
    assert (outcome.changed, outcome.conflicts) == ([], ["README.md"])


def test_a_domain_without_template_yaml_is_taken_in_as_it_stands(root: Path, domain: Path) -> None:
    before = tree(domain)
    (domain / "template.yaml").unlink()
    (problem,) = [each for each in template_drift(load_mesh(root)) if NAME in each.path]
    assert f"mesh template sync {NAME}" in problem.fix
    outcome = sync(root)
    assert (outcome.came_from, outcome.changed, outcome.conflicts) == (None, [], [])
    record = yaml.safe_load((domain / "template.yaml").read_text())
    first = yaml.safe_load(before["template.yaml"])
    # Its files have the defaults of the answers that were omitted at its creation.
    told = {"contact": "central-warehouse@acme.example", "on_call": "#central-warehouse-on-call"}
    assert record == first | {"answers": first["answers"] | told}
    assert template_drift(load_mesh(root)) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: '", "version: 'main", ":4: version:"),
        ("detached: {}", "detached:\n  README.md:", ":19: detached.README.md:"),
        ("domain: central_warehouse", "domain: other", ":6: answers.domain is 'other'"),
        ("answers:", "answers", "not valid YAML"),
        ("answers:", "<<<<<<< ours\nanswers:", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_template_yaml_is_told_with_its_line(
    root: Path, domain: Path, old: str, new: str, message: str
) -> None:
    edit(domain / "template.yaml", old, new)
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    before = tree(root)
    with pytest.raises(ContractError, match=re.escape(message)):
        sync_domains(root)
    assert tree(root) == before
    assert any(message in str(problem) for problem in template_drift(load_mesh(root)))


def test_a_name_that_comes_near_is_offered(root: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean central_warehouse"):
        sync_domains(root, ["central_warehous"])


@pytest.mark.parametrize("form", ["flow", "crlf"])
def test_template_yaml_may_be_written_in_another_form(root: Path, domain: Path, form: str) -> None:
    path = domain / "template.yaml"
    held = yaml.safe_load(path.read_text())
    if form == "flow":
        path.write_text(yaml.safe_dump(held, default_flow_style=True, width=10000))
    else:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = path.read_bytes()
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    sync(root)
    assert yaml.safe_load(path.read_text()) == held | {"version": today(root)}
    if form == "crlf":
        assert path.read_bytes() == before.replace(held["version"].encode(), today(root).encode())


@pytest.mark.parametrize("how", ["shallow", "attributes"])
def test_what_git_cannot_give_back_as_it_was_is_not_merged_with(root: Path, tmp_path: Path, how: str) -> None:
    if how == "attributes":
        (root / ".git/info").mkdir(exist_ok=True)
        (root / ".git/info/attributes").write_text("*.md export-ignore\n")
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    commit(root)
    if how == "shallow":
        git(tmp_path, "clone", "-q", "--depth=1", f"file://{root}", "shallow")
        root = tmp_path / "shallow"
    outcome = sync(root)
    assert ("back changed" if how == "attributes" else "has no template") in outcome.note
    assert outcome.conflicts == ["README.md"]


def test_the_repository_may_lie_in_a_folder_of_a_larger_one(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / ".git")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    outcome = sync(root)
    assert (outcome.note, outcome.changed, outcome.conflicts) == ("", ["README.md"], [])


def test_a_pack_holds_objects_of_any_length(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    lengths = (0, 1, 15, 16, 2047, 2048, 300_000)
    pack = _pack([("blob", b"x" * length) for length in lengths])
    subprocess.run(["git", "unpack-objects", "-q"], cwd=tmp_path, input=pack, check=True)
    command = ["git", "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectsize)"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert sorted(found) == sorted(f"blob {length}" for length in lengths)
