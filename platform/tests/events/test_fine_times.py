"""Times keep their microseconds on every way in; more digits are rejected with the reason, not truncated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mesh_platform.build.reference import read_reference
from mesh_platform.contract.contract import Contract
from mesh_platform.errors import ContractError, Problem
from mesh_platform.events.event import Record
from mesh_platform.events.producer import read_csv, stamp, wrap

from tests.every_type import PAYLOAD, changed, check, envelope, every_type, line, lines_of, shop

FINE, TOO_FINE = "2025-10-01T14:03:12.123456Z", "2025-10-01T14:03:12.1234567Z"


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return every_type(tmp_path_factory.mktemp("contract"))


def replay(contract: Contract, folder: Path, *rows: str) -> tuple[list[Record], list[Problem]]:
    """The records of a file with these cells of name, wall and at, and its problems."""
    path = folder / "file.csv"
    path.write_text("name,wall,at\n" + "".join(f"{row}\n" for row in rows))
    problems: list[Problem] = []
    return list(read_csv(contract, shop(folder), path, problems.append)), problems


def test_a_file_and_an_event_land_as_the_same_microseconds(contract: Contract, tmp_path: Path) -> None:
    records, problems = replay(contract, tmp_path, f"a,{FINE[:-1]},{FINE}")
    assert problems == []
    sent = envelope(at=FINE, wall=FINE[:-1])
    sent["event_time"] = FINE
    (by_file,) = check(contract, *lines_of(contract, records)).accepted.to_pylist()
    (by_event,) = check(contract, changed(lambda data: data.update(_at_its_time(sent)))).accepted.to_pylist()
    for row in (by_file, by_event):
        assert row["event_time"] == row["at"] == datetime.fromisoformat(FINE)
        assert row["wall"] == datetime.fromisoformat(FINE[:-1])


def _at_its_time(sent: dict[str, Any]) -> dict[str, Any]:
    milliseconds = int(datetime.fromisoformat(sent["event_time"]).timestamp() * 1000)
    digits = f"{milliseconds:012x}"
    return {**sent, "event_id": f"{digits[:8]}-{digits[8:]}{sent['event_id'][13:]}"}


def test_records_that_differ_in_microseconds_alone_are_two(contract: Contract, tmp_path: Path) -> None:
    rows = [f"a,,2025-10-01T14:03:12.12345{digit}Z" for digit in (6, 7)]
    records, _ = replay(contract, tmp_path, *rows)
    there, back = ([event.event_id for event in wrap(contract, found, "test")] for found in (records, records[::-1]))
    assert len({*there}) == 2
    assert there == back
    assert check(contract, *lines_of(contract, records)).accepted.num_rows == 2


def test_a_file_whose_microseconds_were_cut_once_keeps_its_ids(contract: Contract, tmp_path: Path) -> None:
    fine, cut = (f"a,2025-10-01 10:03:12.{end},2025-10-01T14:03:12.{end}Z" for end in ("123456", "123"))
    found = [
        [event.event_id for event in wrap(contract, replay(contract, tmp_path, row)[0], "t")] for row in (fine, cut)
    ]
    assert found[0] == found[1]


def test_whole_milliseconds_are_written_as_they_always_were(contract: Contract, tmp_path: Path) -> None:
    (record,), _ = replay(contract, tmp_path, "a,2025-10-01 10:03,2025-10-01T14:03:12.120000Z")
    assert record.payload["wall"] == "2025-10-01T10:03:00.000"
    assert record.payload["at"] == "2025-10-01T14:03:12.120Z"
    (sent,) = wrap(contract, [record], "test")
    # A change here gives every replayed file new ids.
    assert sent.event_id == "0199a015-9178-71b8-b798-5a4299a7b7d1"


@pytest.mark.parametrize(
    ("row", "name", "shown"),
    [
        (f"a,,{TOO_FINE}", "at", TOO_FINE),
        (f"a,{TOO_FINE[:-1]},{FINE}", "wall", TOO_FINE[:-1]),
        ('a,,"2025-10-01T14:03:12,1234567Z"', "at", "2025-10-01T14:03:12,1234567Z"),
    ],
)
def test_more_digits_in_a_file_are_told_of(
    contract: Contract, tmp_path: Path, row: str, name: str, shown: str
) -> None:
    records, (problem,) = replay(contract, tmp_path, row)
    assert records == []
    assert problem.line == 2
    assert problem.message.startswith(f"{name} '{shown}' has more than six digits of a second; it is ")


@pytest.mark.parametrize("name", ["at", "wall", "event_time"])
def test_more_digits_in_an_event_are_quarantined(contract: Contract, name: str) -> None:
    text = TOO_FINE[:-1] if name == "wall" else TOO_FINE
    bad = changed(lambda data: data.update(event_time=text)) if name == "event_time" else line(**{name: text})
    (row,) = check(contract, bad).rejected.to_pylist()
    assert (row["reason"], row["field"]) == ("wrong_type", name)
    assert f"not '{text}', which has more than six digits of a second." in row["detail"]
    if name == "event_time":
        assert row["event_time"] is None


def test_the_quarantine_keeps_the_microseconds_of_an_event(contract: Contract) -> None:
    bad = changed(lambda data: data.update(event_time=FINE, more=1))
    (row,) = check(contract, bad).rejected.to_pylist()
    assert row["event_time"] == datetime.fromisoformat(FINE)


@pytest.mark.parametrize(("digits", "fits"), [("123456", True), ("1234567", False)])
def test_reference_data_keeps_microseconds_too(tmp_path: Path, contract: Contract, digits: str, fits: bool) -> None:
    path = tmp_path / "things.csv"
    path.write_text(f"id,made_at\na,2025-10-01T14:03:12.{digits}Z\n")
    domain = SimpleNamespace(reference_path=lambda contract: path)
    mesh: Any = SimpleNamespace(root=tmp_path, domain=lambda name: domain)
    if fits:
        assert read_reference(mesh, contract)["made_at"].to_pylist() == [datetime.fromisoformat(FINE)]
        return
    with pytest.raises(ContractError, match=r"made_at '.*' has more than six digits of a second; it is an instant"):
        read_reference(mesh, contract)


def test_a_burst_has_the_milliseconds_that_it_always_had(contract: Contract) -> None:
    clock = [datetime(2025, 10, 1, tzinfo=UTC) + timedelta(microseconds=each) for each in (0, 333_333, 666_666)]
    records = [*stamp(contract, None, [Record(clock[0], PAYLOAD)] * 3, clock)]
    assert [record.payload["at"][-5:] for record in records] == [".000Z", ".333Z", ".666Z"]
    assert [record.time.microsecond for record in records] == [0, 333_000, 666_000]
