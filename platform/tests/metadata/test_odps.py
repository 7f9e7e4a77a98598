"""Exported products are valid by the Open Data Product Standard, and have what the graph of the mesh has."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema_rs import Validator, validator_for
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.graph import Graph, mesh_graph
from mesh_platform.metadata.odps import odps_document
from mesh_platform.sql.model import read_models

from ..small_mesh import small_mesh

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def valid() -> Validator:
    """The JSON schema of the standard, as dataproduct-cli has it."""
    schema = files("dataproduct").joinpath("schemas", "odps-1.0.0.schema.json").read_text("utf-8")
    return validator_for(json.loads(schema), validate_formats=True)


@pytest.fixture(scope="module")
def graph() -> Graph:
    mesh = load_mesh(ROOT)
    return mesh_graph(mesh, read_models(mesh))


def test_every_product_of_the_repository_is_valid(graph: Graph, valid: Validator) -> None:
    products = [node.name for node in graph.nodes.values() if node.kind == "product"]
    assert len(products) == len(load_mesh(ROOT).contracts) > 50
    for name in products:
        assert [str(error) for error in valid.iter_errors(odps_document(graph, name))] == []


def test_the_schema_notices_what_is_not_valid(graph: Graph, valid: Validator) -> None:
    document = odps_document(graph, "logistics_core.fact_orders")
    for spoil in (
        lambda d: d.pop("status"),
        lambda d: d.update(owner="x"),
        lambda d: d["inputPorts"][0].pop("contractId"),
        lambda d: d["support"][0].update(url="no address"),
        lambda d: d["team"].update(owner="x"),
    ):
        spoilt = copy.deepcopy(document)
        spoil(spoilt)
        assert not valid.is_valid(spoilt)


def test_ports_have_the_contracts_that_promise_them(graph: Graph) -> None:
    document = odps_document(graph, "north_warehouse.orders_north")
    own = "urn:acme:north_warehouse:orders_north"
    ports = {each["name"]: each for each in document["inputPorts"]}
    assert ports["north_warehouse.orders_north"]["contractId"] == own
    rates = "urn:acme:north_warehouse:exchange_rates"
    assert ports["north_warehouse.exchange_rates"]["contractId"] == rates
    outputs = {each["name"]: each for each in document["outputPorts"]}
    assert outputs["north_warehouse.orders_north"]["contractId"] == own
    assert [each["id"] for each in outputs["north_warehouse.orders_north"]["inputContracts"]] == [rates]
    assert outputs["logistics_core.order_v1"]["contractId"] != own
    fact = odps_document(graph, "logistics_core.fact_orders")
    assert "logistics_core.order_v1" in {each["name"] for each in fact["inputPorts"]}


def test_every_port_owner_and_promise_of_the_graph_is_in_the_document(graph: Graph) -> None:
    for node in graph.nodes.values():
        if node.kind != "product":
            continue
        document = odps_document(graph, node.name)
        sources = {each.name for each in graph.of(node.id, "input")} - {"mesh.sites"}
        assert {each["name"] for each in document.get("inputPorts", [])} == sources
        assert {each["name"] for each in document["outputPorts"]} == {e.name for e in graph.of(node.id, "output")}
        custom = {each["property"]: each["value"] for each in document["customProperties"]}
        assert custom["retentionDays"] == node.facts["retention_days"]
        assert custom.get("freshnessSeconds") == node.facts.get("freshness_s")
        assert {*document["tags"]} == {each.name for each in graph.of(node.id, "tagged")}
        reached = {each["channel"] for each in document.get("support", [])}
        reached |= {custom.get("contact"), custom.get("onCall")}
        (domain,) = graph.of(node.id, "part of")
        (team,), (steward,) = graph.of(domain.id, "owned by"), graph.of(domain.id, "steward")
        assert (document["team"]["name"], document["team"]["members"][0]["name"]) == (team.name, steward.name)
        assert {domain.facts["contact"], domain.facts["on_call"]} <= reached


def test_the_status_is_that_of_the_contract(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    contract = place.root / "domains/core/contracts/items.odcs.yaml"
    data: Any = yaml.safe_load(contract.read_text())
    found = []
    for change in ({"status": "draft"}, {"status": "deprecated"}, {"status": "active", "deprecated": True}):
        data["schema"][0]["deprecated"] = change.pop("deprecated", False)
        contract.write_text(yaml.safe_dump({**data, **change, "apiVersion": "v3.2.0"}))
        graph = mesh_graph(place.mesh, read_models(place.mesh))
        found.append(odps_document(graph, "core.items")["status"])
    assert found == ["draft", "deprecated", "deprecated"]


def test_the_command_writes_one_to_stdout_and_all_to_a_folder(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    one = yaml.safe_load(place.state.mesh("export", "odps", "core.fact_sales").out)
    assert (one["id"], one["kind"]) == ("core.fact_sales", "DataProduct")
    place.state.mesh("export", "odps", "all", "--out", tmp_path / "odps")
    written = {path.name: yaml.safe_load(path.read_text()) for path in (tmp_path / "odps").iterdir()}
    assert written.keys() == {f"{name}.odps.yaml" for name in place.mesh.contracts}
    assert written["core.fact_sales.odps.yaml"] == one
    place.state.mesh("export", "odps", "core.fact_sale", check=2)
