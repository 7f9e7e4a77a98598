"""Retry commits: if somebody else commits first, try again on the newest state (optimistic concurrency)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mesh_platform.errors import ConflictError

_Result = TypeVar("_Result")


def on_conflict(attempts: int, attempt: Callable[[], _Result], advice: str) -> _Result:
    """Call `attempt` until it raises no ConflictError, at most `attempts` times; return its result.

    Each attempt must reload the table. Raises ConflictError with `advice` after the last one.
    """
    conflict: ConflictError | None = None
    for _ in range(attempts):
        try:
            return attempt()
        except ConflictError as error:
            conflict = error
    raise ConflictError(advice) from conflict
