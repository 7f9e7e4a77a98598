"""The DAGs of each domain are read in a process of its own, which parses only what no other has parsed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.dags import read_domains
from mesh_platform.mesh import remembered

from conftest import ROOT


class Interrupted(BaseException):
    """As Airflow interrupts a file that takes too long."""


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The contracts parsed so far, with a state folder that is empty at first."""
    monkeypatch.setenv("MESH_STATE", str(tmp_path))
    return note_parsed(monkeypatch, lambda number: None)


def note_parsed(monkeypatch: pytest.MonkeyPatch, on_each: Callable[[int], None]) -> list[Path]:
    """Note each contract that is parsed from now on, after `on_each` of how many there were."""
    paths: list[Path] = []
    real = remembered.read_contract

    def read(path: Path, *more: Any) -> Any:
        on_each(len(paths))
        paths.append(path)
        return real(path, *more)

    monkeypatch.setattr(remembered, "read_contract", read)
    return paths


def test_a_second_read_parses_nothing(parsed: list[Path]) -> None:
    first, models, problems = read_domains(ROOT)
    assert len(parsed) >= len(first.contracts) > 0
    parsed.clear()
    assert read_domains(ROOT) == (first, models, problems)
    assert parsed == []


def test_an_interrupted_read_is_continued(parsed: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(number: int) -> None:
        if number == 10:
            raise Interrupted

    with monkeypatch.context() as patch:
        before = note_parsed(patch, interrupt)
        with pytest.raises(Interrupted):
            read_domains(ROOT)
    parsed.clear()
    read_domains(ROOT)
    assert len(before) == 10
    assert not {*before} & {*parsed}
