"""Models in Spark's SQL. That Spark returns the same rows for them is tested in governance/test_parity.py."""

from __future__ import annotations

import pytest
from mesh_platform.errors import AttentionError
from mesh_platform.mesh.mesh import Mesh
from mesh_platform.sql.model import Model, read_models
from mesh_platform.sql.relations import relation_schemas
from mesh_platform.sql.spark_sql import spark_query

EAST = "east_warehouse.orders_east__raw"


def in_spark(mesh: Mesh, expression: str, relation: str = EAST) -> str:
    """The expression, selected as `x` from a relation called r, in Spark's SQL."""
    contract = mesh.contracts["east_warehouse.orders_east"]
    model = Model(contract, "a.sql", f"select {expression} as x from {relation} as r", ((relation, 1),))
    query = spark_query(model, relation_schemas(mesh), lambda name: "here.there.t")
    return query.partition("FROM (SELECT ")[2].partition(" AS x FROM here.there.t AS r")[0]


def test_an_instant_becomes_local_and_a_local_time_becomes_the_later_of_two_instants(mesh: Mesh):
    shown = in_spark(mesh, "timezone('America/New_York', r.event_time)")
    assert shown == "CAST(FROM_UTC_TIMESTAMP(r.event_time, 'America/New_York') AS TIMESTAMP_NTZ)"
    instant = in_spark(mesh, "timezone('America/New_York', r.order_time)")
    assert instant.startswith("CAST(CASE WHEN FROM_UTC_TIMESTAMP((CAST(r.order_time AS TIMESTAMP) - ")
    assert instant.endswith(
        "ELSE TO_UTC_TIMESTAMP(CAST(r.order_time AS TIMESTAMP), 'America/New_York') END AS TIMESTAMP)"
    )
    assert in_spark(mesh, "timezone('UTC', r.order_time)") == "CAST(r.order_time AS TIMESTAMP)"


def test_the_type_of_a_time_is_found_through_other_calls_and_arithmetic(mesh: Mesh):
    nested = (
        "timezone('UTC', timezone('America/New_York', r.event_time + (r.order_time - timezone('UTC', r.event_time))))"
    )
    assert in_spark(mesh, nested).startswith(
        "CAST(CAST(FROM_UTC_TIMESTAMP(r.event_time + (r.order_time - CAST(FROM_UTC"
    )


def test_a_time_of_unknown_type_is_an_error_with_its_place(mesh: Mesh):
    with pytest.raises(AttentionError, match=r"a\.sql:1: whether timezone\(\) is given a local time or an instant"):
        in_spark(mesh, "timezone('UTC', some_function(r.order_time))")


def test_parts_of_a_text_are_cast_one_by_one_because_missing_ones_are_left_out(mesh: Mesh):
    text = in_spark(mesh, "concat('a', r.quantity, 'b')")
    assert text == "CONCAT('a', COALESCE(CAST(r.quantity AS STRING), ''), 'b')"
    assert in_spark(mesh, "concat_ws('-', r.order_id, 'b')") == "CONCAT_WS('-', r.order_id, 'b')"


@pytest.mark.parametrize(
    ("duckdb", "spark"),
    [
        ("monthname(r.order_time)", "DATE_FORMAT(r.order_time, 'MMMM')"),
        ("dayname(r.order_time)", "DATE_FORMAT(r.order_time, 'EEEE')"),
        ("isodow(r.order_time)", "(((DAYOFWEEK(r.order_time) + 5) % 7) + 1)"),
        ("week(r.order_time)", "EXTRACT(WEEK FROM r.order_time)"),
        (
            "date_trunc('month', r.order_time)",
            "CAST(MAKE_DATE(YEAR(r.order_time), MONTH(r.order_time), 1) AS TIMESTAMP_NTZ)",
        ),
        ("date_trunc('year', r.event_time)", "CAST(MAKE_DATE(YEAR(r.event_time), 1, 1) AS TIMESTAMP)"),
        ("isoyear(r.order_time)", "YEAR(DATE_ADD(r.order_time, 4 - (((DAYOFWEEK(r.order_time) + 5) % 7) + 1)))"),
    ],
)
def test_parts_of_dates_are_those_that_duckdb_means(mesh: Mesh, duckdb: str, spark: str):
    assert in_spark(mesh, duckdb) == spark


def test_a_series_is_a_list_whose_items_are_rows(mesh: Mesh):
    model = read_models(mesh)["logistics_core.dim_date"]
    query = spark_query(model, {}, str)
    assert "(SELECT EXPLODE(SEQUENCE(CAST('1990-01-01' AS TIMESTAMP_NTZ), " in query
    assert "AS day) AS series" in query


def test_what_is_attached_to_a_relation_stays_with_it(mesh: Mesh):
    contract = mesh.contracts["east_warehouse.orders_east"]
    sql = f"select r.order_id as x from ({EAST} as r join {EAST} as s on s.event_id = r.event_id)"
    query = spark_query(Model(contract, "a.sql", sql, ((EAST, 1),)), relation_schemas(mesh), lambda name: "t")
    assert "FROM (t AS r JOIN t AS s ON s.event_id = r.event_id)" in query


@pytest.mark.parametrize("series", ["range(3)", "range(3) as r (a, b)"])
def test_a_series_without_a_name_for_its_column_is_an_error(mesh: Mesh, series: str):
    model = Model(mesh.contracts["east_warehouse.orders_east"], "a.sql", f"select 1 as x from {series}", ())
    with pytest.raises(AttentionError, match=r"a\.sql: cannot be written for Spark: a series has no name"):
        spark_query(model, {}, str)


def test_every_model_of_the_company_can_be_written_and_casts_to_its_contract(mesh: Mesh):
    schemas = relation_schemas(mesh)
    for name, model in read_models(mesh).items():
        query = spark_query(model, schemas, lambda relation: relation.replace(".", "_in_"))
        assert query.startswith(f"SELECT CAST(`{model.contract.table.fields[0].name}` AS "), name
        assert not any(relation in query for relation in model.inputs), name
        assert not {"--", "/*"} & {*query.split()}, name


def test_what_sqlglot_cannot_write_is_an_error(mesh: Mesh):
    with pytest.raises(AttentionError, match=r"a\.sql: cannot be written for Spark"):
        in_spark(mesh, "regexp_extract(r.order_id, 'x', 0, 'i')")
