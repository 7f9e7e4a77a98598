"""What can become of a server that held the mesh, each with the steps that mend it; None: several."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from .double import Double

FACT = "mesh.mesh.core.fact_sales"
CONTRACT = f"{FACT}.dataContract_mesh"
DASHBOARD = 'mesh_dashboards."core.sales"'
CHART = 'mesh_dashboards."core.sales.by_item"'
CASE = f"{FACT}.no refunds"
QUEUE = 'mesh_events."alpha.sales_alpha"'


def column(double: Double, name: str = "amount") -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in double.get("table", FACT)["columns"] if each["name"] == name)
    return found


def edge(double: Double) -> tuple[str, str]:
    return double.get("table", "mesh.mesh.core.sale_v1")["id"], double.get("table", FACT)["id"]


def hand_edited_description(double: Double) -> None:
    double.get("table", FACT)["description"] = "Nonsense."


def hand_edited_column(double: Double) -> None:
    column(double)["description"] = "Nonsense."


def blanked_description(double: Double) -> None:
    del double.get("domain", "core")["description"]


def dead_tag(double: Double) -> None:
    column(double)["tags"].append(automated("mesh.pii"))


def lost_tag(double: Double) -> None:
    column(double, "buyer")["tags"].clear()


def dead_term(double: Double) -> None:
    column(double, "site_id")["tags"].append(automated("core.amount", "Glossary"))


def dead_edge(double: Double) -> None:
    start, end = double.get("table", "mesh.mesh.core.items")["id"], double.get("table", FACT)["id"]
    double.sources[end][start] = None
    double.edges[start, end] = {"description": "Computed from the SQL of the mesh 'mesh'.", "source": "QueryLineage"}


def lost_edge(double: Double) -> None:
    del double.edges[edge(double)]


def changed_edge(double: Double) -> None:
    lineage = double.edges[edge(double)]["columnsLineage"]
    lineage[:] = [each for each in lineage if each["toColumn"] != f"{FACT}.amount"]


def renamed_column(double: Double) -> None:
    column(double)["name"] = "sum"


def removed_column(double: Double) -> None:
    columns = double.get("table", FACT)["columns"]
    columns[:] = [each for each in columns if each["name"] != "amount"]


def column_too_many(double: Double) -> None:
    double.get("table", FACT)["columns"].append({"name": "extra", "dataType": "INT"})


def moved_columns(double: Double) -> None:
    double.get("table", FACT)["columns"].reverse()


def changed_type(double: Double) -> None:
    column(double).update(dataType="DECIMAL", scale=4)


def changed_owner(double: Double) -> None:
    double.get("table", FACT)["owners"] = [double.ref("team", "Team alpha")]


def lost_owner(double: Double) -> None:
    double.get("topic", QUEUE)["owners"] = []


def wrong_domain(double: Double) -> None:
    double.get("table", FACT)["domains"] = [double.ref("domain", "alpha")]


def wrong_product(double: Double) -> None:
    double.get("table", FACT)["dataProducts"] = [double.ref("dataProduct", "core__items")]


def deleted_table(double: Double) -> None:
    double.get("table", FACT)["deleted"] = True


def lost_key(double: Double) -> None:
    del double.get("table", FACT)["tableConstraints"]


def changed_retention(double: Double) -> None:
    double.get("table", FACT)["retentionPeriod"] = "P1D"


def lost_schedule(double: Double) -> None:
    double.get("pipeline", "mesh_pipelines.alpha__ingest")["scheduleInterval"] = "0 0 * * *"


def lax_policy(double: Double) -> None:
    double.get("policy", "mesh_pii")["rules"][0]["effect"] = "allow"


def stale_table(double: Double) -> None:
    like(double, "table", FACT, "mesh.mesh.core.gone")


def stale_tag(double: Double) -> None:
    like(double, "tag", "mesh.pii", "mesh.gone")


def stale_term(double: Double) -> None:
    like(double, "glossaryTerm", "core.amount", "core.gone")


def stale_product(double: Double) -> None:
    like(double, "dataProduct", "core__items", "core__gone")


def port(double: Double, side: str, table: str) -> dict[str, None]:
    """The ports of the fact's product, with this table among them."""
    held = double.ports[double.get("dataProduct", "core__fact_sales")["id"], side]
    held[double.get("table", table)["id"]] = None
    return held


