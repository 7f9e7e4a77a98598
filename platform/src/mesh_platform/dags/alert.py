"""Owners are told: a failed task or a product that grew old arrives, a message leaves for where MESH_ALERTS says.

`log` writes it to the log of what noticed; `file:PATH` adds a line of JSON; anything else is a URL of Apprise
(https://github.com/caronc/apprise), such as jsons://host/path for a webhook or mailtos://user:password@host?to=...
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mesh_platform.dags.docs import words
from mesh_platform.domain import load_mesh
from mesh_platform.errors import MeshError, NeedsAttention, Unavailable, UsageError
from mesh_platform.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What happened to `subject`, a table or a task, and who can be reached about it."""

    subject: str
    message: str
    owner: str
    steward: str
    contact: str
    on_call: str

    def text(self) -> str:
        """The message with whom to reach."""
        return f"{self.message}\n{self.owner} ({self.contact}, at night {self.on_call}); data steward {self.steward}."


def send(alert: Alert, settings: Settings) -> None:
    """Send an alert to every target of `settings.alerts`. Raises NeedsAttention at the end, for all that failed."""
    failed = []
    for target in settings.alerts.split():
        # The rest of a URL may hold a password.
        name = target if target == "log" else f"{target.partition(':')[0]}:..."
        try:
            _send(alert, target, settings.state_dir)
        except Exception as error:
            failed.append(f"{name} ({error if isinstance(error, MeshError) else type(error).__name__})")
    if failed:
        raise NeedsAttention(f"'{alert.message}' was not told to {', '.join(failed)}. Look at MESH_ALERTS.")


def _send(alert: Alert, target: str, folder: Path) -> None:
    scheme, _, rest = target.partition(":")
    if target == "log":
        log.error("%s", alert.text())
    elif scheme == "file":
        line = json.dumps({"at": datetime.now(UTC).isoformat(), **asdict(alert)})
        with (folder / rest).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    else:
        import apprise

        notifier = apprise.Apprise()
        if not notifier.add(target):
            raise UsageError("no target: there is log, file:PATH, and the URLs of Apprise")
        if not notifier.notify(title=alert.subject, body=alert.text()):
            raise Unavailable("it did not take it")


def tell_of_failure(owners: Mapping[str, str], context: Mapping[str, Any]) -> None:
    """Tell the owners of a DAG (see `Owners`) that one of its tasks failed for good. Airflow calls it."""
    instance = context["task_instance"]
    subject = f"{instance.dag_id}.{instance.task_id}"
    # Of what was ended from outside there is no exception.
    reason = context.get("exception") or "it was ended, or lost. Its log may tell."
    send(_alert(subject, f"{subject} failed in {instance.run_id}: {reason}", owners), Settings())


def tell_of_stale_product(table: str, owners: Mapping[str, str], context: Mapping[str, Any] | None = None) -> None:
    """Tell the owners of a product that its newest event is older than promised. Airflow calls it past a deadline.

    The lake has the last word: Airflow does not hear of what the command line ingests and builds. For each newest
    event it is told once; where the lake cannot be asked, each time.
    """
    from mesh_platform.dags.tasks import read_ages

    settings = Settings()
    try:
        mesh = load_mesh(settings.root)
        (found,) = read_ages(mesh, [mesh.contract(table)])
    except MeshError as error:
        send(
            _alert(table, f"{table}: may be older than promised, and cannot be looked at: {error}", owners), settings
        )
        return
    told = settings.state_dir / "told" / table
    newest = str(found["newest_event"])
    if found["fresh"] or (told.exists() and told.read_text() == newest):
        log.info("%s: fresh by now, or told already.", table)
        return
    promise = words(timedelta(seconds=found["promise_s"]))
    age = words(timedelta(seconds=found["age_s"])) + " old" if found["age_s"] is not None else "not there at all"
    message = f"{table}: the newest event is {age}; its contract promises {promise}."
    message += f" Look at its producers and at {table.partition('.')[0]}__ingest."
    send(_alert(table, message, owners), settings)
    told.parent.mkdir(exist_ok=True)
    told.write_text(newest)


def _alert(subject: str, message: str, owners: Mapping[str, str]) -> Alert:
    return Alert(subject, message, owners["team"], owners["steward"], owners["contact"], owners["on_call"])
