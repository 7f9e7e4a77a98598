"""The points at which tests kill a command, as cases of a test: a point, and how often it was passed before."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_OF_COMMIT = ("written", "listed", "described", "pointing")


def kills(
    command: str,
    points: Iterable[str],
    numbers: Iterable[int],
    of_commits: Iterable[int],
    often: int,
    others: pytest.MarkDecorator,
) -> pytest.MarkDecorator:
    """Parametrize a test with `point` and `number`: points of a command by `numbers`, of a commit by `of_commits`.

    `make test` kills each point of the command once, at the number `often`; the rest is marked with `others`.
    """
    cases = [pytest.param(f"{command}.{p}", n, marks=() if n == often else others) for p in points for n in numbers]
    commits = [pytest.param(f"commit.{p}", n, marks=others) for p in _OF_COMMIT for n in of_commits]
    return pytest.mark.parametrize(("point", "number"), [*cases, *commits])
