"""What a shell completes: commands without loading them, and names of the mesh without parsing it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from mesh_platform.cli import mesh
from mesh_platform.mesh.mesh import load_mesh

ROOT = Path(__file__).parents[3]


def completed(*words: str) -> list[str]:
    """What is offered for the last of the words."""
    found = ShellComplete(mesh, {}, "mesh", "_MESH_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [item.value for item in found]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("sta",), ["status"]),
        (("template", "s"), ["status", "sync"]),
        (("build", "--pl"), ["--plan"]),
        (("build", "logistics_core.fact_orders", "logistics_core.dim_p"), ["logistics_core.dim_product"]),
        (("status", "logistics_core.dim_w"), ["logistics_core.dim_warehouse"]),
        (("history", "west_warehouse.orders"), ["west_warehouse.orders_west"]),
        (("produce", "west_warehouse.orders"), ["west_warehouse.orders_west"]),
        (("ingest", "ml"), ["ml_insights"]),
        (("new", "product", "north"), ["north_warehouse"]),
        (("template", "sync", "north"), ["north_warehouse"]),
        (("run", "--domain", "north"), ["north_warehouse"]),
        (("query", "--role", "WH-N"), ["WH-NORTH"]),
        (("query", "--role", "ow"), ["owner"]),
        (("query", "--role", "logistics_a"), ["logistics_analyst"]),
        (("explain", "pi"), ["pii"]),
        (("build", "nothing_of_this_name"), []),
    ],
)
def test_a_word_that_is_begun_is_completed(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: list[str]
) -> None:
    monkeypatch.setenv("MESH_ROOT", str(ROOT))
    found = completed(*words)
    # A domain is offered with its products.
    assert found[: len(expected)] == expected
    assert all(word.startswith(words[-1]) for word in found)
    if "ingest" not in words:
        assert len(found) == len(expected)


def test_all_products_are_completed_also_where_a_file_has_errors(
    mesh_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = sorted(load_mesh(mesh_copy).contracts)
    monkeypatch.setenv("MESH_ROOT", str(mesh_copy))
    assert completed("build", "") == known
    (mesh_copy / "domains/east_warehouse/contracts/orders_east.odcs.yaml").write_text(": no contract")
    assert completed("build", "") == known


def test_outside_of_a_mesh_nothing_is_completed_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert completed("build", "") == []


@pytest.mark.parametrize(
    ("shell", "printed"), [("bash", "complete -o nosort"), ("zsh", "compdef"), ("fish", "complete --no-files")]
)
def test_each_shell_gets_its_script_and_no_command_is_loaded_for_the_name_of_one(shell: str, printed: str) -> None:
    code = (
        "import sys; from mesh_platform.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )

    def call(**environment: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **environment}
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )

    # bash is asked for its version, and is not on every machine that has the others.
    assert printed in call(_MESH_COMPLETE=f"{shell}_source").stdout
    done = call(
        _MESH_COMPLETE=f"{shell}_complete", COMP_WORDS="mesh sta", COMP_CWORD="sta" if shell == "fish" else "1"
    )
    assert "status" in done.stdout
    assert not {"mesh_platform.cli.tables", "pydantic", "rich", "yaml", "pyarrow"} & set(done.stderr.split())
