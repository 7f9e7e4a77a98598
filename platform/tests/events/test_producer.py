"""Each line of a CSV file becomes a record or is reported, and the other lines are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mesh_platform.broker import Delivery
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import Problem, UsageError
from mesh_platform.events.event import Record
from mesh_platform.events.producer import find_producer, read_csv, sites_of, wrap
from mesh_platform.ingest.validator import validate
from mesh_platform.mesh.mesh import Mesh

from tests.every_type import NOW, PAYLOAD, every_type, lines_of, shop

HEADER = ",".join(PAYLOAD)
FIX = "Correct the line and replay the file; lines already sent are recognised."


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


def rows(*changes: dict[str, Any], columns: Sequence[str] = tuple(PAYLOAD)) -> bytes:
    """A CSV file with a line for each of `changes` to the good record."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows([{**PAYLOAD, **change}[name] for name in columns] for change in changes)
    return stream.getvalue().encode("utf-8", "surrogateescape")


def read(contract: Contract, content: bytes, folder: Path, zone: str = "UTC") -> tuple[list[Record], list[Problem]]:
    path = folder / "file.csv"
    path.write_bytes(content)
    problems: list[Problem] = []
    return list(read_csv(contract, shop(folder, zone), path, problems.append)), problems


def ids(contract: Contract, content: bytes, folder: Path) -> list[str]:
    records, problems = read(contract, content, folder)
    assert problems == []
    return [event.event_id for event in wrap(contract, records, "test")]


# A file's lines


