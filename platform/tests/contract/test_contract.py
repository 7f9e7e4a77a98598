"""A contract file is valid by the standard and by the mesh, or one report has all of its faults."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.pattern import _PLAIN_PATTERN
from mesh_platform.contract.reader import read_contract
from mesh_platform.errors import ContractError, Problem
from mesh_platform.mesh.mesh import load_mesh
from open_data_contract_standard.model import OpenDataContractStandard

from conftest import draws
from tests.every_type import every_type

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(ROOT.glob("domains/*/*/*.odcs.yaml"))
GOOD = """\
apiVersion: v3.1.0
kind: DataContract
id: urn:shop:sales
name: sales
version: 1.0.0
status: active
domain: shop
description:
  purpose: Every sale.
schema:
  - name: sale_made
    physicalType: event
    description: One sale.
    customProperties:
      - {property: mesh.eventTime, value: sold_at}
      - {property: mesh.partition, value: [day(event_time)]}
    properties:
      - name: buyer
        logicalType: string
        physicalType: string
        required: true
        description: Who bought.
        classification: pii
        logicalTypeOptions: {pattern: "^B-[0-9]+$"}
      - name: units
        logicalType: integer
        physicalType: int
        description: How many.
        logicalTypeOptions: {minimum: 1, maximum: 1000}
      - name: state
        logicalType: string
        physicalType: string
        description: Its state.
        quality:
          - {metric: invalidValues, arguments: {validValues: [new, old]}, mustBe: 0}
      - name: sold_at
        logicalType: timestamp
        physicalType: timestamptz
        required: true
        description: When.
  - name: sales
    physicalType: table
    description: One sale.
    customProperties:
      - {property: mesh.partition, value: [month(sold_at)]}
    properties:
      - name: sale_id
        logicalType: string
        physicalType: string
        required: true
        primaryKey: true
        description: Its id.
      - name: amount
        logicalType: number
        physicalType: decimal(12,2)
        description: Its amount in US dollars.
        relationships:
          - {to: sales.sale_id}
      - name: sold_at
        logicalType: timestamp
        physicalType: timestamptz
        required: true
        description: When.
slaProperties:
  - {property: freshness, value: 24, unit: h, element: sales.sold_at}
  - {property: retention, value: 7, unit: y}
roles:
  - {role: boss, access: read}
customProperties:
  - {property: mesh.implements, value: sale.v1}
  - {property: mesh.timeTravel, value: 36h}
