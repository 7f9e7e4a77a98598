"""What was tried against the promise, how often, and what came of it: tests record it, docs/guarantees.md shows it.

A fault arrives when the test that tried it has seen the promise hold; a file below build/guarantees/ leaves, which
`make guarantees` renders. No figure on that page is typed by hand.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "build" / "guarantees"
HOLDS = "I1 to I5 hold"


@dataclass(frozen=True, order=True)
class Tried:
    """One kind of fault, tried in one way: `times`, with `result`; `at` is a UTC day, `revision` that of the code."""

    fault: str
    how: str
    times: int
    result: str
    at: str
    revision: str


def record(fault: str, how: str, times: int, result: str = HOLDS) -> None:
    """Note that `fault` was tried in the way `how` says, `times` times, with `result`. Call it after the last assert.

    `fault` names the kind and is written as a plain literal, so that a test can hold the page to it; `how` says where
    and with what (the broker, the points, the status codes) and is the same in each run: the pair is the key, and a
    later run replaces the record of an earlier one. `times` counts the faults that took place, not the test's calls.
    On mutated code (tests/mutations.py) nothing is noted.
    """
    if "MUTATION" in os.environ:
        return
    found = Tried(fault, how, times, result, datetime.now(UTC).date().isoformat(), revision())
    RECORDS.mkdir(parents=True, exist_ok=True)
    path = RECORDS / f"{sha256(f'{fault}|{how}'.encode()).hexdigest()[:16]}.json"
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(found), indent=1) + "\n")
    part.replace(path)


def recorded(folder: Path = RECORDS) -> list[Tried]:
    """All records, by fault and way."""
    return sorted(Tried(**json.loads(path.read_text())) for path in folder.glob("*.json"))


def kinds(folder: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Each kind of fault that a test in `folder` records by a plain `record(...)`, with the test's file.

    Raises ValueError for a kind that is no literal.
    """
    for path in sorted([*folder.glob("tests/*.py"), *folder.glob("platform/tests/**/*.py")]):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "record":
                if not (call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)):
                    raise ValueError(f"{path}:{call.lineno}: the kind of fault must be a literal.")
                yield call.args[0].value, path


@cache
def revision() -> str:
    """The commit that the tests run on, short; with a `+` where files differ from it; empty outside of git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
