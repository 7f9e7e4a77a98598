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
from typing import Any

from mesh_platform.dags.docs import words
from mesh_platform.domain import load_mesh
from mesh_platform.errors import NeedsAttention, UsageError
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
    """Send an alert to every target of `settings.alerts`.

    Raises NeedsAttention at the end, for all targets that did not take it, and UsageError for one that is none.
    """
    failed = []
    for target in settings.alerts.split():
        scheme, _, rest = target.partition(":")
        if target == "log":
            log.error("%s", alert.text())
        elif scheme == "file":
            line = json.dumps({"at": datetime.now(UTC).isoformat(), **asdict(alert)})
            with (settings.state_dir / rest).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        else:
            failed += [] if _notify(target, alert) else [f"{scheme}://..."]
    if failed:
        raise NeedsAttention(f"{', '.join(failed)}: did not take the alert '{alert.message}'. Look at MESH_ALERTS.")


def _notify(url: str, alert: Alert) -> bool:
    import apprise

    notifier = apprise.Apprise()
    if not notifier.add(url):
        # The URL may hold a password.
        raise UsageError(
            f"MESH_ALERTS: {url.partition(':')[0]}:... is no target. It has log, file:PATH and Apprise's URLs."
        )
    return bool(notifier.notify(title=alert.subject, body=alert.text()))


def tell_of_failure(context: Mapping[str, Any]) -> None:
    """Tell the owner of a DAG that one of its tasks failed for good. Airflow calls it."""
    settings = Settings()
    instance = context["task_instance"]
    domain = load_mesh(settings.root).domain(instance.dag_id.partition("__")[0])
    subject = f"{instance.dag_id}.{instance.task_id}"
    message = f"{subject} failed in {instance.run_id}: {context.get('exception')}"
    send(_alert(subject, message, domain.owners.model_dump()), settings)


def tell_of_stale_product(table: str, owners: Mapping[str, str], context: Mapping[str, Any] | None = None) -> None:
    """Tell the owner of a product that its newest event is older than promised. Airflow calls it past a deadline.

    The lake has the last word: Airflow does not hear of what the command line ingests and builds.
    """
    from mesh_platform.dags.tasks import read_ages

    settings = Settings()
    mesh = load_mesh(settings.root)
    (found,) = read_ages(mesh, [mesh.contract(table)])
    if found["fresh"]:
        log.info("%s: fresh by now.", table)
        return
    promise = words(timedelta(seconds=found["promise_s"]))
    age = words(timedelta(seconds=found["age_s"])) + " old" if found["age_s"] is not None else "not there at all"
    message = f"{table}: the newest event is {age}; its contract promises {promise}."
    send(
        _alert(table, f"{message} Look at its producers and at {table.partition('.')[0]}__ingest.", owners), settings
    )


def _alert(subject: str, message: str, owners: Mapping[str, str]) -> Alert:
    return Alert(subject, message, owners["team"], owners["steward"], owners["contact"], owners["on_call"])
