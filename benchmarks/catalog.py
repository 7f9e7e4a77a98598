"""The static catalog of three thousand products, beside `dbt docs generate --static` on the same models."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.model import read_models

from benchmarks.big_mesh import PRODUCTS, write_big_mesh
from benchmarks.figures import Bench

ROOT = Path(__file__).resolve().parent.parent
_RIVAL = "dbt docs generate --static on the same models"
_MODEL = re.compile(r"\bd\d\d\.(p\d{4})\b")


def measure(bench: Bench) -> None:
    """Build the site as a process of its own: the first time, and again after one contract has changed."""
    with bench.scratch() as folder:
        mesh, site = folder / "mesh", folder / "site"
        mesh.mkdir()
        write_big_mesh(mesh, bench.size(PRODUCTS, least=50))
        products = f"{len([*mesh.glob('domains/*/contracts/*')]):,} products"
        dbt = _dbt(bench.folder)
        _write_dbt_project(mesh, folder / "dbt")
        rival = _seconds(
            [str(dbt), "docs", "generate", "--static", "--quiet"], folder / "dbt", {"DBT_PROFILES_DIR": "."}
        )
        command = [
            sys.executable,
            "-c",
            "from mesh_platform.cli import main; main()",
            "catalog",
            "build",
            "--out",
            str(site),
        ]
        ours = _seconds(command, mesh, {"MESH_ROOT": str(mesh)})
        bench.add(f"catalog, {products}, CPU", ours, "s")
        bench.add(f"catalog, {products}, ratio", ours / rival, "x", against=_RIVAL, at_most=0.45)
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
        bench.add(f"catalog, {products}, size", size / 1e6, "MB", at_most=12)
        for what, change in _CHANGES.items():
            change(mesh)
            again = _seconds(command, mesh, {"MESH_ROOT": str(mesh)})
            limit = 1 if change is _words else None
            bench.add(f"catalog, {products}, again after {what}, CPU", again, "s", at_most=limit)
            bench.add(f"catalog, {products}, again after {what}, ratio", again / ours, "x", against="the first")


def _words(mesh: Path) -> None:
    contract = next(mesh.glob("domains/*/contracts/*"))
    contract.write_text(
        contract.read_text(encoding="utf-8").replace("of a benchmark", "of one benchmark"), encoding="utf-8"
    )


def _columns(mesh: Path) -> None:
    contract = next(mesh.glob("domains/*/contracts/*"))
    column = "      - {name: more, logicalType: integer, physicalType: long, description: One more.}\n"
    text = contract.read_text(encoding="utf-8").replace("slaProperties:", f"{column}slaProperties:")
    contract.write_text(text, encoding="utf-8")


def _sql(mesh: Path) -> None:
    model = min(mesh.glob("domains/*/models/*"))
    model.write_text(f"select * from (\n{model.read_text(encoding='utf-8')})\n", encoding="utf-8")


_CHANGES = {"one change": _words, "one more column": _columns, "another query": _sql}


def _seconds(command: list[str], folder: Path, more: dict[str, str]) -> float:
    """CPU seconds of a process and its children; their modules are compiled once, as those of a package are."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, **more, "PYTHONPYCACHEPREFIX": str(folder / ".compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _dbt(folder: Path) -> Path:
    environment = folder / "dbt-environment"
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(environment / "bin" / "python")]
    subprocess.run([*install, "-r", str(ROOT / "requirements" / "dbt.txt")], check=True)
    return environment / "bin" / "dbt"


def _write_dbt_project(mesh_root: Path, project: Path) -> None:
    """Write a mesh as a dbt project, with its descriptions; reference data become queries without rows."""
    mesh = load_mesh(mesh_root)
    models = read_models(mesh)
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: big\nversion: 1.0.0\nprofile: big\nmodel-paths: [models]\n")
    profile = "big:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: ':memory:'}\n"
    (project / "profiles.yml").write_text(profile)
    for name, contract in mesh.contracts.items():
        table = contract.table.name
        empty = ", ".join(f"cast(null as {field.type.duckdb}) as {field.name}" for field in contract.table.fields)
        sql = _MODEL.sub(r"{{ ref('\1') }}", models[name].sql) if name in models else f"select {empty} limit 0"
        (project / "models" / f"{table}.sql").write_text(sql)
        columns = "".join(
            f"      - {{name: {field.name}, description: '{field.description}'}}\n" for field in contract.table.fields
        )
        text = f"models:\n  - name: {table}\n    description: '{contract.description}'\n    columns:\n{columns}"
        (project / "models" / f"{table}.yml").write_text(text)