def test_good_line_is_its_record(contract: Contract, tmp_path: Path) -> None:
    (record,), problems = read(contract, rows({}), tmp_path)
    assert problems == []
    assert record.payload == PAYLOAD
    assert record.time == datetime(2025, 10, 1, 14, 3, 12, 250_000, UTC)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("name", "", "name is empty and required"),
        ("name", "a\udcffb", "name is not UTF-8"),
        ("name", "a\0b", "name holds a NUL character"),
        ("small", "x", "small 'x' is not a whole number within 32 bits"),
        ("small", "1.5", "small '1.5' is not a whole number within 32 bits"),
        ("small", "1_000", "small '1_000' is not a whole number"),
        ("small", "٣", "small '٣' is not a whole number"),
        ("small", "5 ", "small '5 ' is not a whole number"),
        ("small", " 5", "small ' 5' is not a whole number"),
        ("small", "2147483648", "small '2147483648' is not a whole number within 32 bits"),
        ("small", "1" * 1_000_000, f"small '{'1' * 80}' is not a whole number"),
        ("small", "0x10", "small '0x10' is not a whole number"),
        ("big", "9223372036854775808", "is not a whole number within 64 bits"),
        ("big", "1e999999999", "is not a whole number within 64 bits"),
        ("ratio", "Infinity", "ratio 'Infinity' is not a finite number"),
        ("ratio", "nan", "ratio 'nan' is not a finite number"),
        ("ratio", "1e999", "ratio '1e999' is not a finite number"),
        ("ratio", "1_0.5", "ratio '1_0.5' is not a finite number"),
        ("ratio", "0,5", "ratio '0,5' is not a finite number"),
        ("flag", "yes", "flag 'yes' is not true or false"),
        ("flag", "1", "flag '1' is not true or false"),
        ("price", "1.505", "price '1.505' is not a decimal with at most 10 digits before the point and 2 after it"),
        ("price", "12345678901", "price '12345678901' is not a decimal"),
        ("price", "Infinity", "price 'Infinity' is not a decimal"),
        ("price", "NaN", "price 'NaN' is not a decimal"),
        ("price", "1_000.00", "price '1_000.00' is not a decimal"),
        ("price", "$5", "price '$5' is not a decimal"),
        ("price", "9" * 1_000_000, "is not a decimal"),
        ("huge", "1" + "0" * 38, "is not a decimal with at most 38 digits"),
        ("born", "2025-02-30", "born '2025-02-30' is not a date such as 2025-10-31"),
        ("born", "01.10.2025", "born '01.10.2025' is not a date"),
        ("wall", "2025-10-01T10:00:00Z", "is not a local time such as"),
        ("wall", "yesterday", "wall 'yesterday' is not a local time"),
        ("at", "2025-10-01T10:00:00", "is not an instant such as 2025-10-31T09:15:00Z"),
        ("at", "", "at is empty and required"),
        ("at", "2025-10-01T24:30:00Z", "is not an instant"),
        ("at", "0001-01-01T00:00:00+10:00", "is not an instant"),
        ("at", "9999-12-31T23:59:59-10:00", "is not an instant"),
        ("at", "1969-12-31T23:59:59Z", "is before 1970, which an event id cannot hold"),
    ],
)  # fmt: skip
def test_malformed_line_is_told_of_and_the_others_go_on(
    contract: Contract, tmp_path: Path, field: str, text: str, words: str
) -> None:
    content = rows({"name": "first"}, {"name": "second", field: text}, {"name": "third"})
    if len(text) > 100_000:
        csv.field_size_limit(10_000_000)
    records, problems = read(contract, content, tmp_path)
    csv.field_size_limit(131_072)
    assert [record.payload["name"] for record in records] == ["first", "third"]
    assert len(problems) == 1
    assert words in problems[0].message
    assert str(problems[0]).startswith(f"{tmp_path}/file.csv:3: ")
    assert problems[0].fix == FIX


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"a,b", "2 columns, not 13"),
        (b",", "2 columns, not 13"),
        (b"   ", "1 column, not 13"),
        (b",".join([b"x"] * 14), "14 columns, not 13"),
        (b'"a"b', "expected after"),
        (b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_line_of_another_shape_is_told_of(contract: Contract, tmp_path: Path, line: bytes, words: str) -> None:
    good = rows({"name": "first"}, {"name": "third"}).splitlines()
    content = b"\n".join([*good[:2], line, *good[2:]])
    records, problems = read(contract, content, tmp_path)
    assert [record.payload["name"] for record in records] == ["first", "third"]
    assert [words in problem.message for problem in problems] == [True]
    assert problems[0].line == 3


def test_every_malformed_line_is_told_of(contract: Contract, tmp_path: Path) -> None:
    content = rows(*({"name": str(i), "small": "x" if i % 3 == 0 else "1"} for i in range(30)))
    records, problems = read(contract, content, tmp_path)
    assert [record.payload["name"] for record in records] == [str(i) for i in range(30) if i % 3]
    assert [problem.line for problem in problems] == [i + 2 for i in range(30) if i % 3 == 0]


def test_file_that_was_cut_off_inside_of_quotes_loses_its_last_line(contract: Contract, tmp_path: Path) -> None:
    columns = [*(name for name in PAYLOAD if name != "name"), "name"]
    content = rows({}, {"name": "a, and more"}, columns=columns).rstrip()[:-6]
    records, problems = read(contract, content, tmp_path)
    assert len(records) == 1
    assert ["unexpected end of data" in problem.message for problem in problems] == [True]


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
def test_byte_order_mark_line_ends_and_blank_lines_change_nothing(
    contract: Contract, tmp_path: Path, prefix: bytes, end: bytes, last: bool
) -> None:
    plain = rows({"name": "a"}, {"name": "b"})
    content = prefix + plain.rstrip().replace(b"\r\n", end + end) + (end if last else b"")
    assert ids(contract, content, tmp_path) == ids(contract, plain, tmp_path)


def test_quoted_cells_keep_line_ends_commas_and_quotes(contract: Contract, tmp_path: Path) -> None:
    name = 'a "b",\r\n\nc\u2028'
    records, problems = read(contract, rows({"name": name}, {"small": "x"}), tmp_path)
    assert [record.payload["name"] for record in records] == [name]
    assert [problem.line for problem in problems] == [5]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1: the file lacks name, at. shop.things takes the columns name, code,"),
        (b"\n", "1: the file lacks name, at."),
        (b"name,small\nx,1\n", "1: the file lacks at."),
        (HEADER.encode() + b",colour\n", "1: the file has colour. shop.things takes the columns name,"),
        (HEADER.encode() + b",name\n", "1: the file names a column twice."),
        (HEADER.replace("name", "nam").encode() + b"\n", "1: the file lacks name and has nam."),
        (HEADER.replace("name", " name").encode() + b"\n", "lacks name and has  name."),
        (HEADER.replace(",", ";").encode() + b"\n", "lacks name, at and has name;code"),
        (HEADER.encode("utf-16") + b"\n", "lacks name, at and has "),
        (b'"a"b', "1: ',' expected after '\"'. Give the file a header"),
        (b"x" * 200_000, "1: field larger than field limit (131072). Give the file a header"),
    ],
)
def test_header_of_another_shape_is_wrong_use(contract: Contract, tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UsageError) as error:
        read(contract, content, tmp_path)
    assert words in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/file.csv:1: ")
    str(error.value).encode()


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_file_that_cannot_be_read_is_wrong_use(contract: Contract, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"Name a CSV file that can be read"):
        list(read_csv(contract, shop(tmp_path), tmp_path / name, lambda problem: None))


