"""Work for all cores: functions without arguments arrive, what each gives leaves, in order."""

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

# Below so many, starting processes takes longer than they save.
FEW = 200
_CHUNK = 50
_work: Sequence[Callable[[], Any]] = ()


def spread(work: Sequence[Callable[[], _Found]], few: int = FEW) -> list[_Found]:
    """What each function gives. Children are forked, so that functions may be closures; what they give is pickled.

    Elsewhere than on Linux, where a fork may not be safe, and for a few, it is done here.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if len(work) < few or cores < 2:
        return [each() for each in work]
    global _work
    _work = work
    # A collection in a child would write to all that it shares with this process, and so copy it.
    gc.freeze()
    try:
        with ProcessPoolExecutor(cores, get_context("fork"), gc.disable) as pool:
            found = pool.map(_one, range(len(work)), chunksize=min(_CHUNK, -(-len(work) // cores)))
            return [*found]
    except BrokenProcessPool:
        # One was killed, for want of memory perhaps: then one after the other.
        return [each() for each in work]
    finally:
        gc.unfreeze()
        _work = ()


def _one(number: int) -> Any:
    return _work[number]()
