"""Which process on which machine holds something, and whether it is provably gone.

A process writes its identity into a shared file; another asks later whether that process still runs.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identify() -> tuple[str, int, str]:
    """(place, pid, start) of this process.

    `place` is where the pid has a meaning: machine, boot and pid namespace. `start` tells a process from a later
    one with the same pid; empty where the system has no /proc.
    """
    return _PLACE, os.getpid(), _status(os.getpid())[1]


def is_gone(place: str, pid: int, start: str) -> bool:
    """True only where it is certain that the process has ended; a process of another place is never certain."""
    if place != _PLACE:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    state, started = _status(pid)
    # A killed process whose parent has not asked for its exit code still has a pid.
    return state in ("Z", "X") or bool(start and started and started != start)


def _status(pid: int) -> tuple[str, str]:
    """State letter and start time (clock ticks after boot) from proc(5), /proc/pid/stat, fields 3 and 22."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", ""
    # Field 2 is the program's name in parentheses and may hold spaces and parentheses itself.
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
