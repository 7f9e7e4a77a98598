"""Each domain with its own principal in Polaris: the catalog points a domain's tables for that domain alone.

Its tokens live ten seconds, so that each test of some length has them renewed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from daily_commands import use_daily_commands
from mesh_platform.access.polaris import Polaris
from mesh_platform.access.rights import rights_of
from mesh_platform.access.step import PLATFORM
from mesh_platform.errors import AttentionError
from mesh_platform.mesh.mesh import Mesh, load_mesh
from mesh_platform.sql.model import read_models
from native_stack import Stack, catalog_properties, native_stack
from orders import PRODUCT, in_batches, lines, send
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import ForbiddenError
from requests import get
from test_rights_on_servers import as_domain, credentials

from conftest import ROOT, State, new_state

pytestmark = pytest.mark.stack

# The catalog in Polaris that docker-compose.yml names.
LAKE = "mesh"
SECONDS = 10


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with native_stack(MESH_STACK_CATALOG="polaris", MESH_STACK_TOKEN_SECONDS=str(SECONDS)) as servers:
        yield servers


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return load_mesh(ROOT)


@pytest.fixture(scope="module")
def granted(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> State:
    state = new_state(tmp_path_factory.mktemp("granted"))
    state.mesh("grants", "--apply", **stack.settings)
    return state


@pytest.fixture(scope="module")
def run(granted: State, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> State:
    """Nine days of the company by the platform's principal; then the domains may read the tables that there are."""
    state = as_domain(granted, stack, tmp_path_factory.mktemp("run"), PLATFORM)
    assert state.mesh("run", "--days", 9, "--format", "json").json["key_ok"] is True
    granted.mesh("grants", "--apply", **stack.settings)
    return state


def catalog_of(granted: State, stack: Stack, name: str) -> Catalog:
    return RestCatalog("mesh", **catalog_properties(stack.settings | credentials(granted, name)))


def administration(stack: Stack) -> Polaris:
    return Polaris(stack.settings["MESH_CATALOG_ADMIN_URL"], LAKE)


def test_a_domain_loads_and_changes_the_tables_that_it_may_and_no_others(
    run: State, granted: State, stack: Stack, mesh: Mesh
) -> None:
    platform = catalog_of(granted, stack, PLATFORM)
    tables = {".".join(name) for space in platform.list_namespaces() for name in platform.list_tables(space)}
    rights = rights_of(mesh, read_models(mesh))
    wanted = {(each.domain, each.name, each.access) for each in rights if each.resource == "table"}
    assert len(tables) > 80
    found = set()
    for domain in mesh.domains:
        own = catalog_of(granted, stack, domain)
        for name in tables:
            if may(partial(own.load_table, name)):
                found.add((domain, name, "read"))
            # By hand, since a domain that may not load a table may try to move its pointer all the same.
            if may(partial(change, own, platform, name)):
                found.add((domain, name, "write"))
    assert found == {each for each in wanted if each[1] in tables}


def test_a_domain_makes_drops_and_renames_no_table_of_another_and_grants_nothing(
    run: State, granted: State, stack: Stack
) -> None:
    own = catalog_of(granted, stack, "north_warehouse")
    schema = own.load_table("north_warehouse.orders_north").schema()
    elsewhere = catalog_of(granted, stack, PLATFORM).load_table(PRODUCT).metadata_location
    own.create_table("north_warehouse.trial", schema)
    try:
        for refused in (
            partial(own.create_table, "south_warehouse.trial", schema),
            partial(own.drop_table, PRODUCT),
            partial(own.rename_table, PRODUCT, "north_warehouse.taken"),
            partial(own.rename_table, "north_warehouse.trial", "south_warehouse.trial"),
            partial(own.register_table, "north_warehouse.seen", elsewhere),
            partial(own.drop_namespace, "south_warehouse"),
            partial(own.create_namespace, "another"),
        ):
            assert not may(refused), refused
    finally:
        own.drop_table("north_warehouse.trial")
    url = stack.settings["MESH_CATALOG_ADMIN_URL"].partition("@")[2]
    identity = credentials(granted, "north_warehouse")["PYICEBERG_CATALOG__MESH__CREDENTIAL"]
    domain = Polaris(f"http://{identity}@{url}", LAKE)
    for path in (f"{domain.own}/catalog-roles", "/api/management/v1/principals"):
        with pytest.raises(AttentionError, match="403"):
            domain.send("GET", path)


def test_what_a_person_does_with_a_lake_works_with_the_platforms_principal(run: State) -> None:
    use_daily_commands(run)
    found = {row["service"]: row["ok"] for row in run.json("doctor")}
    assert found["catalog"]
    assert found["storage"]


def test_a_domain_ingests_builds_and_reads_with_its_own_principal_alone(
    run: State, granted: State, stack: Stack, mesh: Mesh, tmp_path: Path
) -> None:
    own = as_domain(granted, stack, tmp_path, "south_warehouse")
    (before,) = own.json("query", f"select count(*)::int as n from {PRODUCT}")
    send(own, mesh, in_batches(lines(range(30)), 10))
    own.mesh("ingest", PRODUCT, "--until-empty")
    own.mesh("build", PRODUCT)
    (after,) = own.json("query", f"select count(*)::int as n from {PRODUCT}")
    assert after["n"] == before["n"] + 30
    other = as_domain(granted, stack, tmp_path, "north_warehouse")
    refused = other.mesh("query", f"select count(*) as n from {PRODUCT}", check=3)
    assert refused.err.startswith(f"{PRODUCT}: access is refused")


