"""Running functions on all cores."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

_Found = TypeVar("_Found")

# For fewer functions, starting processes takes longer than it saves.
FEW = 200
_CHUNK = 50
_work: Sequence[Callable[[], Any]] = ()


def parallel_map(work: Sequence[Callable[[], _Found]], few: int = FEW) -> list[_Found]:
    """Call each function; return the results in order. Processes are forked, so functions may be closures.

    Results are pickled. On systems other than Linux, where forks may not be safe, for less than `few` functions, and
    with one core, this process does the work.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if len(work) < few or cores < 2:
        return [each() for each in work]
    global _work
    _work = work
    # A garbage collection in a child would write to the memory that it shares with this process, and so copy it.
    gc.freeze()
    try:
        with ProcessPoolExecutor(cores, get_context("fork"), gc.disable) as pool:
            found = pool.map(_one, range(len(work)), chunksize=min(_CHUNK, -(-len(work) // cores)))
            return [*found]
    except BrokenProcessPool:
        # A child was killed, perhaps for lack of memory, so this process does the work.
        return [each() for each in work]
    finally:
        gc.unfreeze()
        _work = ()


def _one(number: int) -> Any:
    return _work[number]()