"""
MONTHLY = "      - {property: mesh.partition, value: [month(sold_at)]}"
# A text in GOOD (its first occurrence), its replacement, and words of the one problem. The line of the problem is the
# first line that changes, or the line given.
ONE_FAULT: list[tuple[str, str, str] | tuple[str, str, str, int]] = [
    ("name: sales\nversion", "name: sale\nversion", "name is 'sale', the file's place says 'sales'"),
    ("domain: shop", "domain: ship", "domain is 'ship', the file's place says 'shop'"),
    ("version: 1.0.0\n", "", '"version" is a required property', 1),
    ("id: urn:shop:sales\n", "", '"id" is a required property', 1),
    ("apiVersion: v3.1.0", "apiVersion: v9.9.9", "apiVersion is v9.9.9; v3.1.0 and v3.2.0 are read here."),
    ("kind: DataContract", "kind: Contract", "not ODCS: 'Contract' is not one of DataContract"),
    ("status: active", "status: active\ncolour: red", "('colour' was unexpected)", 1),
    ("  purpose: Every sale.", "  limitations: None.", "has no description.purpose", 8),
    ("    physicalType: event", "    physicalType: stream", "physicalType 'stream' of 'sale_made'. It is 'table' or"),
    ("    physicalType: table", "    physicalType: event", "has 0 schemas of physicalType 'table' and 2 of", 10),
    ("    physicalType: event", "    physicalType: table", "has 2 schemas of physicalType 'table' and 0 of", 10),
    ("- name: sale_made", "- name: SaleMade", "name 'SaleMade'. Use small letters, digits and single"),
    ("- name: units", "- name: units__sold", "name 'units__sold'. Use small letters"),
    ("- name: units", "- name: event_id", "property 'event_id' is a column of each landing table already. Choose"),
    ("- name: units", "- name: buyer", "property 'buyer' stands twice in 'sale_made'", 17),
    (
        "    description: One sale.\n    customProperties:\n      - {property: mesh.eventTime",
        "    customProperties:\n      - {property: mesh.eventTime",
        "'sale_made' has no description",
        11,
    ),
    ("        description: Who bought.\n", "", "property 'buyer' has no description. Say what it means", 18),
    ("classification: pii", "classification: secret", "'secret' of 'buyer'. It is one of public, internal,"),
    ("physicalType: int\n", "physicalType: varchar\n", "type 'varchar' is not one of string, int, long"),
    ("        physicalType: int\n", "", "property 'units': type 'None' is not one of", 25),
    ("logicalType: integer", "logicalType: number", "property 'units' is int and its logicalType 'number'. Write"),
    ("logicalType: integer", "logicalType: whole", "'whole' is not one of string, date, timestamp"),
    ("minimum: 1,", "minimum: 0.5,", "bound '0.5' of a column of type int. Only numbers have bounds, and int takes"),
    ("maximum: 1000", "maximum: 3000000000", "bound '3000000000' of a column of type int"),
    ("maximum: 1000", "multipleOf: 5", "nothing checks 'multipleOf' of 'units'. Use minimum, maximum or pattern"),
    ('"^B-[0-9]+$"', '"^B-[0-9+$"', "pattern '^B-[0-9+$': "),
    ('"^B-[0-9]+$"', '"^B-(?!0)"', "pattern '^B-(?!0)': Invalid regular expression"),
    ("validValues: [new, old]", "validValues: [new, no]", "validValues are ['new', False] for type string. List"),
    ("validValues: [new, old]", "validValues: new", "validValues are 'new' for type string"),
    # Time, partition and freshness name existing columns, whose one fault is reported.
    ("physicalType: timestamptz", "physicalType: time", "property 'sold_at': type 'time' is not one of"),
    (
        "physicalType: timestamptz\n        required: true\n        description: When.\nsla",
        "physicalType: time\n        required: true\n        description: When.\nsla",
        "property 'sold_at': type 'time' is not one of",
    ),
    ("value: sold_at", "value: when", "mesh.eventTime is 'when'. Name the required timestamp that says when it"),
    ("      - {property: mesh.eventTime, value: sold_at}\n", "", "mesh.eventTime is ''. Name the required", 11),
    ("value: sold_at", "value: [sold_at]", "'mesh.eventTime' is ['sold_at']. Give it a word"),
    ("day(event_time)", "day(sold_at)", "'day(sold_at)'. Write day, month or year of a time (event_time)"),
    ("[month(sold_at)]", "[month(amount)]", "'month(amount)'. Write day, month or year of a time (sold_at), or"),
    ("[month(sold_at)]", "[identity(sold_at)]", "mesh.partition 'identity(sold_at)'"),
    ("[month(sold_at)]", "[bucket(sale_id)]", "mesh.partition 'bucket(sale_id)'"),
    ("[month(sold_at)]", "[month(sold_at), month(sold_at)]", "mesh.partition has month(sold_at) twice. Keep one of"),
    (
        "      - name: sale_id\n",
        "      - name: sold_at_month\n",
        "'sold_at_month' has the name that Iceberg gives to the partition month(sold_at). Rename it, or partition by",
    ),
    (
        "      - name: buyer\n",
        "      - name: event_time_day\n",
        "'event_time_day' has the name that Iceberg gives to the partition day(event_time). Rename it, or",
    ),
    (MONTHLY, f"{MONTHLY}\n      - {{property: mesh.history, value: [sold_at]}}", "mesh.history is ['sold_at']", 46),
    (MONTHLY, f"{MONTHLY}\n      - {{property: mesh.history, value: [sold_at, amount]}}", "Name two required", 46),
    (MONTHLY, f"{MONTHLY}\n      - {{property: mesh.history, value: [{{}}, 1]}}", "Name two required columns", 46),
    (MONTHLY, f"{MONTHLY}\n{MONTHLY}", "'mesh.partition' stands here twice. Keep one of them.", 46),
    (
        MONTHLY,
        f"{MONTHLY}\n      - {{property: mesh.fileInIds, value: true}}",
        "'mesh.fileInIds' is not known here",
        46,
    ),
    (
        "value: sold_at}\n",
        "value: sold_at}\n      - {property: mesh.fileInIds, value: 'true'}\n",
        "'mesh.fileInIds' is 'true'. Give it true or false.",
    ),
    (
        "        description: Its amount in US dollars.\n",
        "        description: Its amount in US dollars.\n"
        "        customProperties: [{property: mesh.idName, value: sum}]\n",
        "mesh.idName of a table's column 'amount'. Ids are made of the columns of events",
        57,
    ),
    ("[month(sold_at)]", "month(sold_at)", "'mesh.partition' is 'month(sold_at)'. Give it a list"),
    (
        "mesh.implements",
        "mesh.implement",
        "'mesh.implement' is not known here. What may stand here is mesh.implements, mesh.timeTravel, "
        "mesh.level, mesh.demands, mesh.oldestVersion, mesh.maintain, mesh.calendar.",
    ),
    ("value: sale.v1}", "value: [a, b]}", "'mesh.implements' is ['a', 'b']. Give it a word"),
    (
        "mesh.timeTravel, value: 36h}",
        "mesh.timeTravel, value: 36 h}",
        "mesh.timeTravel is '36 h'. Write a number and",
    ),
    (
        "mesh.timeTravel, value: 36h}",
        "mesh.maintain, value: 'false'}",
        "'mesh.maintain' is 'false'. Give it true or false.",
    ),
    ("mesh.timeTravel, value: 36h}", "mesh.calendar, value: mon}", "'mesh.calendar' is 'mon'. Give it a mapping."),
    (
        "mesh.timeTravel, value: 36h}",
        "mesh.calendar, value: {days: [mon]}}",
        "mesh.calendar is {'days': ['mon']}. Write {workdays: [mon, tue, wed, thu, fri], holidays: [2025-12-25]}",
    ),
    (
        "mesh.timeTravel, value: 36h}",
        "mesh.calendar, value: {workdays: [Monday]}}",
        "mesh.calendar has the workdays ['Monday']. Name one or more of mon, tue, wed, thu, fri, sat, sun.",
    ),
    (
        "mesh.timeTravel, value: 36h}",
        "mesh.calendar, value: {holidays: [25.12.]}}",
        "mesh.calendar has the holidays ['25.12.']. Write each as a date such as 2025-12-25.",
    ),
    ("mesh.timeTravel, value: 36h}", "mesh.maintain, value: 0}", "'mesh.maintain' is 0. Give it true or false."),
    ("        required: true\n        primaryKey", "        primaryKey", "of the primary key and may be missing", 47),
    ("{to: sales.sale_id}", "{to: sales}", '"sales" is not valid under any of the schemas'),
    ("{to: sales.sale_id}", "{to: a.b.c.d}", "points to ['a.b.c.d']. Name one {to: <table>.<column>}"),
    ("  - {property: freshness, value: 24, unit: h, element: sales.sold_at}\n", "", "promises no freshness. Add", 64),
    ("value: 24, unit: h", "value: 24, unit: w", "freshness is '24w'. Give a number up to 1000 and a unit out of"),
    ("value: 24, unit: h", "value: 0, unit: h", "freshness is '0h'"),
    ("value: 24, unit: h", "value: soon, unit: h", "freshness is 'soonh'"),
    ("element: sales.sold_at", "element: sales.amount", "Name the column that it is measured by: sales.sold_at"),
    ("value: 7, unit: y", "value: -7, unit: y", "retention is '-7y'"),
    ("property: retention, value: 7, unit: y", "property: accuracy, value: 1.5", "accuracy is '1.5'"),
    ("property: retention, value: 7, unit: y", "property: accuracy, value: 0", "accuracy is '0'"),
    ("- {role: boss, access: read}", "- {access: read}", '"role" is a required property'),
    ("version: 1.0.0", "version: 1.0.0\nversion: 2.0.0", "key 'version' stands twice", 6),
]


def read(folder: Path, text: str | bytes, name: str = "sales") -> tuple[Contract | None, list[Problem]]:
    path = folder / f"{name}.odcs.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_contract(path, folder, "shop")


def test_no_table_is_partitioned_by_a_double(tmp_path: Path) -> None:
    text = GOOD.replace(
        "logicalType: number\n        physicalType: decimal(12,2)",
        "logicalType: number\n        physicalType: double",
    )
    _, problems = read(tmp_path, text.replace("[month(sold_at)]", "[identity(amount)]"))
    (problem,) = problems
    assert (
        "'identity(amount)' is of a double, which has two zeros. Partition by a column of another"
        in problem.message + " " + problem.fix
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_contract_is_good_for_readers_of_the_standard(path: Path) -> None:
    model = OpenDataContractStandard.from_file(str(path))
    assert model.apiVersion == "v3.2.0"
    names = [[column.name for column in schema.properties or []] for schema in model.schema_ or []]
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8"))
    plain = json.loads(json.dumps(yaml.safe_load(path.read_text("utf-8")), default=str))
    assert [error.message for error in validator_for(schema).iter_errors(plain)] == []
    contract, problems = read_contract(path, ROOT, path.parents[1].name)
    assert problems == []
    assert contract
    shapes = [shape for shape in (contract.event, contract.table) if shape]
    assert sorted(names) == sorted([field.name for field in shape.fields] for shape in shapes)


def test_repository_has_contracts() -> None:
    assert len(FILES) >= 10


def test_good_contract_is_read_whole(tmp_path: Path) -> None:
    contract, problems = read(tmp_path, GOOD)
    assert problems == []
    assert contract
    assert contract.event
    assert (contract.identifier, contract.version, contract.description) == ("shop.sales", "1.0.0", "Every sale.")
    assert (contract.freshness, contract.freshness_column) == (timedelta(hours=24), "sold_at")
    assert contract.retention == timedelta(days=7 * 365)
    assert (contract.implements, contract.roles) == ("sale.v1", ("boss",))
    assert contract.time_travel == timedelta(hours=36)
    assert (contract.event.time, contract.event.partition) == ("sold_at", (("day", "event_time"),))
    assert contract.table.time is None
    assert (contract.table.key, contract.table.partition) == (("sale_id",), (("month", "sold_at"),))
    buyer, units, state, _ = contract.event.fields
    assert (buyer.pattern, buyer.classification, buyer.required, buyer.line) == ("^B-[0-9]+$", "pii", True, 18)
    assert (units.minimum, units.maximum, units.required) == (Decimal(1), Decimal(1000), False)
    assert (state.valid_values, contract.table.by_name["amount"].references) == (
        ("new", "old"),
        ("shop.sales", "sale_id"),
    )


def test_contract_without_event_needs_no_freshness(tmp_path: Path) -> None:
    before, after = GOOD.index("  - name: sale_made"), GOOD.index("  - name: sales\n")
    freshness = "  - {property: freshness, value: 24, unit: h, element: sales.sold_at}\n"
    contract, problems = read(tmp_path, (GOOD[:before] + GOOD[after:]).replace(freshness, ""))
    assert problems == []
    assert contract
    assert (contract.event, contract.freshness, contract.freshness_column) == (None, None, None)


def test_every_type_has_its_field(tmp_path: Path) -> None:
    event = every_type(tmp_path).event
    assert event
    assert {field.type.name for field in event.fields} >= {"string", "int", "long", "double", "boolean", "date"}


@pytest.mark.parametrize("fault", ONE_FAULT, ids=lambda fault: fault[1].strip()[:40] or f"no {fault[0].strip()[:37]}")
def test_one_fault_is_one_problem_at_its_line(tmp_path: Path, fault: Sequence[str]) -> None:
    old, new, words = fault[:3]
    assert GOOD.count(old) >= 1
    wrong = GOOD.replace(old, new, 1)
    pairs = zip(GOOD.splitlines(), wrong.splitlines(), strict=False)
    line = fault[3] if len(fault) > 3 else next(i for i, (a, b) in enumerate(pairs, 1) if a != b)
    contract, problems = read(tmp_path, wrong)
    assert contract is None
    assert len(problems) == 1, [str(problem) for problem in problems]
    assert words in str(problems[0])
    assert (problems[0].path, problems[0].line) == ("sales.odcs.yaml", line), str(problems[0])
    assert problems[0].fix


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is not a mapping. A contract begins with 'apiVersion: v3.2.0'."), ("[1]", "is not a"), ("x", "is not a")],
)
def test_file_that_is_no_contract_at_all(tmp_path: Path, text: str, words: str) -> None:
    contract, problems = read(tmp_path, text)
    assert contract is None
    assert [words in str(problem) for problem in problems] == [True]


def test_faults_of_the_standard_and_of_the_mesh_come_together_and_once(tmp_path: Path) -> None:
    wrong = GOOD
    for old, new in [
        ("id: urn:shop:sales", "ide: urn:shop:sales"),
        ("domain: shop", "domain: ship"),
        ("      - name: buyer\n", "      - businessName: buyer\n"),
        ("        physicalType: int\n", "        physicalType: varchar\n"),
        ("logicalType: number", "logicalType: money"),
        ("value: 7, unit: y", "value: 7, unit: z"),
        ("- {role: boss, access: read}", "- boss"),
        ("mesh.implements", "mesh.implement"),
    ]:
        assert old in wrong
        wrong = wrong.replace(old, new, 1)
    _, problems = read(tmp_path, wrong)
    changed = [i for i, (a, b) in enumerate(zip(GOOD.splitlines(), wrong.splitlines(), strict=True), 1) if a != b]
    standard = [1, 1, changed[2], changed[4], changed[6]]  # the missing id and the other key are two faults
    mesh = [changed[1], changed[3], changed[5], changed[7]]
    assert [p.line for p in problems if "not ODCS" in p.message] == standard, [str(p) for p in problems]
    assert [p.line for p in problems if "not ODCS" not in p.message] == mesh, [str(p) for p in problems]


def test_anchored_fault_is_told_once(tmp_path: Path) -> None:
    wrong = GOOD.replace("- name: buyer\n", "- &buyer\n        name: buyer\n").replace("pii", "secret")
    wrong = wrong.replace("      - name: sale_id", "      - *buyer\n      - name: sale_id")
    _, problems = read(tmp_path, wrong)
    assert [problem.line for problem in problems] == [24]


def test_several_files_are_told_of_together(mesh_copy: Path) -> None:
    north, east = (f"domains/{n}_warehouse/contracts/orders_{n}.odcs.yaml" for n in ("north", "east"))
    for path, old, new in [
        (north, "physicalType: int", "physicalType: whole"),
        (north, "domain: north_warehouse", "domain: nowhere"),
        (east, "unit: y", "unit: z"),
        ("domains/logistics_core/contracts/dim_date.odcs.yaml", "\nname: ", "\nnames: "),
        ("domains/logistics_core/interfaces/order.v1.odcs.yaml", "schema:", "schemas:"),
        ("domains/south_warehouse/owners.yaml", "team:", "teem:"),
    ]:
        text = (mesh_copy / path).read_text()
        assert old in text
        (mesh_copy / path).write_text(text.replace(old, new, 1))
    with pytest.raises(ContractError) as error:
        load_mesh(mesh_copy)
    told = [(problem.path.split("/", 1)[1], problem.message) for problem in error.value.problems]
    assert len(told) == len(set(told))
    assert sorted({path for path, _ in told}) == [
        "east_warehouse/contracts/orders_east.odcs.yaml",
        "logistics_core/contracts/dim_date.odcs.yaml",
        "logistics_core/interfaces/order.v1.odcs.yaml",
        "north_warehouse/contracts/orders_north.odcs.yaml",
        "south_warehouse/owners.yaml",
    ]
    assert str(error.value).count("\n") + 1 == len(told)
    # An unreadable column or interface causes no further faults where it is named.
    assert not [message for _, message in told if "implements" in message or "points to" in message]


def test_what_is_read_is_what_the_file_says_now_and_where_it_lies(tmp_path: Path) -> None:
    path, other = tmp_path / "shop" / "sales.odcs.yaml", tmp_path / "mall" / "sales.odcs.yaml"
    for each in (path, other):
        each.parent.mkdir()
        each.write_text(GOOD)
    first, _ = read_contract(path, tmp_path, "shop")
    found, problems = read_contract(other, tmp_path, "mall")
    assert first is not None
    assert (first.path, found) == ("shop/sales.odcs.yaml", None)
    assert [problem.path for problem in problems] == ["mall/sales.odcs.yaml"]
    problems.clear()
    assert read_contract(other, tmp_path, "mall")[1]
    path.write_text(GOOD.replace("Every sale.", "Each sale."))
    second, _ = read_contract(path, tmp_path, "shop")
    assert second is not None
    assert (first.description, second.description) == ("Every sale.", "Each sale.")


@pytest.mark.parametrize("length", range(0, len(GOOD), 50))
def test_half_written_file_is_told_of_or_good(tmp_path: Path, length: int) -> None:
    contract, problems = read(tmp_path, GOOD.encode()[:length])
    assert (contract is None) == bool(problems)
    assert len({str(problem) for problem in problems}) == len(problems)


_WORDS = st.sampled_from(
    [None, True, -1, 0.5, float("inf"), "x", "", [], {}, [1], ["x"], {"x": 1}, [{}], [[]], 10**30, [None]]
)


@settings(deadline=None)
@given(data=st.data())
def test_any_value_anywhere_never_raises(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    document = yaml.safe_load(GOOD)
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 4)) == 0:
            break
        place = inner
    place[key] = data.draw(_WORDS)
    contract, problems = read(tmp_path_factory.getbasetemp(), yaml.safe_dump(document, sort_keys=False))
    assert (contract is None) == bool(problems)


@pytest.mark.parametrize(
    "extra", ["2025-10-01: x\n", "1: x\n", "on: x\n", "~: x\n", "x: !!set {a}\n", "x: !!binary aGk=\n"]
)
def test_keys_and_values_that_json_does_not_have_are_told_of(tmp_path: Path, extra: str) -> None:
    _, problems = read(tmp_path, GOOD + extra)
    assert [re.search(r"\('.*' was unexpected\)", problem.message) is not None for problem in problems] == [True]


_PLAIN_PARTS = [*"-a0Z_^$|.,:@#/ []?*+", r"\d", r"\w", r"\s", r"\.", "[^", "[:", ":]", "{0}", "{2,}", "{07}", "{999}"]


@settings(deadline=None, max_examples=draws(300))
@given(st.lists(st.sampled_from(_PLAIN_PARTS), max_size=12).map("".join))
@example("[[:x:]]")
@example(".{999}" * 60)
@example(".{999}" * 21)
def test_a_plain_pattern_that_python_takes_is_one_that_re2_takes(pattern: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        try:
            re.compile(pattern)
        except re.error:
            return
    if _PLAIN_PATTERN.fullmatch(pattern):
        pc.match_substring_regex(pa.array([""]), pattern)


@pytest.mark.parametrize("pattern", ["^[A-Z]{3}-[0-9]{2,4}$", r"[\w.]+@\w+\.\w+?", "^a|b, c#/: ?$"])
def test_what_people_write_is_plain(pattern: str) -> None:
    assert _PLAIN_PATTERN.fullmatch(pattern)
