"""What docs/superset.md says that SQL cannot do, as tests try it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_PAGE = Path(__file__).parents[1] / "docs" / "superset.md"


class Try(NamedTuple):
    """SQL, with STATE for the state folder, and words of DuckDB's answer."""

    what: str
    sql: str
    answer: str


def tries() -> list[Try]:
    """What the guard refuses."""
    return [Try(what, sql.strip("`"), answer) for what, sql, answer in _table("who tries to")]


def changes() -> list[str]:
    """What an administrator writes into the connection, without effect."""
    return [written.strip("`") for written, _ in _table("the administrator writes")]


def _table(first: str) -> list[list[str]]:
    rows = _PAGE.read_text(encoding="utf-8").split(f"\n| {first} | ")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) > 3
    return [row.strip("| ").split(" | ") for row in rows]