def lost_port(double: Double) -> None:
    port(double, "inputPorts", "mesh.mesh.core.sale_v1").clear()


def dead_port(double: Double) -> None:
    port(double, "inputPorts", "mesh.mesh.core.items")


def lost_contract(double: Double) -> None:
    del double.entities[double.by_name.pop(("dataContract", CONTRACT))]


def hand_edited_contract(double: Double) -> None:
    double.get("dataContract", CONTRACT)["description"] = "Nonsense."


def wrong_type_in_contract(double: Double) -> None:
    double.get("dataContract", CONTRACT)["schema"][-1]["dataType"] = "INT"


def lost_column_of_contract(double: Double) -> None:
    double.get("dataContract", CONTRACT)["schema"].pop()


def lax_rule_in_contract(double: Double) -> None:
    double.get("dataContract", CONTRACT)["odcsQualityRules"][0]["mustBe"] = 5


def promise_too_many(double: Double) -> None:
    double.get("dataContract", CONTRACT)["sla"]["maxLatency"] = {"value": 1, "unit": "hour"}


def withdrawn_contract(double: Double) -> None:
    double.get("dataContract", CONTRACT)["entityStatus"] = "Rejected"


def lost_case(double: Double) -> None:
    del double.entities[double.by_name.pop(("testCase", CASE))]


def hand_edited_case(double: Double) -> None:
    double.get("testCase", CASE)["parameterValues"][0]["value"] = "must be 5"


def case_of_another_definition(double: Double) -> None:
    like(double, "testDefinition", "mesh_rule", "by_hand")
    double.get("testCase", CASE)["testDefinition"] = double.ref("testDefinition", "by_hand")


def hand_edited_definition(double: Double) -> None:
    double.get("testDefinition", "mesh_rule")["description"] = "Nonsense."


def hand_edited_chart(double: Double) -> None:
    double.get("chart", CHART)["displayName"] = "Nonsense."


def deleted_chart(double: Double) -> None:
    double.get("chart", CHART)["deleted"] = True


def chart_off_its_dashboard(double: Double) -> None:
    double.get("dashboard", DASHBOARD)["charts"].pop()


def dead_link(double: Double) -> None:
    double.get("dashboard", DASHBOARD)["sourceUrl"] = "https://gone.example"


def lost_edge_of_a_chart(double: Double) -> None:
    del double.edges[double.get("chart", CHART)["id"], double.get("dashboard", DASHBOARD)["id"]]


def wrong_edge_of_a_dashboard(double: Double) -> None:
    ends = double.get("table", f"{FACT}__resolved")["id"], double.get("dashboard", DASHBOARD)["id"]
    double.edges[ends]["columnsLineage"][0]["fromColumns"].remove(f"{FACT}__resolved.amount")


def stale_contract(double: Double) -> None:
    like(double, "dataContract", CONTRACT, "mesh.mesh.core.gone.dataContract_mesh")


def like(double: Double, kind: str, fqn: str, new: str) -> None:
    """An entity that the mesh has made and has no longer."""
    made = deepcopy(double.get(kind, fqn)) | {"id": f"id-of-{new}", "fullyQualifiedName": new}
    double.entities[made["id"]] = made
    double.by_name[kind, new] = made["id"]


def automated(fqn: str, source: str = "Classification") -> dict[str, str]:
    return {"tagFQN": fqn, "source": source, "labelType": "Automated", "state": "Confirmed"}