def test_only_a_header_is_no_record(contract: Contract, tmp_path: Path) -> None:
    assert read(contract, HEADER.encode(), tmp_path) == ([], [])


def test_empty_cells_and_missing_optional_columns_are_the_same(contract: Contract, tmp_path: Path) -> None:
    empty = rows({name: "" for name in PAYLOAD if name not in ("name", "at")})
    (record,), _ = read(contract, empty, tmp_path)
    assert set(record.payload) == {"name", "at"}
    assert ids(contract, empty, tmp_path) == ids(contract, rows({}, columns=["name", "at"]), tmp_path)


# Equal records have equal ids


def test_column_order_is_no_content(contract: Contract, tmp_path: Path) -> None:
    turned = rows({}, {"name": "b"}, columns=tuple(reversed(PAYLOAD)))
    assert ids(contract, turned, tmp_path) == ids(contract, rows({}, {"name": "b"}), tmp_path)


@pytest.mark.parametrize(
    ("field", "forms"),
    [
        ("price", ["1.5", "1.50", "01.5", "+1.5", "1.500", "15e-1"]),
        ("price", ["0", "-0", "0.00", "0e5"]),
        ("huge", ["9" * 38, "0" + "9" * 38]),
        ("tiny", ["1e-7", "0.0000001"]),
        ("small", ["7", "07", "+7", "7.0"]),
        ("ratio", ["0.5", "5e-1", "0.50"]),
        ("flag", ["true", "True", "TRUE"]),
        ("at", ["2025-10-01T14:00:00Z", "2025-10-01 16:00:00+02:00", "2025-10-01T14:00:00.000000Z"]),
        ("wall", ["2025-10-01T14:00:00", "2025-10-01 14:00"]),
    ],
)
def test_forms_of_one_value_are_one_record(contract: Contract, tmp_path: Path, field: str, forms: list[str]) -> None:
    assert len({ids(contract, rows({field: form}), tmp_path)[0] for form in forms}) == 1


# Local times


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        ("2025-10-01T09:00:00", "2025-10-01T13:00:00Z"),
        ("2025-12-01T09:00:00", "2025-12-01T14:00:00Z"),
        ("2025-03-09T01:59:59.999", "2025-03-09T06:59:59.999Z"),
        ("2025-03-09T02:30:00", "2025-03-09T07:30:00Z"),  # the clock never shows it: read with the offset before
        ("2025-03-09T03:00:00", "2025-03-09T07:00:00Z"),
        ("2025-11-02T00:59:59", "2025-11-02T04:59:59Z"),
        ("2025-11-02T01:30:00", "2025-11-02T05:30:00Z"),  # the clock shows it twice: the first
        ("2025-11-02T02:00:00", "2025-11-02T07:00:00Z"),
    ],
)
def test_local_time_is_the_sites(tmp_path: Path, wall: str, instant: str) -> None:
    words = {"mesh.ambiguousTime": "earlier", "mesh.nonexistentTime": "shift"}
    custom = [{"property": name, "value": word} for name, word in words.items()]
    local = every_type(tmp_path, time="wall", wall={"required": True, "customProperties": custom})
    (record,), problems = read(local, rows({"wall": wall}), tmp_path, zone="America/New_York")
    assert problems == []
    assert record.time == datetime.fromisoformat(instant)
    assert record.payload["wall"] == datetime.fromisoformat(wall).isoformat(timespec="milliseconds")


