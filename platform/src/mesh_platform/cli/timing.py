"""Measure where the time of a command goes, for `mesh --timing`.

A thread looks at the stack of the main one 200 times a second, so the packages need no clocks of their own.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from types import FrameType

import click

_PAUSE_S = 0.005
_PACKAGE = "mesh_platform."
_IMPORTS = "imports"


class Timing:
    """The seconds that each part of this process takes from now on: its imports, and each package of the platform."""

    def __init__(self) -> None:
        self._before = time.process_time()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._main, self._ended = threading.main_thread().ident, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        last = time.perf_counter()
        while not self._ended.wait(_PAUSE_S):
            frame = sys._current_frames().get(self._main or 0)
            # A part that does not let other threads run delays this one, so what counts is the time that has passed.
            now = time.perf_counter()
            self._seconds[_part(frame)] += now - last
            last = now

    def show(self) -> None:
        """End the measurement, and write it to stderr."""
        self._ended.set()
        self._thread.join()
        total = self._before + sum(self._seconds.values())
        # A command that has done its work does not fail because nobody reads where its time went.
        with suppress(OSError):
            for part, seconds in [("start", self._before), *sorted(self._seconds.items(), key=lambda item: -item[1])]:
                click.echo(f"{part:12s} {seconds:7.2f} s {seconds / total:5.0%}", err=True)


def _part(frame: FrameType | None) -> str:
    """Return the part that a stack is in: `imports`, else the innermost package of the platform."""
    part = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module == "importlib._bootstrap":
            return _IMPORTS
        if not part and module.startswith(_PACKAGE):
            part = module.split(".")[1]
        frame = frame.f_back
    return part or "other"