SHOWN = f"{FACT}__resolved -> {DASHBOARD}"
EDGE = f"mesh.mesh.core.sale_v1 -> {FACT}"
DRIFT = [
    (hand_edited_description, [("table", FACT, "update", ("description",))]),
    (hand_edited_column, [("table", FACT, "update", ("columns.amount.description",))]),
    (blanked_description, [("domain", "core", "update", ("description",))]),
    (dead_tag, [("table", FACT, "update", ("columns.amount.tags",))]),
    (lost_tag, [("table", FACT, "update", ("columns.buyer.tags",))]),
    (dead_term, [("table", FACT, "update", ("columns.site_id.tags",))]),
    (dead_edge, [("lineage", f"mesh.mesh.core.items -> {FACT}", "remove", ())]),
    (lost_edge, [("lineage", EDGE, "create", ("edge",))]),
    (changed_edge, [("lineage", EDGE, "update", (f"columnsLineage.{FACT}.amount",))]),
    (renamed_column, [("table", FACT, "update", ("columns.sum", "columns.amount"))]),
    (removed_column, [("table", FACT, "update", ("columns.amount",))]),
    (column_too_many, [("table", FACT, "update", ("columns.extra",))]),
    (moved_columns, [("table", FACT, "update", ("columns",))]),
    (changed_type, [("table", FACT, "update", ("columns.amount.scale",))]),
    (changed_owner, [("table", FACT, "update", ("owners",))]),
    (lost_owner, [("topic", QUEUE, "update", ("owners",))]),
    (wrong_domain, [("table", FACT, "update", ("domains",))]),
    (wrong_product, [("table", FACT, "update", ("dataProducts",))]),
    (deleted_table, None),
    (lost_key, [("table", FACT, "update", ("tableConstraints",))]),
    (changed_retention, [("table", FACT, "update", ("retentionPeriod",))]),
    (lost_schedule, [("pipeline", "mesh_pipelines.alpha__ingest", "update", ("scheduleInterval",))]),
    (lax_policy, [("policy", "mesh_pii", "update", ("rules",))]),
    (lost_port, [("ports", "core__fact_sales", "update", ("inputPorts.mesh.mesh.core.sale_v1",))]),
    (dead_port, [("ports", "core__fact_sales", "update", ("inputPorts.mesh.mesh.core.items",))]),
    (lost_contract, None),
    (hand_edited_contract, [("dataContract", CONTRACT, "update", ("description",))]),
    (wrong_type_in_contract, [("dataContract", CONTRACT, "update", ("schema.amount.dataType",))]),
    (lost_column_of_contract, [("dataContract", CONTRACT, "update", ("schema.amount",))]),
    (lax_rule_in_contract, [("dataContract", CONTRACT, "update", ("odcsQualityRules",))]),
    (promise_too_many, [("dataContract", CONTRACT, "update", ("sla.maxLatency",))]),
    (withdrawn_contract, [("dataContract", CONTRACT, "update", ("entityStatus",))]),
    (lost_case, None),
    (hand_edited_case, [("testCase", CASE, "update", ("parameterValues",))]),
    (hand_edited_definition, [("testDefinition", "mesh_rule", "update", ("description",))]),
    (hand_edited_chart, [("chart", CHART, "update", ("displayName",))]),
    (deleted_chart, None),
    (chart_off_its_dashboard, [("dashboard", DASHBOARD, "update", ("charts",))]),
    (dead_link, [("dashboard", DASHBOARD, "update", ("sourceUrl",))]),
    (lost_edge_of_a_chart, [("lineage", f"{CHART} -> {DASHBOARD}", "create", ("edge",))]),
    (wrong_edge_of_a_dashboard, [("lineage", SHOWN, "update", (f"columnsLineage.{CHART}",))]),
    (stale_contract, [("dataContract", "mesh.mesh.core.gone.dataContract_mesh", "remove", ())]),
    (stale_tag, [("tag", "mesh.gone", "remove", ())]),
    (stale_term, [("glossaryTerm", "core.gone", "remove", ())]),
    (stale_product, [("dataProduct", "core__gone", "remove", ())]),
]
