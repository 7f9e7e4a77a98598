"""Named points at which tests may end, stop or fail the process: `MESH_FAULT=<point>:kill|raise|stop[:N]`.

With N, the Nth passing of the point fires (default 1). Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = {
    "ingest.received": "messages are received, nothing is looked at",
    "ingest.validated": "records are split into accepted and rejected, nothing is written",
    "append.deduplicated": "known ids are dropped, nothing is written",
    "append.committed": "the landing commit is durable, nothing is acknowledged",
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
}

_passed: dict[str, int] = {}


class InjectedFault(Exception):
    """Raised at a fault point by `MESH_FAULT=<point>:raise`; no part of the platform catches it by name."""


def point(name: str) -> None:
    """Pass the fault point `name`; acts only where `MESH_FAULT` names it."""
    wanted = os.environ.get("MESH_FAULT")
    if not wanted or wanted.split(":")[0] != name:
        return
    _, action, *count = wanted.split(":")
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] != int(count[0] if count else 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "raise":
        raise InjectedFault(f"MESH_FAULT={wanted}")
