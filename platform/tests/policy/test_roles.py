"""Which rows a role reads: a warehouse its own and what is shared, everybody else all."""

from __future__ import annotations

import pytest
from mesh_platform.errors import UsageError
from mesh_platform.policy.pseudonyms import Salts
from mesh_platform.policy.roles import domains_read, known_roles
from mesh_platform.query.query import run_query
from mesh_platform.query.session import open_session

from ..small_mesh import Place, Sale, small_mesh


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = small_mesh(tmp_path_factory.mktemp("roles"))
    place.land("alpha", [Sale(1), Sale(2, buyer="bob")])
    place.land("beta", [Sale(3, buyer="bob")])
    place.build()
    return place


def ask(place: Place, sql: str, role: str | None, **options: object) -> list[tuple[object, ...]]:
    with open_session(place.mesh, place.catalog, role=role, **options) as session:  # type: ignore[arg-type]
        return [tuple(row.values()) for row in run_query(session, sql).to_pylist()]


def test_a_warehouse_reads_its_own_domain_and_what_is_shared_and_of_others_nothing(place: Place) -> None:
    own = place.mesh.domains["alpha"].site
    assert own
    count = "select count(*) from "
    assert ask(place, count + "alpha.sales_alpha", own.warehouse_id) == [(2,)]
    assert ask(place, count + "beta.sales_beta", own.warehouse_id) == [(0,)]
    assert ask(place, count + "beta.sales_beta__raw", own.warehouse_id) == [(0,)]
    assert ask(place, count + "core.sale_v1", own.warehouse_id) == [(2,)]
    assert ask(place, count + "core.dim_item", own.warehouse_id) == ask(place, count + "core.dim_item", None)
    assert ask(place, count + "core.sale_v1", "analyst") == [(3,)]
    assert domains_read(place.mesh, own.warehouse_id) == ["alpha", "core"]
    assert domains_read(place.mesh, "analyst") == [*place.mesh.domains]


def test_analyst_and_steward_read_no_personal_data_and_every_role_of_a_contract_is_known(place: Place) -> None:
    for role in ("analyst", "steward"):
        assert ask(place, "select count(*) from alpha.sales_alpha where buyer in ('ann', 'bob')", role) == [(0,)]
    assert {"analyst", "steward", "alpha"} <= {*known_roles(place.mesh)}
    with pytest.raises(UsageError, match="Did you mean analyst"):
        ask(place, "select 1", "analist")


def test_with_one_key_all_sessions_have_the_same_pseudonyms_and_without_one_each_its_own(place: Place) -> None:
    sql = "select distinct buyer from core.fact_sales order by 1"
    one, two = (ask(place, sql, "analyst", salts=Salts(b"k")) for _ in range(2))
    assert one == two
    assert ask(place, sql, "analyst") != one


def test_the_product_of_acme_that_names_a_warehouse_is_cut_and_the_calendar_is_not(
    mesh: object, place: Place
) -> None:
    from mesh_platform.mesh.mesh import Mesh
    from mesh_platform.policy.roles import rows_of

    assert isinstance(mesh, Mesh)

    def condition(name: str, shown: list[str] | None = None) -> str | None:
        table = mesh.contracts[name].table
        return rows_of(mesh, "WH-NORTH", mesh.contracts[name], table, shown or [*table.by_name])

    cut = "\"warehouse_id\" IN ('WH-NORTH', 'unknown')"
    assert condition("logistics_core.fact_orders") == cut
    assert condition("logistics_core.dim_customer") == cut.replace("warehouse_id", "home_warehouse_id", 1)
    assert condition("logistics_core.dim_date") is None
    assert condition("south_warehouse.orders_south") == "false"
    # A state of before the column: nothing tells whose its rows are.
    assert condition("logistics_core.fact_orders", ["order_id"]) == "false"
