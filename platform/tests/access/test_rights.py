"""Rights are derived from contracts and SQL, and the documents for the servers say the same."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mesh_platform.access.object_store import bucket_and_prefix, bucket_policy, user_policy
from mesh_platform.access.polaris import Polaris, PolarisRights, read_grant, write_grant
from mesh_platform.access.rabbitmq import Management, RabbitRights, permissions_of, wanted_permissions
from mesh_platform.access.rights import Right, rights_of
from mesh_platform.access.step import Credentials, Step
from mesh_platform.errors import AttentionError, UnavailableError, UsageError
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.sql.model import read_models

from conftest import ROOT, State

from ..small_mesh import small_mesh

WAREHOUSE = "s3://lake/warehouse"


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return load_mesh(small_mesh(tmp_path).root)


def names(rights: list[Right], domain: str, access: str) -> set[str]:
    return {right.name for right in rights if right.domain == domain and right.access == access}


def test_a_domain_reads_of_others_the_published_tables_that_its_models_name(mesh: Mesh) -> None:
    rights = rights_of(mesh, read_models(mesh))
    foreign = {name for name in names(rights, "core", "read") if not name.startswith("core.")}
    assert foreign == {"alpha.sales_alpha", "beta.sales_beta", "mesh.releases"}
    assert {name for name in names(rights, "alpha", "read") if not name.startswith("alpha.")} == {"mesh.releases"}


def test_nobody_writes_to_what_is_another_domains(mesh: Mesh) -> None:
    for right in rights_of(mesh, read_models(mesh)):
        assert right.access == "read" or right.name.startswith(f"{right.domain}."), right


def test_a_model_that_no_longer_reads_a_table_ends_the_right(mesh: Mesh) -> None:
    models = {name: model for name, model in read_models(mesh).items() if name != "core.fact_sales"}
    rights = rights_of(mesh, models)
    assert {name for name in names(rights, "core", "read") if not name.startswith("core.")} == {"mesh.releases"}


def test_a_domain_reads_the_tables_that_its_contracts_refer_to_though_no_model_reads_them() -> None:
    mesh = load_mesh(ROOT)
    (target,) = mesh.contracts["ml_insights.fact_sla_risk"].table.by_name["route_id"].references[:1]
    assert target == "logistics_core.dim_route"
    reasons = {right.name: right.reason for right in rights_of(mesh, {}) if right.domain == "ml_insights"}
    assert reasons[target] == "referred to by ml_insights.fact_sla_risk"
    assert "logistics_core.fact_orders" not in reasons


def test_a_retired_product_is_read_and_no_longer_sent(mesh: Mesh) -> None:
    alpha = mesh.domains["alpha"]
    (contract,) = (each for each in alpha.contracts.values() if each.event)
    others = {key: each for key, each in alpha.contracts.items() if each is not contract}
    retired = replace(alpha, contracts=others, retired={"sales_alpha": replace(contract, retired=True)})
    changed = replace(mesh, domains={"alpha": retired})
    queues = {(right.name, right.access) for right in rights_of(changed, {}) if right.resource == "queue"}
    assert queues == {("alpha.sales_alpha", "read"), ("alpha.sales_alpha.dlq", "read")}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("north", True),
        ("north.orders", True),
        ("north.orders.dlq", True),
        ("north2", False),
        ("north2.orders", False),
        ("far_north.orders", False),
        ("northXorders", False),
        ("", False),
        ("amq.default", False),
        ("amq.topic", False),
    ],
)
def test_a_pattern_of_rabbitmq_allows_the_names_of_one_domain(name: str, allowed: bool) -> None:
    permissions = permissions_of("north")
    for pattern in vars(permissions).values():
        assert bool(re.search(pattern, name)) is allowed


def test_a_domain_called_amq_has_no_right_to_the_default_exchange() -> None:
    for pattern in vars(permissions_of("amq")).values():
        assert re.search(pattern, "amq")
        assert not re.search(pattern, "amq.default")


def test_a_domain_reaches_the_broker_by_the_protocol_and_options_of_the_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Management, "put", lambda *_: None)
    clients = urlsplit("amqps://admin:secret@[::1]:5671/other?heartbeat=20")
    credentials = Credentials(tmp_path)
    rights = RabbitRights(Management("https://admin:secret@[::1]:15671/mine"), ["north"], [], credentials, clients)
    rights.apply(Step("rabbitmq", "north", "create", "user"))
    url = credentials.read("north")["MESH_BROKER_URL"]
    assert re.fullmatch(r"amqps://north:\w{32}@\[::1\]:5671/mine\?heartbeat=20", url)


def test_a_principal_of_polaris_has_its_secret_in_its_file_before_the_server_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = Credentials(tmp_path)
    server = Polaris("https://root:secret@[::1]:8181", "lake")
    rights = PolarisRights(server, ["north"], [], credentials)
    known = []

    def stop(*_: object) -> None:
        known.append(credentials.read("north")["PYICEBERG_CATALOG__MESH__CREDENTIAL"])
        raise UnavailableError("no answer")

    monkeypatch.setattr(server, "send", stop)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            rights.apply(Step("polaris", "north", "create", "principal"))
    # Polaris takes nothing else: https://polaris.apache.org, ResetPrincipalRequest.
    assert re.fullmatch(r"[0-9a-f]{16}:[0-9a-f]{32}", known[0])
    assert known[0] == known[1]
    assert credentials.read("north")["PYICEBERG_CATALOG__MESH__OAUTH2_SERVER_URI"].startswith("https://[::1]:8181/")


@pytest.mark.parametrize(
    "place",
    [
        {"type": "catalog"},
        {"type": "namespace", "namespace": ["north", "inner"]},
        {"type": "table", "namespace": ["north"], "tableName": "sales"},
        {"type": "view", "namespace": ["north", "inner"], "viewName": "sales"},
        {"type": "policy", "namespace": ["north"], "policyName": "sales"},
    ],
)
def test_a_grant_that_somebody_made_is_taken_away_from_where_it_is(place: dict[str, Any]) -> None:
    resource = {**place, "privilege": "SOME"}
    assert write_grant(read_grant(resource)) == resource


@pytest.mark.parametrize("url", ["ftp://id:secret@host", "http://host:8181", "http://id@host:8181", "http://:8181"])
def test_another_address_is_none_of_polaris(url: str) -> None:
    with pytest.raises(UsageError, match=r"http\(s\)://id:secret@host:8181"):
        Polaris(url, "lake")


def test_only_the_platform_may_write_to_the_default_exchange() -> None:
    may = {
        name for name, each in wanted_permissions(["north", "south"]).items() if re.search(each.write, "amq.default")
    }
    assert may == {"mesh"}


def test_the_policy_of_a_domain_has_its_own_objects_and_reads_those_of_granted_tables(mesh: Mesh) -> None:
    rights = rights_of(mesh, read_models(mesh))
    own, read, listed, _ = user_policy("core", rights, WAREHOUSE)["Statement"]
    assert own["Resource"] == ["arn:aws:s3:::lake/warehouse/core/*"]
    places = ["alpha/sales_alpha/", "beta/sales_beta/", "mesh/releases/"]
    assert read["Action"] == ["s3:GetObject"]
    # The slash keeps the landing table `sales_alpha__raw` out.
    assert read["Resource"] == [f"arn:aws:s3:::lake/warehouse/{place}*" for place in places]
    assert listed["Condition"]["StringLike"]["s3:prefix"] == [f"warehouse/{place}*" for place in ["core/", *places]]


def test_the_policy_of_a_bucket_says_the_same_of_all_domains(mesh: Mesh) -> None:
    rights = rights_of(mesh, read_models(mesh))
    statements = bucket_policy([*mesh.domains], rights, WAREHOUSE)["Statement"]
    for domain in mesh.domains:
        mine = [each for each in statements if each["Principal"] == {"AWS": [domain]}]
        bare = [{key: value for key, value in each.items() if key != "Principal"} for each in mine]
        assert bare == user_policy(domain, rights, WAREHOUSE)["Statement"]


@pytest.mark.parametrize(
    ("warehouse", "found"),
    [("s3://lake", ("lake", "")), ("s3://lake/", ("lake", "")), ("s3a://lake/a/b/", ("lake", "a/b/"))],
)
def test_a_warehouse_is_a_bucket_and_a_prefix(warehouse: str, found: tuple[str, str]) -> None:
    assert bucket_and_prefix(warehouse) == found


@pytest.mark.parametrize("warehouse", ["/srv/lake", "file:///srv/lake", "s3://", "gs://lake/x", ""])
def test_another_place_is_no_bucket(warehouse: str) -> None:
    with pytest.raises(UsageError, match="s3://bucket"):
        bucket_and_prefix(warehouse)


def test_secrets_are_for_their_owner_and_survive_a_change_of_others(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "credentials")
    credentials.set("north", {"A": "1=2", "B": "3"})
    credentials.set("north", {"B": "a?b=c&d='e'"})
    assert credentials.read("north") == {"A": "1=2", "B": "a?b=c&d='e'"}
    shell = f"set -a; . {credentials.path('north')}; printenv A B"
    told = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert told == "1=2\na?b=c&d='e'\n"
    assert credentials.path("north").stat().st_mode & 0o077 == 0
    assert credentials.path("north").parent.stat().st_mode & 0o077 == 0
    assert credentials.read("south") == {}


def test_a_file_of_secrets_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    for line in ("nonsense", "B='no end"):
        credentials.path("north").write_text(f"# words\nA=1\n{line}\n")
        with pytest.raises(AttentionError, match=r"north\.env:3"):
            credentials.read("north")


def test_the_command_shows_the_rights_of_all_and_the_policies_of_a_store(state: State) -> None:
    shown = state.mesh("grants").out
    assert "logistics_core.*" in shown
    assert "read by the model of logistics_core.fact_orders" in shown
    rights = state.mesh("grants", "--format", "json").json
    assert {"domain", "resource", "name", "access", "reason"} == {*rights[0]}
    place = {"PYICEBERG_CATALOG__MESH__WAREHOUSE": WAREHOUSE}
    policies = json.loads(state.mesh("grants", "--format", "user-policies", **place).out)
    assert "arn:aws:s3:::lake/warehouse/logistics_core/*" in json.dumps(policies["logistics_core"])


def test_without_a_server_the_command_says_which_setting_names_one(state: State) -> None:
    place = {"PYICEBERG_CATALOG__MESH__WAREHOUSE": WAREHOUSE}
    for mode in ("--check", "--apply"):
        done = state.mesh("grants", mode, check=2)
        assert "MESH_RABBITMQ_ADMIN_URL" in done.err
        assert "MESH_S3_ADMIN_URL" in done.err
        assert "MESH_CATALOG_ADMIN_URL" in done.err
    done = state.mesh(
        "grants", "--check", check=2, MESH_CATALOG_ADMIN_URL="http://id:its-secret@127.0.0.1:1", **place
    )
    assert "is the name of a catalog in Polaris" in done.err
    assert "its-secret" not in done.err
    done = state.mesh("grants", "--check", check=2, MESH_S3_ADMIN_URL="http://127.0.0.1:1", **place)
    assert "http(s)://key:secret@host:9000" in done.err


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("MESH_RABBITMQ_ADMIN_URL", "http://mesh:its-secret@127.0.0.1:1"),
        ("MESH_S3_ADMIN_URL", "http://logistics_core:its-secret@127.0.0.1:1"),
    ],
)
def test_an_administrator_by_the_name_of_one_who_is_made_is_not_taken(state: State, setting: str, url: str) -> None:
    done = state.mesh("grants", "--apply", check=2, PYICEBERG_CATALOG__MESH__WAREHOUSE=WAREHOUSE, **{setting: url})
    assert setting in done.err
    assert "an administrator of another name" in done.err
    assert "its-secret" not in done.err


def test_documents_are_not_taken_for_what_servers_enforce(state: State) -> None:
    for mode in ("--check", "--apply"):
        done = state.mesh("grants", mode, "--format", "bucket-policy", check=2)
        assert f"Leave it out with {mode}" in done.err
