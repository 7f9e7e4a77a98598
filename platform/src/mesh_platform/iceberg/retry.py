"""Optimistic concurrency: an attempt to commit is made again on the newest state where somebody else was first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mesh_platform.errors import ConflictError

_Result = TypeVar("_Result")


def on_conflict(attempts: int, attempt: Callable[[], _Result], advice: str) -> _Result:
    """The result of the first `attempt` that nobody else commits ahead of.

    Each attempt must load the table anew. Raises ConflictError, with `advice`, after so many attempts.
    """
    lost: ConflictError | None = None
    for _ in range(attempts):
        try:
            return attempt()
        except ConflictError as error:
            lost = error
    raise ConflictError(advice) from lost
