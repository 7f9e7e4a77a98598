"""Real purchases through the orders producers: the file's totals, however often and in whatever order it is sent."""

from __future__ import annotations

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, State

EXAMPLE = ROOT / "examples" / "real_orders"
ROWS, UNITS, DOLLARS = 69_659, 167_881, "2500315.63"


@pytest.mark.slow
def test_replay_replay_again_and_shuffled_with_one_row_more(any_state: State, tmp_path: Path) -> None:
    first = _send(any_state)
    assert first["equal"] is True
    assert (first["rows"], first["quantity"], first["amount_usd"]) == (ROWS, UNITS, DOLLARS)
    assert (first["sent"], first["appended"], first["quarantined"]) == (ROWS, ROWS, 0)

    again = _send(any_state)
    assert (again["appended"], again["duplicates"]) == (0, ROWS)
    assert (again["rows"], again["amount_usd"]) == (ROWS, DOLLARS)

    longer = _send(any_state, "--file", _shuffled_with_one_more(tmp_path / "shuffled.csv"))
    assert (longer["appended"], longer["duplicates"]) == (1, ROWS)
    assert longer["equal"] is True
    assert (longer["rows"], longer["quantity"], longer["amount_usd"]) == (ROWS + 1, UNITS + 2, "2500345.61")


def _shuffled_with_one_more(path: Path) -> Path:
    with gzip.open(EXAMPLE / "cdnow_purchases.csv.gz", "rt") as stream:
        header, *rows = csv.reader(stream)
    random.Random(1).shuffle(rows)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, ["00001", "19970705", "2", "29.98"], *rows])
    return path


def _send(state: State, *words: object) -> dict[str, Any]:
    command = [sys.executable, str(EXAMPLE / "run.py"), "--format", "json", *map(str, words)]
    done = subprocess.run(command, env=state.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result
