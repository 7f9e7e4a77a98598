"""The identity of a process, and whether a process of that identity has certainly ended.

A process writes its identity into a shared file; another one checks later whether it still runs.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identify() -> tuple[str, int, str]:
    """(place, pid, start) of this process.

    `place` is the scope of the pid: machine, boot and pid namespace. `start` distinguishes the process from a later
    one with the same pid; it is empty where the system has no /proc.
    """
    return _PLACE, os.getpid(), _status(os.getpid())[1]


def is_gone(place: str, pid: int, start: str) -> bool:
    """Whether the process has certainly ended; always False for a process of another place."""
    if place != _PLACE:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    state, started = _status(pid)
    # A killed process keeps its pid until its parent reads the exit code.
    return state in ("Z", "X") or bool(start and started and started != start)


def _status(pid: int) -> tuple[str, str]:
    """State letter and start time (clock ticks after boot) from proc(5), /proc/pid/stat, fields 3 and 22."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", ""
    # Field 2 is the program's name in parentheses, which may itself contain spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


_PLACE = "/".join((socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), _namespace()))
