"""Fault points, at which tests kill, stop or fail the process: `MESH_FAULT=<point>:kill|raise|stop[:N]`.

The fault fires at the Nth passing of the point (default 1). Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

from mesh_platform.errors import UsageError

# Ordered as an event passes them.
POINTS = {
    "ingest.received": "messages are received, nothing is looked at",
    "ingest.validating": "the records are parsed, their checks have not run",
    "ingest.validated": "records are split into accepted and rejected, nothing is written",
    "append.deduplicated": "known ids are dropped, nothing is written",
    "commit.writing": "a Parquet file is half written",
    "commit.written": "a Parquet file is complete and on disk",
    "commit.listed": "a manifest, or the list of manifests, is on disk",
    "commit.described": "metadata.json is on disk, the catalog names the one before",
    "commit.pointing": "inside the catalog's transaction: the new pointer is written, not committed",
    "append.committed": "the commit is durable, nothing is acknowledged",
    "ingest.landed": "accepted rows are durable, rejected rows are not",
    "ingest.quarantined": "accepted and rejected rows are durable, nothing is acknowledged",
    "ingest.acknowledged": "some messages of the flush are acknowledged, others not",
    "build.computed": "a model's output is computed, nothing is written",
    "evolve.committed": "one table of a product has its new schema, the next has not",
    "build.held": "the rows that rules hold back are written, the model's output is not",
    "build.committed": "a model's output is committed, the next model has not begun",
    "build.tagged": "the tables of a release are tagged, the release is not made",
    "maintain.written": "small files are merged on disk, the table still has the small ones",
    "maintain.committed": "the merged files are the table's, its old snapshots have not expired",
    "maintain.expired": "old snapshots have expired, the files that nothing names any more are still there",
    "audit.moved": "records of queries are in the table, and still wait in the state folder",
    "retain.written": "files are written without rows past their retention, the table still has the others",
    "retain.held": "held rows past their retention are removed, the product still names those of before",
    "retain.removed": "rows past their retention are removed, that is not recorded",
    "retain.cleared": "past states that show rows past their retention are removed, that is not recorded",
    "erase.requested": "a request to erase is recorded, nothing is removed",
    "erase.queued": "the queues are without the value, the tables are not",
    "erase.written": "the files of a table are written without the value, the table still has the others",
    "erase.committed": "a table is without the value, its past and other tables are not",
    "erase.expired": "the snapshots of a table that had the value are removed, their files are still there",
    "erase.removed": "one table and its files are without the value, others are not",
    "erase.built": "all tables are without the value and up to date, other files of the state folder are not",
    "erase.cleaned": "all files are without the value, nobody has looked",
    "erase.proved": "the value was found nowhere, the end of the request is not recorded",
    "relocate.noted": "the catalog says that a relocation is under way, no file is rewritten",
    "relocate.replaced": "a file of a table names the new place; others are, or are not, rewritten",
    "relocate.rewritten": "all files name the new place, the catalog still names the old one",
    "template.writing": "a file from the template is about to be put into its place; others are, or are not",
}
_ACTIONS = ("kill", "raise", "stop")

_passed: dict[str, int] = {}


class InjectedFault(Exception):
    """Raised at a fault point by `MESH_FAULT=<point>:raise`; no part of the platform catches it by name."""


def point(name: str) -> None:
    """Pass the fault point `name`, and fire where `MESH_FAULT` names it. Raises as `read_fault` does."""
    wanted = os.environ.get("MESH_FAULT")
    if not wanted:
        return
    named, action, number = read_fault(wanted)
    if named != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] != number:
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        raise InjectedFault(f"MESH_FAULT={wanted}")


def check() -> None:
    """Raise as `read_fault` does where `MESH_FAULT` is invalid: a test whose fault cannot fire proves nothing."""
    if wanted := os.environ.get("MESH_FAULT"):
        read_fault(wanted)


def armed(prefix: str) -> bool:
    """Whether `MESH_FAULT` names a point that begins with `prefix`: for preparations too costly to do for nothing."""
    return os.environ.get("MESH_FAULT", "").startswith(prefix)


def read_fault(text: str) -> tuple[str, str, int]:
    """Parse a value of `MESH_FAULT` into its point, action and number of passings.

    Raises UsageError, which says what is allowed.
    """
    name, _, rest = text.partition(":")
    action, colon, number = rest.partition(":")
    if name not in POINTS:
        raise UsageError(
            f"MESH_FAULT={text}: there is no point '{name}'. A point is one of {', '.join(POINTS)}; "
            "`mesh faults list` says what they mean."
        )
    if action not in _ACTIONS:
        raise UsageError(
            f"MESH_FAULT={text}: '{action}' is not an action. Write {name}: and one of {', '.join(_ACTIONS)}."
        )
    if colon and not (number.isdecimal() and number.isascii() and int(number)):
        raise UsageError(
            f"MESH_FAULT={text}: '{number}' is not a number of passings. "
            f"Write {name}:{action}:N with N from 1, or leave it out for the first."
        )
    return name, action, int(number or 1)
