"""Commands that keep all they read until they end, soon: looking through it for garbage is half of their time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def without_collector(command: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Return the command, which runs without Python's garbage collector and leaves it as it was."""

    @wraps(command)
    def run(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        was_on = gc.isenabled()
        gc.disable()
        try:
            return command(*arguments, **options)
        finally:
            if was_on:
                gc.enable()

    return run
