"""The graph of a mesh, the lineage of its columns, its reports, and search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mesh_platform.cli import mesh as command
from mesh_platform.engine.duckdb import connect_in_memory
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.columns import Columns, Edge
from mesh_platform.metadata.find import find
from mesh_platform.metadata.graph import Graph, mesh_graph
from mesh_platform.query.session import view_names
from mesh_platform.sql.model import read_models
from mesh_platform.sql.references import references, resolved_select
from mesh_platform.sql.relations import create_schemas, relation_schemas

from ..small_mesh import Place, small_mesh

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


@pytest.fixture(scope="module")
def acme() -> Graph:
    mesh = load_mesh(REPOSITORY)
    return mesh_graph(mesh, read_models(mesh))


def columns(place: Place) -> Columns:
    return Columns(place.mesh, read_models(place.mesh))


def call(place: Place, *words: str) -> Result:
    return CliRunner().invoke(command, words, env={"MESH_ROOT": str(place.root)})


def test_a_column_is_followed_from_the_event_to_the_view(place: Place):
    found = columns(place).up([("core.fact_sales__resolved", "amount")])
    assert found == [
        Edge("core.fact_sales", "amount", "core.fact_sales__resolved", "amount", "copied"),
        Edge("core.sale_v1", "amount", "core.fact_sales", "amount", "copied"),
        Edge("alpha.sales_alpha", "amount", "core.sale_v1", "amount", "copied"),
        Edge("beta.sales_beta", "amount", "core.sale_v1", "amount", "copied"),
        Edge("alpha.sales_alpha__raw", "amount", "alpha.sales_alpha", "amount", "copied"),
        Edge("beta.sales_beta__raw", "amount", "beta.sales_beta", "amount", "copied"),
        Edge("queue:alpha.sales_alpha", "amount", "alpha.sales_alpha__raw", "amount", "copied"),
        Edge("queue:beta.sales_beta", "amount", "beta.sales_beta__raw", "amount", "copied"),
    ]


def test_what_lies_downstream_of_a_field_ends_where_it_only_decides_on_rows(place: Place):
    found = columns(place).down([("queue:alpha.sales_alpha", "buyer")])
    assert Edge("core.fact_sales", "buyer", "core.dim_buyer", "buyer", "copied") in found
    assert Edge("core.fact_sales", "buyer", "core.dim_buyer", None, "grouped") in found
    assert not [edge for edge in found if edge.target_column in ("sales", "total")]


def test_a_resolved_reference_depends_on_its_dimension(place: Place):
    found = {(e.source, e.source_column, e.how) for e in columns(place).edges("core.fact_sales__resolved")
             if e.target_column == "item_id"}  # fmt: skip
    # A missing key of the dimension is left out of the comparison.
    assert found == {
        ("core.fact_sales", "item_id", "computed"),
        ("core.dim_item", "item_id", "computed"),
        ("core.dim_item", "item_id", "filtered"),
    }


def test_reference_data_comes_from_its_file_and_held_rows_from_the_same_query(place: Place):
    known = columns(place)
    assert known.up([("core.items", "label")]) == [
        Edge("file:domains/core/reference/items.csv", "label", "core.items", "label", "copied")
    ]
    held = {(e.source, e.source_column) for e in known.edges("core.fact_sales__held") if e.target_column == "amount"}
    assert held == {("core.sale_v1", "amount")}


def test_a_model_that_does_not_fit_has_no_lineage_and_a_problem(place: Place):
    place.write("core/models/dim_item.sql", "select item_id, lable as label from core.items")
    known = columns(place)
    assert [*known.edges("core.dim_item")] == []
    assert "lable" in str(known.problems["core.dim_item"])
    assert "Without lineage: domains/core/models/dim_item.sql" in call(place, "lineage", "core.dim_item").stderr


def test_every_column_of_a_relation_is_a_node_and_every_edge_has_two_ends(acme: Graph):
    mesh = acme.columns.mesh
    for name, schema in relation_schemas(mesh).items():
        assert {f"column:{name}.{column}" for column in schema.by_name} <= acme.nodes.keys()
    edges = [edge for relation in acme.columns.relations for edge in acme.columns.edges(relation)]
    assert acme.columns.problems == {}
    assert len(edges) > 2_000
    ends = {f"column:{edge.source}.{edge.source_column}" for edge in edges if not edge.source.startswith("file:")}
    ends |= {f"column:{edge.target}.{edge.target_column}" for edge in edges if edge.target_column}
    assert ends <= acme.nodes.keys()


def test_every_link_has_two_ends(acme: Graph):
    assert {end for link in acme.links for end in (link.source, link.target)} <= acme.nodes.keys()


def test_a_product_has_an_input_for_each_relation_that_its_model_reads(acme: Graph):
    for name, model in acme.columns.models.items():
        ports = {port.name for port in acme.of(f"product:{name}", "input") if port.kind in ("table", "view")}
        assert ports == {relation for relation in model.inputs if not relation.startswith(f"{name}__")}


def test_a_retired_product_keeps_its_landing_table_in_the_graph(place: Place):
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    path.write_text(path.read_text().replace("status: active", "status: retired"))
    graph = mesh_graph(place.mesh, read_models(place.mesh))
    assert graph.nodes["product:alpha.sales_alpha"].facts["retired"] is True
    assert [node.name for node in graph.of("table:alpha.sales_alpha__raw", "computed from")] == ["alpha.sales_alpha"]
    assert {end for link in graph.links for end in (link.source, link.target)} <= graph.nodes.keys()


def test_every_view_of_a_session_is_a_node(acme: Graph):
    known = {
        name for kind, _, name in (node_id.partition(":") for node_id in acme.nodes) if kind in ("table", "view")
    }
    assert {*view_names(acme.columns.mesh)} - known == {
        "mesh.erasures",
        "mesh.releases",
        "mesh.retention",
        "mesh.scores",
        "mesh.trainings",
    }


def test_the_columns_of_resolved_views_are_those_that_sessions_show(acme: Graph):
    mesh = acme.columns.mesh
    assert [name for name, contract in mesh.contracts.items() if references(contract)]
    with connect_in_memory() as connection:
        create_schemas(connection, mesh)
        for name, contract in mesh.contracts.items():
            fields = ", ".join(f'"{field.name}" {field.type.duckdb}' for field in contract.table.fields)
            connection.execute(f"CREATE TABLE {name} ({fields})")
        for name, contract in mesh.contracts.items():
            if references(contract):
                sql = resolved_select(mesh, contract, contract.table.by_name, {})
                shown = {row[0] for row in connection.execute(f"DESCRIBE {sql}").fetchall()}
                parts = acme.with_link("part of", f"view:{name}__resolved")
                assert {part.name.rpartition(".")[2] for part in parts} == shown


def test_each_product_has_a_domain_an_owner_ports_and_a_dag_that_writes_it(acme: Graph):
    products = [node for node in acme.nodes.values() if node.kind == "product"]
    assert {node.name for node in products} == acme.columns.mesh.contracts.keys()
    for product in products:
        (domain,) = acme.of(product.id, "part of")
        assert acme.of(domain.id, "owned by")
        assert acme.of(domain.id, "steward")
        assert acme.of(product.id, "output")[0].name == product.name
        written = {dag.name for dag in acme.of(f"table:{product.name}", "written by")}
        assert f"{domain.name}__build" in written


def test_personal_columns_are_tagged_and_governed(acme: Graph):
    column = "column:logistics_core.fact_orders.customer_id"
    assert [tag.name for tag in acme.of(column, "tagged")] == ["pii"]
    (policy,) = acme.of(column, "governed by")
    assert policy.facts["roles"] == [*acme.columns.mesh.contracts["logistics_core.fact_orders"].roles]
    assert [node.id for node in acme.of(column, "refers to")] == ["column:logistics_core.dim_customer.customer_id"]
    (term,) = acme.of("column:logistics_core.kpi_inventory_available.inventory_available", "means")
    assert term.name == "logistics_core.inventory_available"


def test_all_words_must_match_and_names_come_first(acme: Graph):
    assert find(acme, "fact orders")[0].node.name == "logistics_core.fact_orders"
    assert find(acme, "customer")[0].node.kind in ("product", "term")
    assert find(acme, "Okafor")[0].node.kind == "person"
    assert find(acme, "zebra orders") == []
    assert find(acme, "ordered pii", limit=1)[0].domain is not None
    assert len(find(acme, "orders", limit=3)) == 3


@pytest.mark.parametrize("words", ['"', "' OR 1=1 --", "a* NEAR(b)", "order-line", "Straße", "-", "NOT order"])
def test_any_words_can_be_looked_for(acme: Graph, words: str):
    if any(letter.isalnum() for letter in words):
        find(acme, words)
    else:
        with pytest.raises(Exception, match="nothing to look for"):
            find(acme, words)


def test_a_former_name_of_a_term_finds_it(acme: Graph):
    assert "logistics_core.product_id" in {match.node.name for match in find(acme, "sku")}


def test_lineage_is_a_tree_for_people(place: Place):
    done = call(place, "lineage", "core.dim_buyer.total")
    assert done.stdout.splitlines()[:4] == [
        "core.dim_buyer.total",
        "  computed from core.fact_sales.amount",
        "    copied from core.sale_v1.amount",
        "      copied from alpha.sales_alpha.amount",
    ]
    down = call(place, "lineage", "core.fact_sales.buyer", "--down").stdout.splitlines()
    assert "  groups rows of core.dim_buyer" in down
    table = call(place, "lineage", "core.dim_buyer").stdout.splitlines()
    assert table[:3] == ["core.dim_buyer", "  core.fact_sales", "    core.sale_v1"]
    assert table[-2:] == ["rows", "  grouped by core.fact_sales.buyer"]


def test_lineage_is_json_for_programs_and_a_diagram_for_documents(place: Place):
    value: Any = json.loads(call(place, "lineage", "core.dim_buyer.total", "--format", "json").stdout)
    assert value["edges"][0] == {
        "from": {"relation": "core.fact_sales", "column": "amount"},
        "to": {"relation": "core.dim_buyer", "column": "total"},
        "how": "computed",
    }
    diagram = call(place, "lineage", "core.dim_buyer.total", "--format", "mermaid").stdout
    assert diagram.startswith('flowchart LR\n  subgraph s0["core.dim_buyer"]\n    n0["total"]\n  end\n')
    assert "  n1 -- computed --> n0\n" in diagram
    assert '["core.fact_sales"]' in call(place, "lineage", "core.dim_buyer", "--format", "mermaid").stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("core.fact_sale", "core.fact_sale: no such table or view of the mesh. Did you mean core.fact_sales"),
        ("core.fact_sales.amont", "core.fact_sales has no such column. Did you mean amount?"),
        ("amount", "amount: no such table or view"),
        ("product:core.fact_sales", "product:core.fact_sales: no such table or view"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(place: Place, name: str, words: str):
    done = call(place, "lineage", name)
    assert done.exit_code != 0
    assert words in str(done.exception)


def test_every_name_that_lineage_prints_can_be_given_to_it(place: Place):
    value = json.loads(call(place, "lineage", "core.fact_sales__resolved", "--format", "json").stdout)
    names = {
        f"{end['relation']}.{end['column']}"
        for edge in value["edges"]
        for end in (edge["from"], edge["to"])
        if end["column"]
    }
    names |= {pair[end] for pair in value["relations"] for end in ("from", "to")}
    assert len(names) > 30
    graph_names = [name for name in names if call(place, "lineage", name).exit_code != 0]
    assert graph_names == []


def test_a_file_belongs_to_the_product_that_it_is_the_source_of(place: Place):
    value = json.loads(call(place, "find", "reference items", "--format", "json").stdout)
    assert {match["domain"] for match in value["matches"]} == {"core"}


def test_find_prints_a_table_and_counts_what_it_leaves_out(place: Place):
    done = call(place, "find", "sales", "--limit", "2")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split() == ["kind", "name", "domain", "owner", "description"]
    assert len(done.stdout.splitlines()) == 3
    assert "more matches. Add words, or --limit" in done.stderr
    value = json.loads(call(place, "find", "sales", "--format", "json").stdout)
    assert value["found"] > 2
    assert {"kind", "name", "domain", "owner", "description"} == value["matches"][0].keys()