@pytest.mark.parametrize("wall", ["9999-12-31T23:59:59", "0001-01-01T00:00:00", "1969-12-31T18:59:59"])
def test_local_time_out_of_bounds_is_told_of(tmp_path: Path, wall: str) -> None:
    local = every_type(tmp_path, time="wall", wall={"required": True})
    records, problems = read(local, rows({"wall": wall}, {}), tmp_path, zone="America/New_York")
    assert (len(records), [problem.line for problem in problems]) == (1, [2])


# What is sent from a file passes the validator


@pytest.mark.parametrize("region", ["north", "south", "east", "west"])
def test_records_survive_the_way_through_a_file(mesh: Mesh, tmp_path: Path, region: str) -> None:
    contract = mesh.contract(f"{region}_warehouse.orders_{region}")
    domain = mesh.domains[contract.domain]
    assert contract.event
    source = find_producer(mesh, contract).source
    drawn = source.records(domain.name, sites_of(mesh), root=mesh.root, seed=3, start=date(2025, 10, 31))
    records = list(islice(drawn, 300))
    path = tmp_path / "file.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(contract.event.by_name))
        writer.writeheader()
        writer.writerows([dict(record.payload) for record in records])
    problems: list[Problem] = []
    lines = lines_of(contract, read_csv(contract, domain, path, problems.append))
    assert problems == []
    validated = validate(contract, [Delivery(b"\n".join(lines), "m", 1, False)], records[-1].time + timedelta(days=1))
    assert validated.rejected.to_pylist() == []
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in lines_of(contract, records)]


_CELLS = {
    "name": st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text),
    "code": st.from_regex(r"[A-Z]-[0-9]+", fullmatch=True),
    "state": st.sampled_from(["new", "old", ""]),
    "small": st.integers(-5, 100).map(str),
    "big": st.integers(-(2**63), 2**63 - 1).map(str),
    "ratio": st.floats(-1e300, 1.5).map(repr),
    "flag": st.sampled_from(["true", "FALSE", ""]),
    "price": st.decimals(0, 9_999_999_999, places=2).map(str),
    "huge": st.integers(-(10**38) + 1, 10**38 - 1).map(str),
    "tiny": st.decimals(-99, 99, places=7).map(str),
    "born": st.dates().map(str),
    "wall": st.datetimes().map(lambda time: time.isoformat()),
    "at": st.datetimes(NOW.replace(tzinfo=None) - timedelta(days=700), NOW.replace(tzinfo=None)).map(
        lambda t: f"{t}Z"
    ),
}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cells=st.lists(st.fixed_dictionaries(_CELLS), min_size=1, max_size=4))
def test_whatever_a_file_holds_passes_the_validator(
    contract: Contract, tmp_path_factory: pytest.TempPathFactory, cells: list[dict[str, str]]
) -> None:
    records, problems = read(contract, rows(*cells), tmp_path_factory.getbasetemp())
    assert problems == []
    lines = lines_of(contract, records)
    validated = validate(contract, [Delivery(b"\n".join(lines), "m", 1, False)], NOW)
    assert validated.rejected.to_pylist() == []
    assert validated.accepted.num_rows == len(cells)


@settings(deadline=None)
@given(content=st.binary(max_size=100) | st.text('x,"\n\r1.5 -', max_size=60).map(str.encode))
def test_no_bytes_after_a_header_raise(
    contract: Contract, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    records, problems = read(contract, HEADER.encode() + b"\n" + content, tmp_path_factory.getbasetemp())
    assert all(problem.line > 1 and problem.fix for problem in problems)
    assert len(records) + len(problems) <= content.count(b"\n") + content.count(b"\r") + 1
