"""An event names the contract version of its sender; ingest rejects versions that the contract does not cover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mesh_platform.contract.contract import Contract
from mesh_platform.contract.reader import read_contract
from mesh_platform.contract.version import Version, read_version

from tests.every_type import changed, check, envelope, every_type, line


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract of version 1.2.0 with a field of every type."""
    return every_type(tmp_path_factory.mktemp("contract"))


def of(version: str, **payload: Any) -> bytes:
    return changed(lambda data: data.update(schema_version=version, payload=data["payload"] | payload))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.2.3", Version(1, 2, 3)), ("1.2", Version(1, 2, 0)), ("7", Version(7, 0, 0)),
        ("0.10.0", Version(0, 10, 0)),
        ("", None), ("1.", None), ("v1", None), ("1.2.3.4", None), ("01", None), ("1.2.0-rc1", None), ("1,2", None),
        ("1.2.3\n", None), (" 1", None), ("-1", None), ("١", None), ("9999999999", None),
    ],
)  # fmt: skip
def test_a_version_is_one_to_three_numbers(text: str, version: Version | None) -> None:
    assert read_version(text) == version


@pytest.mark.parametrize(
    ("own", "oldest", "taken", "refused"),
    [
        ("1.2.0", None, ["1.2.0", "1.2", "1", "1.0.0", "1.1.9", "1.2.7", "0.9.0"], ["1.3.0", "2", "9.0.0"]),
        ("1.10.0", None, ["1.9.0", "1.10.0"], ["1.11.0"]),
        ("0.2.0", None, ["0.1.0", "0.2.3"], ["0.3.0", "1.0.0"]),
        ("2.1.0", None, ["2.0.0", "2.1.0"], ["1.9.0", "0.1.0", "2.2.0", "3.0.0"]),
        ("2.1.0", "1.3.0", ["1.3.0", "1.9.9", "2.1.0"], ["1.2.9", "2.2.0"]),
        ("2.1.0", "2.1.0", ["2.1.0", "2.1.1"], ["2.0.0"]),
        # A version that is not a number cannot be compared.
        ("2025-10", None, ["2025-10"], ["2025-09", "1.0.0", ""]),
    ],
)
def test_the_contract_takes_what_it_knows_and_still_takes(
    contract: Contract, own: str, oldest: str | None, taken: list[str], refused: list[str]
) -> None:
    other = replace(contract, version=own, oldest_version=oldest)
    found = check(other, *map(of, taken), *map(of, refused))
    assert found.accepted["schema_version"].to_pylist() == taken
    rows = found.rejected.to_pylist()
    assert [(row["reason"], row["field"]) for row in rows] == [("unknown_version", "schema_version")] * len(refused)
    for row, version in zip(rows, refused, strict=True):
        assert repr(version) in row["detail"]
        assert own in row["detail"]


@pytest.mark.parametrize("version", ["", "latest", "v1", "1.2.0-rc1", "x" * 5000])
def test_what_is_no_version_is_refused(contract: Contract, version: str) -> None:
    (row,) = check(contract, of(version)).rejected.to_pylist()
    assert row["reason"] == "unknown_version"
    assert "up to three numbers, such as 1.2.0" in row["detail"]
    assert len(row["detail"]) <= 500


def test_how_to_mend_is_said(contract: Contract) -> None:
    newer, older = check(replace(contract, version="2.0.0"), of("2.1.0"), of("1.0.0")).rejected["detail"].to_pylist()
    assert "Deploy the one of 2.1.0" in newer
    assert "'mesh ingest shop.things --replay-rejected'" in newer
    assert "mesh.oldestVersion" in older


def test_what_a_newer_version_changed_in_the_form_is_told_as_the_version(contract: Contract) -> None:
    rows = check(contract, of("1.3.0", colour="red"), of("1.3.0", small="7"), of("1.2.0", colour="red"), of("1.3.0"))
    reasons = ["unknown_version", "unknown_version", "unknown_field", "unknown_version"]
    assert rows.rejected["reason"].to_pylist() == reasons
    widened = check(contract, of("1.3.0", small=101), of("1.2.0", small=101)).rejected["reason"].to_pylist()
    assert widened == ["unknown_version", "out_of_range"]


def test_another_event_is_told_as_such_first(contract: Contract) -> None:
    raw = changed(lambda data: data.update(schema_version="9", event_type="thing_sold"))
    assert check(contract, raw).rejected["reason"].to_pylist() == ["event_type"]


def test_as_many_versions_as_events_take_no_longer_than_others(contract: Contract) -> None:
    body = b"\n".join(line().replace(b'"1.2.0"', b'"1.%d"' % number) for number in range(3, 5003))
    found = check(contract, body)
    assert found.rejected.num_rows == 5000
    assert len(set(found.rejected["detail"].to_pylist())) == 5000


def test_what_waited_in_the_quarantine_is_taken_by_the_next_contract(contract: Contract) -> None:
    raw = of("1.3.0")
    assert check(contract, raw).accepted.num_rows == 0
    assert check(replace(contract, version="1.3.0"), raw).accepted.num_rows == 1
    assert check(replace(contract, version="1.4.0"), raw).accepted.num_rows == 1
    assert envelope()["schema_version"] == contract.version


def with_oldest(folder: Path, oldest: object, event: bool = True) -> tuple[Contract | None, list[str]]:
    every_type(folder)
    path = folder / "things.odcs.yaml"
    data = yaml.safe_load(path.read_text())
    data["customProperties"] = [{"property": "mesh.oldestVersion", "value": oldest}]
    if not event:
        data["schema"] = data["schema"][1:]
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    found, problems = read_contract(path, folder, "shop")
    return found, [str(problem) for problem in problems]


def test_the_oldest_version_is_read_and_held_against_the_contracts_own(tmp_path: Path) -> None:
    found, problems = with_oldest(tmp_path, "1.1.0")
    assert problems == []
    assert found
    assert found.oldest_version == "1.1.0"
    for wrong in ("1.3.0", "1", "v1", "2.0.0"):
        (problem,) = with_oldest(tmp_path, wrong)[1]
        assert f"mesh.oldestVersion is '{wrong}'" in problem
        assert "up to the contract's own version, 1.2.0" in problem
        assert "things.odcs.yaml:" in problem
    (problem,) = with_oldest(tmp_path, "1.1.0", event=False)[1]
    assert "the contract has no event" in problem or "has none" in problem
    assert with_oldest(tmp_path, 1.1)[1]
