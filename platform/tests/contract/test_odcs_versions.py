"""Contracts of ODCS 3.1 and 3.2 are read alike; enum, synonyms and deprecated of 3.2 mean what they say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import read_document_as_contract
from mesh_platform.contract.yaml_document import Document
from mesh_platform.governance.change.contract_differences import Setting, contract_differences, wording_differs
from mesh_platform.metadata.explain import explain_product
from mesh_platform.metadata.find import find
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.sql.model import read_models

from ..changed_mesh import Repository, new_repository
from ..small_mesh import FACT_SQL

RULE = {"metric": "invalidValues", "arguments": {"validValues": ["paid", "open"]}, "mustBe": 0}
ENUM = [{"value": "paid", "description": "All of it."}, {"value": "open"}]


def contract(version: str, **state: Any) -> dict[str, Any]:
    """A contract whose event and table have a column `state`, with these keys."""
    column = {"name": "state", "logicalType": "string", "physicalType": "string", "description": "Of the bill."}
    time = {"name": "at", "logicalType": "timestamp", "physicalType": "timestamptz", "required": True}
    properties = [column | state, time | {"description": "When."}]
    custom = [{"property": "mesh.eventTime", "value": "at"}]
    return {
        "apiVersion": version,
        "kind": "DataContract",
        "id": "urn:shop:bills",
        "name": "bills",
        "version": "1.0.0",
        "status": "active",
        "domain": "shop",
        "description": {"purpose": "Bills."},
        "schema": [
            {"name": "billed", "physicalType": "event", "description": "A bill.", "properties": properties,
             "customProperties": custom},
            {"name": "bills", "physicalType": "table", "description": "Bills.", "properties": properties},
        ],
        "slaProperties": [{"property": "freshness", "value": 24, "unit": "h", "element": "bills.at"}],
    }  # fmt: skip


def read(data: dict[str, Any]) -> tuple[Contract | None, str]:
    found, problems = read_document_as_contract(Document("bills", copy.deepcopy(data), {}), "bills", "shop")
    return found, "\n".join(map(str, problems))


def test_both_versions_are_read_as_the_same_contract_and_a_change_between_them_promises_nothing() -> None:
    old, new = contract("v3.1.0", quality=[RULE]), contract("v3.2.0", quality=[RULE])
    assert read(old)[0] == read(new)[0] is not None
    assert not wording_differs(old, new)
    assert wording_differs(old, {**new, "id": "urn:other"})


@pytest.mark.parametrize("version", ["v3.0.2", "v2.2.0", "v4.0.0"])
def test_other_versions_are_refused(version: str) -> None:
    found, problems = read(contract(version))
    assert found is None
    assert problems == (
        f"bills:1: apiVersion is {version}; v3.1.0 and v3.2.0 are read here. Write apiVersion: v3.2.0."
    )


@pytest.mark.parametrize("words", [{"enum": ENUM}, {"synonyms": [{"synonym": "phase"}]}, {"deprecated": True}])
def test_words_of_3_2_are_refused_in_3_1(words: dict[str, Any]) -> None:
    assert read(contract("v3.2.0", **words))[0] is not None
    found, problems = read(contract("v3.1.0", **words))
    assert found is None
    assert f"'{next(iter(words))}' is of ODCS v3.2.0, and apiVersion is v3.1.0" in problems


def test_an_enum_is_the_rule_with_valid_values_for_events_and_for_the_table() -> None:
    by_enum, by_rule = (read(contract("v3.2.0", **words))[0] for words in ({"enum": ENUM}, {"quality": [RULE]}))
    assert by_enum == by_rule is not None
    assert by_enum.event is not None
    for schema in (by_enum.event, by_enum.table):
        assert schema.by_name["state"].valid_values == ("paid", "open")
    assert [rule.values for rule in by_enum.table.rules] == [("paid", "open")]
    assert [*contract_differences(by_rule, by_enum, Setting())] == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"enum": ENUM, "quality": [RULE]}, "an enum and a rule with validValues"),
        ({"enum": [{"value": 1}]}, "validValues are [1] for type string"),
        ({"enum": [{"value": 1}], "logicalType": "integer", "physicalType": "int"}, "for type int"),
        ({"enum": [{"label": "x"}]}, "value"),
        ({"enum": []}, "not ODCS"),
        ({"synonyms": ["phase"]}, "not ODCS"),
        ({"deprecated": "yes"}, "not ODCS"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, Any], problem: str) -> None:
    found, problems = read(contract("v3.2.0", **words))
    assert found is None
    assert problem in problems


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "actve"}, "status is 'actve'. It is one of proposed, draft, active, deprecated, retired."),
        ({"description": {"purpose": "Bills.", "limitation": "x"}}, "description.limitation is not known"),
    ],
)
def test_a_typo_is_refused(change: dict[str, Any], problem: str) -> None:
    assert problem in read(contract("v3.2.0") | change)[1]


def test_a_promise_that_nothing_keeps_is_refused() -> None:
    data = contract("v3.2.0")
    data["slaProperties"] += [{"property": "retentoin", "value": 1, "unit": "y"}, data["slaProperties"][0]]
    problems = read(data)[1]
    kept = "freshness, latency, retention, accuracy"
    assert f"nothing keeps the promise 'retentoin'. What may be promised is {kept}." in problems
    assert "'freshness' is promised twice" in problems


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path)


def mark(repository: Repository, path: str, column: str | None, **words: Any) -> None:
    def change(data: Any) -> None:
        data["apiVersion"] = "v3.2.0"
        table = data["schema"][-1]
        (table if column is None else next(p for p in table["properties"] if p["name"] == column)).update(words)

    repository.edit(path, change)


def test_synonyms_and_deprecation_are_found_and_explained(repository: Repository) -> None:
    path = "domains/core/contracts/fact_sales.odcs.yaml"
    mark(repository, path, "amount", synonyms=[{"synonym": "Umsatz", "locale": "de"}], deprecated=True)
    mark(repository, path, None, synonyms=[{"synonym": "turnover"}])
    mesh = repository.place.mesh
    graph = mesh_graph(mesh, read_models(mesh))
    assert [match.node.id for match in find(graph, "umsatz")][:1] == ["column:core.fact_sales.amount"]
    assert "product:core.fact_sales" in [match.node.id for match in find(graph, "turnover")]
    assert {match.node.name for match in find(graph, "deprecated amount")} == {
        f"core.fact_sales{suffix}.amount" for suffix in ("", "__held", "__resolved")
    }
    facts = graph.nodes["column:core.fact_sales.amount"].facts
    assert (facts["deprecated"], facts["synonyms"]) == (True, ["Umsatz"])
    explained = explain_product(mesh, mesh.contract("core.fact_sales"))
    assert (explained["status"], explained["deprecated"], explained["synonyms"]) == ("active", False, ["turnover"])
    marked = {column["name"]: column["deprecated"] for column in explained["columns"]}
    assert [name for name, deprecated in marked.items() if deprecated] == ["amount"]


def test_a_model_that_reads_a_deprecated_column_of_another_domain_is_warned(repository: Repository) -> None:
    fact, interface = "domains/core/contracts/fact_sales.odcs.yaml", "domains/core/interfaces/sale.v1.odcs.yaml"

    def warned() -> list[tuple[str, str, str]]:
        found = repository.problems(rule="deprecated-read")
        return [(problem.path, problem.message, problem.severity) for problem in found]

    assert warned() == []
    # `insight` reads it not; the interface is of `core`, as is its reader.
    mark(repository, fact, "site_id", deprecated=True)
    mark(repository, interface, "amount", deprecated=True)
    assert warned() == []
    mark(repository, fact, "amount", deprecated=True)
    model = "domains/insight/models/report.sql"
    assert warned() == [(model, "reads amount of 'core.fact_sales', which is deprecated.", "warning")]
    repository.place.write("insight/models/report.sql", FACT_SQL.replace("amount", "amount * 2 as twice"))
    assert warned() == [(model, "reads amount of 'core.sale_v1', which is deprecated.", "warning")]
    repository.edit(interface, lambda data: data.update(status="deprecated"))
    assert warned() == [(model, "reads 'core.sale_v1', which is deprecated.", "warning")]


def test_deprecation_is_named_as_a_change_that_breaks_nobody(repository: Repository) -> None:
    path = "domains/core/contracts/fact_sales.odcs.yaml"
    mark(repository, path, "amount", deprecated=True)
    repository.edit(path, lambda data: data.update(version="1.0.1"))
    assert repository.problems() == []
    (change,) = [each for name, each in repository.assessed().items() if name == "core.fact_sales"]
    assert [difference.reason for difference in change.differences] == ["'amount' is deprecated"]
    assert yaml.safe_load((repository.root / path).read_text())["apiVersion"] == "v3.2.0"
