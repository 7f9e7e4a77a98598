"""Publishing: what the double holds afterwards, drift that is found and mended, and what people add, which stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.errors import AttentionError, MeshError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.openmetadata.entities import desired
from mesh_platform.metadata.openmetadata.kinds import KINDS, Entity
from mesh_platform.sql.model import read_models

from ...small_mesh import Place
from .double import Doc, Double
from .drift import (
    CASE,
    CHART,
    CONTRACT,
    DASHBOARD,
    DRIFT,
    FACT,
    QUEUE,
    automated,
    case_of_another_definition,
    column,
    hand_edited_column,
    hand_edited_description,
    like,
    port,
    stale_table,
)
from .published import (
    NAMESPACE,
    RULES,
    SUPERSET,
    Server,
    edit_column,
    edit_contract,
    entities_of,
    owned_mesh,
    server,
    shown,
)

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[Entity]:
    return entities_of(owned_mesh(tmp_path_factory.mktemp("mesh")))


@pytest.fixture(scope="module")
def full(wanted: list[Entity]) -> Double:
    """A double that holds the mesh; tests work on copies."""
    with server() as new:
        new.publish(wanted)
        return new.double


@pytest.fixture
def live(full: Double) -> Iterator[Server]:
    copy = deepcopy(full)
    copy.requests.clear()
    with server(copy) as found:
        yield found


def tags_of(entity: Doc) -> set[str]:
    return {tag["tagFQN"] for tag in entity["tags"]}


def test_everything_in_the_mesh_is_published(live: Server, wanted: list[Entity]):
    fact = live.double.get("table", FACT)
    assert fact["tableType"] == "Iceberg"
    assert fact["owners"] == [live.double.ref("team", "Team core")]
    assert fact["domains"] == [live.double.ref("domain", "core")]
    assert fact["dataProducts"] == [live.double.ref("dataProduct", "core__fact_sales")]
    assert {
        "constraintType": "FOREIGN_KEY",
        "columns": ["item_id"],
        "referredColumns": ["mesh.mesh.core.dim_item.item_id"],
    } in fact["tableConstraints"]
    amount = next(column for column in fact["columns"] if column["name"] == "amount")
    assert (amount["dataType"], amount["precision"], amount["scale"]) == ("DECIMAL", 12, 2)
    assert [label["tagFQN"] for label in amount["tags"]] == ["mesh.internal", "core.amount"]
    events = live.double.get("topic", QUEUE)
    assert [field["name"] for field in events["messageSchema"]["schemaFields"]][-2:] == ["producer", "schema_version"]
    assert live.double.get("glossaryTerm", "core.amount")["synonyms"] == ["price"]
    assert live.double.get("domain", "alpha")["experts"] == [live.double.ref("user", "sam_alpha")]
    assert live.double.get("user", "sam_alpha")["email"] == "sam.alpha@acme.example"
    assert live.double.get("team", "Team alpha")["email"] == "alpha@acme.example"
    assert tags_of(fact) == {"mesh.published", "mesh.masked", "mesh.clear_for_boss"}
    assert tags_of(events) == {"mesh.published", "mesh.masked", "mesh.clear_for_alpha"}
    rejected = live.double.get("table", "mesh.mesh.alpha.sales_alpha__rejected")
    assert tags_of(rejected) == {"mesh.published", "mesh.masked", "mesh.clear_for_alpha"}
    assert tags_of(live.double.get("table", "mesh.mesh.core.items")) == {"mesh.published"}
    (denied,) = live.double.get("policy", "mesh_pii")["rules"]
    assert denied["condition"] == (
        "matchAnyTag('mesh.masked')"
        " && !(matchAnyTag('mesh.clear_for_alpha') && hasAnyRole('alpha'))"
        " && !(matchAnyTag('mesh.clear_for_beta') && hasAnyRole('beta'))"
        " && !(matchAnyTag('mesh.clear_for_boss') && hasAnyRole('boss'))"
    )
    union, landing = live.double.get("table", "mesh.mesh.core.sale_v1"), "mesh.mesh.alpha.sales_alpha__raw"
    edge = live.double.edges[union["id"], fact["id"]]
    assert {
        "fromColumns": ["mesh.mesh.core.sale_v1.amount"],
        "toColumn": f"{FACT}.amount",
    } in edge["columnsLineage"]
    sent = live.double.edges[events["id"], live.double.get("table", landing)["id"]]["columnsLineage"]
    assert {"fromColumns": [f"{QUEUE}.buyer"], "toColumn": f"{landing}.buyer"} in sent


def test_dashboards_are_published_with_owners_links_and_what_each_chart_reads(live: Server):
    double = live.double
    dashboard, chart = double.get("dashboard", DASHBOARD), double.get("chart", CHART)
    late = double.get("chart", 'mesh_dashboards."core.sales.late"')
    assert [each["fullyQualifiedName"] for each in dashboard["charts"]] == [CHART, late["fullyQualifiedName"]]
    assert (dashboard["displayName"], dashboard["description"]) == ("Sales", "What is sold.")
    assert (chart["displayName"], chart["chartType"], late["chartType"]) == ("Which items sell", "Table", "Text")
    assert dashboard["sourceUrl"] == f"{SUPERSET}/superset/dashboard/core--sales/"
    assert chart["sourceUrl"] == f"{SUPERSET}/superset/dashboard/core--sales/#CHART-by_item"
    for each in (dashboard, chart):
        assert each["owners"] == [double.ref("team", "Team core")]
        assert each["domains"] == [double.ref("domain", "core")]
    view = double.get("table", f"{FACT}__resolved")
    for ends in ((view, chart), (chart, dashboard)):
        edge = double.edges[ends[0]["id"], ends[1]["id"]]
        assert (edge["source"], edge["columnsLineage"]) == ("DashboardLineage", [])
    assert (view["id"], late["id"]) not in double.edges
    # Its rows depend on the column that joins them, its values on the other.
    read = double.edges[view["id"], dashboard["id"]]["columnsLineage"]
    columns = [f"{FACT}__resolved.{name}" for name in ("amount", "item_id")]
    assert read == [{"fromColumns": columns, "toColumn": CHART}]


def test_without_an_address_of_superset_nothing_links_there(tmp_path: Path):
    place = owned_mesh(tmp_path)
    found = desired(mesh_graph(place.mesh, read_models(place.mesh)), NAMESPACE)
    assert not [each for each in found if "sourceUrl" in each.body]


def test_what_contracts_promise_is_published(live: Server):
    table = live.double.get("table", FACT)
    contract = live.double.get("dataContract", CONTRACT)
    assert contract["entity"] == {"id": table["id"], "type": "table"}
    assert contract["owners"] == [live.double.ref("team", "Team core")]
    assert [column["name"] for column in contract["schema"]] == [column["name"] for column in table["columns"]]
    amount = next(column for column in contract["schema"] if column["name"] == "amount")
    assert (amount["dataType"], amount["precision"], amount["scale"]) == ("DECIMAL", 12, 2)
    refunds, count, pairs = contract["odcsQualityRules"]
    assert (refunds["type"], refunds["query"], refunds["mustBe"]) == ("sql", RULES[0]["query"], 0)
    assert (count["metric"], count["mustBeGreaterThan"]) == ("rowCount", 0)
    assert pairs["arguments"] == {"properties": ["item_id", "buyer"]}
    assert contract["security"]["policies"] == [{"accessPolicy": "mesh_pii", "identities": ["boss"]}]
    assert contract["sla"] == {"retention": {"period": 365, "unit": "day"}}
    promised = live.double.get("dataContract", "mesh.mesh.alpha.sales_alpha.dataContract_mesh")["sla"]
    assert promised["refreshFrequency"] == {"interval": 1, "unit": "day"}
    assert promised["columnName"] == "sold_at"
    case = live.double.get("testCase", CASE)
    assert case["testDefinition"] == live.double.ref("testDefinition", "mesh_rule")
    assert case["entityLink"] == f"<#E::table::{FACT}>"
    names = {each["name"] for each in live.double.of("testCase")}
    assert names >= {"no refunds", "some sales", "one a buyer", "references", "refused events"}


def test_a_product_has_what_it_is_computed_from_and_what_others_read_as_ports(live: Server):
    ports = live.double.state()[2]
    fact = "dataProduct core__fact_sales"
    assert ports[fact, "inputPorts"] == ["table mesh.mesh.core.sale_v1"]
    # The union of all implementations belongs to no product, and cannot be an output.
    assert ports[fact, "outputPorts"] == [f"table {FACT}", f"table {FACT}__resolved"]
    assert ports["dataProduct alpha__sales_alpha", "inputPorts"] == ["table mesh.mesh.mesh.sites", f"topic {QUEUE}"]


def test_a_second_run_sends_nothing_that_changes(live: Server, wanted: list[Entity]):
    assert live.publish(wanted) == []
    assert live.double.changing() == []


@pytest.mark.slow
@pytest.mark.parametrize("bot", [True, False])
def test_a_second_run_of_the_whole_company_changes_nothing(bot: bool):
    mesh = load_mesh(REPOSITORY)
    whole = desired(mesh_graph(mesh, read_models(mesh)), NAMESPACE)
    with server(Double(bot=bot)) as new:
        new.publish(whole)
        assert {(entity.kind, entity.fqn) for entity in whole if entity.kind in KINDS} == {*new.double.by_name}
        new.double.requests.clear()
        assert new.publish(whole) == []
        assert new.double.changing() == []


@pytest.mark.parametrize(("drift", "steps"), DRIFT, ids=[drift.__name__ for drift, _ in DRIFT])
def test_drift_is_found_and_mended_and_nothing_else_is_touched(
    drift: Callable[[Double], None],
    steps: list[tuple[str, str, str, tuple[str, ...]]] | None,
    live: Server,
    wanted: list[Entity],
):
    before = live.double.state()
    drift(live.double)
    assert live.double.state() != before
    planned = live.plan(wanted)
    assert live.double.changing() == []
    if steps is not None:
        assert shown(planned) == steps
    live.publish(wanted)
    if steps is not None:
        assert len(live.double.changing()) == 1
    assert live.double.state() == before


def test_a_table_that_the_mesh_no_longer_has_is_marked_as_deleted(live: Server, wanted: list[Entity]):
    before = live.double.state()
    stale_table(live.double)
    assert shown(live.publish(wanted)) == [("table", "mesh.mesh.core.gone", "remove", ())]
    assert live.double.get("table", "mesh.mesh.core.gone")["deleted"]
    assert live.publish(wanted) == []
    held = live.double.state()
    del held[0]["table mesh.mesh.core.gone"]
    assert held == before


def test_a_test_case_that_the_mesh_no_longer_has_is_marked_as_deleted(live: Server, wanted: list[Entity]):
    like(live.double, "testCase", CASE, f"{FACT}.gone")
    assert shown(live.publish(wanted)) == [("testCase", f"{FACT}.gone", "remove", ())]
    assert live.double.get("testCase", f"{FACT}.gone")["deleted"]
    assert live.publish(wanted) == []


def test_a_test_case_of_the_same_name_becomes_the_mesh_s(live: Server, wanted: list[Entity]):
    case_of_another_definition(live.double)
    assert shown(live.publish(wanted)) == [("testCase", CASE, "update", ("testDefinition",))]
    assert live.publish(wanted) == []


def test_a_table_has_one_contract_and_one_that_a_person_made_becomes_the_mesh_s(live: Server, wanted: list[Entity]):
    theirs = live.double.get("dataContract", CONTRACT)
    live.double.by_name.pop(("dataContract", CONTRACT))
    live.double.by_name["dataContract", f"{FACT}.dataContract_sales"] = theirs["id"]
    rules = [{"name": "named", "description": "A.", "rule": "{}", "enabled": True}]
    theirs |= {"name": "sales", "fullyQualifiedName": f"{FACT}.dataContract_sales", "semantics": rules}
    theirs["description"] = "Mine."
    assert shown(live.publish(wanted)) == [("dataContract", CONTRACT, "update", ("description",))]
    assert theirs["semantics"] == rules
    assert live.publish(wanted) == []


def test_what_people_add_stays(live: Server, wanted: list[Entity]):
    double = live.double
    like(double, "user", "sam_core", "guest")
    like(double, "tag", "mesh.pii", "Tier.One")
    like(double, "tag", "mesh.pii", "PII.Sensitive")
    like(double, "table", FACT, "mesh.mesh.core.by_hand")
    double.get("table", "mesh.mesh.core.by_hand")["tags"] = []
    like(double, "glossaryTerm", "core.amount", "core.by_hand")
    double.get("glossaryTerm", "core.by_hand")["tags"] = []
    like(double, "tag", "mesh.pii", "mesh.by_hand")
    double.get("tag", "mesh.by_hand")["provider"] = "user"
    like(double, "domain", "core", "by_hand")
    double.get("domain", "by_hand")["tags"] = [automated("mesh.published") | {"labelType": "Derived"}]
    fact = double.get("table", FACT)
    fact["owners"].append(double.ref("user", "guest"))
    fact["tags"].append(automated("Tier.One") | {"labelType": "Manual"})
    fact["extension"] = {"cost_centre": "12"}
    fact["displayName"] = "Sales"
    column(double)["tags"].append(automated("mesh.pii") | {"labelType": "Manual"})
    column(double)["tags"].append(automated("PII.Sensitive"))
    column(double)["customMetrics"] = [{"name": "m"}]
    double.get("team", "Team core")["description"] = "They answer quickly."
    double.get("user", "sam_core")["displayName"] = "Sammy"
    by_hand = double.get("table", "mesh.mesh.core.items")["id"]
    double.sources[fact["id"]][by_hand] = None
    double.edges[by_hand, fact["id"]] = {"source": "Manual"}
    like(double, "dataContract", CONTRACT, "mesh.mesh.core.by_hand.dataContract_own")
    double.get("dataContract", "mesh.mesh.core.by_hand.dataContract_own")["name"] = "own"
    like(double, "testDefinition", "mesh_rule", "tableRowCountToBeBetween")
    like(double, "testCase", CASE, f"{FACT}.by_hand")
    ours = double.ref("testDefinition", "tableRowCountToBeBetween")
    # A test case inherits the labels of its table, that of the mesh too.
    double.get("testCase", f"{FACT}.by_hand").update(testDefinition=ours, tags=[automated("mesh.published")])
    contract = double.get("dataContract", CONTRACT)
    contract["semantics"] = [{"name": "named", "description": "A.", "rule": "{}", "enabled": True}]
    contract["termsOfUse"] = {"content": "Be kind."}
    contract["owners"].append(double.ref("user", "guest"))
    port(double, "inputPorts", "mesh.mesh.core.by_hand")
    before = double.state()
    assert live.plan(wanted) == []
    # Nor does it go when the same fields are mended.
    hand_edited_description(double)
    hand_edited_column(double)
    fact["owners"] = [ref for ref in fact["owners"] if ref["type"] == "user"]
    live.publish(wanted)
    assert _sorted(double.state()) == _sorted(before)


def test_a_user_who_has_left_does_not_come_back(live: Server, wanted: list[Entity]):
    live.double.get("user", "sam_core")["deleted"] = True
    assert live.plan(wanted) == []


def _sorted(value: Any) -> Any:
    """Lists in one order: an owner that is added again comes last."""
    if isinstance(value, dict):
        return {name: _sorted(each) for name, each in value.items()}
    return sorted(map(_sorted, value), key=str) if isinstance(value, list) else value


def drop_product(place: Place) -> None:
    for path in ("contracts/dim_buyer.odcs.yaml", "models/dim_buyer.sql"):
        (place.root / "domains/core" / path).unlink()


def rename_column(place: Place) -> None:
    edit_column(place, "core/contracts/items", "label", lambda each: {**each, "name": "title"})
    place.write("core/reference/items.csv", "item_id,title\ni1,Lamp\n")
    place.write("core/models/dim_item.sql", "select item_id, title as label from core.items\n")


def change_owner(place: Place) -> None:
    path = place.root / "domains/core/owners.yaml"
    path.write_text(path.read_text().replace("Team core", "Team new"))


def change_type(place: Place) -> None:
    edit_column(place, "core/contracts/dim_buyer", "total", lambda each: {**each, "physicalType": "decimal(20,2)"})


def unlink_term(place: Place) -> None:
    def edit(each: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in each.items() if name != "authoritativeDefinitions"}

    edit_column(place, "core/contracts/fact_sales", "amount", edit)


def declassify(place: Place) -> None:
    edit_column(place, "core/contracts/dim_item", "item_id", lambda each: {**each, "classification": "public"})


def read_other_columns(place: Place) -> None:
    place.write("core/models/dim_item.sql", "select item_id, item_id as label from core.items\n")


def allow_more(place: Place) -> None:
    edit_contract(place, "core/contracts/dim_buyer", lambda each: each["roles"].append({"role": "auditor"}))


CHANGES = [
    drop_product,
    rename_column,
    change_owner,
    change_type,
    unlink_term,
    declassify,
    read_other_columns,
    allow_more,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_mesh_ends_as_if_it_were_published_for_the_first_time(
    change: Callable[[Place], None], live: Server, tmp_path: Path
):
    place = owned_mesh(tmp_path)
    change(place)
    changed = entities_of(place)
    assert live.publish(changed)
    assert live.publish(changed) == []
    with server() as new:
        new.publish(changed)
        first = new.double.state()[0]
    held, edges, ports, _ = live.double.state()
    left = {name: found for name, found in held.items() if not found.get("deleted")}
    # Teams are never removed: people may have joined them.
    assert {*left} - {*first} <= {"team Team core"}
    for name, found in first.items():
        if not name.startswith("user "):
            assert _sorted(left[name]) == _sorted(found), name
    assert ports == new.double.state()[2]
    assert {name for name in edges if not any(held[end].get("deleted") for end in name.split(" -> "))} == {
        *new.double.state()[1]
    }


def test_a_server_that_does_not_keep_what_it_is_sent_is_reported(
    live: Server, wanted: list[Entity], monkeypatch: pytest.MonkeyPatch
):
    hand_edited_description(live.double)
    put = live.double._patch
    monkeypatch.setattr(live.double, "_patch", lambda kind, found, operations: put(kind, found, []))
    with pytest.raises(AttentionError, match=f"1 entity not as sent: table {FACT}: description"):
        live.publish(wanted)


def test_what_a_bulk_request_refuses_is_reported(live: Server, wanted: list[Entity]):
    for name in [FACT, "mesh.mesh.core.items"]:
        del live.double.entities[live.double.by_name.pop(("table", name))]
    del live.double.entities[live.double.by_name.pop(("tag", "mesh.internal"))]
    # The tag is there when the plan is made, and gone when it is done.
    without = [entity for entity in wanted if entity.fqn != "mesh.internal"]
    with pytest.raises(AttentionError, match=r"refused: .*mesh\.internal not found"):
        live.publish(without)


@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "after it is done"])
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(9, marks=pytest.mark.slow, id="every ninth"),
        pytest.param(1, marks=pytest.mark.thorough, id="each"),
    ],
)
def test_killed_at_a_request_it_ends_in_the_same_state(after: bool, step: int, full: Double, wanted: list[Entity]):
    """Requests that change something are the last one once, with its answer lost."""
    end = _sorted(full.state())
    with server() as new:
        new.publish(wanted)
        places = [n for n, (method, _) in enumerate(new.double.requests, 1) if method != "GET"]
    assert len(places) > 70
    for place in places[::step]:
        with server(Double(cut=place, cut_after=after)) as new:
            with pytest.raises(MeshError):
                new.publish(wanted)
            assert len(new.double.changing()) >= 1
            new.double.cut = None
            new.publish(wanted)
            assert _sorted(new.double.state()) == end, place
