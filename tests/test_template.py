"""The template by itself: `cookiecutter templates/domain` as people run it, and the real domains held against it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.scaffold.new import new_domain, propose_answers, template_drift

ROOT = Path(__file__).parents[1]
# Lines of SQL that say which columns are read, and from where: what any two models of one interface have in common.
PLAIN = re.compile(r"--.*|select|[rs]\.\w+( as \w+)?,?|from \w+\.\w+__raw as r|inner join mesh\.sites as s on .*")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("domains", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / "mesh" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "mesh"


def run_cookiecutter(root: Path, *answers: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """`cookiecutter ../templates/domain` in the folder domains."""
    no_input = [] if stdin else ["--no-input"]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", "../templates/domain", *no_input, *answers],
        cwd=root / "domains",
        env={**os.environ, "HOME": str(root.parent)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_domains_are_as_the_template_has_them() -> None:
    assert [str(problem) for problem in template_drift(load_mesh(ROOT))] == []


def test_no_two_warehouses_have_a_line_of_logic_in_common() -> None:
    homes: dict[str, set[str]] = {}
    for path in sorted(ROOT.glob("domains/*_warehouse/models/*.sql")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not PLAIN.fullmatch(line.strip()):
                homes.setdefault(line.strip(), set()).add(path.parents[1].name)
    assert len(homes) > 30
    assert {line: sorted(warehouses) for line, warehouses in homes.items() if len(warehouses) > 1} == {}


def test_cookiecutter_alone_makes_a_valid_warehouse(root: Path) -> None:
    done = run_cookiecutter(root)
    assert done.returncode == 0, done.stderr
    mesh = load_mesh(root)
    assert mesh.domains["central_warehouse"].site is not None
    assert mesh.contracts["central_warehouse.orders_central"].implements == "order.v1"
    assert template_drift(mesh) == []
    made = {str(path.relative_to(root / "domains/central_warehouse")) for path in _files(root, "central_warehouse")}
    assert made == {
        "README.md",
        "__init__.py",
        "contracts/orders_central.odcs.yaml",
        "dags/central_warehouse_pipelines.py",
        "domain.yaml",
        "models/orders_central.sql",
        "owners.yaml",
        "producers/orders_central.csv",
        "producers/produce_orders_central.py",
        "template.yaml",
        "tests/__init__.py",
        "tests/cases/orders_central.yaml",
        "tests/test_domain.py",
    }
    by_cookiecutter = {path.name: path.read_bytes() for path in _files(root, "central_warehouse")}
    shutil.rmtree(root / "domains/central_warehouse")
    new_domain(root, propose_answers(root, "central_warehouse", {}))
    assert {path.name: path.read_bytes() for path in _files(root, "central_warehouse")} == by_cookiecutter
    again = run_cookiecutter(root)
    assert again.returncode == 1
    assert "already exists" in again.stdout + again.stderr


@pytest.mark.slow
def test_cookiecutter_takes_all_six_events(root: Path) -> None:
    events = sorted(path.parent.name for path in (root / "templates" / "lines").glob("*/cookiecutter.json"))
    done = run_cookiecutter(root, f"events={','.join(events)}")
    assert done.returncode == 0, done.stderr
    contracts = load_mesh(root).domains["central_warehouse"].contracts
    assert sorted(contract.event.name for contract in contracts.values() if contract.event) == events
    assert len(events) == 6


@pytest.mark.slow
def test_answers_at_the_prompts_are_taken_literally(root: Path) -> None:
    team = "Team {{ 7*7 }} O'Neil"
    answers = ["desert_warehouse", "1", "order_created", team, "S", "", "", "Reno", "US", "America/Denver", "", ""]
    done = run_cookiecutter(root, stdin="\n".join(answers) + "\n")
    assert done.returncode == 0, done.stdout + done.stderr
    domain = load_mesh(root).domains["desert_warehouse"]
    assert (domain.owners.team, list(domain.contracts)) == (team, ["orders_desert"])


@pytest.mark.slow
def test_jinja_on_the_command_line_is_taken_literally(root: Path) -> None:
    text = '{{ 7*7 }} O\'Neil "é😀" {% raw %} \\n {{ cookiecutter.domain }}'
    done = run_cookiecutter(root, "kind=aggregate", "events=none", f"team={text}", f"steward={text}")
    assert done.returncode == 0, done.stderr
    owners = load_mesh(root).domains["central_warehouse"].owners
    assert (owners.team, owners.steward) == (text, text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        "domain=../evil",
        "domain=/tmp/evil_domain/a",
        "domain=a/b/c",
        "domain=o'brien",
        'domain=x"; import os',
        "domain={{ 'ok' }}",
        "domain=größe",
        "domain=platform",
        "domain=class",
        "events=order_creatd",
        "currency=CAD",
        "kind=aggregate",
        "team=a\nb",
        "time_zone=Mars/Olympus",
    ],
)
def test_bad_answers_leave_nothing_behind(root: Path, answer: str) -> None:
    before = _all(root)
    done = run_cookiecutter(root, answer)
    assert done.returncode == 1
    words = done.stdout + done.stderr
    assert "Traceback" not in words, words
    assert any(sign in words for sign in ("Use ", "Did you mean", "Choose ", "Leave it out", "Write it ")), words
    assert _all(root) == before
    assert not Path("/tmp/evil_domain").exists()


def _files(root: Path, domain: str) -> list[Path]:
    return [p for p in (root / "domains" / domain).rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def _all(root: Path) -> set[str]:
    # The home folder, where cookiecutter keeps its own notes, lies in there too.
    found = (
        str(path) for path in root.parent.rglob("*") if not {"__pycache__", ".cookiecutter_replay"} & {*path.parts}
    )
    return {path for path in found if not path.endswith(".cookiecutters")}
