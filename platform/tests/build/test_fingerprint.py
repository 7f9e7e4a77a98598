"""Fingerprints do not depend on the words of messages, and those of earlier versions are still recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from mesh_platform.build import jobs
from mesh_platform.build.fingerprint import Fingerprint, fingerprint
from mesh_platform.contract.contract import TableSchema
from mesh_platform.sql.audit import Check, table_checks

from ..small_mesh import Place, Sale, small_mesh
from ..sql.test_audit import rule

TABLES = ("alpha.sales_alpha", "core.fact_sales", "core.dim_buyer", "core.items")
HOLDS = {"customProperties": [{"property": "mesh.onFailure", "value": "quarantine"}]}
WARNS = {"customProperties": [{"property": "mesh.onFailure", "value": "warn"}]}
RULES = (
    {"metric": "duplicateValues", "arguments": {"properties": ["item_id"]}, "mustBeBetween": [0, 900]},
    {"metric": "rowCount", "mustBeGreaterThan": 0, **WARNS},
    {
        "type": "sql",
        "query": "SELECT count(*) FROM ${object} WHERE amount <= 0",
        "mustBe": 0,
        **HOLDS,
    },
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = small_mesh(tmp_path)
    rule(found, *RULES)
    rule(found, {"metric": "nullValues", "mustBeLessThan": 1, "unit": "percent"}, column="buyer")
    found.land("alpha", [Sale(1), Sale(2, 800)])
    return found


def checks_of(place: Place, name: str) -> tuple[TableSchema, tuple[Check, ...]]:
    contract = place.mesh.contract(name)
    return contract.table, table_checks(place.mesh, contract)


def test_what_version_1_noted_is_computed_as_it_was(place: Place) -> None:
    """The expected hashes were computed by the code before version 2."""
    shape, checks = checks_of(place, "core.fact_sales")
    found = fingerprint("select 1", shape, checks, False)
    assert (found.model_1, found.rules_1) == ("3a02518a2080e980", "b83642033194b608")
    assert fingerprint("select 1", shape, checks, True).rules_1 == "9ad8a0090d9b1861"


def test_a_lake_that_version_1_built_has_nothing_to_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_version_1(query: str, shape: TableSchema, checks: Sequence[Check], key_anywhere: bool) -> Fingerprint:
        found = fingerprint(query, shape, checks, key_anywhere)
        return replace(found, model=found.model_1, rules=found.rules_1)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "fingerprint", as_version_1)
        assert {each.mode for each in place.build().values()} == {"rebuild"}
    before = {name: place.snapshots(name) for name in TABLES}
    assert {each.mode for each in place.build().values()} == {"noop"}
    # From version 2 on, words may change.
    with monkeypatch.context() as patch:
        patch.setattr("mesh_platform.build.fingerprint._As1._FACTS", ("failing",))
        assert {each.mode for each in place.build().values()} == {"noop"}
    metadata = {name: place.catalog.load_table(name).metadata_location for name in TABLES}
    assert {each.mode for each in place.build().values()} == {"noop"}
    assert {name: place.catalog.load_table(name).metadata_location for name in TABLES} == metadata
    place.land("alpha", [Sale(3)])
    assert place.build()["core.fact_sales"].mode == "incremental"
    assert {name: place.snapshots(name)[: len(known)] for name, known in before.items()} == before
    summary = place.catalog.load_table("core.fact_sales").current_snapshot().summary
    assert summary["mesh.model"].startswith("2:")
    assert summary["mesh.rules"].startswith("2:")
    assert {each.mode for each in place.build().values()} == {"noop"}


def test_other_words_look_at_nothing_again_and_other_facts_do(place: Place) -> None:
    shape, checks = checks_of(place, "core.fact_sales")
    before = fingerprint("select 1", shape, checks, False)
    holds = next(check for check in checks if check.on_failure == "hold")

    def with_another(check: Check) -> Fingerprint:
        return fingerprint("select 1", shape, [check if each is holds else each for each in checks], False)

    for words in ("words", "subject", "sample"):
        found = with_another(replace(holds, **{words: "something else"}))
        assert (found.model, found.rules) == (before.model, before.rules)
    for changed in (
        replace(holds, failing="amount < 0"),
        replace(holds, number="SELECT 0"),
        replace(holds, bound=replace(holds.bound, numbers=(Decimal(1),))),
        replace(holds, bound=replace(holds.bound, operator="mustNotBe")),
    ):
        found = with_another(changed)
        assert found.model != before.model
        assert found.rules != before.rules
    # The rows that a rule holds back record its name.
    renamed = with_another(replace(holds, name="another"))
    assert (renamed.model != before.model, renamed.rules == before.rules) == (True, True)
    only_blocks = next(check for check in checks if check.on_failure == "block")
    found = fingerprint("select 1", shape, [check for check in checks if check is not only_blocks], False)
    assert found.model == before.model
    assert found.rules != before.rules
    assert fingerprint("select 1", shape, checks, True).rules != before.rules
