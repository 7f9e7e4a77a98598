"""Ingest with one of its precautions taken out, to see that the tests notice. No part of the product knows of it.

    python tests/mutations.py                          every mutation against the tests; who caught which
    python tests/mutations.py NAME -- ingest ...       `mesh ingest ...` with that mutation
    MUTATION=NAME PYTHONPATH=tests pytest -p mutations ...

A mutation that no test catches is an end with exit code 1: the proof would not miss what it takes out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Those of the ordinary tests that are to notice; each is quick.
WATCHERS = (
    "platform/tests/iceberg/test_append.py",
    "platform/tests/iceberg/test_durable_io.py",
    "tests/test_power_loss.py",
    "tests/test_faults.py::test_one_that_slept_longer_than_its_lease_wakes_to_do_no_harm",
    "tests/test_crash_points.py::test_a_kill_at_every_point_of_ingest[embedded]",
)
# Who notices soonest is asked first, where that is not the first of them.
SOONEST = {
    "acknowledge-before-commit": "tests/test_power_loss.py",
    "no-fsync": "platform/tests/iceberg/test_durable_io.py",
}


def acknowledge_before_commit() -> None:
    """A message is acknowledged when it is received."""
    from mesh_platform.broker.embedded_consumer import EmbeddedConsumer
    from mesh_platform.broker.rabbit_consumer import RabbitConsumer

    for consumer in (EmbeddedConsumer, RabbitConsumer):
        _wrap(consumer, "receive", lambda real, self, *rest: _acknowledged(self, real(self, *rest)))


def _acknowledged(consumer: Any, deliveries: Any) -> Any:
    if deliveries:
        consumer.ack(deliveries)
    return deliveries


def retry_by_pyiceberg() -> None:
    """A commit that lost a race is rebased over rows that nobody compared it with."""
    from pyiceberg import table

    retries = table.TableProperties.COMMIT_NUM_RETRIES
    _wrap(table, "property_as_int", lambda real, found, key, *rest: 4 if key == retries else real(found, key, *rest))


def no_deduplication() -> None:
    """No id is looked up in the table."""
    from mesh_platform.iceberg.keys import IdIndex

    _wrap(IdIndex, "held", lambda real, self, *rest: real(self, *rest) & False)


def no_fsync() -> None:
    """Files are left to the operating system when the catalog names them."""
    from mesh_platform.iceberg import durable_io

    durable_io._sync_folder = lambda folder: None
    durable_io._SyncedFile.close = lambda self: super(durable_io._SyncedFile, self).close()  # type: ignore[method-assign]


def swallow_unknown_outcome() -> None:
    """A commit that fails in a way that nobody knows counts as done."""
    from mesh_platform.errors import ConflictError
    from mesh_platform.iceberg import append

    def swallow(real: Callable[..., Any], *given: Any) -> Any:
        try:
            return real(*given)
        except ConflictError:
            raise
        except Exception:
            return None

    _wrap(append, "commit_files", swallow)


MUTATIONS: dict[str, Callable[[], None]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        acknowledge_before_commit,
        retry_by_pyiceberg,
        no_deduplication,
        no_fsync,
        swallow_unknown_outcome,
    )
}


UNCHANGED = "unchanged"


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    real = getattr(owner, name)
    setattr(owner, name, lambda *given: around(real, *given))


def pytest_configure() -> None:
    """As a plugin of pytest: the tests run on the mutated code, and so do the processes that they start."""
    mutate(os.environ["MUTATION"])


def mutate(name: str) -> None:
    """Take out what the mutation takes out, in this process."""
    if name != UNCHANGED:
        MUTATIONS[name]()


def caught_by(name: str, watchers: Sequence[str] = WATCHERS, most: int = 4) -> list[str]:
    """The first tests that fail with a mutation, at most so many, by their ids."""
    environment = {**os.environ, "MUTATION": name, "PYTHONPATH": os.pathsep.join(["tests", *filter(None, sys.path)])}
    words = [
        "-p",
        "mutations",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=no",
        "-rfE",
        f"--maxfail={most}",
        "-m",
        "not slow and not thorough",
        *sorted(watchers, key=lambda watcher: watcher != SOONEST.get(name)),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: tests failed; anything else is no answer, such as a watcher that is not there any more.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)


def run(names: Iterable[str] = MUTATIONS) -> int:
    """Try these mutations; the exit code."""
    if failing := caught_by(UNCHANGED):
        print("These fail without any mutation, so that nothing can be said:", *failing, sep="\n  ")
        return 1
    missed = 0
    for name in names:
        caught = caught_by(name)
        missed += not caught
        print(f"{name}: {MUTATIONS[name].__doc__}", *(f"  {each}" for each in caught or ["NOBODY NOTICED"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(run())
    name, dashes, *words = sys.argv[1:]
    if name not in (*MUTATIONS, UNCHANGED) or dashes != "--":
        sys.exit(f"{name}: a mutation is one of {', '.join(MUTATIONS)}; then -- and the words of mesh.\n{__doc__}")
    mutate(name)
    from mesh_platform.cli import main

    main(words)
