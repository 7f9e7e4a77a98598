"""Domains are updated to the template: the changes of both sides are merged, and the domain loses none of its own."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.scaffold.new import new_product, template_drift
from mesh_platform.scaffold.sync import JOURNAL, sync_domains
from template_repository import (
    LINE,
    NAME,
    SUITE,
    TEMPLATE,
    commit,
    edit,
    make_repository,
    state_of,
    sync,
    today,
    tree,
    version,
)

from conftest import State

CONTRACT = "contracts/orders_central.odcs.yaml"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_repository(tmp_path / "copy", monkeypatch)


@pytest.fixture
def domain(root: Path) -> Path:
    return root / "domains" / NAME


def test_what_the_template_changed_comes_in_and_what_the_domain_changed_stays(root: Path, domain: Path) -> None:
    before = version(root)
    edit(domain / "README.md", "Say here in two sentences", "We ship from Omaha. Say here")
    edit(domain / "models/orders_central.sql", "from ", "-- ours\nfrom ")
    edit(root / TEMPLATE / "README.md", "Run it from the repository's root:", "Run it from the top:")
    edit(root / TEMPLATE / SUITE, "The tests of this domain.", "The tests that this domain runs.")
    assert state_of(root) == "behind"
    outcome = sync(root)
    assert (outcome.came_from, outcome.to) == (before, today(root))
    assert (outcome.changed, outcome.conflicts, outcome.kept, outcome.deleted) == (["README.md", SUITE], [], {}, [])
    readme = (domain / "README.md").read_text()
    assert "We ship from Omaha." in readme
    assert "Run it from the top:" in readme
    assert "that this domain runs" in (domain / SUITE).read_text()
    assert "-- ours" in (domain / "models/orders_central.sql").read_text()
    assert version(root) == today(root) != before
    assert state_of(root) == "today"
    after = tree(root)
    again = sync(root)
    assert (again.came_from, again.to, again.changed) == (outcome.to, outcome.to, [])
    assert tree(root) == after


def test_both_in_one_place_stand_between_the_marks_of_git_and_the_next_sync_waits_for_a_choice(
    root: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    mesh = make_state(tmp_path / "state", root)
    contract = root / "domains" / NAME / CONTRACT
    before = version(root)
    edit(contract, "purpose: Every", "purpose: Ours, every")
    edit(
        root / LINE / "contracts/orders_{{cookiecutter.region}}.odcs.yaml", "purpose: Every", "purpose: Theirs, every"
    )
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    done = mesh.mesh("template", "sync", NAME, "--format", "json", check=1)
    place = f"domains/{NAME}"
    assert done.json == [
        {
            "domain": NAME,
            "from": before,
            "to": today(root),
            "changed": [f"{place}/README.md"],
            "conflicts": [f"{place}/{CONTRACT}"],
            "kept": {},
            "deleted": [],
        }
    ]
    marked = contract.read_text()
    both = rf"<{{7}} domain\n  purpose: Ours,.*\n={{7}}\n  purpose: Theirs,.*\n>{{7}} template {today(root)[:10]}\n"
    assert re.search(both, marked), marked

    told = mesh.mesh("template", "status", NAME, check=1)
    line = marked[: marked.index("<<<<<<<")].count("\n") + 1
    assert f"{place}/{CONTRACT}:{line}: holds a conflict that nobody has resolved." in told.out

    # The contract is not valid YAML now, but the command still reports the conflict.
    edit(root / TEMPLATE / "README.md", "Run all", "Do run all")
    held = tree(root)
    refused = mesh.mesh("template", "sync", check=1)
    assert f"{NAME}: nothing was done. Conflicts from before stand in {place}/{CONTRACT}." in refused.out
    assert "logistics_core: " in refused.out, "another domain is held up by it"
    assert {k: v for k, v in tree(root).items() if NAME in k} == {k: v for k, v in held.items() if NAME in k}
    contract.write_text(re.sub(r"<{7}.*?\n(.*?\n)={7}.*?>{7}.*?\n", r"\1", marked, flags=re.DOTALL))
    assert mesh.json("template", "sync", NAME)[0]["changed"] == [f"{place}/README.md"]
    assert "purpose: Ours," in contract.read_text()
    mesh.mesh("template", "status", NAME)


def test_files_come_and_go_with_the_template(root: Path, domain: Path) -> None:
    script = root / TEMPLATE / "scripts" / "check.sh"
    for name in ("old.md", "ours.md", "never.md"):
        (root / TEMPLATE / name).write_text("of {{ cookiecutter.domain }}\n")
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert sync(root).changed == ["never.md", "old.md", "ours.md", "scripts/check.sh"]
    assert (domain / "old.md").read_text() == f"of {NAME}\n"
    assert (domain / "scripts/check.sh").stat().st_mode & stat.S_IXUSR

    (domain / "ours.md").write_text("of our own\n")
    (domain / "never.md").unlink()
    for name in ("old.md", "ours.md"):
        (root / TEMPLATE / name).unlink()
    (root / TEMPLATE / "never.md").write_text("changed\n")
    outcome = sync(root)
    assert outcome.deleted == ["old.md"]
    assert outcome.kept == {"ours.md": "changed here; the template has it no more", "never.md": "deleted here"}
    assert not (domain / "old.md").exists()
    assert not (domain / "never.md").exists()
    assert (domain / "ours.md").read_text() == "of our own\n"
    assert sync(root).kept == {}


def test_a_new_file_of_the_template_does_not_overwrite_one_that_stands(root: Path, domain: Path) -> None:
    (domain / "notes.md").write_text("ours\n")
    (domain / "same.md").write_text("same\n")
    (domain / "away").symlink_to(root)
    (domain / "folder.md").mkdir()
    for name in ("notes.md", "same.md", "folder.md", "away/in.md"):
        (root / TEMPLATE / name).parent.mkdir(exist_ok=True)
        (root / TEMPLATE / name).write_text("same\n")
    outcome = sync(root)
    assert (outcome.changed, outcome.conflicts) == ([], ["notes.md"])
    assert outcome.kept == {"folder.md": "no plain file here", "away/in.md": "no plain file here"}
    assert (domain / "notes.md").read_text().startswith("<<<<<<< domain\nours\n=======\nsame\n>>>>>>> template ")
    assert not (root / "in.md").exists()


def test_what_is_detached_is_left_alone_and_listed(
    root: Path, domain: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    mesh = make_state(tmp_path / "state", root)
    edit(domain / SUITE, "DomainSuite):", "DomainSuite):\n    slow = True\n")
    drift = mesh.mesh("template", "status", check=1)
    assert f"domains/{NAME}/{SUITE}:7: is not as the template has it." in drift.out
    assert f"mesh template sync {NAME}" in drift.out
    edit(domain / "template.yaml", "detached: {}", f"# Ours.\ndetached:\n  {SUITE}: runs on big machines # yes")
    told = mesh.mesh("template", "status")
    assert f"domains/{NAME}/{SUITE}: detached: runs on big machines" in told.out
    (status,) = mesh.json("template", "status", NAME)
    assert status == {
        "domain": NAME,
        "version": today(root),
        "state": "today",
        "drifted": [],
        "detached": {f"domains/{NAME}/{SUITE}": "runs on big machines"},
        "conflicts": [],
    }
    edit(root / TEMPLATE / SUITE, "DomainSuite):", "DomainSuite):  # new")
    ours = (domain / SUITE).read_bytes()
    record = (domain / "template.yaml").read_text()
    outcome = sync(root)
    assert outcome.kept == {SUITE: "detached: runs on big machines"}
    assert (domain / SUITE).read_bytes() == ours
    assert (domain / "template.yaml").read_text() == record.replace(outcome.came_from or "", outcome.to or "")


def test_a_managed_file_is_mended_where_nothing_of_the_domain_is_lost(root: Path, domain: Path) -> None:
    edit(domain / SUITE, "The tests", "Our tests")
    (domain / "__init__.py").unlink()
    found = {(problem.path, problem.line) for problem in template_drift(load_mesh(root))}
    assert found == {(f"domains/{NAME}/{SUITE}", 1), (f"domains/{NAME}/__init__.py", 1)}
    assert sync(root).changed == ["__init__.py"]
    assert "Our tests" in (domain / SUITE).read_text()
    (domain / SUITE).unlink()
    assert sync(root).changed == [SUITE]
    assert template_drift(load_mesh(root)) == []


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [1, 2, 4, 5, 6])
def test_a_sync_that_is_killed_is_finished_by_the_next_and_nothing_comes_twice(
    root: Path, domain: Path, tmp_path: Path, make_state: Callable[..., State], killed_at: int
) -> None:
    # Equal lines: repeating a merge would insert the new lines twice.
    (root / TEMPLATE / "list.md").write_text("- a\n\n" * 4)
    (root / TEMPLATE / "going.md").write_text("gone\n")
    (root / TEMPLATE / "met.md").write_text("one\n")
    sync(root)
    (domain / "list.md").write_text("- a\n\n- a\n- a\n\n\n- a\n\n- a\n\n")
    edit(domain / "met.md", "one", "ours")
    commit(root)
    (root / TEMPLATE / "list.md").write_text("- a\n\n" * 4 + "- a\n- a\n\n\n")
    (root / TEMPLATE / "going.md").unlink()
    edit(root / TEMPLATE / "met.md", "one", "theirs")
    (root / TEMPLATE / "new.md").write_text("new\n")
    whole = tmp_path / "whole"
    shutil.copytree(root, whole)
    wanted = sync(whole)
    assert wanted.changed == ["list.md", "new.md"]
    assert (wanted.conflicts, wanted.deleted) == (["met.md"], ["going.md"])

    mesh = make_state(tmp_path / "state", root)
    fault = f"template.writing:kill:{killed_at}"
    killed = mesh.mesh("template", "sync", NAME, check=None, MESH_FAULT=fault)
    if killed_at == 6:
        assert killed.code == 1, "there are five passings: the four files, and template.yaml"
    else:
        assert killed.code == -9
        assert version(root) == wanted.came_from
        assert (domain / JOURNAL).exists()
        # Another kill at the same point does no harm either.
        again = mesh.mesh("template", "sync", NAME, check=None, MESH_FAULT="template.writing:kill:1")
        assert again.code == -9
        assert mesh.mesh("template", "sync", NAME, check=1).code == 1
    assert tree(domain) == tree(whole / "domains" / NAME)
    assert sorted(path.name for path in (root / "domains").iterdir()) == [NAME, "logistics_core"]


def test_what_is_edited_after_a_kill_is_merged_and_not_lost(
    root: Path, domain: Path, tmp_path: Path, make_state: Callable[..., State]
) -> None:
    edit(root / TEMPLATE / "README.md", "Run it", "Run all of it")
    edit(root / TEMPLATE / SUITE, "The tests", "All tests")
    mesh = make_state(tmp_path / "state", root)
    mesh.mesh("template", "sync", NAME, check=-9, MESH_FAULT="template.writing:kill:2")
    edit(domain / "README.md", "Say here", "Read here")
    edit(root / TEMPLATE / "README.md", "| Folder |", "| Part |")
    sync(root)
    readme = (domain / "README.md").read_text()
    for part in ("Read here", "Run all of it", "| Part |"):
        assert readme.count(part) == 1
    assert state_of(root) == "today"


def test_line_ends_and_letters_are_those_of_the_domain(root: Path, domain: Path) -> None:
    readme = domain / "README.md"
    edit(root / TEMPLATE / "README.md", "Say here", "Größe 東京 😀. Say here")
    sync(root)
    readme.write_bytes(readme.read_bytes().replace(b"\n", b"\r\n"))
    (domain / SUITE).write_bytes((domain / SUITE).read_bytes().replace(b"\n", b"\r\n"))
    edit(readme, "who asks for it", "who asks for 東京 \udcff".encode("utf-8", "surrogateescape").decode("latin-1"))
    edit(root / TEMPLATE / "README.md", "Run it", "Fahr los: Ähre 😀 run it")
    edit(root / TEMPLATE / SUITE, "The tests", "All tests")
    assert sync(root).changed == ["README.md", SUITE]
    body = readme.read_bytes()
    assert body.count(b"\r\n") == body.count(b"\n") > 10
    for part in ("Größe 東京 😀. Say here", "Fahr los: Ähre 😀 run it"):
        assert part.encode() in body
    assert state_of(root) == "today"
    assert [problem for problem in template_drift(load_mesh(root)) if NAME in problem.path] == []


def test_what_is_no_text_is_not_merged_and_not_lost(root: Path, domain: Path) -> None:
    picture = root / TEMPLATE / "picture.png"
    for body in (b"\x89PNG\0one", b"\x89PNG\0two"):
        picture.write_bytes(body)
        assert sync(root).changed == ["picture.png"]
        assert (domain / "picture.png").read_bytes() == body
    (domain / "picture.png").write_bytes(b"\x89PNG\0ours")
    picture.write_bytes(b"\x89PNG\0three")
    outcome = sync(root)
    assert (outcome.changed, outcome.conflicts) == ([], ["picture.png"])
    assert (domain / "picture.png").read_bytes() == b"\x89PNG\0ours"


def test_a_product_whose_event_has_no_template_any_more_stays(root: Path, domain: Path) -> None:
    shutil.rmtree(root / "templates/lines/order_created")
    before = tree(domain)
    outcome = sync(root)
    assert (outcome.changed, outcome.deleted, outcome.conflicts) == ([], [], [])
    after = tree(domain)
    del before["template.yaml"], after["template.yaml"]
    assert after == before


def test_an_added_product_keeps_up_too(root: Path, domain: Path) -> None:
    new_product(root, NAME, "order_returned")
    answers = yaml.safe_load((domain / "template.yaml").read_text())["answers"]
    assert answers["events"] == "order_created,order_returned"
    assert answers["team"] == "Größe & Söhne 東京 😀"
    contract = root / "templates/lines/order_returned/{{cookiecutter.domain}}/contracts"
    edit(contract / "returns_{{cookiecutter.region}}.odcs.yaml", "status: active", "status: active # now")
    assert sync(root).changed == ["contracts/returns_central.odcs.yaml"]


def test_the_warehouses_take_over_what_changes_in_the_template_and_keep_their_dialects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_repository(tmp_path / "copy", monkeypatch, ("domains", "templates"))
    before = tree(root)
    outcomes, _ = sync_domains(root)
    assert len(outcomes) == 6
    assert tree(root) == before, "the domains of the repository are not at its template"
    edit(root / LINE / "contracts/orders_{{cookiecutter.region}}.odcs.yaml", "value: 7, unit: y", "value: 5, unit: y")
    outcomes, _ = sync_domains(root)
    warehouses = {"north_warehouse", "south_warehouse", "east_warehouse", "west_warehouse"}
    assert {outcome.domain for outcome in outcomes if outcome.changed} == warehouses
    assert [outcome for outcome in outcomes if outcome.conflicts] == []
    mesh = load_mesh(root)
    assert template_drift(mesh) == []
    for warehouse in warehouses:
        path = f"domains/{warehouse}/contracts/orders_{warehouse.removesuffix('_warehouse')}.odcs.yaml"
        assert (root / path).read_bytes() == before[path].replace(b"value: 7, unit: y", b"value: 5, unit: y")


@pytest.fixture(autouse=True)
def no_litter(tmp_path: Path) -> Iterator[None]:
    """Check that a sync leaves no temporary files in a repository."""
    yield
    assert [path for path in tmp_path.rglob("*") if path.name == JOURNAL or path.name.startswith(".new-")] == []
