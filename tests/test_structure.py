"""What keeps the house easy to live in: names, sizes, pinned requirements, no shadowed standard library."""

from __future__ import annotations

import platform
import re
import subprocess
import tomllib

import click

from conftest import ROOT


def tracked(pattern: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_folder_called_platform_does_not_shadow_the_standard_library() -> None:
    assert platform.system()
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "platform" / "conftest.py").exists()


def test_no_file_of_tests_hides_another() -> None:
    """pytest calls files of both folders `tests.<name>`; for the second of a name it runs the tests of the first."""
    ours, platforms = tracked("tests/*.py"), tracked("platform/tests/*.py")
    assert {f"platform/{path}" for path in ours} & {*platforms} == set()


def test_no_file_is_so_long_that_it_surely_holds_two_things() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in tracked("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > 500} == {}


def test_the_table_of_packages_is_the_order_that_imports_keep_to() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each for each in contracts if each["name"] == "Packages import downwards only")["layers"]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", text.partition("## The packages")[2].partition("\n#")[0], re.MULTILINE)
    listed = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    # A row may be a part of a layer whose packages do not import each other.
    for layer in reversed(layers):
        found: set[str] = set()
        while found < set(layer.split(" | ")):
            found |= listed.pop(0)
        assert found == set(layer.split(" | "))
    assert listed == []


def test_the_top_of_the_platform_holds_packages_and_few_files() -> None:
    top = [path for path in tracked("platform/src/mesh_platform/*.py") if path.count("/") == 3]
    assert len(top) <= 8, top


def test_requirements_are_pinned_and_name_no_package_host() -> None:
    for path in tracked("requirements/*.txt"):
        for line in (ROOT / path).read_text().splitlines():
            assert re.fullmatch(r"[A-Za-z0-9._\[\]-]+==[^\s/]+( ; .*)?", line), f"{path}: {line}"


def test_what_make_run_installs_holds_neither_airflow_nor_openmetadata() -> None:
    text = (ROOT / "requirements" / "run.txt").read_text()
    assert "airflow" not in text
    assert "openmetadata" not in text


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    from mesh_platform.cli import mesh
    from mesh_platform.cli.reference import page

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page(text, mesh) == text, "docs/cli.md is not what the commands say. Run 'make docs'."


def test_each_command_and_each_option_has_a_help_text() -> None:
    from mesh_platform.cli import mesh
    from mesh_platform.cli.reference import commands

    for command, context in commands(mesh):
        assert command.help, context.command_path
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert all(option.help for option in options), context.command_path


def test_the_files_that_make_test_leaves_out_are_those_of_make_test_e2e() -> None:
    marked = {path for path in tracked("**/test_*.py") if "mark.e2e" in (ROOT / path).read_text(encoding="utf-8")}
    named = set(tracked("**/test_*_e2e.py"))
    assert marked - {"tests/test_structure.py"} == named == {*tracked("tests/test_*_e2e.py")}
    for path in named:
        assert "\npytestmark = pytest.mark.e2e\n" in (ROOT / path).read_text(encoding="utf-8"), path


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert re.search(rf"^  {target}\b", listed, re.MULTILINE), target
