"""Rules of a contract: rows that break one block a build, are held back or cause a warning, whatever else happens."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.errors import AttentionError, ContractError
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.type_check import check_types

from ..small_mesh import Place, Sale, small_mesh

FACT = "core.fact_sales"
CONTRACT = "domains/core/contracts/fact_sales.odcs.yaml"
HOLD = [{"property": "mesh.onFailure", "value": "hold"}]
WARN = [{"property": "mesh.onFailure", "value": "warn"}]
CHEAP = {
    "type": "sql",
    "name": "cheap",
    "description": "A sale is worth a dollar.",
    "query": "SELECT COUNT(*) FROM ${object} WHERE amount < 1.00",
    "mustBe": 0,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return small_mesh(tmp_path)


def rule(
    place: Place,
    *items: dict[str, Any],
    column: str | None = None,
    options: dict[str, Any] | None = None,
    table: str = "core/contracts/fact_sales",
) -> None:
    """Replace the quality rules of a table, or of its column, by these."""
    path = place.root / "domains" / f"{table}.odcs.yaml"
    contract = yaml.load(path.read_text(), yaml.CSafeLoader)
    owner = contract["schema"][-1]
    if column:
        owner = next(each for each in owner["properties"] if each["name"] == column)
    owner["quality"] = list(items)
    if options:
        owner["logicalTypeOptions"] = options
    path.write_text(yaml.dump(contract, Dumper=yaml.CSafeDumper, sort_keys=False))


def sale(number: int, amount: str, hours: int = 0, buyer: str = "ann") -> Sale:
    return Sale(number, hours, buyer=buyer, amount=Decimal(amount))


def refused(place: Place) -> str:
    before = place.snapshots(FACT) if place.catalog.table_exists(FACT) else []
    with pytest.raises(AttentionError) as error:
        place.build(FACT)
    assert (place.snapshots(FACT) if place.catalog.table_exists(FACT) else []) == before
    return str(error.value)


@pytest.mark.parametrize(
    ("column", "options", "items", "said"),
    [
        ("amount", {"minimum": 1}, [], "amount is below 1 in 1 row, as in (event_id=alpha-0002, amount=0.50)"),
        ("amount", {"maximum": 1.5}, [], "amount is above 1.5 in 1 row, as in (event_id=alpha-0003, amount=2.00)"),
        ("buyer", {"pattern": "^ann$"}, [], "buyer does not match ^ann$ in 1 row, as in (event_id=alpha-0003"),
        (
            "buyer",
            None,
            [{"metric": "invalidValues", "arguments": {"validValues": ["ann"]}, "mustBe": 0}],
            "buyer is not one of ann in 1 row, as in (event_id=alpha-0003, buyer=***)",
        ),
        (
            "amount",
            None,
            [{"metric": "duplicateValues", "mustBeLessThan": 1}],
            "the number of values of (amount) that repeat is 1 and must be less than 1, as in (amount=1.00, times=2)",
        ),
        (
            None,
            None,
            [{"metric": "duplicateValues", "arguments": {"properties": ["buyer", "amount"]}, "mustBe": 0}],
            "(buyer, amount) that repeat is 1 and must be 0, as in (buyer=***, amount=1.00, times=2)",
        ),
        (None, None, [{"metric": "rowCount", "mustBeBetween": [1, 3]}], "rows is 4 and must be between 1 and 3"),
        (
            "buyer",
            None,
            [
                {
                    "metric": "invalidValues",
                    "unit": "percent",
                    "arguments": {"validValues": ["ann"]},
                    "mustBeLessThan": 25,
                }
            ],
            "the percentage of rows where buyer is not one of ann is 25.0 and must be less than 25",
        ),
        (
            None,
            None,
            [CHEAP],
            "the rule 'A sale is worth a dollar' is broken in 1 row, as in (event_id=alpha-0002, amount=0.50)",
        ),
        (
            "amount",
            None,
            [{"type": "sql", "query": "select max(${property}) from ${table}", "mustBeLessOrEqualTo": 1.5}],
            "what 'select max(${property}) from ${table}' counts is 2.00 and must be at most 1.5",
        ),
        (
            None,
            None,
            [
                {
                    "type": "sql",
                    "name": "spread",
                    "query": "select count(*) from ${object} where amount > (select 1.7 * avg(amount) from ${table})",
                    "mustBe": 0,
                }
            ],
            "what 'spread' counts is 1 and must be 0",
        ),
    ],
)
def test_what_blocks_publishes_nothing_and_shows_the_rows(
    place: Place, column: str | None, options: dict[str, Any] | None, items: list[dict[str, Any]], said: str
):
    rule(place, *items, column=column, options=options)
    some = [sale(1, "1.00"), sale(2, "0.50"), sale(3, "2.00", buyer="bob"), sale(4, "1.00")]
    place.land("alpha", some)
    message = refused(place)
    assert said in message, message
    assert f"({CONTRACT}:" in message
    assert "Nothing was committed" in message
    place.write(
        "core/models/fact_sales.sql", FACT_WITHOUT.format("buyer = 'ann' and amount = 1 and event_id <> 'alpha-0004'")
    )
    assert place.build(FACT)[FACT].rows == 1


FACT_WITHOUT = "select event_id, item_id, buyer, site_id, sold_at, amount from core.sale_v1 where {}\n"


def test_at_most_five_rows_are_shown_and_all_are_counted(place: Place):
    rule(place, CHEAP)
    place.land("alpha", [sale(n, "0.50") for n in range(9)])
    message = refused(place)
    assert "is broken in 9 rows" in message
    assert message.count("amount=0.50") == 5


def test_a_bound_other_than_none_is_held_against_the_whole_table(place: Place):
    rule(place, {k: v for k, v in CHEAP.items() if k != "mustBe"} | {"mustBeLessThan": 3})
    place.land("alpha", [sale(1, "0.50"), sale(2, "5.00", 1000)])
    assert place.build(FACT)[FACT].rows == 2
    place.land("alpha", [sale(3, "0.50", 1000)])
    assert place.build(FACT)[FACT].mode == "incremental"
    place.land("alpha", [sale(4, "0.50", 2000)])
    said = "what 'A sale is worth a dollar' counts is 3 and must be less than 3, as in (event_id=alpha-0001,"
    assert said in refused(place)


def test_the_whole_table_is_what_it_would_be_where_partitions_are_redone(place: Place):
    snapshot = place.land("alpha", [sale(1, "0.50"), sale(2, "1.00", 1000)])
    place.land("alpha", [sale(3, "1.00", 1000), sale(4, "1.00", 2000)])
    place.build(FACT)
    rule(place, {"metric": "rowCount", "mustBe": 4})
    assert place.build(FACT)[FACT].mode == "noop"
    place.catalog.load_table("alpha.sales_alpha__raw").manage_snapshots().rollback_to_snapshot(snapshot).commit()
    place.land("alpha", [sale(5, "1.00", 1000), sale(6, "1.00", 2000), sale(7, "1.00", 2000)])
    assert "the number of rows is 5 and must be 4" in refused(place)
    rule(place, {"metric": "rowCount", "mustBe": 5}, CHEAP)
    assert "dollar' is broken in 1 row, as in (event_id=alpha-0001, amount=0.50)" in refused(place)
    rule(place, {"metric": "rowCount", "mustBe": 5})
    built = place.build(FACT)[FACT]
    assert (built.mode, built.partitions, built.rows, len(place.rows(FACT))) == ("rebuild", 2, 4, 5)


def test_what_only_warns_is_published_and_told(place: Place):
    rule(place, {**CHEAP, "customProperties": WARN}, {"metric": "rowCount", "mustBe": 7, "customProperties": WARN})
    place.land("alpha", [sale(1, "0.50"), sale(2, "5.00")])
    built = place.build(FACT)[FACT]
    assert built.rows == 2
    first, second = sorted(built.warnings, reverse=True)
    assert first.startswith("the rule 'A sale is worth a dollar' is broken in 1 row, as in (event_id=alpha-0001, ")
    assert second.startswith("the number of rows is 2 and must be 7")
    place.land("alpha", [sale(3, "5.00")])
    (warning,) = place.build(FACT)[FACT].warnings
    assert warning.startswith("the number of rows is 3 and must be 7")


def test_a_rule_that_changes_is_held_against_rows_that_are_there_already_and_moves_none(place: Place):
    place.land("alpha", [sale(1, "0.50"), sale(2, "5.00")])
    place.build(FACT)
    files = place.files(FACT)
    rule(place, {**CHEAP, "customProperties": WARN})
    warned = place.build(FACT)[FACT]
    assert (warned.mode, len(warned.warnings)) == ("noop", 1)
    assert place.build(FACT)[FACT].warnings == ()
    rule(place, CHEAP)
    place.land("alpha", [sale(3, "5.00")])
    assert "is broken in 1 row, as in (event_id=alpha-0001, amount=0.50)" in refused(place)
    rule(place, {**CHEAP, "query": "SELECT COUNT(*) FROM ${object} WHERE amount < 0.10"})
    built = place.build(FACT)[FACT]
    assert (built.mode, built.rows) == ("incremental", 1)
    assert files < place.files(FACT)


def test_a_rule_of_an_interface_holds_for_what_implements_it_and_counts_once(place: Place):
    rule(place, CHEAP, table="core/interfaces/sale.v1")
    rule(place, CHEAP, table="alpha/contracts/sales_alpha")
    place.land("alpha", [sale(1, "0.50")])
    place.land("beta", [sale(1, "0.50")])
    with pytest.raises(AttentionError) as error:
        place.build()
    alpha, beta, *_ = str(error.value).splitlines()
    assert alpha.count("is broken in 1 row") == beta.count("is broken in 1 row") == 1
    assert "domains/core/interfaces/sale.v1.odcs.yaml:" in beta


WRONG = [
    ({"metric": "missingValues", "mustBe": 0}, "nothing checks missingValues. Use nullValues, "),
    ({"type": "custom", "engine": "soda", "implementation": "x"}, "nothing checks custom."),
    ({"metric": "rowCount", "mustBe": True}, "mustBe is True. Give it a number."),
    ({"metric": "rowCount", "mustBe": "many"}, "mustBe is 'many'. Give it a number."),
    ({"metric": "rowCount", "mustBeBetween": [3, 1]}, "mustBeBetween is [3, 1]. Write the smaller number first."),
    ({"metric": "rowCount", "mustBe": 0, "unit": "percent"}, "rowCount has no percentage."),
    ({"metric": "rowCount", "mustBe": 0, "unit": "pounds"}, "unit 'pounds'. It is rows or percent."),
    ({"metric": "nullValues", "mustBe": 0}, "nullValues is of a column. Write it at the property."),
    ({"metric": "duplicateValues", "mustBe": 0}, "properties are None. List columns out of event_id, "),
    (
        {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["buyr"]}},
        "properties are ['buyr']. List columns out of event_id, ",
    ),
    ({"metric": "rowCount", "mustBe": 0, "arguments": {"x": 1}}, "argument 'x' of rowCount. It takes none."),
    (
        {**CHEAP, "customProperties": [{"property": "mesh.onFailure", "value": "stop"}]},
        "mesh.onFailure 'stop'. It is",
    ),
    (
        {**CHEAP, "customProperties": [{"property": "mesh.onFail", "value": "warn"}]},
        "'mesh.onFail' is not known here",
    ),
    (
        {"metric": "rowCount", "mustBe": 0, "customProperties": HOLD},
        "'hold' of a rule that tells no rows",
    ),
    ({**CHEAP, "mustBe": 3, "customProperties": HOLD}, "'hold' of a rule that tells no rows"),
]


@pytest.mark.parametrize(("item", "said"), WRONG)
def test_a_rule_that_nobody_could_run_is_a_problem_of_the_contract(place: Place, item: dict[str, Any], said: str):
    rule(place, item)
    with pytest.raises(ContractError) as error:
        load_mesh(place.root)
    (problem,) = error.value.problems
    assert said in str(problem)
    text = (place.root / CONTRACT).read_text().splitlines()
    assert "quality" in text[problem.line - 2] or "-" in text[problem.line - 1]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select count(*) from ${object} where amout < 0", 'Referenced column "amout" not found'),
        ("select count(*) frm ${object} where", "cannot be read"),
        ("select count(*) from ${objekt}", "cannot be read"),
        ("select count(*) from ${object} where ${property} < 0", "cannot be read"),
        ("drop table x", "it is not one SELECT"),
        ("select 1; select 2", "it is not one SELECT"),
        ("select count(*) from core.dim_item", "reads 'core.dim_item'. A rule reads its own table alone"),
        ("select count(*) from ${object} where (select count(*) from duckdb_settings()) > 0", "duckdb_settings"),
        ("select count(*) from read_csv('/etc/passwd')", "A rule reads its own table alone"),
        (
            "select count(*) from ${object} where sold_at > now()",
            "calls NOW(), which answers otherwise",
        ),
        ("select buyer from ${object}", "gives VARCHAR. Write one SELECT of one number"),
        ("select max(sold_at) - min(sold_at) from ${object}", "gives INTERVAL"),
        ("select 1, 2 from ${object}", "gives INTEGER, INTEGER"),
        ("select count(*) from ${object} where regexp_matches(buyer, '(')", "cannot be read"),
    ],
)
def test_sql_that_does_not_fit_the_table_is_a_problem_before_anything_is_built(place: Place, query: str, said: str):
    rule(place, {**CHEAP, "query": query})
    (problem,) = check_types(place.mesh)
    assert said.lower() in str(problem).lower()
    assert problem.path == CONTRACT
    assert (place.root / CONTRACT).read_text().splitlines()[problem.line - 1].strip().startswith("- type: sql")
    with pytest.raises(ContractError):
        place.build()


@pytest.mark.parametrize(
    "query",
    [
        "select sum(1) from ${object}",
        "select count(*) from ${object}",
        "select count(*) from ${object} where amount > (select avg(amount) from ${object})",
        "select count(*) from ${object} where buyer in (select buyer from ${object})",
        "select count(*) from (select * from ${object} order by amount limit 3)",
        "select count(*) from (select * from ${object} where buyer = 'ann') where amount < 0",
        "select count(*) from ${object} tablesample 10 percent where amount < 0",
        "select count(*) from ${object} a join ${object} b using (event_id) where a.amount < 0",
        "select count(distinct buyer) from ${object} where amount < 0",
        "select count(*) from ${object} where amount < 0 group by buyer",
    ],
)
def test_only_what_tells_row_by_row_may_hold_rows_back(place: Place, query: str):
    rule(place, {**CHEAP, "query": query, "customProperties": HOLD})
    (problem,) = check_types(place.mesh)
    assert "holds rows back and does not tell row by row." in str(problem)


def test_a_column_may_not_have_the_name_of_what_says_why_rows_are_held_back(place: Place):
    path = place.root / CONTRACT
    path.write_text(path.read_text().replace("name: site_id", "name: held_rule"))
    place.write("core/models/fact_sales.sql", FACT_WITHOUT.format("true").replace("site_id", "site_id as held_rule"))
    rule(place, {**CHEAP, "customProperties": HOLD})
    (problem,) = check_types(place.mesh)
    assert "the table has a column held_rule or held_reason" in str(problem)


def test_of_an_event_only_what_ingest_checks_may_be_asked(place: Place):
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    contract = yaml.load(path.read_text(), yaml.CSafeLoader)
    buyer = contract["schema"][0]["properties"][1]
    allowed = {"metric": "invalidValues", "arguments": {"validValues": ["ann"]}, "mustBe": 0}
    buyer["quality"] = [{"type": "text", "description": "As on the receipt."}, allowed]
    path.write_text(yaml.safe_dump(contract))
    event = load_mesh(place.root).contracts["alpha.sales_alpha"].event
    assert event is not None
    assert event.by_name["buyer"].valid_values == ("ann",)
    for item in (
        {"metric": "nullValues", "mustBe": 0},
        {**allowed, "mustBe": 2},
        {**allowed, "customProperties": WARN},
    ):
        buyer["quality"] = [item]
        path.write_text(yaml.safe_dump(contract))
        with pytest.raises(ContractError, match=r"nothing checks this rule .* of an event"):
            load_mesh(place.root)


def test_a_reference_file_may_warn_where_its_contract_says_so(place: Place):
    values = {"metric": "invalidValues", "arguments": {"validValues": ["Lamp"]}, "mustBe": 0}
    rule(place, values, column="label", table="core/contracts/items")
    with pytest.raises(AttentionError, match=r"items.csv:3: label 'Chair, red' is not one of Lamp"):
        place.build()
    rule(place, {**values, "customProperties": WARN}, column="label", table="core/contracts/items")
    assert "label is not one of Lamp in 1 row" in place.build()["core.items"].warnings[0]
    rule(place, {**values, "customProperties": HOLD}, column="label", table="core/contracts/items")
    assert place.build()["core.items"].held == 1
    assert place.rows("core.items") == [("i1", "Lamp")]
