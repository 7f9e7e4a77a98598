"""`mesh --timing` says where the time went, and changes nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mesh_platform.cli.timing import Timing

from conftest import State

WORK = """
import time
def work():
    until = time.perf_counter() + 0.1
    while time.perf_counter() < until:
        pass
"""


def test_time_counts_for_the_innermost_package_of_the_platform(capsys: pytest.CaptureFixture[str]) -> None:
    session: dict[str, Any] = {"__name__": "mesh_platform.query.session"}
    exec(WORK, session)
    timing = Timing()
    session["work"]()
    timing.show()
    parts = [line.split()[0] for line in capsys.readouterr().err.splitlines()]
    assert parts[:2] == ["start", "query"]


def test_a_command_whose_stderr_is_closed_does_not_fail_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        with pytest.raises(OSError, match="No space left"):
            print("full", file=full)
        Timing().show()
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_the_answer_of_a_command_is_as_without_it(tmp_path: Path, make_state: Callable[..., State]) -> None:
    state = make_state(tmp_path / "state")
    done = state.mesh("--timing", "status", "--format", "json")
    assert json.loads(done.out) == []
    assert done.err.splitlines()[0].startswith("start ")
    failed = state.mesh("--timing", "status", "nothing", check=2)
    assert "no product has a table" in failed.err
    assert "start " in failed.err
