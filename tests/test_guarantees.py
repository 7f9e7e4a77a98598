"""docs/guarantees.md says what was tried, and says it from records."""

from __future__ import annotations

import re
from pathlib import Path

import fault_record
import pytest
from fault_record import Tried, kinds, recorded
from guarantees import PAGE, render


def rows(page: str) -> list[list[str]]:
    """The cells of the table of what was tried."""
    table = page.split("## What was tried\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]


def test_each_kind_of_fault_that_a_test_records_is_on_the_page() -> None:
    on_page = rows(PAGE.read_text())
    assert {kind for kind, _path in kinds()} == {row[0] for row in on_page}, "run the tests, then `make guarantees`"
    for _fault, _how, times, result, run in on_page:
        assert int(times.replace(",", "")) > 0
        assert "BROKEN" not in result
        assert re.fullmatch(r"\d{4}-\d\d-\d\d, \S+", run)


def test_the_page_shows_what_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_record, "RECORDS", tmp_path)
    for times in (3, 1234):
        fault_record.record("a meteorite", "embedded", times)
    fault_record.record("a flood", "RabbitMQ", 2, "only wet feet")
    found = recorded(tmp_path)
    assert [(each.fault, each.times) for each in found] == [("a flood", 2), ("a meteorite", 1234)]
    places = {"start": 2, "commit.listed": 5}
    page = render(found, {"embedded": {"1": {"places": places}, "2": {"places": {"start": 1}}}})
    assert [row[:4] for row in rows(page)] == [
        ["a flood", "RabbitMQ", "2", "only wet feet"],
        ["a meteorite", "embedded", "1,234", "I1 to I5 hold"],
    ]
    assert "| - | it was starting | 3 |" in page
    assert "| `commit.listed` | a manifest, or the list of manifests, is on disk | 5 |" in page


def test_a_kind_of_fault_is_a_literal(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("record('one', 'x', 1)\nrecord(kind, 'x', 1)\n")
    with pytest.raises(ValueError, match=r"test_a.py:2: the kind of fault must be a literal"):
        list(kinds(tmp_path))
    assert all(isinstance(each, Tried) for each in recorded())
