"""Checks of a mesh: waivers, reports, the cache, and automatic fixes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from mesh_platform.cache.cache import Cache
from mesh_platform.cache.parallel import parallel_map
from mesh_platform.errors import Problem, UsageError
from mesh_platform.governance.check import check, open_scope
from mesh_platform.governance.registry import all_rules
from mesh_platform.governance.report import FORMATS

from tests.clean_mesh import TODAY, CleanMesh, clean_mesh

OUTLOOK = "lab/contracts/outlook.odcs.yaml"
WAIVER = """waivers:
  - rule: examples
    file: contracts/outlook.odcs.yaml
    names: product_id
    reason: The list of products is being drawn up.
    owner: Ada Okafor
    until: 2026-12-31
"""


@pytest.fixture
def mesh(tmp_path: Path) -> CleanMesh:
    return clean_mesh(tmp_path)


def without_examples(mesh: CleanMesh) -> None:
    for column in ("product_id", "expected_count"):
        mesh.column(OUTLOOK, column, examples=None)


def test_a_waiver_lets_off_what_it_names_and_nothing_else(mesh: CleanMesh) -> None:
    without_examples(mesh)
    mesh.write("lab/waivers.yaml", WAIVER)
    found = {each.severity: each for each in mesh.check()}
    assert "'product_id'" in found["waived"].message
    assert found["waived"].fix == "Waived until 2026-12-31 by Ada Okafor: The list of products is being drawn up."
    assert "'expected_count'" in found["error"].message
    assert len(mesh.check()) == 2


def test_a_waiver_that_has_ended_lets_nothing_off(mesh: CleanMesh) -> None:
    mesh.column(OUTLOOK, "product_id", examples=None)
    mesh.write("lab/waivers.yaml", WAIVER)
    assert [each.severity for each in mesh.check(today=date(2026, 12, 31))] == ["waived"]
    late = mesh.check(today=date(2027, 1, 1))
    assert [(each.rule, each.severity) for each in late] == [("examples", "error"), ("waiver", "error")]
    assert "ended on 2026-12-31" in late[1].message


def test_a_waiver_of_one_domain_lets_no_other_off(mesh: CleanMesh) -> None:
    mesh.column("shop/contracts/sales.odcs.yaml", "product_id", examples=None)
    mesh.write("lab/waivers.yaml", WAIVER.replace("contracts/outlook", "../shop/contracts/sales"))
    assert {(each.rule, each.severity) for each in mesh.check()} == {("examples", "error"), ("waiver", "error")}
    absolute = str(mesh.path("shop/contracts/sales.odcs.yaml"))
    mesh.edit("lab/waivers.yaml", lambda data: data["waivers"][0].update(file=absolute))
    assert {(each.rule, each.severity) for each in mesh.check()} == {("examples", "error"), ("waiver", "error")}


def test_a_waiver_that_has_ended_does_not_hide_its_renewal(mesh: CleanMesh) -> None:
    mesh.column(OUTLOOK, "product_id", examples=None)
    ended = WAIVER.replace("2026-12-31", "2026-05-01").partition("\n")[2]
    mesh.write("lab/waivers.yaml", f"waivers:\n{ended}{WAIVER.partition(chr(10))[2]}")
    assert [(each.rule, each.severity) for each in mesh.check()] == [("examples", "waived"), ("waiver", "error")]


def test_a_waiver_is_looked_at_when_it_alone_is_asked_for(mesh: CleanMesh) -> None:
    mesh.column(OUTLOOK, "product_id", examples=None)
    mesh.write("lab/waivers.yaml", WAIVER)
    assert mesh.check("waiver") == []
    assert [each.rule for each in mesh.check("waiver", today=date(2027, 1, 1))] == ["waiver"]
    assert {each.rule for each in mesh.check("described", today=date(2027, 1, 1))} == set()


def test_all_problems_of_all_files_come_at_once(mesh: CleanMesh) -> None:
    without_examples(mesh)
    mesh.write("core/contracts/products.odcs.yaml", "schema: [\n")
    mesh.write("shop/owners.yaml", "team: x\n")
    mesh.write("lab/models/outlook.sql", "select")
    found = mesh.check()
    assert {each.rule for each in found} >= {"examples", "contract", "domain-files", "sql"}
    assert found == sorted(found)


def test_only_the_rules_that_are_asked_for_are_held(mesh: CleanMesh) -> None:
    without_examples(mesh)
    mesh.write("lab/owners.yaml", mesh.path("lab/owners.yaml").read_text().replace("Ada Okafor", "TODO"))
    assert {each.rule for each in mesh.check("examples")} == {"examples"}
    with pytest.raises(UsageError, match=r"example: no such rule\. Did you mean examples"):
        mesh.check("example")


def test_what_cannot_be_read_is_told_whichever_rule_is_asked_for(mesh: CleanMesh) -> None:
    mesh.write(OUTLOOK, "schema: [\n")
    assert {each.rule for each in mesh.check("examples")} == {"contract"}


def test_a_rule_that_fails_is_named_and_silences_no_other(mesh: CleanMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = replace(all_rules()["examples"], check=lambda scope: [scope.nothing])  # type: ignore[attr-defined]
    monkeypatch.setitem(all_rules(), "examples", failing)
    mesh.column(OUTLOOK, "product_id", description="The product id.")
    found = {each.rule: each for each in mesh.check()}
    assert {*found} == {"examples", "described"}
    assert found["examples"].path.endswith("test_governance.py")
    assert "AttributeError" in found["examples"].message


def test_no_value_of_another_kind_stops_a_check(mesh: CleanMesh) -> None:
    mesh.edit(OUTLOOK, lambda contract: contract.update(version=date(2026, 1, 1)))
    for word in ("description", "name"):
        mesh.column("shop/contracts/sales.odcs.yaml", "amount_usd", **{word: date(2026, 1, 1)})
    mesh.write("lab/models/outlook.sql", f"select {'(' * 5000}1{')' * 5000} as a")
    found = mesh.check()
    assert {each.rule for each in found} >= {"sql", "contract"}
    assert all("failed" not in each.message for each in found)


def test_names_that_are_no_text_are_shown_as_far_as_they_are(mesh: CleanMesh) -> None:
    (mesh.root / "domains/lab/models" / os.fsdecode(b"\xff.sql")).write_text("select 1")
    mesh.write("lab/dags/own.py", 'DAG("\\ud800")\n')
    found = mesh.check()
    assert {each.rule for each in found} == {"no-stray-file", "name-dag"}
    for form in FORMATS.values():
        form(found, all_rules()).encode()


def test_what_lies_in_a_folder_below_is_no_file_of_the_mesh(mesh: CleanMesh) -> None:
    mesh.write("lab/models/more/outlook.sql", "select 1")
    assert [(each.rule, each.path) for each in mesh.check()] == [
        ("no-stray-file", "domains/lab/models/more/outlook.sql")
    ]


def test_a_file_that_cannot_be_written_is_told(mesh: CleanMesh) -> None:
    mesh.path("/.github/CODEOWNERS").unlink()
    mesh.path("/.github/CODEOWNERS").mkdir()
    with pytest.raises(UsageError, match=r"CODEOWNERS: cannot be written"):
        mesh.mend()


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("contracts/outlook", "outlook", "'outlook.odcs.yaml' is no file of lab"),
        (
            "names: product_id",
            "names: product_no",
            "there names 'product_no'. There is: 'prod",
        ),
        ("The list of products is being drawn up.", "<why you cannot keep it>", "a place to fill in"),
    ],
)
def test_a_mistyped_waiver_is_told_what_to_write(mesh: CleanMesh, right: str, wrong: str, said: str) -> None:
    mesh.column(OUTLOOK, "product_id", examples=None)
    mesh.write("lab/waivers.yaml", WAIVER.replace(right, wrong))
    assert any(
        said in f"{each.message} {each.fix}" for each in mesh.check() if each.path == "domains/lab/waivers.yaml"
    )


def test_what_is_mechanical_is_mended(mesh: CleanMesh) -> None:
    mesh.path("/.github/CODEOWNERS").write_text("* @nobody\n")
    assert [each.rule for each in mesh.check()] == ["codeowners"]
    assert mesh.mend() == [mesh.path("/.github/CODEOWNERS")]
    assert mesh.check() == []
    assert mesh.mend() == []
    assert mesh.path("/.github/CODEOWNERS").read_text().splitlines()[1:] == [
        "/domains/core/ core@acme.example",
        "/domains/lab/ lab@acme.example",
        "/domains/shop/ shop@acme.example",
    ]


PROBLEMS = [
    Problem("domains/größe/a b.yaml", 3, "100 % of 'x', y: z\nis wrong.", "Mend it.", rule="examples"),
    Problem("domains/a.yaml", 1, "is let off.", "Waived until ...", rule="level", severity="waived"),
    Problem("domains/b.yaml", 2, "is odd.", rule="sql", severity="warning"),
]


def test_text_has_a_line_for_each_problem_and_lists_what_is_waived() -> None:
    text = FORMATS["text"](PROBLEMS, all_rules())
    assert "domains/b.yaml:2 sql (warning) is odd." in text
    assert "1 waived:\ndomains/a.yaml:1 level is let off. Waived until ..." in text
    assert text.endswith("1 error and 1 warning. docs/rules/<rule>.md says why.")
    assert FORMATS["text"]([], all_rules()) == f"All {len(all_rules())} rules hold."


def test_json_has_the_pinned_keys() -> None:
    found = json.loads(FORMATS["json"](PROBLEMS, all_rules()))
    assert [list(each) for each in found] == [["path", "line", "rule", "severity", "message", "fix"]] * 3
    assert json.loads(FORMATS["json"]([], all_rules())) == []


def test_github_gets_one_line_for_each_problem_whatever_it_says() -> None:
    lines = FORMATS["github"](PROBLEMS, all_rules()).splitlines()
    assert lines[0] == (
        "::error file=domains/größe/a b.yaml,line=3,title=examples::100 %25 of 'x', y: z%0Ais wrong. Mend it."
    )
    assert [line.split()[0] for line in lines] == ["::error", "::notice", "::warning"]


def test_sarif_keeps_to_the_standard_and_marks_what_is_waived() -> None:
    log = json.loads(FORMATS["sarif"](PROBLEMS, all_rules()))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    rules = [each["id"] for each in run["tool"]["driver"]["rules"]]
    assert rules == [*all_rules()]
    for result, problem in zip(run["results"], PROBLEMS, strict=True):
        assert rules[result["ruleIndex"]] == result["ruleId"] == problem.rule
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == problem.line
    assert [each["level"] for each in run["results"]] == ["error", "note", "warning"]
    assert ["suppressions" in each for each in run["results"]] == [False, True, False]
    uris = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]]
    # RFC 3986: the characters of a URI reference.
    assert all(re.fullmatch(r"[A-Za-z0-9._~/%-]+", uri) for uri in uris)
    # The fingerprint does not depend on the line.
    moved = json.loads(FORMATS["sarif"]([Problem("domains/b.yaml", 9, "is odd.", rule="sql")], all_rules()))
    assert moved["runs"][0]["results"][0]["partialFingerprints"] == run["results"][2]["partialFingerprints"]


def test_what_is_remembered_is_what_would_be_found(mesh: CleanMesh, tmp_path: Path) -> None:
    file = tmp_path / "cache"

    def run() -> list[Problem]:
        cache = Cache(file)
        found = check(open_scope(mesh.root, TODAY, cache=cache))
        cache.save()
        return found

    assert run() == []
    assert file.exists()
    # A type upstream changes, and the unchanged SQL downstream no longer fits.
    mesh.column("core/contracts/kpi_sales.odcs.yaml", "sale_count", physicalType="int", logicalType="integer")
    mesh.write(
        "core/models/kpi_sales.sql", mesh.path("core/models/kpi_sales.sql").read_text().replace("count(*)", "1")
    )
    mesh.write("lab/models/outlook.sql", "select product_id, sale_count as expected_count from core.kpi_sales\n")
    assert [(each.rule, each.path) for each in run()] == [("sql", "domains/lab/models/outlook.sql")]
    assert run() == mesh.check()
    mesh.column("lab/contracts/outlook.odcs.yaml", "expected_count", physicalType="int")
    assert run() == mesh.check() == []
    whole = file.read_bytes()
    flipped = whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]
    for damage in (b"", b"\x80\x04.", b"nonsense", whole[:-20], flipped):
        file.write_bytes(damage)
        assert run() == []


def test_an_interface_and_a_product_of_one_name_are_told_apart(mesh: CleanMesh, tmp_path: Path) -> None:
    text = mesh.path("core/contracts/kpi_sales.odcs.yaml").read_text()
    mesh.write("core/contracts/sale.odcs.yaml", text.replace("kpi_sales", "sale"))
    mesh.write("core/models/sale.sql", mesh.path("core/models/kpi_sales.sql").read_text())
    for _ in range(2):
        cache = Cache(tmp_path / "cache")
        assert check(open_scope(mesh.root, TODAY, cache=cache)) == []
        cache.save()
        interface = mesh.path("core/interfaces/sale.v1.odcs.yaml")
        interface.write_text(f"\n{interface.read_text()}")


def test_a_model_that_moved_is_told_of_where_it_is(mesh: CleanMesh, tmp_path: Path) -> None:
    mesh.write("lab/models/outlook.sql", "select product_id, 'x' as expected_count from core.kpi_sales\n")
    for name in ("outlook", "foresight"):
        cache = Cache(tmp_path / "cache")
        (found,) = [each for each in check(open_scope(mesh.root, TODAY, cache=cache)) if each.rule == "sql"]
        cache.save()
        assert found.path == f"domains/lab/models/{name}.sql"
        if name == "outlook":
            mesh.edit(OUTLOOK, lambda contract: contract["schema"][-1].update(name="foresight"))
            mesh.path("lab/models/outlook.sql").rename(mesh.path("lab/models/foresight.sql"))


def test_a_fact_points_to_either_version_of_a_dimension(mesh: CleanMesh) -> None:
    text = mesh.path("core/contracts/dim_product.odcs.yaml").read_text()
    mesh.write("core/contracts/dim_product_v2.odcs.yaml", text.replace("dim_product", "dim_product_v2"))
    mesh.write("core/models/dim_product_v2.sql", mesh.path("core/models/dim_product.sql").read_text())
    assert mesh.check() == []


def test_a_template_that_cannot_be_loaded_silences_no_other_rule(mesh: CleanMesh) -> None:
    mesh.write("/templates/domain/domain_answers.py", "def broken(:\n")
    without_examples(mesh)
    assert {each.rule for each in mesh.check()} == {"examples", "template-current"}


def test_a_worker_that_dies_costs_time_alone() -> None:
    parent = os.getpid()
    work = [lambda: os.kill(os.getpid(), signal.SIGKILL) if os.getpid() != parent else None] * 3
    assert parallel_map(work, few=2) == [None] * 3


def test_a_folder_that_takes_no_cache_is_no_fault(mesh: CleanMesh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    assert check(open_scope(mesh.root, TODAY, cache=cache)) == []
    cache.save()


def test_every_rule_says_what_it_asks_for() -> None:
    for rule in all_rules().values():
        assert re.fullmatch(r"[A-Z`].*[.]", rule.title), rule.id
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)


def test_a_check_does_without_what_is_slow_to_import() -> None:
    loaded = "import sys, mesh_platform.governance.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"pyiceberg", "pyarrow", "numpy"} & {*done.stdout.split()}
