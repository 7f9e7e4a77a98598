"""What publishing promises, through HTTP alone: on the double, and by `make openmetadata-check` on a real server.

On a real server everything has a name of its own, and is removed at the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from mesh_platform.errors import MeshError
from mesh_platform.metadata.graph import mesh_graph
from mesh_platform.metadata.openmetadata.apply import publish
from mesh_platform.metadata.openmetadata.client import Client, check_server
from mesh_platform.metadata.openmetadata.entities import desired
from mesh_platform.metadata.openmetadata.kinds import KINDS, Entity, Record, Ref, contract_fqn, label
from mesh_platform.metadata.openmetadata.plan import make_plan, read_entities
from mesh_platform.metadata.openmetadata.records import send_record
from mesh_platform.sql.model import read_models

from ...small_mesh import Place
from .double import TOKEN, Double
from .double_http import serving
from .published import owned_mesh, shown


@dataclass
class Try:
    """One mesh under names of its own, published on a server."""

    client: Client
    namespace: str
    wanted: list[Entity]

    def plan(self) -> list[tuple[str, str, str, tuple[str, ...]]]:
        return shown(make_plan(self.client, self.wanted, self.namespace).steps)

    def read(self, kind: str, fqn: str) -> dict[str, Any]:
        found = self.client.by_name(KINDS[kind].path, fqn, KINDS[kind].fields)
        assert found is not None, fqn
        return found

    def patch(self, kind: str, fqn: str, **fields: Any) -> None:
        self.client.patch(f"{KINDS[kind].path}/{self.read(kind, fqn)['id']}", fields)

    def mend(self) -> None:
        publish(self.client, self.wanted, self.namespace)
        assert self.plan() == []

    @property
    def fact(self) -> str:
        return self._named("table", ".fact_sales")

    @property
    def union(self) -> str:
        return self._named("table", ".sale_v1")

    @property
    def product(self) -> str:
        return self._named("dataProduct", "__fact_sales")

    @property
    def pipeline(self) -> str:
        return self._named("pipeline", "core__build")

    def _named(self, kind: str, end: str) -> str:
        return next(each.fqn for each in self.wanted if each.kind == kind and each.fqn.endswith(end))


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, str]]:
    if url := os.environ.get("MESH_TEST_OPENMETADATA_URL"):
        yield url, os.environ["MESH_TEST_OPENMETADATA_TOKEN"]
        return
    with serving(Double()) as url:
        yield url, TOKEN


@pytest.fixture(scope="module")
def held(address: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Try]:
    client = Client(*address)
    namespace = f"try{uuid4().hex[:8]}"
    place = owned_mesh(tmp_path_factory.mktemp("mesh"))
    _rename(place, namespace)
    wanted = desired(mesh_graph(place.mesh, read_models(place.mesh)), namespace)
    own = Try(client, namespace, wanted)
    try:
        publish(client, wanted, namespace)
        yield own
    finally:
        _remove(own)
    left = [entity.fqn for entity in wanted if entity.kind in KINDS and _there(client, entity)]
    assert left == [], "left on the server"


def _rename(place: Place, namespace: str) -> None:
    """Give each domain, team, person and role of the mesh a name that nobody else has."""
    words = {name: f"{namespace}_{name}" for name in ("alpha", "beta", "core", "boss")}
    domains = place.root / "domains"
    for file in [path for path in domains.rglob("*") if path.is_file()]:
        text = file.read_text()
        for name, new in words.items():
            text = text.replace(name, new)
        file.write_text(text)
    for path in sorted(domains.rglob("*"), key=lambda path: -len(path.parts)):
        name = path.name
        for word, new in words.items():
            name = name.replace(word, new)
        path.rename(path.with_name(name))


def _remove(own: Try) -> None:
    """Delete all that the mesh has made, for good, contents before what contains them."""
    known = read_entities(own.client, [each for each in own.wanted if each.kind in KINDS], own.namespace)
    for entity in reversed(own.wanted):
        if found := known.get(Ref(entity.kind, entity.fqn)):
            own.client.delete(f"{KINDS[entity.kind].path}/{found['id']}", recursive="true", hardDelete="true")


def _there(client: Client, entity: Entity) -> bool:
    return client.by_name(KINDS[entity.kind].path, entity.fqn, "") is not None


def test_the_server_is_of_a_known_version_and_takes_the_token(held: Try):
    assert check_server(held.client)["token"] == "accepted"


def test_a_wrong_token_is_refused(address: tuple[str, str]):
    with pytest.raises(MeshError, match="401"):
        Client(address[0], "wrong").get("databases", limit="1")


def test_what_is_published_is_in_step(held: Try):
    assert held.plan() == []


def test_what_the_mesh_says_is_on_the_server(held: Try):
    fact = held.read("table", held.fact)
    assert fact["tableType"] == "Iceberg"
    assert [column["name"] for column in fact["columns"]][-2:] == ["sold_at", "amount"]
    terms = [each["tagFQN"] for each in fact["columns"][-1]["tags"] if each["source"] == "Glossary"]
    assert terms == [f"{held.namespace}_core.amount"]


def test_a_hand_edited_description_is_mended(held: Try):
    held.patch("table", held.fact, description="Nonsense.")
    assert held.plan() == [("table", held.fact, "update", ("description",))]
    held.mend()


def test_a_tag_that_the_mesh_does_not_have_any_more_is_removed(held: Try):
    columns = held.read("table", held.fact)["columns"]
    columns[-1]["tags"].append(label(f"{held.namespace}.pii"))
    held.patch("table", held.fact, columns=columns)
    assert held.plan() == [("table", held.fact, "update", ("columns.amount.tags",))]
    held.mend()


def test_a_column_that_is_missing_is_added(held: Try):
    held.patch("table", held.fact, columns=held.read("table", held.fact)["columns"][:-1])
    assert ("table", held.fact, "update", ("columns.amount",)) in held.plan()
    held.mend()


def test_a_wrong_domain_and_owner_are_mended(held: Try):
    domain = held.read("domain", f"{held.namespace}_alpha")
    team = held.read("team", f"Team {held.namespace}_alpha")
    held.patch("table", held.fact, domains=[{"id": domain["id"], "type": "domain"}])
    held.patch("table", held.fact, owners=[{"id": team["id"], "type": "team"}])
    (step,) = held.plan()
    assert {*step[3]} == {"domains", "owners"}
    held.mend()


def test_a_deleted_table_is_restored(held: Try):
    held.client.delete(f"tables/{held.read('table', held.fact)['id']}", hardDelete="false")
    assert ("table", held.fact, "create") in [step[:3] for step in held.plan()]
    held.mend()
    assert not held.read("table", held.fact).get("deleted")


def test_a_lost_edge_is_added(held: Try):
    union = held.read("table", held.fact.replace(".fact_sales", ".sale_v1"))
    fact = held.read("table", held.fact)
    held.client.delete(f"lineage/table/{union['id']}/table/{fact['id']}")
    name = f"{union['fullyQualifiedName']} -> {held.fact}"
    assert held.plan() == [("lineage", name, "create", ("edge",))]
    held.mend()


def test_a_lost_port_is_added_and_one_that_the_mesh_has_not_is_removed(held: Try):
    product, union = (held.read(kind, name) for kind, name in (("dataProduct", held.product), ("table", held.union)))
    ports = f"dataProducts/{product['id']}/inputPorts"
    held.client.put(f"{ports}/remove", {"assets": [{"id": union["id"], "type": "table"}]})
    assert held.plan() == [("ports", held.product, "update", (f"inputPorts.{held.union}",))]
    held.mend()
    items = held.read("table", held.fact.replace(".fact_sales", ".items"))
    held.client.put(f"{ports}/add", {"assets": [{"id": items["id"], "type": "table"}]})
    assert held.plan() == [("ports", held.product, "update", (f"inputPorts.{items['fullyQualifiedName']}",))]
    held.mend()


def test_a_hand_edited_contract_is_mended(held: Try):
    name = contract_fqn(held.fact, held.namespace)
    contract = held.read("dataContract", name)
    assert [rule["name"] for rule in contract["odcsQualityRules"]] == ["no refunds", "some sales", "one a buyer"]
    held.patch("dataContract", name, description="Nonsense.", sla={"retention": {"period": 1, "unit": "day"}})
    (step,) = held.plan()
    assert {*step[3]} >= {"description", "sla.retention.period"}
    held.mend()


def test_a_hand_edited_test_case_is_mended_and_a_deleted_one_is_restored(held: Try):
    name = f"{held.fact}.no refunds"
    values = [{"name": "bound", "value": "must be 5"}, *held.read("testCase", name)["parameterValues"][1:]]
    held.patch("testCase", name, parameterValues=values)
    assert held.plan() == [("testCase", name, "update", ("parameterValues",))]
    held.mend()
    case = held.read("testCase", name)
    held.client.delete(f"dataQuality/testCases/{case['id']}", hardDelete="false")
    assert ("testCase", name, "create") in [step[:3] for step in held.plan()]
    held.mend()


def test_results_runs_and_sizes_are_sent_once(held: Try):
    now = int(time.time()) * 1000
    tasks = [each["name"] for each in held.read("pipeline", held.pipeline)["tasks"]]
    done = [{"name": name, "executionStatus": "Successful", "endTime": now} for name in tasks]
    run = {"timestamp": now, "executionStatus": "Successful", "executionId": "1", "taskStatus": done}
    result = {"timestamp": now, "testCaseStatus": "Failed", "result": "1 row", "testResultValue": []}
    size = {"tableProfile": {"timestamp": now, "rowCount": 4, "columnCount": 6, "sizeInByte": 99}}
    records = [
        Record(Ref("pipeline", held.pipeline), now, lambda: run),
        Record(Ref("testCase", f"{held.fact}.no refunds"), now, lambda: result),
        Record(Ref("table", held.fact), now, lambda: size),
    ]
    sent = publish(held.client, held.wanted, held.namespace, records)
    assert sorted(step.entity for step in sent) == ["pipelineStatus", "tableProfile", "testCaseResult"]
    assert publish(held.client, held.wanted, held.namespace, records) == []
    for record in records:
        id_ = held.read(record.of.type, record.of.fqn)["id"]
        # As after a lost answer.
        send_record(held.client, record, id_)
    assert publish(held.client, held.wanted, held.namespace, records) == []


def test_what_the_mesh_no_longer_has_is_removed(held: Try):
    stale = {"name": "gone", "classification": held.namespace, "description": "A.", "provider": "automation"}
    held.client.put("tags", stale)
    assert held.plan() == [("tag", f"{held.namespace}.gone", "remove", ())]
    held.mend()


def test_what_people_add_stays(held: Try):
    by_hand = {"name": "by_hand", "classification": held.namespace, "description": "A.", "provider": "user"}
    held.client.put("tags", by_hand)
    own = {**label(f"{held.namespace}.by_hand"), "labelType": "Manual"}
    held.patch("table", held.fact, tags=[*held.read("table", held.fact)["tags"], own])
    held.patch("table", held.fact, displayName="Sales")
    assert held.plan() == []
    held.patch("table", held.fact, description="Nonsense.")
    held.mend()
    fact = held.read("table", held.fact)
    assert fact["displayName"] == "Sales"
    assert f"{held.namespace}.by_hand" in [each["tagFQN"] for each in fact["tags"]]
