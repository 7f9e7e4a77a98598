"""NaN, infinity and infinite times are refused, or stored and read consistently, from model to query output."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from mesh_platform.cli.result import write_result
from mesh_platform.contract.contract import Field, TableSchema
from mesh_platform.contract.types import parse_type
from mesh_platform.engine.duckdb import connect, registered
from mesh_platform.engine.sql import literal
from mesh_platform.errors import AttentionError, ContractError
from mesh_platform.governance.change.schema_differences import table_differences
from mesh_platform.iceberg.commit import append_rows
from mesh_platform.iceberg.compaction import compact
from mesh_platform.lake.catalog import arrow_schema, ensure_table
from mesh_platform.mesh.mesh import load_mesh
from mesh_platform.sql.model_case import Case, run_case

from conftest import draws

from ..small_mesh import Place, Sale, add_contract, small_mesh

ALLOW = {"customProperties": [{"property": "mesh.allowNonFinite", "value": True}]}
# One row for each kind of number.
NUMBERS = """select * from (values
    (1, 1.5e0), (2, 'nan'::double), (3, 'inf'::double), (4, '-inf'::double), (5, null), (6, -2.0e0)
) as t (id, rate)"""
RATES = {"rates": {"id": "int key", "rate": "double"}}
ONE = "select 1 as id, 0.5e0 as rate"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = small_mesh(tmp_path)
    add_contract(place, "core", "rates", RATES)
    place.write("core/models/rates.sql", ONE)
    return place


def column(place: Place, name: str, table: str = "core/contracts/rates", **parts: Any) -> None:
    """Add these properties to a column of a contract."""
    path = place.root / "domains" / f"{table}.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    next(each for each in contract["schema"][-1]["properties"] if each["name"] == name).update(parts)
    path.write_text(yaml.safe_dump(contract, sort_keys=False))


def refused(place: Place, sql: str, table: str = "core.rates") -> str:
    place.write(f"core/models/{table.partition('.')[2]}.sql", sql)
    with pytest.raises(AttentionError) as error:
        place.build(table)
    assert "Nothing was committed" in str(error.value)
    assert not place.catalog.load_table(table).snapshots()
    return str(error.value)


@pytest.mark.parametrize(
    ("number", "word"), [("0e0 / 0e0", "NaN"), ("1e0 / 0e0", "Infinity"), ("-1e0 / 0e0", "-Infinity")]
)
def test_what_is_no_finite_number_blocks_and_is_shown(place: Place, number: str, word: str):
    message = refused(place, f"select 1 as id, 1.5e0 as rate union all select 2, {number}")
    assert (
        f"rate is not a finite number, which only mesh.allowNonFinite allows in 1 row, as in (id=2, rate={word})"
        in (message)
    )


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            {"logicalTypeOptions": {"maximum": 1}},
            "rate is above 1 in 2 rows, as in (id=1, rate=1.5), (id=3, rate=I",
        ),
        (
            {"logicalTypeOptions": {"minimum": 0}},
            "rate is below 0 in 2 rows, as in (id=4, rate=-Infinity), (id=6",
        ),
        (
            {"quality": [{"type": "sql", "query": "select count(*) from ${object} where rate > 1", "mustBe": 0}]},
            "in 3 rows, as in (id=1, rate=1.5), (id=2, rate=NaN), (id=3, rate=Infinity)",
        ),
        (
            {"quality": [{"type": "sql", "query": "select count(*) from ${object} where isnan(rate)", "mustBe": 0}]},
            "in 1 row, as in (id=2, rate=NaN)",
        ),
        ({"quality": [{"metric": "nullValues", "mustBe": 0}]}, "rate is missing in 1 row, as in (id=5, rate=None)"),
        (
            {"quality": [{"type": "sql", "query": "select max(rate) from ${object}", "mustBeLessThan": 9}]},
            "counts is NaN and must be less than 9",
        ),
    ],
)
def test_a_broken_rule_shows_its_rows_where_the_column_may_be_nan(place: Place, part: dict[str, Any], told: str):
    column(place, "rate", **ALLOW, **part)
    message = refused(place, NUMBERS)
    assert told in message, message
    assert "finite" not in message


def test_nan_is_neither_below_nor_above_a_bound(place: Place):
    column(place, "rate", logicalTypeOptions={"minimum": 0, "maximum": 1}, **ALLOW)
    place.write("core/models/rates.sql", "select 1 as id, 'nan'::double as rate union all select 2, 0.5e0")
    assert place.build("core.rates")["core.rates"].rows == 2


@pytest.mark.parametrize("condition", ["isnan(rate)", "rate > 1", "not isfinite(rate)", "rate is null or rate > 1"])
def test_a_rule_that_quarantines_holds_each_row_once_and_loses_none(place: Place, condition: str):
    quarantine = {
        "type": "sql",
        "query": f"SELECT COUNT(*) FROM ${{object}} WHERE {condition}",
        "mustBe": 0,
        "customProperties": [{"property": "mesh.onFailure", "value": "quarantine"}],
    }
    column(place, "rate", quality=[quarantine], **ALLOW)
    place.write("core/models/rates.sql", NUMBERS)
    built = place.build("core.rates")["core.rates"]
    with duckdb.connect() as connection:
        wanted = connection.execute(f"SELECT id FROM ({NUMBERS}) WHERE {condition} ORDER BY id").fetchall()
    assert place.rows("core.rates__held", "id") == wanted
    assert (built.held, built.rows) == (len(wanted), 6 - len(wanted))


def test_a_quarantine_of_nan_lets_the_other_rows_of_a_finite_column_pass(place: Place):
    quarantine = {
        "type": "sql",
        "query": "SELECT COUNT(*) FROM ${object} WHERE NOT isfinite(rate)",
        "mustBe": 0,
        "customProperties": [{"property": "mesh.onFailure", "value": "quarantine"}],
    }
    column(place, "rate", quality=[quarantine])
    place.write("core/models/rates.sql", NUMBERS)
    assert place.build("core.rates")["core.rates"].held == 3
    assert [row[0] for row in place.rows("core.rates", "id", "rate")] == [1, 5, 6]


@pytest.mark.parametrize(
    ("name", "table", "told"),
    [
        ("id", "core/contracts/rates", "mesh.allowNonFinite of a key"),
        ("total", "core/contracts/dim_buyer", "mesh.allowNonFinite of a column of type decimal(18,2)"),
    ],
)
def test_only_doubles_outside_of_the_key_may_allow_it(place: Place, name: str, table: str, told: str):
    column(place, name, table, **ALLOW)
    with pytest.raises(ContractError) as error:
        load_mesh(place.root)
    (problem,) = error.value.problems
    assert told in problem.message
    assert problem.line > 1


def test_the_switch_is_true_or_false(place: Place):
    column(place, "rate", customProperties=[{"property": "mesh.allowNonFinite", "value": "yes"}])
    with pytest.raises(ContractError, match="Give it true or false"):
        load_mesh(place.root)


def test_an_event_cannot_allow_it(place: Place):
    path = place.root / "domains/alpha/contracts/sales_alpha.odcs.yaml"
    contract = yaml.safe_load(path.read_text())
    contract["schema"][0]["properties"][2] |= {"physicalType": "double", **ALLOW}
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    with pytest.raises(ContractError, match=r"mesh\.allowNonFinite of an event's property"):
        load_mesh(place.root)


def test_to_allow_it_breaks_readers_and_to_forbid_it_does_not(place: Place):
    before = load_mesh(place.root).contracts["core.rates"].table
    column(place, "rate", **ALLOW)
    after = load_mesh(place.root).contracts["core.rates"].table
    (looser,) = table_differences(before, after)
    (stricter,) = table_differences(after, before)
    assert (looser.kind, stricter.kind) == ("breaking", "additive")
    assert "may be NaN or infinite" in looser.reason


def test_an_interface_of_finite_numbers_is_not_kept_by_a_column_that_may_be_nan(place: Place):
    add_contract(place, "core", "rate.v1", {"rate": {"id": "int key", "rate": "double"}}, folder="interfaces")
    add_contract(place, "core", "rates", RATES, implements="rate.v1")
    column(place, "rate", **ALLOW)
    with pytest.raises(ContractError, match=r"interface rate\.v1 promises finite numbers"):
        load_mesh(place.root)


def test_a_filter_gives_the_same_rows_incrementally_and_in_full(place: Place):
    columns = {"event_id": "string key", "rate": "double"}
    for name in ("ratios", "over"):
        add_contract(place, "core", name, {name: columns})
        column(place, "rate", f"core/contracts/{name}", **ALLOW)
    ratio = "case when amount = 1 then 0e0 / 0e0 else cast(amount as double) end as rate"
    place.write("core/models/ratios.sql", f"select event_id, {ratio} from core.fact_sales")
    place.write("core/models/over.sql", "select event_id, rate from core.ratios where rate > 1")
    place.land("alpha", [Sale(1)])
    place.build()
    place.land("alpha", [Sale(2), Sale(3)])
    assert place.build()["core.over"].mode == "incremental"
    incremental = place.rows("core.over", "event_id")
    place.build(full=True)
    assert place.rows("core.over", "event_id") == incremental == [(f"alpha-000{number}",) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamptz", "timestamptz 'infinity'"),
        ("timestamptz", "timestamptz '-infinity'"),
        ("timestamptz", "timestamptz '20000-01-01 00:00:00+00'"),
        ("timestamptz", "timestamptz '0001-01-01 00:00:00+05'"),
    ],
)
@pytest.mark.parametrize("partition", [None, "month(valid_to)"])
def test_a_time_that_no_reader_can_take_blocks_and_names_model_column_and_row(
    place: Place, kind: str, value: str, partition: str | None
):
    add_contract(place, "core", "spans", {"spans": {"id": "int key", "valid_to": kind}}, partition=partition)
    sql = f"select 1 as id, timestamptz '9999-12-31 23:59:59.999999+00' as valid_to union all select 2, {value}"
    message = refused(place, sql, "core.spans")
    assert message.startswith(
        "domains/core/models/spans.sql: valid_to is not in the years 1 to 9999 in 1 row, as in (id=2, valid_to="
    ), message
    if "infinity" in value:
        assert f"valid_to={value.split()[1][1:-1]})" in message


def test_a_case_may_expect_nan(place: Place):
    place.write(
        "core/models/rates.sql", "select 1 as id, sum(amount) / 0e0 - sum(amount) / 0e0 as rate from core.sale_v1"
    )
    column(place, "rate", **ALLOW)
    place.write("core/models/rates.sql", "select 1 as id, 0e0 / 0e0 as rate")

    def case(rate: float) -> Case:
        return Case("c.yaml:1", "a case", "core.rates", {}, [{"id": 1, "rate": rate}], None)

    assert run_case(load_mesh(place.root), case(math.nan)) is None
    told = run_case(load_mesh(place.root), case(math.inf)) or ""
    assert "expected, not there: id=1, rate=Infinity" in told
    assert "there, not expected: id=1, rate=NaN" in told


_RATES = st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0, 1.5, -3.0, None]), min_size=1, max_size=6)
_FILTERS = st.sampled_from(
    [
        *("isnan(rate)", "isfinite(rate)", "isinf(rate)", "rate in (1, 'nan'::double)", "not rate > 1"),
        *(
            f"rate {operator} {number}"
            for operator in ("<", "<=", "=", ">=", ">", "<>", "is distinct from")
            for number in ("1", "0", "'nan'::double", "'inf'::double", "'-inf'::double")
        ),
    ]
)


@settings(max_examples=draws(10), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(files=st.lists(_RATES, min_size=1, max_size=3), conditions=st.lists(_FILTERS, min_size=5, max_size=8))
@example(files=[[-math.inf, 0.0, None]], conditions=["rate <= 'nan'::double"])
def test_pruning_by_bounds_and_a_filter_agree(
    tmp_path_factory: pytest.TempPathFactory, files: Sequence[Sequence[float | None]], conditions: Sequence[str]
):
    place = Place(tmp_path_factory.mktemp("mesh"))
    number_type, id_type = parse_type("double"), parse_type("int")
    fields = (Field("id", id_type, "", True, 1, 1), Field("rate", number_type, "", False, 0, 1))
    shape = TableSchema("rates", "A row.", fields, (), None, 1)
    number = 0
    for rates in files:
        rows = [{"id": (number := number + 1), "rate": rate} for rate in rates]
        append_rows(
            ensure_table(place.catalog, "core.rates", shape), pa.Table.from_pylist(rows, schema=arrow_schema(shape))
        )
    every = [(rate,) for rates in files for rate in rates]
    with connect(place.catalog.properties) as connection:
        connection.execute("CREATE TABLE plain (rate DOUBLE)")
        connection.executemany("INSERT INTO plain VALUES (?)", every)
        for compacted in (False, True):
            if compacted:
                compact(lambda: place.catalog.load_table("core.rates"))
            table = place.catalog.load_table("core.rates")
            for source in (f"iceberg_scan({literal(table.metadata_location)})", "mesh_rates"):
                with registered(connection, "mesh_rates", table.scan().to_arrow()):
                    for condition in conditions:
                        sql = "SELECT count(*), max(rate)::VARCHAR, min(rate)::VARCHAR FROM {} WHERE {}"
                        found = connection.execute(sql.format(source, condition)).fetchall()
                        assert found == connection.execute(sql.format("plain", condition)).fetchall(), condition


def printed(capsys: pytest.CaptureFixture[str], sql: str, output_format: str) -> str:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        write_result(connection.execute(sql).to_arrow_table(), output_format, wide=True)
    return capsys.readouterr().out


def test_each_format_has_the_same_words(capsysbinary: pytest.CaptureFixture[bytes]):
    sql = "select rate, sum(rate) over () as total, rate::float as small from (" + NUMBERS + ") order by id"
    found = {}
    with duckdb.connect() as connection:
        for output_format in ("text", "csv", "json"):
            write_result(connection.execute(sql).to_arrow_table(), output_format, wide=True)
            found[output_format] = capsysbinary.readouterr().out.decode()
    assert [row["rate"] for row in json.loads(found["json"])] == [1.5, "NaN", "Infinity", "-Infinity", None, -2.0]
    assert {row["total"] for row in json.loads(found["json"])} == {"NaN"}
    assert [line.split()[0] for line in found["text"].splitlines()[1:]] == [
        "1.5", "NaN", "Infinity", "-Infinity", "-", "-2.0",
    ]  # fmt: skip
    assert found["csv"].splitlines()[1:] == [
        '"1.5","NaN","1.5"', '"NaN","NaN","NaN"', '"Infinity","NaN","Infinity"', '"-Infinity","NaN","-Infinity"',
        ',"NaN",', '"-2","NaN","-2"',
    ]  # fmt: skip


def test_nested_numbers_have_the_words_too(capsys: pytest.CaptureFixture[str]):
    sql = "select [1.5::double, 'nan'] as l, {'x': 'inf'::float, 'y': [{'z': '-inf'::double}]} as s"
    (row,) = json.loads(printed(capsys, sql, "json"))
    assert row == {"l": [1.5, "NaN"], "s": {"x": "Infinity", "y": [{"z": "-Infinity"}]}}
    assert "[1.5, 'NaN']" in printed(capsys, sql, "text")


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date", "timestamp_s", "timestamp_ns"])
def test_an_infinite_time_is_a_word_in_each_format(capsysbinary: pytest.CaptureFixture[bytes], kind: str):
    values = "(values (1, 'infinity'), (2, '-infinity'), (3, '2025-10-01'), (4, null)) as v (n, t)"
    sql = f"select t::{kind} as t from {values} order by n"
    found = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for output_format in ("text", "csv", "json"):
            write_result(connection.execute(sql).to_arrow_table(), output_format, wide=True)
            found[output_format] = capsysbinary.readouterr().out.decode()
    listed = [row["t"] for row in json.loads(found["json"])]
    assert listed[:2] == ["infinity", "-infinity"]
    assert listed[2].startswith("2025-10-01")
    assert listed[3] is None
    assert [line.strip() for line in found["text"].splitlines()[1:]][:2] == ["infinity", "-infinity"]
    assert found["csv"].splitlines()[1:3] == ['"infinity"', '"-infinity"']
