"""Random changes of contracts: a check reports problems and never fails, and classifies breaking changes as such.

What breaks is determined independently of the rule: by DuckDB for all SQL, and by `compare` for existing tables.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_platform.cache.cache import Cache
from mesh_platform.contract.contract import Contract, TableSchema
from mesh_platform.contract.schema_change import compare, identifying
from mesh_platform.governance.change.diff import diff
from mesh_platform.governance.change.diff_report import FORMATS
from mesh_platform.governance.check import check, open_scope
from mesh_platform.governance.scope import Scope
from mesh_platform.lake.tables import held_name, held_schema, landing_name, landing_schema
from mesh_platform.mesh.mesh import read_mesh

from conftest import draws

from ..changed_mesh import TODAY, Repository, new_repository
from ..random_edits import edited
from ..small_mesh import add_contract

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The small mesh, with SQL that a new column or a wider type breaks."""
    repository = new_repository(tmp_path_factory.mktemp("small"))
    sql = "select *, amount * 3 as thrice from core.sale_v1\n"
    repository.place.write(
        "insight/models/report.sql", f"select event_id, item_id, buyer, sold_at, thrice as twice from ({sql})"
    )
    wide = {"buyer": "string key pii", "sales": "long", "total": "decimal(18,2)"}
    add_contract(repository.place, "insight", "wide", {"wide": wide}, roles=["boss"])
    repository.place.write("insight/models/wide.sql", "select * from core.dim_buyer\n")
    repository.commit()
    assert open_scope(repository.root, TODAY).sql_faults == ()
    return repository


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """This repository's own mesh."""
    root = tmp_path_factory.mktemp("real")
    for name in ("domains", "templates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    repository = Repository(root)
    repository.git("init", "-q", "-b", "main")
    repository.commit()
    return repository


@pytest.mark.parametrize(
    ("which", "examples"),
    [
        pytest.param("small", draws(40), id="small"),
        pytest.param("small", draws(300, 700), id="small, many edits", marks=pytest.mark.thorough),
        pytest.param("real", draws(100, 300), id="ACME", marks=pytest.mark.thorough),
    ],
)
def test_no_edit_stops_a_check_and_each_that_breaks_is_called_breaking(
    which: str, examples: int, request: pytest.FixtureRequest
):
    repository: Repository = request.getfixturevalue(which)
    paths = sorted(repository.root.glob("domains/*/*/*.odcs.yaml"))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    before = {c.path: c for c in _contracts(open_scope(repository.root, TODAY))}
    seen: Counter[str] = Counter()
    # As from one `mesh check` to the next, only what an edit can change is looked at again.
    cache = Cache()

    @settings(
        max_examples=examples, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
    )
    @given(st.data())
    def try_one(data: Any) -> None:
        path = data.draw(st.sampled_from(paths))
        content = data.draw(edited(texts[path]))
        path.write_bytes(content)
        try:
            scope = open_scope(repository.root, TODAY, cache=cache)
            check(scope)
            told = diff(scope)
            for write in FORMATS.values():
                write(told)
            label = str(path.relative_to(repository.root))
            for why in _what_breaks(scope, before[label], label):
                seen[why.partition(":")[0]] += 1
                kinds = {each.change.old.path: each.kind for each in scope.assessed if each.change.old}
                assert kinds.get(label) == "breaking", f"{label}: {why}, and it is called {kinds.get(label)}"
            seen["read" if label not in scope.changes.not_compared else "half"] += 1
        finally:
            path.write_text(texts[path], encoding="utf-8")

    try_one()
    # The test has breaking cases. Among few edits there may be none.
    if examples >= 300:
        assert all(seen[what] for what in ("sql", "table", "read", "half")), seen


def _what_breaks(scope: Scope, old: Contract, label: str) -> Iterator[str]:
    """SQL that fails but worked before, and tables that cannot be changed; nothing for an incomplete file."""
    if label in scope.changes.not_compared:
        return
    own = f"domains/{old.domain}/models/{old.table.name}.sql"
    new = next((c for c in _contracts(scope) if c.path == label), None)
    mine = {own, *([f"domains/{new.domain}/models/{new.table.name}.sql"] if new else [])}
    for problem in scope.sql_faults:
        if problem.rule == "sql" and problem.path.endswith(".sql") and problem.path not in mine:
            yield f"sql: {problem}"
    if new is None or "/interfaces/" in label or new.identifier != old.identifier:
        return
    now = _tables(new)
    for name, shape in _tables(old).items():
        for change in compare(name, _as_noted(shape), now[name]) if name in now else ():
            if change.breaking:
                yield f"table: {name} {change.reason}"


def _contracts(scope: Scope) -> Iterator[Contract]:
    for domain in scope.mesh.domains.values():
        yield from (*domain.contracts.values(), *domain.interfaces.values(), *domain.retired.values())


def _tables(contract: Contract) -> dict[str, TableSchema]:
    landing = {landing_name(contract): landing_schema(contract)} if contract.event else {}
    return landing | {contract.identifier: contract.table, held_name(contract): held_schema(contract)}


def _as_noted(shape: TableSchema) -> TableSchema:
    """The shape as its table in the lake stores it, without a key that has a double."""
    return shape if identifying(shape) else replace(shape, fields=tuple(replace(f, key=0) for f in shape.fields))


def test_the_meshes_of_the_edits_are_sound(small: Repository, real: Repository):
    for repository in (small, real):
        assert read_mesh(repository.root)[1] == []
