"""Read restrictions name what the views of the same role hide, by the ids that Iceberg gave the columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mesh_platform.lake.tables import table_named
from mesh_platform.policy.restrictions import read_restrictions
from mesh_platform.query.session import hidden_columns
from pyiceberg.types import IntegerType

from ..small_mesh import Place, Sale, small_mesh
from .test_masks import FACT, masked_by, set_mask


def restricted(place: Place, name: str, role: str | None) -> dict[str, Any]:
    table = table_named(place.mesh, name)
    assert table is not None
    return read_restrictions(place.mesh, role, table, place.catalog.load_table(name).schema())


def test_the_restrictions_and_the_views_of_a_role_hide_the_same_columns(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    place.land("alpha", [Sale(1)])
    place.build()
    for name in ("core.fact_sales", "core.dim_buyer", "alpha.sales_alpha__raw", "core.items"):
        schema = place.catalog.load_table(name).schema()
        for role in ("analyst", "alpha", "boss", None):
            found = restricted(place, name, role).get("required-column-projections", [])
            hidden = hidden_columns(place.mesh, role, [name]).get(name, [])
            assert [schema.find_column_name(each["field-id"]) for each in found] == hidden, (name, role)
            assert {each["action"] for each in found} <= {"sha-256-query-local"}


def test_columns_that_the_contract_lacks_and_actions_that_do_not_apply_show_nothing(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    set_mask(place, FACT, "buyer", **masked_by("show-last-4"))
    place.land("alpha", [Sale(1)])
    place.build("core.fact_sales")
    with place.catalog.load_table("core.fact_sales").update_schema(allow_incompatible_changes=True) as update:
        update.add_column("phone", IntegerType())
        update.make_column_optional("buyer")
        update.rename_column("buyer", "buyer_2")
    with place.catalog.load_table("core.fact_sales").update_schema() as update:
        update.add_column("buyer", IntegerType())
    schema = place.catalog.load_table("core.fact_sales").schema()
    found = restricted(place, "core.fact_sales", "analyst")["required-column-projections"]
    actions = {schema.find_column_name(each["field-id"]): each["action"] for each in found}
    # The contract's column is a number in the table, which has no last four characters.
    assert actions == {
        "item_id": "sha-256-query-local",
        **dict.fromkeys(("buyer", "buyer_2", "phone"), "replace-with-null"),
    }
    assert restricted(place, "core.fact_sales", "boss") == {}


def test_the_rows_of_a_warehouse_are_an_expression_on_field_ids(tmp_path: Path) -> None:
    place = small_mesh(tmp_path)
    set_mask(place, FACT, "site_id", name="warehouse_id")
    columns = "event_id, item_id, buyer, site_id as warehouse_id, sold_at, amount"
    place.write("core/models/fact_sales.sql", f"select {columns} from core.sale_v1\n")
    place.land("alpha", [Sale(1)])
    place.build()
    number = place.catalog.load_table("core.fact_sales").schema().find_field("warehouse_id").field_id
    child = {"type": "reference", "id": number}
    expected = {"type": "in", "child": child, "values": ["WH-ALPHA", "unknown"]}
    assert restricted(place, "core.fact_sales", "WH-ALPHA")["required-row-filter"] == expected
    assert restricted(place, "beta.sales_beta", "WH-ALPHA")["required-row-filter"] is False
    assert "required-row-filter" not in restricted(place, "core.fact_sales", "analyst")
