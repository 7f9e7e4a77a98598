"""The base of changes: every state of a repository has one, and no state makes a check fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mesh_platform.errors import UsageError
from mesh_platform.governance.change.base import NoBase, read_base

from ..changed_mesh import ALPHA, FACT, Repository, clean_environment, drop, new_repository
from ..contract_edits import adds


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "mesh")


def drop_amount(repository: Repository) -> None:
    repository.edit(ALPHA, lambda data: drop(data, "amount"))


def changed(repository: Repository, base: str | None = None) -> list[str]:
    return [*repository.assessed(base)]


def clone(repository: Repository, *words: str, into: str = "clone") -> Repository:
    target = repository.root.parent / into
    command = ["git", "clone", "-q", *words, f"file://{repository.root}", str(target)]
    subprocess.run(command, env=clean_environment(), check=True, capture_output=True)
    return Repository(target)


def test_on_main_uncommitted_work_is_compared_with_the_last_commit(repository: Repository):
    assert changed(repository) == []
    drop_amount(repository)
    assert changed(repository) == ["alpha.sales_alpha"]
    repository.git("add", "-A")
    assert changed(repository) == ["alpha.sales_alpha"]
    repository.commit()
    assert changed(repository) == []
    assert changed(repository, "HEAD~1") == ["alpha.sales_alpha"]


@pytest.mark.parametrize("detached", [False, True])
def test_a_branch_is_compared_with_where_it_left_main(repository: Repository, detached: bool):
    repository.git("checkout", "-q", *(["--detach"] if detached else ["-b", "work"]))
    drop_amount(repository)
    work = repository.commit()
    # Later changes on main are not changes of the branch.
    repository.git("checkout", "-q", "main")
    repository.edit(FACT, adds())
    repository.commit()
    repository.git("checkout", "-q", work if detached else "work")
    assert changed(repository) == ["alpha.sales_alpha"]
    assert changed(repository, "main") == ["alpha.sales_alpha"]
    repository.git("merge", "-q", "main")
    assert changed(repository) == ["alpha.sales_alpha"]


def test_the_main_branch_of_the_origin_comes_before_the_own(repository: Repository):
    copy = clone(repository)
    copy.git("checkout", "-q", "-b", "work")
    copy.git("branch", "-q", "-D", "main")
    drop_amount(copy)
    copy.commit()
    assert changed(copy) == ["alpha.sales_alpha"]
    copy.git("remote", "set-head", "origin", "-d")
    assert changed(copy) == ["alpha.sales_alpha"]
    # The main branch may have another name.
    copy.git("update-ref", "refs/remotes/origin/trunk", "HEAD")
    copy.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    assert changed(copy) == []


def test_a_repository_without_a_main_branch_is_compared_with_its_last_commit(repository: Repository):
    repository.git("branch", "-m", "master")
    drop_amount(repository)
    assert changed(repository) == ["alpha.sales_alpha"]
    repository.commit()
    assert changed(repository) == []


def test_a_shallow_clone_that_lacks_the_base_says_so(repository: Repository):
    repository.git("checkout", "-q", "-b", "work")
    drop_amount(repository)
    repository.commit()
    repository.git("checkout", "-q", "main")
    copy = clone(repository, "--depth", "1", "--branch", "work")
    (problem,) = copy.problems()
    assert "this clone is shallow" in problem.fix
    assert "git fetch --unshallow" in problem.fix
    assert copy.problems(rule="consent") == []
    with pytest.raises(NoBase, match="shallow"):
        changed(copy)
    assert changed(copy, "HEAD") == []
    copy.git("fetch", "-q", "--unshallow", "origin", "main:refs/remotes/origin/main")
    assert changed(copy) == ["alpha.sales_alpha"]


def test_outside_git_and_before_the_first_commit_there_is_nothing_to_say(repository: Repository):
    for words in ((), ("init", "-q")):
        shutil.rmtree(repository.root / ".git", ignore_errors=True)
        if words:
            repository.git(*words)
        drop_amount(repository) if not words else None
        assert repository.problems() == []
        with pytest.raises(UsageError, match="--base HEAD: "):
            repository.problems("HEAD")


@pytest.mark.parametrize("revision", ["nowhere", "", "-x", "--all", "HEAD:domains", "HEAD~99", "main..main", "a\nb"])
def test_a_revision_that_git_does_not_know_is_wrong_use(repository: Repository, revision: str):
    with pytest.raises(UsageError, match="git knows no such commit here"):
        repository.problems(revision)


def test_without_git_on_the_machine_it_is_as_outside_git(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(repository.root))
    assert read_base(repository.root, None) is None
    with pytest.raises(UsageError, match="in no repository that git can read"):
        read_base(repository.root, "HEAD")


def test_a_repository_that_git_refuses_is_a_problem_and_not_silence(repository: Repository):
    (repository.root / ".git" / "config").write_text("[core\n")
    (problem,) = repository.problems()
    assert problem.message == "the changes cannot be determined."
    assert "bad config" in problem.fix


def test_a_hook_of_another_commit_does_not_lead_astray(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = new_repository(tmp_path / "other")
    drop_amount(repository)
    # As in a hook of `git commit <path>` in another repository.
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git" / "next-index-1.lock"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.root))
    monkeypatch.setenv("GIT_PREFIX", "domains/")
    # And its own index is locked.
    (repository.root / ".git" / "index.lock").touch()
    assert changed(repository) == ["alpha.sales_alpha"]


def test_a_real_hook_sees_what_is_committed(repository: Repository):
    hook = repository.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    mesh = shutil.which("mesh", path=f"{Path(os.sys.executable).parent}:{os.environ['PATH']}")
    hook.write_text(f'#!/bin/sh\nMESH_ROOT="{repository.root}" exec "{mesh}" check --rule change\n')
    hook.chmod(0o755)
    drop_amount(repository)
    command = ["git", "-C", str(repository.root), "commit", "-q", "-a", "-m", "x"]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "'amount' is no longer there" in done.stdout + done.stderr


def test_a_mesh_may_be_a_folder_of_a_repository_and_its_names_any(tmp_path: Path):
    inner = new_repository(tmp_path / "mono" / "schöne Daten" / "a b")
    shutil.rmtree(inner.root / ".git")
    outer = Repository(tmp_path / "mono")
    outer.git("init", "-q", "-b", "main")
    shutil.copytree(inner.root / "domains" / "alpha", outer.root / "domains" / "alpha")
    outer.commit()
    drop_amount(inner)
    # A mesh in an outer repository.
    drop_amount(outer)
    inner.place.write("alpha/contracts/größe \n 大.odcs.yaml", "name: x")
    assert changed(inner) == ["alpha.sales_alpha"]
    assert set(read_base(inner.root, None).differing) == {ALPHA, "domains/alpha/contracts/größe \n 大.odcs.yaml"}


def test_an_unmerged_file_is_a_problem_of_the_contract(repository: Repository):
    repository.git("checkout", "-q", "-b", "work")
    repository.edit(ALPHA, lambda data: data.update(version="1.0.1"))
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.edit(ALPHA, lambda data: data.update(version="1.0.2"))
    repository.commit()
    with pytest.raises(AssertionError):
        repository.git("merge", "work")
    assert changed(repository) == []
    assert [problem.rule for problem in repository.problems(rule="contract")] == ["contract"]


def test_a_link_in_the_place_of_a_contract_had_no_content(repository: Repository):
    path = repository.root / ALPHA
    text = path.read_text()
    path.unlink()
    path.symlink_to("nowhere")
    repository.commit()
    path.unlink()
    path.write_text(text)
    assert repository.assessed()["alpha.sales_alpha"].change.old is None


def test_a_file_name_that_is_no_text_stops_nothing(repository: Repository):
    name = os.fsencode(repository.root) + b"/domains/alpha/contracts/\xff\xfe.odcs.yaml"
    with open(name, "wb") as file:
        file.write((repository.root / ALPHA).read_bytes())
    drop_amount(repository)
    for _ in range(2):
        assert changed(repository, "main") == ["alpha.sales_alpha"]
        (problem,) = repository.problems(rule="contract")
        assert problem.path == "domains/alpha/contracts/\ufffd\ufffd.odcs.yaml"
        repository.git("checkout", "-q", "-B", "work")
        repository.commit()
    os.remove(name)
    assert changed(repository, "work") == []