def test_a_principal_without_the_right_acknowledges_nothing(
    run: State, granted: State, stack: Stack, mesh: Mesh, tmp_path: Path
) -> None:
    own = as_domain(granted, stack, tmp_path, "south_warehouse")
    send(own, mesh, in_batches(lines(range(100, 120)), 10))
    stranger = credentials(granted, "north_warehouse")["PYICEBERG_CATALOG__MESH__CREDENTIAL"]
    for credential in (stranger, f"{stranger}0"):
        refused = own.mesh(
            "ingest", PRODUCT, "--until-empty", check=3, PYICEBERG_CATALOG__MESH__CREDENTIAL=credential
        )
        assert "access is refused" in refused.err
        assert "Traceback" not in refused.err
    count = f"select count(distinct order_id)::int as n from {PRODUCT}__raw"
    (before,) = own.json("query", count)
    own.mesh("ingest", PRODUCT, "--until-empty")
    (after,) = own.json("query", count)
    assert after["n"] == before["n"] + 20


def test_a_token_that_has_expired_is_renewed(run: State, granted: State, stack: Stack) -> None:
    own = catalog_of(granted, stack, "north_warehouse")
    url = f"{stack.settings['PYICEBERG_CATALOG__MESH__URI']}/v1/config?warehouse={LAKE}"
    with_token = {"Authorization": own._session.auth.auth_manager.auth_header()}
    assert get(url, headers=with_token).status_code == 200
    while get(url, headers=with_token).status_code != 401:
        time.sleep(0.5)
    table = own.load_table("north_warehouse.orders_north")
    change(own, own, "north_warehouse.orders_north")
    assert own.load_table("north_warehouse.orders_north").metadata.table_uuid == table.metadata.table_uuid


def test_what_was_changed_by_hand_is_found_and_mended(run: State, granted: State, stack: Stack) -> None:
    assert granted.mesh("grants", "--check", "--format", "json", **stack.settings).json == []
    admin = administration(stack)
    roles = f"{admin.own}/catalog-roles"
    everything = {"grant": {"type": "catalog", "privilege": "CATALOG_MANAGE_CONTENT"}}
    admin.send("PUT", f"{roles}/south_warehouse/grants", everything)
    lost = {"type": "namespace", "namespace": ["north_warehouse"], "privilege": "CATALOG_MANAGE_CONTENT"}
    admin.send("POST", f"{roles}/north_warehouse/grants", {"grant": lost})
    api = "/api/management/v1"
    admin.send("DELETE", f"{api}/principals/west_warehouse")
    admin.send("PUT", f"{api}/principals/ml_insights/principal-roles", {"principalRole": {"name": PLATFORM}})
    marked = {"made-by": "mesh"}
    # As after a stop between a principal and its secret.
    admin.send("DELETE", f"{api}/principals/south_warehouse")
    for name in ("south_warehouse", "gone_warehouse"):
        admin.send("POST", f"{api}/principals", {"principal": {"name": name, "properties": marked}})
    admin.send("POST", f"{api}/principals", {"principal": {"name": "other_person", "properties": {}}})
    admin.send("PUT", f"{api}/principals/other_person/principal-roles", {"principalRole": {"name": "east_warehouse"}})
    admin.send("POST", f"{api}/principal-roles", {"principalRole": {"name": "readers", "properties": {}}})
    admin.send("PUT", f"{api}/principal-roles/readers/catalog-roles/{LAKE}", {"catalogRole": {"name": PLATFORM}})
    found = granted.mesh("grants", "--check", "--format", "json", check=1, **stack.settings).json
    told = {(step["server"], step["principal"], step["action"], step["what"]) for step in found}
    assert told == {
        ("polaris", "south_warehouse", "remove", "grant"),
        ("polaris", "north_warehouse", "create", "grant"),
        ("polaris", "south_warehouse", "update", "principal"),
        ("polaris", "south_warehouse", "create", "role of the principal"),
        ("polaris", "west_warehouse", "create", "principal"),
        ("polaris", "west_warehouse", "create", "role of the principal"),
        ("polaris", "ml_insights", "remove", "role of the principal"),
        ("polaris", "gone_warehouse", "remove", "principal"),
        ("polaris", "east_warehouse", "remove", "holder of the role"),
        ("polaris", PLATFORM, "remove", "holder of the catalog role"),
    }
    before = credentials(granted, "west_warehouse")
    granted.mesh("grants", "--apply", **stack.settings)
    assert granted.mesh("grants", "--check", "--format", "json", **stack.settings).json == []
    # The processes of a domain need no new secret.
    assert credentials(granted, "west_warehouse") == before
    assert catalog_of(granted, stack, "west_warehouse").load_table("west_warehouse.orders_west")
    assert admin.send("GET", f"{api}/principals/other_person")


def change(own: Catalog, reader: Catalog, name: str) -> None:
    """Move the pointer of a table by a request of `own`, whatever `own` may read."""
    table = reader.load_table(name)
    table.catalog = own
    with table.transaction() as transaction:
        transaction.set_properties({"test.changed": "yes"})


def may(call: Callable[[], object]) -> bool:
    """Whether Polaris allows a call; a refusal is the only failure that counts as one."""
    try:
        call()
    except ForbiddenError:
        return False
    return True
